// A login that was kept in a file goes on after the records were copied to PostgreSQL.
import { randomBytes } from 'node:crypto'
import { Client } from 'pg'
import { expect, it } from 'vitest'
import { freePort } from '../../scripts/harness/free-port.ts'
import { findProgram, inCI } from '../../scripts/system-programs.mjs'
import { logIn, person, refresh } from '../runtimes/login.ts'
import { sharedPostgres } from '../runtimes/postgres-server.ts'
import { type PosternProcess, startProcess } from '../runtimes/process.ts'
import { openUpstream } from '../runtimes/upstream.ts'
import { createPlace, postern } from './cli-process.ts'

it.skipIf(findProgram('postgres') === undefined && !inCI())(
  'a login in a file goes on after a copy to PostgreSQL, whose tables can be made beforehand',
  async () => {
    const server = await sharedPostgres()
    const schema = `copied_${randomBytes(6).toString('hex')}`
    const password = 'hunter2-of-postgres'
    const env = { DATABASE_URL: server.url.replace('postern@', `postern:${password}@`) }
    const upstream = await openUpstream()
    const place = createPlace()
    const port = await freePort()
    const words = ['--config', `${place.path}/config.json`, '--state', place.path, '--json']
    const run = (...verb: string[]) => postern(place, ['store', ...verb, ...words], { env })
    let gateway: PosternProcess | undefined
    const lines: string[] = []
    const begin = async (type: string): Promise<PosternProcess> => {
      const config = {
        local_users: [person],
        mcp_services: { echo: { url: upstream.url } },
        storage: { type, postgres: { url: '${DATABASE_URL}', schema } },
      }
      gateway = await startProcess({ config, stateDir: place.path, port, env, signInLink: false })
      return gateway
    }
    const end = async (running: PosternProcess): Promise<void> => {
      expect(await running.end()).toBe(0)
      lines.push(...running.lines)
    }
    try {
      const first = await begin('sqlite')
      const { client, tokens } = await logIn(first)
      await end(first)
      const migrated = await run('migrate')
      expect([migrated.code, JSON.parse(migrated.out)]).toEqual([0, { steps: ['records', 'counts'] }])
      const copied = await run('copy', '--from', 'sqlite', '--to', 'postgres')
      expect([copied.code, JSON.parse(copied.out)]).toEqual([
        0,
        {
          from: `${place.path}/postern.db`,
          to: `postgres://127.0.0.1:${server.port}/postgres`,
          records: expect.any(Number) as number,
        },
      ])
      const second = await begin('postgres')
      expect((await refresh(second, client, tokens.refresh_token)).status).toBe(200)
      await end(second)
      expect(lines.join('\n')).not.toContain(password)
    } finally {
      await gateway?.end('SIGKILL')
      const admin = new Client({ connectionString: server.url })
      await admin.connect()
      await admin.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`)
      await admin.end()
      await upstream.close()
      place.remove()
    }
  },
)
