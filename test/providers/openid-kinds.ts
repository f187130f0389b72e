// Well-known OpenID providers, one issuer each, with the claims and habits of their documentation; run as a process.
// Whom `login_hint` names is signed in there. `/heard` tells what was asked. One issuer, `offline`, gives refresh tokens,
// each good once, and `/offline/set` changes what it says of a person from then on.
import { exportJWK, generateKeyPair, SignJWT } from 'jose'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

type Claims = Readonly<Record<string, unknown>>

interface Issuer {
  /** What the metadata names in place of the address below which it lies. */
  readonly published?: string
  /** What tokens name. */
  readonly iss?: string
  readonly metadata?: Claims
  readonly people: Readonly<Record<string, Claims>>
  readonly userinfo?: Claims
  readonly algorithm?: 'HS256'
  readonly refreshes?: true
}

/** What a refresh at `offline` is answered with, where that is not the truth. */
type Mode = 'refused' | 'down' | 'no-id-token' | 'unknown-client' | 'other-person' | 'other-key'
interface Later {
  readonly claims?: Claims
  readonly mode?: Mode | ''
}

const home = '5c1a3b0e-8a7e-4a57-9f0e-0d8f0c1f2a3b'
const other = '0f9a1c5d-1111-4222-8333-944445555666'
const ana = { sub: 'ana', name: 'Ana Example' }

/** Entra sends no `email_verified`, and its `sub` is one for each application. */
const entra = (tenant: string, more: Claims = {}): Claims => ({
  ...ana,
  tid: tenant,
  oid: `oid-ana`,
  ver: '2.0',
  email: 'ana@corp.test',
  preferred_username: 'ana@corp.test',
  ...more,
})

const issuers = (base: string): Readonly<Record<string, Issuer>> => ({
  google: {
    people: {
      workspace: { ...ana, hd: 'corp.test', email: 'ana@corp.test', email_verified: true },
      // Made with the address of an organization that its owner has left.
      personal: { sub: 'former', email: 'former@corp.test', email_verified: true },
      gmail: { sub: 'g', email: 'g@gmail.com', email_verified: true },
    },
  },
  [`${home}/v2.0`]: {
    people: {
      member: entra(home, { groups: ['staff-id'] }),
      overage: entra(home, {
        _claim_names: { groups: 'src1' },
        _claim_sources: { src1: { endpoint: `${base}/graph/users/ana/getMemberObjects` } },
      }),
      guest: entra(home, {
        sub: 'guest',
        idp: `https://sts.windows.net/${other}/`,
        email: 'boss@corp.test',
        preferred_username: 'boss_corp.test#EXT#@corp.onmicrosoft.test',
      }),
      'proven-guest': entra(home, { sub: 'proven', acct: 1, email: 'p@partner.test', xms_edov: true }),
      'two-ats': entra(home, { sub: 'two', email: 'a@evil.test@corp.test' }),
    },
  },
  'corp.test/v2.0': {
    published: `${base}/${home}/v2.0`,
    iss: `${base}/${home}/v2.0`,
    people: { member: entra(home) },
  },
  'organizations/v2.0': {
    published: `${base}/{tenantid}/v2.0`,
    people: {
      home: entra(home, { iss: `${base}/${home}/v2.0` }),
      foreign: entra(other, { iss: `${base}/${other}/v2.0` }),
      // A token that says another tenant than the one that issued it.
      mixed: entra(home, { iss: `${base}/${other}/v2.0` }),
      unnamed: entra('', { iss: `${base}/{tenantid}/v2.0` }),
    },
  },
  okta: { people: { ana: { ...ana, email: 'ana@corp.test', email_verified: true, groups: ['Everyone'] } } },
  auth0: {
    published: `${base}/auth0/`,
    iss: `${base}/auth0/`,
    people: {
      ana: {
        ...ana,
        sub: 'auth0|5f7c8ec7c33c6c004bbafe82',
        email: 'ana@corp.test',
        email_verified: true,
        'https://corp.test/roles': ['admin'],
      },
    },
  },
  'realms/corp': {
    people: {
      ana: {
        ...ana,
        sub: '8a6b2c1e-1f2f-4d5c-9d6a-7f8e9d0c1b2a',
        email: 'ana@corp.test',
        email_verified: true,
        realm_access: { roles: ['staff'] },
        groups: ['/staff'],
      },
    },
  },
  'cdn-cgi/access/sso/oidc/app1': {
    people: { ana: { ...ana, email: 'ana@corp.test', groups: ['staff'] } },
  },
  // Cognito writes booleans as text; Authentik's issuer ends in a slash.
  cognito: {
    people: { ana: { ...ana, email: 'ana@corp.test', email_verified: 'true', 'cognito:groups': ['a'] } },
  },
  'application/o/postern': {
    published: `${base}/application/o/postern/`,
    iss: `${base}/application/o/postern/`,
    people: { ana: { ...ana, email: 'ana@corp.test', email_verified: true, groups: ['a'] } },
  },
  // Auth0 and Keycloak can be set to sign with the client's secret.
  hs256: {
    algorithm: 'HS256',
    metadata: { id_token_signing_alg_values_supported: ['HS256', 'RS256'] },
    people: { ana: { ...ana, email: 'ana@corp.test', email_verified: true } },
  },
  offline: {
    people: {},
    refreshes: true,
    metadata: { revocation_endpoint: `${base}/offline/revoke` },
  },
  // A foreign issuer below the same roof.
  'not-entra/v2.0': { published: `${base}/${home}/v2.0`, people: { ana: { ...ana } } },
})

