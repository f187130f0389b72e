// A login goes on after its records were copied from a file to PostgreSQL, backed up there, and restored on another computer.
import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
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
  'a login goes on after a copy to PostgreSQL, a backup of it with its key, and a restore',
  async () => {
    const server = await sharedPostgres()
    const schema = `copied_${randomBytes(6).toString('hex')}`
    const secrets = ['hunter2-of-postgres', 'a passphrase of one day']
    const [password, passphrase] = secrets
    const env = { POSTGRES_URL: server.url.replace('postern@', `postern:${password}@`) }
    const upstream = await openUpstream()
    const [place, other] = [createPlace(), createPlace()]
    const port = await freePort()
    const config = {
      port,
      local_users: [person],
      mcp_services: { echo: { url: upstream.url } },
      storage: { type: 'sqlite', postgres: { url: '${POSTGRES_URL}', schema } },
    }
    const said: string[] = []
    let gateway: PosternProcess | undefined
    const begin = async (stateDir: string): Promise<PosternProcess> =>
      (gateway = await startProcess({ config, stateDir, port, env, signInLink: false }))
    const run = async (
      verb: readonly string[],
      { type = 'sqlite', at = place, input = '' },
    ): Promise<unknown> => {
      const file = at.write(
        `${type}.json`,
        JSON.stringify({ ...config, storage: { ...config.storage, type } }),
      )
      const words = [...verb, '--config', file, '--state', at.path, '--json']
      const { code, out, err } = await postern(at, words, { env, input })
      said.push(out, err)
      return code === 0 ? JSON.parse(out) : err
    }
    try {
      const first = await begin(place.path)
      const { client, tokens } = await logIn(first)
      expect(await first.end()).toBe(0)
      const file = join(place.path, 'backup')
      const where = `postgres://127.0.0.1:${server.port}/postgres`
      const records = expect.any(Number) as number
      expect(await run(['store', 'migrate'], {})).toEqual({ steps: ['records', 'counts'] })
      expect(await run(['store', 'copy', '--from', 'sqlite', '--to', 'postgres'], {})).toEqual({
        ...{ from: `${place.path}/postern.db`, to: where, records },
      })
      expect(
        await run(['backup', file, '--with-root-key'], { type: 'postgres', input: `${passphrase}\n` }),
      ).toEqual({ file, records, root_key: true })
      expect(await run(['restore', file], { at: other, input: 'another passphrase' })).toContain(
        'The passphrase is wrong.',
      )
      expect(readdirSync(other.path)).not.toContain('postern.db')
      expect(await run(['restore', file], { at: other, input: passphrase as string })).toEqual({
        ...{ records, to: `${other.path}/postern.db`, root_key: true },
      })
      const second = await begin(other.path)
      expect((await refresh(second, client, tokens.refresh_token)).status).toBe(200)
      said.push(...first.lines, ...second.lines)
      expect(secrets.filter((secret) => said.join('\n').includes(secret))).toEqual([])
    } finally {
      await gateway?.end('SIGKILL')
      const admin = new Client({ connectionString: server.url })
      await admin.connect()
      await admin.query(`DROP SCHEMA IF EXISTS ${schema} CASCADE`)
      await admin.end()
      await upstream.close()
      place.remove()
      other.remove()
    }
  },
)
