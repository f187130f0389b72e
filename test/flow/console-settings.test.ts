// Settings on the console: what is set and where it came from, and tests of the public URL and of identity providers.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { parseConfig } from '../../src/config/schema.ts'
import { loadConfig } from '../../src/config/load.ts'
import { createSettings } from '../../src/settings.ts'
import { utf8 } from '../../src/kit/bytes.ts'
import { Refusal } from '../../src/kit/refusal.ts'
import type { Outbound } from '../../src/ports/runtime.ts'
import { type Administrator, signInAs } from '../runtimes/administrator.ts'
import { ana, yamada } from '../runtimes/people.ts'
import { openInProcess } from '../runtimes/runtimes.ts'

const company = 'https://login.company.example'
let answers: Readonly<Record<string, unknown>> = {}
const asked: { readonly url: string; readonly origins: readonly string[] | undefined }[] = []
const outbound: Outbound = async (url, { origins } = {}) => {
  asked.push({ url, origins })
  const answer = answers[url]
  if (answer === undefined) throw new Refusal('outbound.failed', `${new URL(url).origin}: connection refused`)
  return Promise.resolve({
    status: typeof answer === 'number' ? answer : 200,
    headers: new Headers({ 'content-type': 'application/json' }),
    body: utf8(typeof answer === 'string' ? answer : JSON.stringify(answer)),
  })
}

let house: Awaited<ReturnType<typeof openInProcess>>
let [admin, other] = [] as unknown as [Administrator, Administrator]
beforeAll(async () => {
  house = await openInProcess({
    upstream: 'http://127.0.0.1:1/mcp',
    outbound,
    config: {
      audit: {},
      branding: { name: 'Example Corp', color: '#0f7a6c' },
      local_users: [ana, yamada],
      admins: ['ana@example.com'],
      auditors: ['ana@example.com'],
      oauth_providers: {
        company: {
          type: 'openid',
          issuer: company,
          client_id: 'postern',
          client_secret: 'client-secret-word',
        },
      },
    },
  })
  admin = await signInAs(house, ana)
  other = await signInAs(house, yamada)
})
afterAll(() => house.close())

const textOf = (body: string): string => body.replaceAll(/<[^>]+>/g, ' ').replaceAll(/\s+/g, ' ')
const page = async (who = admin): Promise<string> => (await who.browser.go('/console/settings')).body
const test = async (key: string, who = admin, csrf = who.csrf): Promise<number> =>
  (
    await who.browser.go(`${house.origin}/console/settings`, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        'origin': house.origin,
        'sec-fetch-site': 'same-origin',
      },
      body: new URLSearchParams({ csrf, action: 'test', key }).toString(),
    })
  ).status
const metadata = {
  issuer: company,
  authorization_endpoint: `${company}/authorize`,
  token_endpoint: `${company}/token`,
  jwks_uri: 'https://keys.company.example/jwks',
  response_types_supported: ['code'],
  subject_types_supported: ['public'],
  id_token_signing_alg_values_supported: ['RS256'],
}

it('shows what is set to administrators alone, and no secret', async () => {
  const body = await page()
  expect(textOf(body)).toContain('Access token access_token_lifetime 1 hour')
  expect(textOf(body)).toMatch(/Root secret session_secret Set/)
  expect(textOf(body)).toMatch(/Signing key [\w-]+ ES256, made just now Signs/)
  expect(body).not.toContain('client-secret-word')
  expect((await other.browser.go('/console/settings')).status).toBe(403)
})

it('tests a provider as `postern validate --connect` does, keeps what came of it, and writes it down', async () => {
  expect(textOf(await page())).not.toContain('Tested')
  expect(await test('oauth_providers.company')).toBe(200)
  expect(textOf(await page())).toContain(
    'https://login.company.example cannot be used for sign-in: https://login.company.example: connection refused. Tested just now by local:ana',
  )
  answers = {
    [`${company}/.well-known/openid-configuration`]: metadata,
    'https://keys.company.example/jwks': { keys: [{ kty: 'RSA' }] },
  }
  expect(await test('oauth_providers.company')).toBe(200)
  expect(textOf(await page())).toContain('https://login.company.example publishes metadata and 1 key. Tested')
  // Where metadata of others leads is guarded: only what the operator wrote may be anywhere.
  expect(asked.find(({ url }) => url === 'https://keys.company.example/jwks')?.origins).toEqual([company])
  // The trail is written behind the answer.
  const events = async () => {
    const { body } = await admin.ask('GET', '/api/audit?q=kind:settings.tested')
    const found = JSON.parse(body) as { events: readonly { actor: string; detail: object }[] }
    return found.events.map(({ actor, detail }) => [actor, detail])
  }
  await expect
    .poll(events)
    .toEqual(
      [true, false].map((ok) => [
        'local:ana',
        expect.objectContaining({ key: 'oauth_providers.company', ok }),
      ]),
    )
})

