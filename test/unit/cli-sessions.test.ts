// `postern sessions`: lists and ends browser sessions that are in the state directory. `postern keys`: the keys there.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseConfig } from '../../src/config/schema.ts'
import { createRecords } from '../../src/kit/records.ts'
import { createNodeRuntime } from '../../src/node/runtime.ts'
import { verbIn } from '../runtimes/printed.ts'

const dir = mkdtempSync(join(tmpdir(), 'postern-sessions-'))
const config = {
  issuer: 'http://localhost:1',
  local_users: [
    { username: 'ana', password: 'a long enough password', email: 'ana@example.com' },
    { username: 'zoe', password: 'another long password' },
  ],
}
const ids = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(43))

beforeAll(async () => {
  writeFileSync(join(dir, 'postern.json'), JSON.stringify(config))
  const log = () => undefined
  const runtime = await createNodeRuntime({ config: parseConfig(config), stateDir: dir, log, version: '0' })
  const records = createRecords(runtime, 'session:')
  const now = runtime.now()
  for (const [i, id] of ids.entries()) {
    const person = {
      provider: 'local',
      subject: ['ana', 'zoe', 'zoe', 'gone'][i],
      groups: [],
      ...(i === 0 && { email: 'ana@example.com' }),
    }
    const seenAt = now - i * 60_000
    await records.put(id, { person, signedInAt: seenAt, seenAt, csrf: 'x' }, { ttlMs: 3_600_000 })
  }
  await runtime.close()
})
afterAll(() => rmSync(dir, { recursive: true }))

const run = verbIn(dir, 'sessions')
const keys = verbIn(dir, 'keys')
const users = async (...words: readonly string[]) =>
  (JSON.parse(await run('ls', '--json', ...words)) as { sessions: readonly { user: string }[] }).sessions.map(
    ({ user }) => user,
  )

it('lists those who may still sign in, the one used last first', async () => {
  expect(await run('ls')).toMatch(
    /^ID +USER .*\na{43} +ana@example\.com .*\nb{43} +local:zoe .*\nc{43} +local:zoe /,
  )
  expect(await users()).toEqual(['local:ana', 'local:zoe', 'local:zoe'])
  expect(await users('--user', 'ANA@example.com')).toEqual(['local:ana'])
})

it('ends one, or all of a user', async () => {
  expect(await run('end', ids[1] ?? '')).toBe('The session ended. Apps keep their access.\n')
  expect(await users()).toEqual(['local:ana', 'local:zoe'])
  await expect(run('end', ids[1] ?? '')).rejects.toThrow('There is no such session')
  await expect(run('end')).rejects.toThrow('Name a session, or a user with --user.')
  await expect(run('end', 'x', '--user', 'local:zoe')).rejects.toThrow('Name a session')
  expect(JSON.parse(await run('end', '--user', 'local:zoe', '--json'))).toEqual({ ended: 1 })
  expect(await users()).toEqual(['local:ana'])
})

it('lists signing keys, and makes the next one, once', async () => {
  expect(await keys('ls')).toMatch(/^KEY +STATE +MADE +FROM OR UNTIL\n[\w-]{16} +signs +\d{4}-.*Z\n$/)
  const made = JSON.parse(await keys('rotate', '--json')) as { key: string; signs_from: string }
  expect(made).toEqual({
    key: expect.any(String) as string,
    signs_from: expect.any(String) as string,
    made: true,
  })
  expect(await keys('rotate')).toBe(
    `Key ${made.key} is made already and signs from ${made.signs_from.slice(0, 16)}Z.\n`,
  )
  const { keys: listed } = JSON.parse(await keys('ls', '--json')) as { keys: readonly object[] }
  expect(listed).toEqual([
    expect.objectContaining({ state: 'signs' }),
    expect.objectContaining({ id: made.key, state: 'next', signs_from: made.signs_from }),
  ])
})
