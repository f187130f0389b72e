// A real OpenID provider for development and tests (oidc-provider), with people instead of a directory.
// Loopback only: its passwords are on its own page. MOCK_PORT (4000; 0 takes a free one) · MOCK_HOST
// (127.0.0.1) · MOCK_PEOPLE (JSON, or the path of a JSON file: [{ "login", "password"?, "claims"? }])
import { exportJWK, generateKeyPair } from 'jose'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Context, Provider } from 'oidc-provider'

interface Account {
  readonly login: string
  /** Absent: any password will do. */
  readonly password?: string
  /** Over the made-up ones: sub, email, email_verified, name, picture, groups. */
  readonly claims?: Readonly<Record<string, unknown>>
}

const loopback = new Set(['127.0.0.1', '::1', 'localhost'])
const host = process.env['MOCK_HOST'] ?? '127.0.0.1'
if (!loopback.has(host)) {
  console.error(
    `mock-idp: MOCK_HOST is ${host}. This provider lets anybody in, so it listens on loopback only: 127.0.0.1, ::1 or localhost.`,
  )
  process.exit(1)
}

const peopleSetting = process.env['MOCK_PEOPLE']
const people: readonly Account[] = peopleSetting
  ? (JSON.parse(
      peopleSetting.startsWith('[') ? peopleSetting : readFileSync(peopleSetting, 'utf8'),
    ) as Account[])
  : [
      { login: 'operator', password: 'pass', claims: { groups: ['admins'] } },
      { login: 'member', password: 'pass', claims: { groups: ['staff'] } },
    ]
/** With the built-in people anybody else may come in as well, by any name. */
const open = peopleSetting === undefined

const accountOf = (login: string): Account | undefined =>
  people.find((account) => account.login === login) ??
  (open && /^[^\s<>]{1,64}$/.test(login) ? { login } : undefined)

const claimsOf = ({ login, claims }: Account): Record<string, unknown> => ({
  sub: `mock-${login}`,
  preferred_username: login,
  name: login,
  email: login.includes('@') ? login : `${login}@example.test`,
  email_verified: true,
  ...claims,
})

/** Who signed in last with a subject: two logins may be one person. */
const bySubject = new Map<string, Account>()

const client = { client_id: 'postern', client_secret: 'mock-client-secret-for-development' }
const callbacks = ['localhost', '127.0.0.1', '[::1]'].flatMap((name) =>
  ['/oauth/callback', '/callback', '/authorize/callback', '/oauth/callback/mock', '/oauth/callback/sso'].map(
    (path) => `http://${name}${path}`,
  ),
)

const configuration = async () => {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true })
  return {
    // Native clients may use any port on loopback (RFC 8252 §7.3); which port the gateway took is not known
    // here.
    clients: [
      {
        ...client,
        application_type: 'native',
        redirect_uris: callbacks,
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
      },
    ],
    jwks: {
      keys: [
        { ...(await exportJWK(privateKey)), alg: 'RS256', use: 'sig', kid: randomBytes(8).toString('hex') },
      ],
    },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    claims: {
      openid: ['sub'],
      email: ['email', 'email_verified'],
      profile: ['name', 'preferred_username', 'picture', 'groups'],
    },
    scopes: ['openid', 'email', 'profile'],
    features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true } },
    // The package sends nothing to this computer, where the gateways of its users are; its dispatcher says so.
    fetch: (url: string, { dispatcher: _, ...options }: RequestInit & { readonly dispatcher?: unknown }) =>
      fetch(url, options),
    pkce: { required: () => true },
    issueRefreshToken: () => true,
    ttl: {
      AccessToken: 600,
      AuthorizationCode: 60,
      Grant: 3600,
      IdToken: 600,
      Interaction: 600,
      RefreshToken: 3600,
      Session: 3600,
    },
    interactions: { url: (_: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
    findAccount: (_: unknown, sub: string) => {
      const account = bySubject.get(sub)
      return account && { accountId: sub, claims: () => ({ ...claimsOf(account) }) }
    },
    loadExistingGrant: async ({ oidc }: Context) => {
      const grant = new provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId })
      grant.addOIDCScope(oidc.params.scope ?? 'openid')
      await grant.save()
      return grant
    },
  }
}

const escape = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')

const listed = (): string =>
  people
    .map(
      ({ login, password }) =>
        `<li><code>${escape(login)}</code>${password === undefined ? ', any password' : `, password <code>${escape(password)}</code>`}</li>`,
    )
    .join('')

