// A database and the secret that sealed it, apart from each other: no start, nothing written, and everything
// as before once they are together again.
import { chmodSync, existsSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Client, logIn, person, refresh, type Tokens } from '../runtimes/login.ts'
import { type PosternProcess, startProcess } from '../runtimes/process.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { createPlace, errorOf, type Place, postern, type Ran } from './cli-process.ts'

let place: Place
let state: string
let upstream: Upstream
let client: Client
let tokens: Tokens
let port: number
let running: PosternProcess | undefined

const other = 'q'.repeat(43)
const rootKey = (): string => join(state, 'root.key')
const database = (): string => join(state, 'postern.db')

const begin = async (more: Record<string, unknown> = {}): Promise<PosternProcess> =>
  (running = await startProcess({
    config: { local_users: [person], mcp_services: { echo: { url: upstream.url } }, ...more },
    stateDir: state,
    port,
  }))
const stop = async (): Promise<void> => {
  await running?.end()
  running = undefined
}
const rows = (): readonly unknown[] => {
  const db = new DatabaseSync(database(), { readOnly: true })
  const all = db.prepare('SELECT key, value, mark FROM records ORDER BY key').all()
  db.close()
  return all
}
const verb = (...words: string[]): Promise<Ran> =>
  postern(place, [...words, '--config', join(state, 'config.json'), '--state', state])
const keyIdIn = (text: unknown): readonly string[] =>
  [...String(text).matchAll(/\bkey ([\da-f]{8})\b/g)].map(([, id]) => id as string)

beforeEach(async () => {
  place = createPlace()
  state = join(place.path, 'state')
  place.write('state/.keep', '')
  upstream = await openUpstream()
  port = 0
  await begin()
  port = Number(new URL((running as PosternProcess).origin).port)
  ;({ client, tokens } = await logIn(running as PosternProcess))
})
afterEach(async () => {
  await running?.end('SIGKILL')
  running = undefined
  await upstream.close()
  place.remove()
})

