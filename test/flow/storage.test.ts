// What a thief of the database would hold: nothing that opens a door. And what the reference says of it: all
// of it.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { wayCookie } from '../../src/identity/sign-in-request.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { type TestGateway, openOnSocket } from '../runtimes/runtimes.ts'
import { allow, authorizeUrl, person, redeem, refresh, register, type Tokens } from '../runtimes/login.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const rpc = (token: string, method: string): RequestInit => ({
  method: 'POST',
  headers: {
    authorization: `Bearer ${token}`,
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
  },
  body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params: {} }),
})

describe('the database file after a login, a refresh and a session', () => {
  let upstream: Upstream
  let house: TestGateway
  const secrets = new Map<string, string>()
  beforeAll(async () => {
    upstream = await openUpstream()
    house = await openOnSocket({ upstream: upstream.url })
    const browser = createBrowser(house.fetch, house.origin)
    const client = await register(house, { token_endpoint_auth_method: 'client_secret_post' })
    const asking = authorizeUrl(house, client, { resource: `${house.origin}/echo/mcp` })
    const code = (await allow(browser, asking.url)).searchParams.get('code') ?? ''
    const tokens = (await (await redeem(house, client, code, asking.verifier)).json()) as Tokens
    const again = (await (
      await refresh(house, client, tokens.refresh_token, { client_secret: client.secret ?? '' })
    ).json()) as Tokens
    const session =
      (await house.fetch(`${house.origin}/echo/mcp`, rpc(again.access_token, 'initialize'))).headers.get(
        'mcp-session-id',
      ) ?? ''
    const found = {
      code,
      verifier: asking.verifier,
      access: tokens.access_token,
      refresh: tokens.refresh_token,
      successor: again.refresh_token,
      secret: client.secret ?? '',
      session,
      email: 'ana@example.com',
      password: person.password,
    }
    for (const [name, value] of [...Object.entries(found), ...browser.cookies])
      if (name !== wayCookie) secrets.set(name, value)
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  it('never holds a code, token, verifier, cookie, secret, session id or address in the clear', () => {
    const files = readdirSync(house.stateDir ?? '').map((name) =>
      readFileSync(join(house.stateDir ?? '', name)).toString('latin1'),
    )
    expect([...secrets.values()].every((secret) => secret.length > 8)).toBe(true)
    // Of a token in parts the last is the one that proves anything.
    const tell = (secret: string): string =>
      secret.length > 40 ? (secret.split('.').at(-1) ?? secret) : secret
    const inClear = [...secrets]
      .filter(([, secret]) => files.some((text) => text.includes(tell(secret))))
      .map(([name]) => name)
    expect(inClear).toEqual([])
  })

  it('never lets one of them into the log', () => {
    const text = JSON.stringify(house.log)
    expect(
      [...secrets]
        .filter(([name, secret]) => name !== 'email' && text.includes(secret))
        .map(([name]) => name),
    ).toEqual([])
  })

  it('holds only kinds of records that the reference names', () => {
    const kinds = [
      ...readFileSync(new URL('../../docs/reference/storage.md', import.meta.url), 'utf8').matchAll(
        /^\| `([a-z-]+)/gm,
      ),
    ].map(([, kind]) => kind)
    const rows = new DatabaseSync(join(house.stateDir ?? '', 'postern.db'), { readOnly: true })
      .prepare('SELECT key FROM records')
      .all() as { key: string }[]
    expect(rows.length).toBeGreaterThan(4)
    expect(
      [...new Set(rows.map(({ key }) => key.split(':')[0]))].filter((kind) => !kinds.includes(kind ?? '')),
    ).toEqual([])
  })
})
