// A Worker whose secret was changed: everything it keeps is closed to it. It says so, writes nothing, and
// goes on when the secret is back.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createBrowser, type Page } from '../runtimes/browser.ts'
import {
  allow,
  authorizeUrl,
  type Client,
  form,
  logIn,
  type LoginTarget,
  person,
  redeem,
  refresh,
  type Tokens,
} from '../runtimes/login.ts'
import { startWorkerd, type Workerd } from '../runtimes/workerd.ts'

const [right, wrong] = ['right-9f2c7e1ab05d48c6a3e7f9d2b18c', 'wrong-4d81f3b6c2e94a07b5f80c1e93a7']

let disk: string
let workerd: Workerd | undefined
let house: LoginTarget
const begin = async (secret: string): Promise<void> => {
  workerd = await startWorkerd({
    vars: {
      POSTERN_CONFIG: {
        session_secret: secret,
        local_users: [person],
        mcp_services: { echo: { url: 'https://echo.example/mcp' } },
      },
    },
    disk,
  })
  house = { origin: workerd.origin, fetch: (url, init) => fetch(url, { redirect: 'manual', ...init }) }
}
const stop = async (): Promise<void> => {
  await workerd?.close('SIGTERM')
  workerd = undefined
}
const events = (name: string): readonly Record<string, unknown>[] =>
  (workerd?.lines ?? [])
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter(({ event }) => event === name)

const told = async (answer: Promise<Response>): Promise<unknown[]> => {
  const { status, headers, body } = await answer.then(async (found) => ({
    status: found.status,
    headers: found.headers,
    body: (await found.json()) as Record<string, unknown>,
  }))
  return [status, headers.get('retry-after'), body['error']]
}
const page = ({ status, headers, body }: Page): unknown[] => [
  status,
  headers.get('content-type'),
  /<h1[^>]*>([^<]*)</.exec(body)?.[1],
]

describe('never', () => {
  let client: Client
  let tokens: Tokens
  let code: string
  let verifier: string
  beforeAll(async () => {
    disk = mkdtempSync(join(tmpdir(), 'postern-secret-'))
    await begin(right)
    const loggedIn = await logIn(house)
    ;({ client, tokens } = loggedIn)
    const asking = authorizeUrl(house, client)
    code = (await allow(loggedIn.browser, asking.url)).searchParams.get('code') ?? ''
    verifier = asking.verifier
    await stop()
  })
  afterAll(async () => {
    await stop()
    rmSync(disk, { recursive: true, force: true })
  })

  it('does a changed secret make a client, a code, a token or a person unknown, and nothing is sealed beside what it cannot open', async () => {
    await begin(wrong)
    const { origin, fetch } = house
    const outage = [503, '1', 'temporarily_unavailable']
    expect(await told(refresh(house, client, tokens.refresh_token))).toEqual(outage)
    expect(await told(redeem(house, client, code, verifier))).toEqual(outage)
    expect(
      await told(
        fetch(`${origin}/oauth/revoke`, form({ token: tokens.refresh_token, client_id: client.id })),
      ),
    ).toEqual(outage)
    const metadata = { redirect_uris: ['https://app.example/cb'], token_endpoint_auth_method: 'none' }
    expect(
      await told(
        fetch(`${origin}/oauth/register`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(metadata),
        }),
      ),
    ).toEqual(outage)
    const call = await fetch(`${origin}/echo/mcp`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${tokens.access_token}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
      },
      body: '{"jsonrpc":"2.0","id":1,"method":"ping"}',
    })
    expect([call.status, call.headers.get('www-authenticate')]).toEqual([503, null])
    const browser = createBrowser(fetch, origin)
    const problem = [503, 'text/html; charset=utf-8', 'Stored data cannot be decrypted']
    expect(page(await browser.go(authorizeUrl(house, client).url))).toEqual(problem)
    expect(page(await browser.submit(await browser.go('/login'), '/login', person))).toEqual(problem)
    expect((await fetch(`${origin}/.well-known/oauth-authorization-server`)).status).toBe(200)
    expect(events('record.unreadable').find(({ key }) => key === `client:${client.id}`)).toMatchObject({
      level: 'error',
      why: expect.stringMatching(
        /^client:client_[\w-]{22} is encrypted with key [\da-f]{8}, which this gateway does not have$/,
      ) as unknown,
    })
    await stop()

    await begin(right)
    expect((await redeem(house, client, code, verifier)).status).toBe(200)
    expect((await refresh(house, client, tokens.refresh_token)).status).toBe(200)
  })
})
