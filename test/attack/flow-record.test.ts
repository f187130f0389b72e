// What a flow keeps: no secret of a login, whatever is sent in its place; texts of strangers cleaned and cut; and no
// more flows than are told of.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createKeyRing } from '../../src/kit/keyring.ts'
import { utf8 } from '../../src/kit/bytes.ts'
import type { Store } from '../../src/ports/store.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { type FlowWorld, credentials, openFlowWorld } from '../runtimes/flow-world.ts'
import { type Tokens, allow, authorizeUrl, redeem, refresh, register } from '../runtimes/login.ts'
import { fromNetwork } from '../runtimes/networks.ts'
import { ana, callerOf } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { openInProcess } from '../runtimes/runtimes.ts'

const secret = 'a root secret of this test, of enough length'

let world: FlowWorld
let store: Store
beforeAll(async () => {
  const remember = (inner: Store): Store => (store = inner)
  world = await openFlowWorld(openInProcess, { session_secret: secret }, { store: remember })
})
afterAll(() => world.close())

/** Every record that flows are kept in, opened. */
const kept = async (): Promise<string> => {
  const keys = await createKeyRing([utf8(secret)], (n) => crypto.getRandomValues(new Uint8Array(n)))
  await world.list()
  const rows = (
    await Promise.all(
      ['flow:', 'flow-early:', 'flow-of:', 'flow-due:'].map((prefix) => store.list(prefix, { limit: 1000 })),
    )
  ).flat()
  const texts = await Promise.all(
    rows.map(
      async ({ key, value }) => `${key} ${value.startsWith('s1.') ? await keys.open(value, key) : value}`,
    ),
  )
  expect(texts.join('\n')).not.toContain('undefined')
  return texts.join('\n')
}

