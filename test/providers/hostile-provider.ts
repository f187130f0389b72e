// An OpenID provider that lies, one lie per path: `{url}/{lie}` is an issuer of its own. Run as a process;
// `{url}/{lie}/heard` tells what it was asked.
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT } from 'jose'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'

type Claims = Record<string, unknown>

interface Heard {
  readonly authorize: Record<string, string>[]
  readonly token: Record<string, string>[]
  discovery: number
  jwks: number
  userinfo: number
}

const clientId = 'postern'
const heard = new Map<string, Heard>()
const hearing = (lie: string): Heard => {
  const known = heard.get(lie) ?? { authorize: [], token: [], discovery: 0, jwks: 0, userinfo: 0 }
  heard.set(lie, known)
  return known
}

const pair = await generateKeyPair('RS256', { extractable: true })
const stranger = await generateKeyPair('RS256', { extractable: true })
let rotations = 0
let base = ''

const html = (response: ServerResponse, status = 200): void =>
  void response.writeHead(status, { 'content-type': 'text/html' }).end('<!doctype html><title>Sorry</title>')
const json = (response: ServerResponse, value: unknown, status = 200): void =>
  void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
const huge = 10 * 1024 * 1024

/** Ways to answer that are no answer; each stands for an endpoint's failure. */
const failures: Record<string, (response: ServerResponse) => void> = {
  '500': (response) => html(response, 500),
  '503-json': (response) => json(response, { error: 'temporarily_unavailable' }, 503),
  html: (response) => html(response),
  huge: (response) => json(response, { padding: 'x'.repeat(huge) }),
  reset: (response) => void response.destroy(),
  stall: () => undefined,
  redirect: (response) => void response.writeHead(302, { location: `${base}/truth/token` }).end(),
  'gzip-bomb': (response) =>
    void response
      .writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' })
      .end(gzipSync(Buffer.alloc(10 * huge, 0x20))),
  array: (response) => json(response, []),
  null: (response) => json(response, null),
  cut: (response) =>
    void response.writeHead(200, { 'content-type': 'application/json' }).end('{"access_token":'),
  'invalid-client': (response) =>
    json(response, { error: 'invalid_client', error_description: '<script>alert(1)</script>' }, 401),
  'invalid-grant': (response) => json(response, { error: 'invalid_grant' }, 400),
}

const discovery = (lie: string): Claims => {
  const issuer = `${base}/${lie}`
  return {
    issuer,
    authorization_endpoint: `${issuer}/authorize`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    userinfo_endpoint: `${issuer}/userinfo`,
    response_types_supported: ['code'],
    authorization_response_iss_parameter_supported: true,
    ...(lie === 'discovery-other-issuer' ? { issuer: `${base}/truth` } : {}),
    ...(lie === 'discovery-javascript' ? { authorization_endpoint: 'javascript:alert(1)' } : {}),
    ...(lie === 'discovery-http' ? { authorization_endpoint: 'http://evil.test/authorize' } : {}),
    ...(lie === 'discovery-none' ? { id_token_signing_alg_values_supported: ['none'] } : {}),
    ...(lie === 'id-hs256' ? { id_token_signing_alg_values_supported: ['RS256', 'HS256'] } : {}),
    ...(lie === 'discovery-no-token' ? { token_endpoint: undefined } : {}),
    ...(lie === 'jwks-elsewhere' ? { jwks_uri: 'http://169.254.169.254/latest/meta-data' } : {}),
  }
}

const callbackParams = (lie: string, code: string): Record<string, string> => {
  const issuer = `${base}/${lie}`
  switch (lie) {
    case 'answer-script':
      return {
        error: 'access_denied',
        error_description: '<script>alert(1)</script>',
        error_uri: 'javascript:alert(1)',
        iss: issuer,
      }
    case 'answer-server-error':
      return { error: 'server_error', iss: issuer }
    case 'answer-odd-error':
      return { error: '"><img src=x>', iss: issuer }
    case 'answer-other-iss':
      return { code, iss: `${base}/truth` }
    case 'answer-no-iss':
      return { code }
    case 'answer-no-code':
      return { iss: issuer }
    default:
      return { code, iss: issuer }
  }
}

const now = (): number => Math.floor(Date.now() / 1000)

const claimLies: Record<string, (claims: Claims) => Claims> = {
  'id-wrong-aud': (claims) => ({ ...claims, aud: 'another-client' }),
  'id-two-auds': (claims) => ({ ...claims, aud: [clientId, 'another-client'], azp: clientId }),
  'id-no-aud': ({ aud: _, ...claims }) => claims,
  'id-wrong-iss': (claims) => ({ ...claims, iss: `${base}/truth` }),
  'id-expired': (claims) => ({ ...claims, iat: now() - 7200, exp: now() - 3600 }),
  'id-no-exp': ({ exp: _, ...claims }) => claims,
  'id-not-yet': (claims) => ({ ...claims, nbf: now() + 3600 }),
  'id-future': (claims) => ({ ...claims, iat: now() + 3600, exp: now() + 7200 }),
  'id-wrong-nonce': (claims) => ({ ...claims, nonce: 'A'.repeat(43) }),
  'id-no-nonce': ({ nonce: _, ...claims }) => claims,
  'id-wrong-azp': (claims) => ({ ...claims, azp: 'another-client' }),
  'id-no-sub': ({ sub: _, ...claims }) => claims,
  'id-empty-sub': (claims) => ({ ...claims, sub: '' }),
  'id-number-sub': (claims) => ({ ...claims, sub: 7 }),
  'id-long-sub': (claims) => ({ ...claims, sub: 'x'.repeat(300) }),
  'id-crlf-sub': (claims) => ({ ...claims, sub: 'a\r\nX-Admin: 1' }),
  // The address stands in the signed token, the word that it is verified only in userinfo, about another one.
  'userinfo-other-email': ({ email_verified: _, ...claims }) => claims,
  'userinfo-other-sub': ({ email: _, ...claims }) => claims,
  'userinfo-500': ({ email: _, ...claims }) => claims,
}

