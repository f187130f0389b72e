// A gateway between third parties that each have one fault, for the table of faults: identity providers and the
// websites of apps, none of which is on the network, and MCP servers on this computer.
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { Refusal } from '../../src/kit/refusal.ts'
import type { Outbound } from '../../src/ports/runtime.ts'
import { type Browser, createBrowser, type Page } from './browser.ts'
import { type FlowWorld, openFlowWorld } from './flow-world.ts'
import { type Client, type LoginTarget, allow, authorizeUrl, redeem, register, type Tokens } from './login.ts'
import { fromNetwork } from './networks.ts'
import { ana } from './people.ts'
import { openRuledUpstream } from './ruled-upstream.ts'
import { openInProcess } from './runtimes.ts'
import { openUpstream } from './upstream.ts'

type Claims = Readonly<Record<string, unknown>>

const seconds = (): number => Math.floor(Date.now() / 1000)

/** What each provider says of the user, beside what is right. */
const lies: Readonly<Record<string, Claims>> = {
  slow: { iat: seconds() - 7200, exp: seconds() - 3600 },
  forged: { aud: 'somebody-else' },
  stranger: { email: 'eve@other.example' },
  nameless: { email: undefined, email_verified: undefined },
  crowded: { groups: undefined, _claim_names: { groups: 'src1' }, _claim_sources: { src1: {} } },
  unmapped: { groups: ['visitors'] },
  groupless: { groups: undefined },
}

const byDomain = { allowed_domains: ['example.com'] }
const byGroup = { allowed_groups: ['staff'] }
const rules: Readonly<Record<string, object>> = { crowded: byGroup, unmapped: byGroup, groupless: byGroup }

export const providerIds = [...Object.keys(lies), 'away', 'broken', 'secret', 'misspelt', 'denying']
const issuerOf = (id: string): string => `https://${id}.idp.test`

export const providers = Object.fromEntries(
  providerIds.map((id) => [
    id,
    {
      name: id,
      issuer: issuerOf(id),
      client_id: 'gateway',
      client_secret: 'a secret of the gateway',
      ...(rules[id] ?? byDomain),
    },
  ]),
)

export const appDocument = 'https://app.test/client.json'
export const redirectUri = 'https://app.test/cb'

const bytes = (value: unknown) =>
  new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value))
const answer = (value: unknown, status = 200) => ({
  status,
  headers: new Headers({ 'content-type': 'application/json' }),
  body: bytes(value),
})

/** Nonces of the round trips, by the code that comes back. */
const nonces = new Map<string, string>()

const createThirdParties = async (): Promise<Outbound> => {
  const { privateKey, publicKey } = await generateKeyPair('ES256')
  const keys = { keys: [{ ...(await exportJWK(publicKey)), kid: 'k', alg: 'ES256', use: 'sig' }] }
  const idToken = (id: string, code: string) =>
    new SignJWT({
      iss: issuerOf(id),
      aud: 'gateway',
      sub: 'u-1',
      email: 'ana@example.com',
      email_verified: true,
      groups: ['staff'],
      nonce: nonces.get(code),
      iat: seconds(),
      exp: seconds() + 300,
      ...lies[id],
    })
      .setProtectedHeader({ alg: 'ES256', kid: 'k' })
      .sign(privateKey)
  const provider = async (id: string, path: string, body: string) => {
    const issuer = issuerOf(id)
    if (id === 'away') throw new Refusal('outbound.failed', `${issuer}: getaddrinfo ENOTFOUND away.idp.test`)
    if (path.startsWith('/.well-known/'))
      return answer({
        issuer: id === 'misspelt' ? `${issuer}/tenant` : issuer,
        authorization_endpoint: `${issuer}/authorize`,
        token_endpoint: `${issuer}/token`,
        jwks_uri: `${issuer}/jwks`,
        response_types_supported: ['code'],
        id_token_signing_alg_values_supported: ['ES256'],
      })
    if (path === '/jwks') return answer(keys)
    if (id === 'broken') return answer('<h1>Bad gateway</h1>', 502)
    if (id === 'secret') return answer({ error: 'invalid_client', error_description: 'AADSTS7000215' }, 401)
    const token = await idToken(id, new URLSearchParams(body).get('code') ?? '')
    return answer({ access_token: 'a', token_type: 'Bearer', expires_in: 300, id_token: token })
  }
  return async (url, { body = '' } = {}) => {
    const { hostname, pathname } = new URL(url)
    const [id = ''] = hostname.split('.')
    if (hostname.endsWith('.idp.test')) return provider(id, pathname, body)
    if (hostname === 'gone.test')
      throw new Refusal('outbound.failed', `${url}: getaddrinfo ENOTFOUND gone.test`)
    if (url === appDocument)
      return answer({ client_id: appDocument, client_name: 'Notes', redirect_uris: [redirectUri] })
    return answer('not a document')
  }
}

/** MCP servers with a fault each, by the path of their URL. */
const openServers = () =>
  openUpstream((request, response, body) => {
    if (request.url === '/portal')
      return void response.writeHead(200, { 'content-type': 'text/html' }).end('<h1>Log in to the Wi-Fi</h1>')
    if (request.url === '/keyed') return void response.writeHead(401).end()
    if (request.url === '/moved')
      return void response.writeHead(302, { location: 'https://elsewhere.test/mcp' }).end()
    if (request.url === '/broken')
      return void response.writeHead(200, { 'content-type': 'application/json' }).end('{"jsonrpc":')
    const { id = null } = JSON.parse(body || '{}') as { id?: unknown }
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ jsonrpc: '2.0', id, result: {} }))
  })