const laters = new Map<string, Later>()
/** Of the refresh tokens that are still good. */
const refreshable = new Map<string, string>()
const laterClaims = (person: string): Claims => ({
  sub: person,
  name: 'Ana Example',
  email: `${person}@corp.test`,
  email_verified: true,
  groups: ['staff'],
  ...laters.get(person)?.claims,
})

const client = { id: 'postern', secret: 'a-secret-of-the-client-with-32-bytes' }
const pair = await generateKeyPair('RS256', { extractable: true })
const stranger = await generateKeyPair('RS256')
const codes = new Map<string, { readonly path: string; readonly person: string; readonly nonce: string }>()
const heard: { authorize: Record<string, string>[]; graph: number; revoked: string[] } = {
  authorize: [],
  graph: 0,
  revoked: [],
}
let base = ''

const json = (response: ServerResponse, value: unknown, status = 200): void =>
  void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))

const idToken = async (path: string, { people, iss, algorithm }: Issuer, code: string): Promise<string> => {
  const { person = '', nonce = '' } = codes.get(code) ?? {}
  const now = Math.floor(Date.now() / 1000)
  const claims = {
    iss: iss ?? `${base}/${path}`,
    aud: client.id,
    nonce,
    iat: now,
    exp: now + 300,
    ...people[person],
  }
  return algorithm
    ? new SignJWT(claims).setProtectedHeader({ alg: algorithm }).sign(new TextEncoder().encode(client.secret))
    : new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid: 'key' }).sign(pair.privateKey)
}

type Answer = (
  path: string,
  issuer: Issuer,
  request: { readonly query: Record<string, string>; readonly form: Record<string, string> },
  response: ServerResponse,
) => Promise<void> | void

/** Tokens of a code, or of a refresh token that nobody used before. */
const offlineToken = async (
  path: string,
  form: Record<string, string>,
  response: ServerResponse,
): Promise<void> => {
  const { person: signedIn, nonce } = codes.get(form['code'] ?? '') ?? {}
  const person = signedIn ?? refreshable.get(form['refresh_token'] ?? '')
  const mode = signedIn === undefined ? laters.get(person ?? '')?.mode : undefined
  if (mode === 'down') return json(response, { error: 'temporarily_unavailable' }, 503)
  if (mode === 'unknown-client') return json(response, { error: 'invalid_client' }, 401)
  refreshable.delete(form['refresh_token'] ?? '')
  if (person === undefined || mode === 'refused') return json(response, { error: 'invalid_grant' }, 400)
  const refresh = `refresh-${refreshes++}`
  refreshable.set(refresh, person)
  const now = Math.floor(Date.now() / 1000)
  const idToken = new SignJWT({
    iss: `${base}/${path}`,
    aud: client.id,
    ...(nonce && { nonce }),
    iat: now,
    exp: now + 300,
    sid: `session-${person}`,
    ...laterClaims(person),
    ...(mode === 'other-person' && { sub: 'somebody-else' }),
  }).setProtectedHeader({ alg: 'RS256', kid: 'key' })
  json(response, {
    access_token: `access-${person}`,
    token_type: 'Bearer',
    expires_in: 300,
    refresh_token: refresh,
    ...(mode !== 'no-id-token' && {
      id_token: await idToken.sign(mode === 'other-key' ? stranger.privateKey : pair.privateKey),
    }),
  })
}
let refreshes = 0

