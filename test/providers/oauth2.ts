// Providers of plain OAuth 2.0, one per path, each with a profile and habits of its own; run as a process. `/heard` tells
// what was asked.
import { createHash, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

interface Kind {
  readonly profile: unknown
  readonly status?: number
  readonly type?: string
  /** How the client must show its secret; `none` wants none at all. Default: in the body. */
  readonly secret?: 'basic' | 'none'
  /** Sent to the gateway as `iss`. */
  readonly iss?: string
  readonly error?: string
  readonly token?: Readonly<Record<string, unknown>>
}

const kinds: Readonly<Record<string, Kind>> = {
  usual: {
    profile: {
      id: 77,
      username: 'ana',
      display_name: 'Ana Example',
      email: 'ana@corp.test',
      email_verified: true,
      picture: 'https://img.test/a.png',
      groups: ['staff', 'dev'],
    },
  },
  'google-v2': {
    profile: { id: '108', email: 'ana@corp.test', verified_email: true, name: 'Ana', picture: null },
  },
  nested: {
    profile: {
      data: { id: '99', username: 'ana', mail: { address: 'ana@corp.test', ok: 'true' }, teams: ['dev'] },
    },
  },
  'user-id': { profile: { id: null, sub: null, user_id: 'u-1', name: null, username: 'ana', email: null } },
  unverified: { profile: { id: 1, email: 'ceo@corp.test', email_verified: false } },
  'no-word': { profile: { id: 1, email: 'ana@corp.test' } },
  basic: { profile: { id: 'b' }, secret: 'basic' },
  public: { profile: { id: 'p' }, secret: 'none' },
  'own-iss': { profile: { id: 'i' }, iss: 'https://issuer.test/tenant' },
  'id-token': { profile: { id: 't' }, token: { id_token: 'not.a.token' } },
  // What signs in nobody.
  'no-id': { profile: { email: 'ana@corp.test', email_verified: true } },
  'object-id': { profile: { id: { value: 1 } } },
  'long-id': { profile: { id: 'x'.repeat(300) } },
  'crlf-id': { profile: { id: 'a\r\nX-Admin: 1' } },
  'float-id': { profile: { id: 1.5 } },
  array: { profile: [{ id: 1 }] },
  html: { profile: '<h1>Sign in</h1>', type: 'text/html' },
  forbidden: { profile: { error: 'forbidden' }, status: 403 },
  broken: { profile: {}, status: 500 },
  'other-iss': { profile: { id: 1 }, iss: 'https://evil.test' },
  'odd-type': { profile: { id: 1 }, token: { token_type: 'mac' } },
  'no-token': { profile: { id: 1 }, token: { access_token: undefined } },
  cancel: { profile: { id: 1 }, error: 'access_denied' },
}

const client = { id: 'oauth2-client', secret: 'oauth2:client secret' }
const codes = new Map<
  string,
  { readonly kind: string; readonly challenge: string; readonly redirect: string }
>()
const heard: { authorize: Record<string, string>[]; token: Record<string, string>[] } = {
  authorize: [],
  token: [],
}

const json = (response: ServerResponse, value: unknown, status = 200): void =>
  void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))

const authorize = (id: string, query: Record<string, string>, response: ServerResponse): void => {
  heard.authorize.push(query)
  const { redirect_uri: redirect = '', code_challenge: challenge = '', state = '' } = query
  const back = new URL(redirect)
  back.searchParams.set('state', state)
  const { iss, error } = kinds[id] ?? {}
  if (iss) back.searchParams.set('iss', iss)
  if (error) back.searchParams.set('error', error)
  else {
    const code = randomBytes(9).toString('base64url')
    codes.set(code, { kind: id, challenge, redirect })
    back.searchParams.set('code', code)
  }
  response.writeHead(302, { location: back.href }).end()
}

/** The secret as it was shown; both halves of Basic are form-encoded (RFC 6749 §2.3.1). */
const shown = ({ authorization }: IncomingMessage['headers'], form: Record<string, string>): string => {
  if (authorization === undefined) return form['client_secret'] === undefined ? 'none' : form['client_secret']
  const [, secret = ''] = Buffer.from(authorization.replace(/^Basic /i, ''), 'base64')
    .toString()
    .split(':')
  return `basic ${decodeURIComponent(secret.replaceAll('+', ' '))}`
}

const token = (
  id: string,
  form: Record<string, string>,
  request: IncomingMessage,
  response: ServerResponse,
): void => {
  heard.token.push(form)
  const grant = codes.get(form['code'] ?? '')
  codes.delete(form['code'] ?? '')
  const kind = kinds[id]
  const wanted = { basic: `basic ${client.secret}`, none: 'none', body: client.secret }[
    kind?.secret ?? 'body'
  ]
  if (shown(request.headers, form) !== wanted) return json(response, { error: 'invalid_client' }, 401)
  const challenge = createHash('sha256')
    .update(form['code_verifier'] ?? '')
    .digest('base64url')
  if (grant?.kind !== id || grant.challenge !== challenge || grant.redirect !== form['redirect_uri'])
    return json(response, { error: 'invalid_grant' }, 400)
  json(response, { access_token: `plain-access-${id}`, token_type: 'bearer', ...kind?.token })
}

const me = (id: string, { headers }: IncomingMessage, response: ServerResponse): void => {
  const { profile, status = 200, type = 'application/json' } = kinds[id] ?? { profile: {} }
  if (headers.authorization !== `Bearer plain-access-${id}`)
    return void response.writeHead(401, { 'www-authenticate': 'Bearer error="invalid_token"' }).end()
  response
    .writeHead(status, { 'content-type': type })
    .end(type === 'text/html' ? profile : JSON.stringify(profile))
}

const bodyOf = async (request: IncomingMessage): Promise<string> => {
  let body = ''
  for await (const chunk of request.setEncoding('utf8')) body += chunk as string
  return body
}

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://localhost')
  const [, id = '', endpoint] = url.pathname.split('/')
  const work = async (): Promise<void> => {
    const form = Object.fromEntries(new URLSearchParams(await bodyOf(request)))
    if (id === 'heard') return json(response, heard)
    if (endpoint === 'authorize') return authorize(id, Object.fromEntries(url.searchParams), response)
    if (endpoint === 'token') return token(id, form, request, response)
    if (endpoint === 'me') return me(id, request, response)
    return json(response, { error: 'not_found' }, 404)
  }
  work().catch((error: unknown) => response.destroy(error as Error))
})

server.listen(0, '127.0.0.1', () =>
  console.log(
    JSON.stringify({
      event: 'listening',
      url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      client_id: client.id,
      client_secret: client.secret,
    }),
  ),
)
process.once('SIGTERM', () => process.exit(0))