it('makes the next signing key when an administrator asks, once, and writes it down', async () => {
  const rotate = (who: Administrator) =>
    who.browser.go(`${house.origin}/console/settings`, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        'origin': house.origin,
        'sec-fetch-site': 'same-origin',
      },
      body: new URLSearchParams({ csrf: who.csrf, action: 'rotate' }).toString(),
    })
  const kids = async () => {
    const { keys } = JSON.parse((await admin.browser.go('/oauth/jwks')).body) as { keys: { kid: string }[] }
    return keys.map(({ kid }) => kid)
  }
  const [first] = await kids()
  expect(textOf(await page())).toContain('Make the next key now')
  expect((await rotate(other)).status).toBe(403)
  expect(await kids()).toEqual([first])
  expect((await rotate(admin)).status).toBe(200)
  expect((await rotate(admin)).status).toBe(200)
  const [, next, ...more] = await kids()
  expect(more).toEqual([])
  const body = textOf(await page())
  expect(body).toContain(`Signing key ${next} ES256, made just now , signs from`)
  expect(body).toContain('The next key is made already.')
  const events = async () => {
    const { body: found } = await admin.ask('GET', '/api/audit?q=kind:key.rotated')
    return (JSON.parse(found) as { events: readonly { actor: string; detail: object }[] }).events.map(
      ({ actor, detail }) => [actor, detail],
    )
  }
  await expect
    .poll(events)
    .toEqual([['local:ana', { key: next, signs_from: expect.any(Number) as number, by: 'local:ana' }]])
})

it('finds out whether the public URL leads to this gateway', async () => {
  const jwks: unknown = JSON.parse((await admin.browser.go(`${house.origin}/oauth/jwks`)).body)
  const url = `${house.origin}/oauth/jwks`
  for (const [answer, said] of [
    [jwks, `The gateway reached itself at ${house.origin}.`],
    [{ keys: [{ kid: 'another' }] }, 'leads to another gateway: it publishes other signing keys.'],
    ['<!doctype html>', 'answered with something that is not JSON.'],
    ['null', 'leads to another gateway'],
    [502, 'answered 502.'],
    [undefined, 'connection refused.'],
  ] as const) {
    answers = { [url]: answer }
    expect(await test('issuer')).toBe(200)
    expect(textOf(await page())).toContain(said)
  }
})

it('tests nothing for others, for forms of other pages, and nothing that is not configured', async () => {
  const before = asked.length
  expect([
    await test('issuer', other),
    await test('issuer', admin, other.csrf),
    await test('oauth_providers.__proto__'),
    await test('oauth_providers.gone'),
    await test('https://169.254.169.254/'),
  ]).toEqual([403, 403, 400, 400, 400])
  expect(asked).toHaveLength(before)
})

it('says where each value came from, and shows nothing of services, rules and users', async () => {
  const loaded = await loadConfig({
    file: {
      path: 'postern.yaml',
      text: `issuer: https://mcp.example.com
storage: { type: memory }
admins: [ana@example.com]
mcp_services: { jira: { url: 'https://jira.example.com/mcp', upstream_auth: { type: static, token: word-1 } } }
access: { allow: [{ everyone: true, services: ['jira'] }] }
local_users: [{ username: ana, password: word-2-word-2 }]
`,
    },
    env: { SESSION_SECRET: 'word-3-q8Zr1TfX0kLmVbN5cYdG7hJsW2pE', PORT: '9000' },
  })
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.faults))
  const { config, sources } = loaded
  const deps = { runtime: { now: () => 0, outbound }, issuer: company, signer: {} as never }
  const list = createSettings({ ...deps, registry: { config: () => config }, sources: () => sources }).list()
  const from = Object.fromEntries(list.map((one) => [one.key, one.from]))
  expect(from).toMatchObject({
    'issuer': 'postern.yaml:1:9',
    'port': 'environment PORT',
    'storage.type': 'postern.yaml:2:18',
    'session_secret': 'environment SESSION_SECRET',
    'log_level': 'default',
    'default_service': 'not set',
  })
  expect(JSON.stringify(list)).not.toMatch(/word-|jira/)
  expect(Object.keys(from).filter((key) => /^(?:mcp_|local_|clients|access\.allow)/.test(key))).toEqual([])
  const unknown = createSettings({
    ...deps,
    registry: { config: () => parseConfig({}) },
    sources: undefined,
  }).list()
  expect(unknown.every((one) => one.from === undefined)).toBe(true)
})

it('puts the name and the color of the operator on its pages', async () => {
  const { body } = await admin.browser.go('/login?switch=1')
  expect(body).toContain('<bdi>Example Corp</bdi>')
  expect(body).toMatch(/<title>[^<]* · Example Corp<\/title>/)
  const [, path = ''] = /href="(\/assets\/brand\.[0-9a-f]{8}\.css)"/.exec(body) ?? []
  expect((await admin.browser.go(path)).body).toContain('--fill: #0f7a6c')
  expect((await admin.browser.go('/console/settings')).body).toContain('Color of the main button')
})
