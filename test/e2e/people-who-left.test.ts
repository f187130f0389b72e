// Who is no longer in the configuration is out: sessions, tokens and refresh tokens of people who were
// removed, or whom the rules no longer admit, work no more.
import { afterAll, beforeAll, expect, it } from 'vitest'
import { type Browser, createBrowser } from '../runtimes/browser.ts'
import {
  allow,
  authorizeUrl,
  type Client,
  redeem,
  refresh,
  register,
  type Tokens,
} from '../runtimes/login.ts'
import { type PosternProcess, startProcess, temporaryState } from '../runtimes/process.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { leave } from '../providers/leaving.ts'
import { hostileProvider, providerConfig, straightBack } from '../providers/openid-provider.ts'
import type { RunningProvider } from '../providers/process.ts'

const ana = { username: 'ana', password: 'correct horse battery' }
const bob = { username: 'bob', password: 'battery horse correct' }
const state = temporaryState()
let upstream: Upstream
let idp: RunningProvider
let gateway: PosternProcess
beforeAll(async () => {
  ;[upstream, idp] = await Promise.all([openUpstream(), hostileProvider()])
})
afterAll(async () => {
  await gateway.end()
  await Promise.all([upstream.close(), idp.close()])
  state.remove()
})

const start = async (
  people: readonly (typeof ana)[],
  rules: Record<string, unknown> = {},
  service: Record<string, unknown> = {},
) => {
  gateway = await startProcess({
    config: {
      local_users: people,
      oauth_providers: { company: { ...providerConfig(idp), issuer: `${idp.url}/truth`, ...rules } },
      mcp_services: { echo: { url: upstream.url, ...service } },
    },
    stateDir: state.dir,
    port: gateway ? Number(new URL(gateway.origin).port) : 0,
  })
}
const restart = async (...how: Parameters<typeof start>) => {
  await gateway.end()
  await start(...how)
}

interface Visitor {
  readonly client: Client
  readonly browser: Browser
  tokens: Tokens
}

const logIn = async (into: (browser: Browser, url: string) => Promise<URL>): Promise<Visitor> => {
  const browser = createBrowser(gateway.fetch, gateway.origin)
  const client = await register(gateway)
  const asking = authorizeUrl(gateway, client, { resource: `${gateway.origin}/echo/mcp` })
  const code = (await into(browser, asking.url)).searchParams.get('code') ?? ''
  return {
    client,
    browser,
    tokens: (await (await redeem(gateway, client, code, asking.verifier)).json()) as Tokens,
  }
}

/** Status of a call, of the front page and of a refresh. */
const standing = async (visitor: Visitor): Promise<readonly number[]> => {
  const called = await gateway.fetch(`${gateway.origin}/echo/mcp`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      authorization: `Bearer ${visitor.tokens.access_token}`,
    },
    body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
  })
  const cookie = [...visitor.browser.cookies].map((pair) => pair.join('=')).join('; ')
  const home = await gateway.fetch(`${gateway.origin}/`, { headers: { accept: 'text/html', cookie } })
  const again = await refresh(gateway, visitor.client, visitor.tokens.refresh_token)
  if (again.status === 200) visitor.tokens = (await again.json()) as Tokens
  return [called.status, home.status, again.status]
}
const [within, out] = [
  [200, 200, 200],
  [401, 303, 400],
]

it('[H-D22] a person who was removed is out everywhere, and back with everything when they return', async () => {
  await start([ana, bob])
  const [first, second] = [
    await logIn((browser, url) => allow(browser, url, ana)),
    await logIn((browser, url) => allow(browser, url, bob)),
  ]
  expect([await standing(first), await standing(second)]).toEqual([within, within])
  await restart([ana])
  expect([await standing(first), await standing(second)]).toEqual([within, out])
  await restart([ana, bob])
  expect([await standing(first), await standing(second)]).toEqual([within, within])
})

it('[H-D22] rules of an identity provider hold for who signed in before they were written', async () => {
  await restart([ana])
  const guest = await logIn(async (browser, url) => {
    const consent = await browser.go(await straightBack(await leave(browser, 'company', url)))
    return new URL((await browser.submit(consent, '/oauth/consent', { decision: 'allow' })).url)
  })
  expect(await standing(guest)).toEqual(within)
  for (const rules of [
    { allowed_emails: ['somebody@corp.test'] },
    { allowed_domains: ['elsewhere.test'] },
    { allowed_groups: ['admins'] },
  ]) {
    await restart([ana], rules)
    expect([rules, await standing(guest)]).toEqual([rules, out])
  }
  await restart([ana], { allowed_domains: ['corp.test'], allowed_groups: ['staff'] })
  expect(await standing(guest)).toEqual(within)
})

it('[H-D22] a service that is now for people who sign in another way is closed to tokens of before', async () => {
  await restart([ana])
  const visitor = await logIn((browser, url) => allow(browser, url, ana))
  await restart([ana], {}, { oauth_provider: 'company' })
  expect(await standing(visitor)).toEqual([401, 200, 400])
})