export interface FaultyWorld extends FlowWorld {
  readonly services: Readonly<Record<string, { readonly url: string }>>
  readonly outbound: Outbound
  /** Every look at the storage fails from now on, or no more. */
  breakStorage(broken: boolean): void
  /** A computer in a network of its own. */
  another(): LoginTarget
}

export const openFaultyWorld = async (): Promise<FaultyWorld> => {
  const [outbound, servers, ruled] = await Promise.all([
    createThirdParties(),
    openServers(),
    openRuledUpstream(),
  ])
  const at = (path: string) => ({ url: new URL(path, servers.url).href })
  const services = {
    gone: { url: 'http://127.0.0.1:9/mcp' },
    portal: at('/portal'),
    moved: at('/moved'),
    broken: at('/broken'),
    keyed: { ...at('/keyed'), upstream_auth: { type: 'static' as const, token: 'a-token-that-has-expired' } },
    off: at('/mcp'),
    ruled: {
      url: ruled.url,
      access: {
        allow: [{ everyone: true, permissions: ['read' as const] }],
        deny: [{ everyone: true, tools: ['query'] }],
      },
    },
    closed: { ...at('/mcp'), access: { allow: [{ groups: ['board'], permissions: ['admin' as const] }] } },
  }
  let broken = false
  const world = await openFlowWorld(
    openInProcess,
    {
      client_metadata_documents: true,
      access: { default: 'everyone' },
      oauth_providers: providers,
      mcp_services: services,
      cors: { allow_origins: ['https://app.test'] },
      trusted_proxies: ['127.0.0.1'],
    },
    {
      outbound,
      store: (inner) =>
        new Proxy(inner, {
          get: (target, name) => {
            const own = Reflect.get(target, name) as unknown
            if (typeof own !== 'function') return own
            return (...args: unknown[]) =>
              broken
                ? Promise.reject(new Refusal('storage.unavailable', 'connect ECONNREFUSED redis'))
                : (Reflect.apply(own, target, args) as unknown)
          },
        }),
    },
  )
  let networks = 0
  return {
    ...world,
    services,
    outbound,
    breakStorage: (is) => void (broken = is),
    another: () => fromNetwork(world.house, `198.51.100.${++networks}`),
    async close() {
      broken = false
      await world.close()
      await Promise.all([servers.close(), ruled.close()])
    },
  }
}

// What a case does: a login up to the step that fails, or through.

export const accepts = { page: 'text/html', json: 'application/json' } as const
export type As = keyof typeof accepts
export const asked = (as: As): RequestInit => ({ headers: { accept: accepts[as] } })

export interface Began {
  readonly at: LoginTarget
  readonly client: Client
  readonly browser: Browser
  readonly verifier: string
  readonly page: Page
}

export const resourceAt = ({ origin }: LoginTarget, service = 'echo'): string => `${origin}/${service}/mcp`

/** An app registers and sends its user here. `init`: how the first page is asked for. */
export const begin = async (
  at: LoginTarget,
  params: Readonly<Record<string, string>> = {},
  init: RequestInit = {},
  known?: Client,
): Promise<Began> => {
  const client = known ?? (await register(at))
  const browser = createBrowser(at.fetch, at.origin)
  const { url, verifier } = authorizeUrl(at, client, { resource: resourceAt(at), ...params })
  return { at, client, browser, verifier, page: await browser.go(url, init) }
}

/** Presses the button of a provider; answers what the gateway says, to whoever comes back with a code. */
export const through = async (
  { browser, page }: Began,
  id: string,
  as: As,
  back: Readonly<Record<string, string>> = {},
): Promise<Page> => {
  const { action, pairs } = page.form(`/login/${id}`)
  const out = await browser.go(action, {
    method: 'POST',
    body: new URLSearchParams(pairs.map(([name, value]) => [name, value])).toString(),
    headers: {
      accept: accepts[as],
      'content-type': 'application/x-www-form-urlencoded',
      origin: new URL(action).origin,
      'sec-fetch-site': 'same-origin',
    },
  })
  if (out.status !== 0) return out
  const sent = new URL(out.url).searchParams
  const code = `code-${nonces.size}`
  nonces.set(code, sent.get('nonce') ?? '')
  const callback = new URL(sent.get('redirect_uri') ?? '')
  const params = { state: sent.get('state') ?? '', ...(Object.keys(back).length > 0 ? back : { code }) }
  for (const [name, value] of Object.entries(params)) callback.searchParams.set(name, value)
  return browser.go(callback.href, asked(as))
}

/** The whole login of Ana. */
export const signedIn = async (at: LoginTarget, service = 'echo', choice?: Parameters<typeof allow>[3]) => {
  const client = await register(at)
  const asking = authorizeUrl(at, client, { resource: resourceAt(at, service) })
  const browser = createBrowser(at.fetch, at.origin)
  const back = await allow(browser, asking.url, { username: ana.username, password: ana.password }, choice)
  const code = back.searchParams.get('code') ?? ''
  const tokens = (await (await redeem(at, client, code, asking.verifier)).json()) as Tokens
  return { at, client, browser, code, verifier: asking.verifier, tokens }
}
