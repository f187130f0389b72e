// A server that a client signs in at, resource and authorization server in one, of which a client has nothing to
// complain, unless a test answers a request in its own way. For the tests of the doctor.
import { once } from 'node:events'
import { type IncomingMessage, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface Reply {
  readonly status?: number
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: unknown
}

export interface Asked {
  readonly method: string
  readonly path: string
  readonly query: URLSearchParams
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

export type Handler = (asked: Asked, origin: string) => Reply | undefined

export const cors = {
  'access-control-allow-origin': '*',
  'access-control-expose-headers': 'WWW-Authenticate, Mcp-Session-Id',
}
const preflight: Reply = {
  status: 204,
  headers: {
    ...cors,
    'access-control-allow-headers': 'authorization, content-type, mcp-protocol-version, mcp-session-id',
  },
}

export const resourcePath = '/.well-known/oauth-protected-resource/mcp'
export const serverPath = '/.well-known/oauth-authorization-server'
export const challenge = (origin: string) => ({
  status: 401,
  headers: { ...cors, 'www-authenticate': `Bearer resource_metadata="${origin}${resourcePath}"` },
})
export const resource = (origin: string) => ({ resource: `${origin}/mcp`, authorization_servers: [origin] })
export const metadata = (origin: string) => ({
  issuer: origin,
  authorization_endpoint: `${origin}/authorize`,
  token_endpoint: `${origin}/token`,
  registration_endpoint: `${origin}/register`,
  code_challenge_methods_supported: ['S256'],
  grant_types_supported: ['authorization_code', 'refresh_token'],
})

export const registered = ({ body }: Asked) => ({
  status: 201,
  headers: cors,
  body: {
    client_id: 'known',
    redirect_uris: (JSON.parse(body) as { redirect_uris: string[] }).redirect_uris,
  },
})

const authorized = ({ query }: Asked): Reply =>
  query.get('client_id') === 'known' ? { body: 'sign in' } : { status: 400, body: 'unknown client' }

const right: Handler = (request, origin) => {
  if (request.method === 'OPTIONS') return preflight
  switch (request.path) {
    case '/mcp':
      return challenge(origin)
    case resourcePath:
      return { headers: cors, body: resource(origin) }
    case serverPath:
      return { headers: cors, body: metadata(origin) }
    case '/register':
      return registered(request)
    case '/authorize':
      return authorized(request)
    case '/token':
      return { status: 400, headers: cors, body: { error: 'invalid_grant' } }
    default:
      return { status: 404 }
  }
}

const askedOf = async (request: IncomingMessage): Promise<Asked> => {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://localhost')
  let body = ''
  for await (const piece of request) body += String(piece)
  return { method: request.method ?? '', path: pathname, query: searchParams, headers: request.headers, body }
}

/** A reply for one path, and where it is given for one method. */
export const at =
  (path: string, reply: Handler, method?: string): Handler =>
  (request, origin) =>
    request.path === path && (method === undefined || request.method === method)
      ? reply(request, origin)
      : undefined

export interface ExaminedServer {
  readonly origin: string
  /** What was asked since the handler was set. */
  asked(): readonly Asked[]
  /** Answers first; what it leaves is answered right. */
  answerBy(handler: Handler): void
  close(): void
}

export const startExaminedServer = async (): Promise<ExaminedServer> => {
  let handler: Handler = () => undefined
  let asked: Asked[] = []
  let origin = ''
  const server = createServer((request, response) => {
    void askedOf(request).then((one) => {
      asked.push(one)
      const { status = 200, headers = {}, body } = handler(one, origin) ?? right(one, origin) ?? {}
      response.writeHead(status, headers)
      response.end(typeof body === 'string' ? body : JSON.stringify(body))
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    origin,
    asked: () => asked,
    answerBy(own) {
      handler = own
      asked = []
    },
    close: () => server.close(),
  }
}