describe('never in the record of a flow', () => {
  it('a code, a token, a secret, a verifier, a cookie or a password of the login', async () => {
    const { house } = world
    const secrets: Record<string, string> = { password: ana.password }
    const fetching: typeof house.fetch = async (url, init) => {
      const response = await house.fetch(url, init)
      for (const cookie of response.headers.getSetCookie()) {
        const [name = '', value = ''] = cookie.split(';')[0]?.split(/=(.*)/s) ?? []
        if (value.length > 8) secrets[`cookie ${name}`] = value
      }
      return response
    }
    const from = { origin: house.origin, fetch: fetching }
    const resource = `${house.origin}/echo/mcp`
    await callerOf(from, resource, '').post(call())
    const answer = await from.fetch(`${house.origin}/oauth/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        client_name: 'Notes',
        redirect_uris: ['http://127.0.0.1:5000/cb'],
        token_endpoint_auth_method: 'client_secret_post',
      }),
    })
    const registered = (await answer.json()) as Record<string, string>
    const client = { id: registered['client_id'] ?? '', redirectUri: 'http://127.0.0.1:5000/cb' }
    secrets['client secret'] = registered['client_secret'] ?? ''
    secrets['registration token'] = registered['registration_access_token'] ?? ''
    const asking = authorizeUrl(from, client, { resource, state: 'a-state-that-is-a-secret-of-the-app' })
    secrets['state'] = 'a-state-that-is-a-secret-of-the-app'
    secrets['verifier'] = asking.verifier
    secrets['challenge'] = asking.url.match(/code_challenge=([\w-]{43})/)?.[1] ?? ''
    const back = await allow(createBrowser(from.fetch, from.origin), asking.url, credentials(ana))
    secrets['code'] = back.searchParams.get('code') ?? ''
    const post = (parameters: Record<string, string>) =>
      from.fetch(`${house.origin}/oauth/token`, {
        method: 'POST',
        body: new URLSearchParams({
          client_id: client.id,
          client_secret: secrets['client secret'] ?? '',
          ...parameters,
        }),
      })
    // A wrong verifier first: a refusal keeps no more than a success.
    const redeeming = {
      grant_type: 'authorization_code',
      code: secrets['code'],
      redirect_uri: client.redirectUri,
    }
    await post({ ...redeeming, code: `${secrets['code']}x`, code_verifier: asking.verifier })
    const tokens = (await (await post({ ...redeeming, code_verifier: asking.verifier })).json()) as Tokens
    secrets['access token'] = tokens.access_token
    secrets['refresh token'] = tokens.refresh_token
    const caller = callerOf(from, resource, tokens.access_token)
    expect((await caller.post(call())).status).toBe(200)
    await callerOf(from, resource, `${tokens.access_token}x`).post(call())
    const renewed = (await (
      await post({ grant_type: 'refresh_token', refresh_token: tokens.refresh_token })
    ).json()) as Tokens
    secrets['second refresh token'] = renewed.refresh_token
    const text = await kept()
    expect(text).toContain('"step":"refresh"')
    for (const [name, value] of Object.entries(secrets)) {
      expect([name, value.length > 7]).toEqual([name, true])
      // Neither the whole nor what could be used of it.
      const part = value.length > 32 ? value.slice(-24) : value
      expect([name, text.includes(value), text.includes(part)]).toEqual([name, false, false])
    }
  })

  const evil = `<img src=x onerror=alert(1)>\u001b]0;owned\u0007\u001b[2J\u202e\u0000|\`\`\`\n## x`

  it('controls or more than 256 characters of any text, or what a page would run', async () => {
    const from = fromNetwork(world.house, '203.0.113.50')
    const { origin } = from
    const headers = { 'user-agent': `Evil\u00a0${'A'.repeat(5000)}` }
    const registration = await from.fetch(`${origin}/oauth/register`, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json' },
      body: JSON.stringify({ client_name: `Evil ${evil}`, redirect_uris: ['https://app.example/cb'] }),
    })
    const { client_id: id = '' } = (await registration.json()) as Record<string, string>
    const hostile = {
      client_id: id,
      scope: evil,
      prompt: evil,
      resource: evil,
      state: evil,
      response_type: evil,
    }
    for (const name of [
      'redirect_uri',
      'scope',
      'resource',
      'prompt',
      'response_type',
      'code_challenge_method',
    ]) {
      const asked = { ...hostile, redirect_uri: 'https://app.example/cb', [name]: evil.repeat(40) }
      await from.fetch(`${origin}/oauth/authorize?${new URLSearchParams(asked)}`, { headers })
    }
    await from.fetch(`${origin}/oauth/callback?error=${encodeURIComponent(evil.repeat(50))}&state=x`, {
      headers,
    })
    await from.fetch(
      `${origin}/.well-known/oauth-protected-resource/echo/mcp?service_id=${encodeURIComponent(evil)}`,
    )
    const text = await kept()
    for (const [string] of text.matchAll(/"(?:[^"\\]|\\.)*"/g)) {
      const value = JSON.parse(string) as string
      expect([/[\u0000-\u001f\u007f-\u009f\u202a-\u202e]/.test(value), value.length > 300]).toEqual([
        false,
        false,
      ])
    }
    const flow = await world.flowOf(id)
    expect(flow.steps.length).toBeGreaterThan(3)
    const page = await world.admin.browser.go(`/console/flows/${flow.id}`)
    expect([page.status, page.body.includes('<img')]).toEqual([200, false])
    const report = (await world.admin.ask('GET', `/api/flows/${flow.id}?format=markdown`)).body
    // One fence, which no text of an app can close.
    expect(report.match(/^```/gm)).toHaveLength(2)
    for (const line of report.split('\n').filter((each) => each.startsWith('|')))
      expect(line.replaceAll(/`[^`]*`/g, '')).not.toContain('<')
  })

  it('four mebibytes of anything', async () => {
    const from = fromNetwork(world.house, '203.0.113.51')
    const huge = 'A'.repeat(4 * 1024 * 1024)
    const before = (await kept()).length
    await from.fetch(`${from.origin}/oauth/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ client_name: huge, redirect_uris: [`https://app.example/${huge}`] }),
    })
    // Of URLs and header fields no runtime lets as much through.
    const long = huge.slice(0, 65_536)
    await from.fetch(`${from.origin}/oauth/authorize?client_id=${long}&scope=${long}`)
    await from.fetch(`${from.origin}/.well-known/oauth-protected-resource/${long}`)
    await callerOf(from, `${from.origin}/echo/mcp`, long).post(call())
    expect((await kept()).length - before).toBeLessThan(10_000)
  })
})

describe('never in the flow of somebody else', () => {
  it('the steps of whoever knows what can be known of it', async () => {
    const { house } = world
    const from = fromNetwork(house, '203.0.113.60')
    const client = await register(house, { client_name: 'Known app' })
    const asking = authorizeUrl(house, client, { resource: `${house.origin}/echo/mcp` })
    const back = await allow(createBrowser(house.fetch, house.origin), asking.url, credentials(ana))
    const { id } = await world.flowOf(client.id)
    const stepsOf = async () => (await world.flowOf(id)).steps.map(({ name, ip }) => `${name} ${ip}`)
    const before = await stepsOf()
    // The ID of the app, its authorization request, the ID of the flow.
    await from.fetch(asking.url)
    await from.fetch(authorizeUrl(from, client).url)
    for (const path of ['/login', '/oauth/consent', '/'])
      await from.fetch(`${house.origin}${path}?flow=${id}`)
    await from.fetch(`${house.origin}/oauth/callback?state=${id}&code=x`)
    await redeem(from, client, 'a made up code', 'v'.repeat(43))
    await refresh(from, client, 'a made up token')
    expect(await stepsOf()).toEqual(before)
    expect((await redeem(house, client, back.searchParams.get('code') ?? '', asking.verifier)).status).toBe(
      200,
    )
    expect((await stepsOf()).length).toBe(before.length + 1)
  })
})