const page = (response: ServerResponse, uid: string, problem = ''): void => {
  response.writeHead(problem ? 401 : 200, {
    'content-type': 'text/html; charset=utf-8',
    'cache-control': 'no-store',
  })
  response.end(`<!doctype html><html lang="en"><meta name="viewport" content="width=device-width"><title>Mock identity provider</title>
<style>body{font:16px/1.5 system-ui;max-width:24rem;margin:4rem auto;padding:0 1rem}label{display:block;margin:.5rem 0}input{font:inherit;width:100%}</style>
<h1>Mock identity provider</h1><p>For development: no real accounts.</p>${problem ? `<p role="alert">${problem}</p>` : ''}
<form method="post" action="/interaction/${uid}"><label>Login <input name="login" autocomplete="username" autofocus></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label>
<button name="decision" value="sign-in">Sign in</button> <button name="decision" value="cancel">Cancel</button></form>
<ul>${listed()}</ul>${open ? '<p>Any other login comes in with any password.</p>' : ''}</html>`)
}

const readForm = async (request: IncomingMessage): Promise<URLSearchParams> => {
  let body = ''
  for await (const chunk of request.setEncoding('utf8')) {
    body += chunk as string
    if (body.length > 10_000) throw new Error('form too large')
  }
  return new URLSearchParams(body)
}

const interact = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const { uid, prompt } = await provider.interactionDetails(request, response)
  // Native clients are always asked for consent; here whoever signs in consents.
  if (prompt.name === 'consent')
    return provider.interactionFinished(request, response, { consent: {} }, { mergeWithLastSubmission: true })
  if (request.method !== 'POST') return page(response, uid)
  const form = await readForm(request)
  if (form.get('decision') === 'cancel')
    return provider.interactionFinished(request, response, {
      error: 'access_denied',
      error_description: 'The person cancelled.',
    })
  const account = accountOf(form.get('login') ?? '')
  if (!account || (account.password !== undefined && account.password !== form.get('password')))
    return page(response, uid, 'Unknown login or wrong password.')
  const subject = String(claimsOf(account)['sub'])
  bySubject.set(subject, account)
  return provider.interactionFinished(request, response, { login: { accountId: subject } })
}

/** Tells a gateway at the URL of the body that a person signed out: what the provider does when a session ends. */
const logOut = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const form = await readForm(request)
  const known = await provider.Client.find(client.client_id)
  if (known) known.backchannelLogoutUri = form.get('uri') ?? ''
  await known?.backchannelLogout(form.get('sub') ?? '', form.get('sid') ?? undefined)
  response.end()
}

const serve = (request: IncomingMessage, response: ServerResponse): void => {
  if (request.url === '/sign-out' && request.method === 'POST')
    return void logOut(request, response).catch((error: unknown) =>
      response.writeHead(502, { 'content-type': 'text/plain; charset=utf-8' }).end(String(error)),
    )
  if (request.url === '/healthz') return void response.end('ok')
  if (!request.url?.startsWith('/interaction/')) return answer(request, response)
  interact(request, response).catch((error: unknown) => {
    if (!response.headersSent) response.writeHead(400, { 'content-type': 'text/plain; charset=utf-8' })
    response.end(`This sign-in is over: ${error instanceof Error ? error.message : String(error)}`)
  })
}

const server = createServer()
await new Promise<void>((resolve, reject) => {
  server.once('error', reject)
  server.listen(Number(process.env['MOCK_PORT'] ?? 4000), host, resolve)
}).catch((error: NodeJS.ErrnoException) => {
  console.error(
    error.code === 'EADDRINUSE'
      ? `mock-idp: port ${process.env['MOCK_PORT'] ?? 4000} is taken. Set MOCK_PORT to another one.`
      : `mock-idp: ${error.message}`,
  )
  process.exit(1)
})
const { address, family, port } = server.address() as AddressInfo
const issuer = `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`
const provider = new Provider(issuer, await configuration())
const answer = provider.callback()
server.on('request', serve)

if (process.stdout.isTTY) {
  console.log(
    `\n  Mock identity provider  ${issuer}\n\n  oauth_providers:\n    mock:\n      name: Mock\n      issuer: ${issuer}`,
  )
  console.log(
    `      client_id: ${client.client_id}\n      client_secret: ${client.client_secret}\n\n  ${people.map(({ login }) => login).join(', ')}${open ? ', or any login' : ''}\n`,
  )
} else console.log(JSON.stringify({ event: 'listening', url: issuer, ...client }))
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(0))