const endpoints: Readonly<Record<string, Answer>> = {
  '/.well-known/openid-configuration': (path, { published, metadata }, _, response) =>
    json(response, {
      issuer: published ?? `${base}/${path}`,
      authorization_endpoint: `${base}/${path}/authorize`,
      token_endpoint: `${base}/${path}/token`,
      jwks_uri: `${base}/${path}/jwks`,
      userinfo_endpoint: `${base}/${path}/userinfo`,
      response_types_supported: ['code'],
      token_endpoint_auth_methods_supported: ['client_secret_post'],
      ...metadata,
    }),
  '/authorize': (path, _, { query }, response) => {
    heard.authorize.push(query)
    const code = `code-${codes.size}`
    codes.set(code, { path, person: query['login_hint'] ?? '', nonce: query['nonce'] ?? '' })
    const back = new URL(query['redirect_uri'] ?? '')
    back.searchParams.set('code', code)
    back.searchParams.set('state', query['state'] ?? '')
    response.writeHead(302, { location: back.href }).end()
  },
  '/token': async (path, issuer, { form }, response) =>
    issuer.refreshes
      ? offlineToken(path, form, response)
      : json(response, {
          access_token: form['code'],
          token_type: 'Bearer',
          id_token: await idToken(path, issuer, form['code'] ?? ''),
        }),
  // A logout token as §2.4 has it, with the claims and the header that the query adds, sets to another value or (null)
  // leaves out.
  '/logout-token': async (path, _issuer, { query }, response) => {
    const now = Math.floor((Date.now() + Number(query['ahead'] ?? 0)) / 1000)
    const { header, ...more } = JSON.parse(query['change'] ?? '{}') as Claims & { header?: { alg?: string } }
    const claims = {
      iss: `${base}/${path}`,
      aud: client.id,
      iat: now,
      exp: now + 120,
      jti: `logout-${refreshes++}`,
      events: { 'http://schemas.openid.net/event/backchannel-logout': {} },
      ...more,
    }
    const signed = new SignJWT(
      Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== null)),
    ).setProtectedHeader({ alg: 'RS256', kid: 'key', typ: 'logout+jwt', ...header })
    const secret = new TextEncoder().encode(client.secret)
    const text =
      header?.alg === 'none'
        ? `${Buffer.from('{"alg":"none"}').toString('base64url')}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}.`
        : await signed.sign(
            header?.alg === 'HS256'
              ? secret
              : query['key'] === 'other'
                ? stranger.privateKey
                : pair.privateKey,
          )
    response.writeHead(200).end(text)
  },
  '/revoke': (_path, _issuer, { form }, response) => {
    heard.revoked.push(form['token'] ?? '')
    json(response, {})
  },
  '/set': (_path, _issuer, { query }, response) => {
    laters.set(query['person'] ?? '', JSON.parse(query['later'] ?? '{}') as Later)
    json(response, {})
  },
  '/jwks': async (_path, _issuer, _, response) =>
    json(response, {
      keys: [{ ...(await exportJWK(pair.publicKey)), alg: 'RS256', use: 'sig', kid: 'key' }],
    }),
  // Says no more than the token did.
  '/userinfo': (_path, { people, refreshes }, { query }, response) => {
    if (refreshes) return json(response, laterClaims((query['token'] ?? '').slice('access-'.length)))
    const { person = '' } = codes.get(query['token'] ?? '') ?? {}
    const { sub, name } = people[person] ?? {}
    json(response, { sub, name })
  },
}

const bodyOf = async (request: IncomingMessage): Promise<string> => {
  let body = ''
  for await (const chunk of request.setEncoding('utf8')) body += chunk as string
  return body
}

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', base)
  const work = async (): Promise<void> => {
    const form = Object.fromEntries(new URLSearchParams(await bodyOf(request)))
    if (url.pathname === '/heard') return json(response, heard)
    if (url.pathname.startsWith('/graph/')) heard.graph++
    for (const [path, issuer] of Object.entries(issuers(base)))
      for (const [endpoint, answer] of Object.entries(endpoints))
        if (url.pathname === `/${path}${endpoint}`) {
          const token = (request.headers.authorization ?? '').replace(/^Bearer /i, '')
          return answer(
            path,
            issuer,
            { query: { token, ...Object.fromEntries(url.searchParams) }, form },
            response,
          )
        }
    return json(response, { error: 'not_found' }, 404)
  }
  work().catch((error: unknown) => response.destroy(error as Error))
})

server.listen(0, '127.0.0.1', () => {
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  console.log(
    JSON.stringify({ event: 'listening', url: base, client_id: client.id, client_secret: client.secret }),
  )
})
process.once('SIGTERM', () => process.exit(0))