/** The access token, and then the refresh token, still work. */
const goesOn = async (): Promise<void> => {
  const gateway = running as PosternProcess
  const headers = {
    authorization: `Bearer ${tokens.access_token}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
  }
  const called = await gateway.fetch(`${gateway.origin}/echo/mcp`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
  })
  expect([called.status, (await refresh(gateway, client, tokens.refresh_token)).status]).toEqual([200, 200])
}

describe('a database without the secret that sealed it', () => {
  it('never starts with another root.key, names both keys, changes nothing, and goes on at once with the right one', async () => {
    await stop()
    const [before, right] = [rows(), readFileSync(rootKey(), 'utf8')]
    writeFileSync(rootKey(), `${other}\n`)
    const refused = await verb('--port', '0')
    expect({ code: refused.code, out: refused.out, error: errorOf(refused)['code'] }).toEqual({
      code: 1,
      out: '',
      error: 'state.sealed',
    })
    const [theirs, ours] = keyIdIn(errorOf(refused)['message'])
    expect(errorOf(refused)['message']).toBe(
      `${database()} is encrypted with key ${theirs}, but ${rootKey()} contains key ${ours}. Restore the root.key from the same backup as the database. To start with an empty gateway, move the database away. Nothing was changed.`,
    )
    expect(theirs).not.toBe(ours)
    expect(tokens.refresh_token.split('.')[2]).toBe(theirs)
    for (const words of [
      ['services', 'ls'],
      ['services', 'rm', 'echo'],
    ])
      expect(errorOf(await verb(...words))['code']).toBe('state.sealed')
    expect([rows(), readFileSync(rootKey(), 'utf8')]).toEqual([before, `${other}\n`])
    writeFileSync(rootKey(), right)
    await begin()
    await goesOn()
  })

  it('never starts without root.key, and makes none', async () => {
    await stop()
    const before = rows()
    renameSync(rootKey(), join(place.path, 'saved.key'))
    const refused = await verb('--port', '0')
    const message = errorOf(refused)['message']
    expect(message).toBe(
      `${database()} is encrypted with key ${keyIdIn(message)[0]}, but ${rootKey()} is missing. Restore the root.key from the same backup as the database. To start with an empty gateway, move the database away. Nothing was changed.`,
    )
    expect([refused.code, errorOf(refused)['code'], existsSync(rootKey()), rows()]).toEqual([
      1,
      'state.sealed',
      false,
      before,
    ])
    renameSync(join(place.path, 'saved.key'), rootKey())
    await begin()
    await goesOn()
  })

  it('never starts when its signing keys are gone and the rest was sealed with another key', async () => {
    await stop()
    const db = new DatabaseSync(database())
    db.exec("DELETE FROM records WHERE key = 'signing-keys'")
    db.close()
    const before = rows()
    rmSync(rootKey())
    expect([errorOf(await verb('--port', '0'))['code'], existsSync(rootKey())]).toEqual([
      'state.sealed',
      false,
    ])
    writeFileSync(rootKey(), `${other}\n`)
    expect([errorOf(await verb('--port', '0'))['code'], rows()]).toEqual(['state.sealed', before])
  })

  it('never starts when its signing keys are damaged, and leaves them', async () => {
    await stop()
    const db = new DatabaseSync(database())
    db.exec(
      "UPDATE records SET value = substr(value, 1, length(value) - 4) || 'AAAA' WHERE key = 'signing-keys'",
    )
    db.close()
    const before = rows()
    const refused = await verb('--port', '0')
    expect(errorOf(refused)).toMatchObject({
      code: 'state.sealed',
      message: `The record signing-keys in ${database()} is damaged. Restore a backup of the database. Nothing was changed.`,
    })
    expect(rows()).toEqual(before)
  })
})

describe('a configured secret', () => {
  it('never replaces the one that sealed the database, unless that stands under previous_secrets; then the former may go', async () => {
    await stop()
    rmSync(database())
    rmSync(rootKey())
    const [first, second, sealing] = [
      'first-9f2c7e1ab05d48c6a3e7f9d2',
      'second-4d81f3b6c2e94a07b5f80c1e',
      'sealing-7a35e0d94cb14f28a6d10b3c',
    ].map((text) => `${text}-${text}`)
    await begin({ session_secret: first, token_encryption_key: sealing })
    ;({ client, tokens } = await logIn(running as PosternProcess))
    await stop()
    for (const config of [
      { session_secret: second, token_encryption_key: sealing },
      { session_secret: first },
    ]) {
      const before = rows()
      await expect(begin(config)).rejects.toThrow(/state\.sealed.*previous_secrets/)
      expect(rows()).toEqual(before)
    }
    await begin({ session_secret: second, previous_secrets: [first], token_encryption_key: sealing })
    await goesOn()
    await stop()
    await begin({ session_secret: second, token_encryption_key: sealing })
  })
})

describe.skipIf(process.platform === 'win32')('files of the state that others can read', () => {
  const modes = (): readonly string[] =>
    ['root.key', 'postern.db'].map((name) => (statSync(join(state, name)).mode & 0o777).toString(8))

  it('are told by validate, which changes nothing, and told and closed by a start', async () => {
    await stop()
    for (const path of [rootKey(), database()]) chmodSync(path, 0o644)
    const checked = JSON.parse((await verb('validate', '--json')).out) as {
      warnings: { key: string; message: string }[]
    }
    const told = [rootKey(), database()].map((path) => ({
      key: path,
      message: `contains secrets and is readable by other users of this computer (mode 644): run chmod 600 ${path}`,
    }))
    expect(
      checked.warnings
        .filter(({ key }) => key.startsWith(state))
        .map(({ key, message }) => ({ key, message })),
    ).toEqual(told)
    expect(modes()).toEqual(['644', '644'])
    const { lines } = await begin()
    const warned = () =>
      lines
        .map((line) => JSON.parse(line) as { event: string; level: string; message: string })
        .flatMap(({ event, level, message }) => (event === 'state.exposed' ? [[level, message]] : []))
    await expect
      .poll(warned)
      .toEqual(
        [rootKey(), database()].map((path) => [
          'warn',
          `${path} contains secrets and was readable by other users of this computer (mode 644). The mode is now 600. If somebody may have read it, replace the root secret.`,
        ]),
      )
    expect(modes()).toEqual(['600', '600'])
    await goesOn()
  })
})