const idToken = async (lie: string, nonce: string): Promise<string> => {
  const honest = {
    iss: `${base}/${lie}`,
    aud: clientId,
    sub: 'person-1',
    email: 'ana@corp.test',
    email_verified: true,
    groups: ['staff'],
    nonce,
    iat: now(),
    exp: now() + 300,
  }
  const claims = claimLies[lie]?.(honest) ?? honest
  if (lie === 'id-alg-none' || lie === 'discovery-none') return new UnsecuredJWT(claims).encode()
  if (lie === 'id-not-a-jwt') return 'not.a.jwt'
  if (lie === 'id-hs256')
    return new SignJWT(claims)
      .setProtectedHeader({ alg: 'HS256' })
      .sign(new TextEncoder().encode(JSON.stringify(await exportJWK(pair.publicKey))))
  if (lie === 'rotating') rotations++
  const kid = lie === 'id-unknown-kid' ? 'never-published' : lie === 'rotating' ? `key-${rotations}` : 'key'
  const signed = await new SignJWT(claims)
    .setProtectedHeader({ alg: 'RS256', kid })
    .sign(lie === 'id-other-key' ? stranger.privateKey : pair.privateKey)
  if (lie === 'id-cut-signature') return signed.slice(0, -20)
  if (lie === 'id-odd-signature') return `${signed.slice(0, -4)}****`
  if (lie === 'id-altered')
    return signed.replace(
      /\.[^.]+\./,
      `.${Buffer.from(JSON.stringify({ ...claims, sub: 'person-2' })).toString('base64url')}.`,
    )
  return signed
}

const tokenMembers: Record<string, Claims> = {
  'expires-negative': { expires_in: -1 },
  'expires-soon': { expires_in: 60 },
  'expires-text': { expires_in: '3600' },
  'expires-zero': { expires_in: 0 },
  'expires-huge': { expires_in: 1e18 },
  'expires-null': { expires_in: null },
  'refresh-empty': { refresh_token: '' },
  'refresh-null': { refresh_token: null },
  'scope-list': { scope: ['openid'] },
  'type-odd': { token_type: 'mac' },
  'type-missing': { token_type: undefined },
  'token-no-id': { id_token: undefined },
}

const nonces = new Map<string, string>()

const failing = (lie: string, endpoint: string): ((response: ServerResponse) => void) | undefined =>
  lie.startsWith(`${endpoint}-`) ? failures[lie.slice(endpoint.length + 1)] : undefined

const endpoints: Record<
  string,
  (
    lie: string,
    request: { readonly query: Record<string, string>; readonly form: Record<string, string> },
    response: ServerResponse,
  ) => Promise<void> | void
> = {
  '.well-known/openid-configuration': (lie, _, response) => {
    hearing(lie).discovery++
    json(response, discovery(lie))
  },
  authorize: (lie, { query }, response) => {
    hearing(lie).authorize.push(query)
    const code = `code-${nonces.size}`
    nonces.set(code, query['nonce'] ?? '')
    const back = new URL(query['redirect_uri'] ?? '')
    for (const [name, value] of Object.entries({ ...callbackParams(lie, code), state: query['state'] ?? '' }))
      back.searchParams.set(name, value)
    response.writeHead(302, { location: back.href }).end()
  },
  token: async (lie, { form }, response) => {
    hearing(lie).token.push(form)
    json(response, {
      access_token: 'upstream-access-token',
      token_type: 'Bearer',
      id_token: await idToken(lie, nonces.get(form['code'] ?? '') ?? ''),
      ...tokenMembers[lie],
    })
  },
  jwks: async (lie, _, response) => {
    hearing(lie).jwks++
    json(response, {
      keys: [
        {
          ...(await exportJWK(pair.publicKey)),
          alg: 'RS256',
          use: 'sig',
          kid: lie === 'rotating' ? `key-${rotations}` : 'key',
        },
      ],
    })
  },
  userinfo: (lie, _, response) => {
    hearing(lie).userinfo++
    if (lie === 'userinfo-500') return html(response, 500)
    return json(response, {
      sub: lie === 'userinfo-other-sub' ? 'person-2' : 'person-1',
      email: lie === 'userinfo-other-email' ? 'victim@corp.test' : 'ana@corp.test',
      email_verified: true,
    })
  },
  heard: (lie, _, response) => json(response, hearing(lie)),
}

const bodyOf = async (request: IncomingMessage): Promise<string> => {
  let body = ''
  for await (const chunk of request.setEncoding('utf8')) body += chunk as string
  return body
}

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', base)
  const [, lie = '', ...rest] = url.pathname.split('/')
  const path = rest.join('/')
  const failure = failing(lie, path.startsWith('.well-known') ? 'discovery' : path)
  const work = async (): Promise<void> => {
    const form = Object.fromEntries(new URLSearchParams(await bodyOf(request)))
    if (failure) {
      if (path === 'token') hearing(lie).token.push(form)
      return failure(response)
    }
    await (endpoints[path] ?? ((_lie, _request, answer) => html(answer, 404)))(
      lie,
      { query: Object.fromEntries(url.searchParams), form },
      response,
    )
  }
  work().catch((error: unknown) => response.destroy(error as Error))
})

server.listen(0, '127.0.0.1', () => {
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  console.log(
    JSON.stringify({
      event: 'listening',
      url: base,
      client_id: clientId,
      client_secret: 'hostile-provider-secret',
    }),
  )
})
process.once('SIGTERM', () => process.exit(0))
