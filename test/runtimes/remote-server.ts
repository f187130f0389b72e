// An MCP server with an authorization server of its own, both in one place, that says yes to everybody and
// whatever a test has it say instead.
import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

type Json = Record<string, unknown>
type Reply = {
  readonly status?: number
  readonly headers?: Record<string, string>
  readonly body?: Json | string | undefined
}

/** Everything that a test may change, before or while it runs. */
export interface FarScript {
  /** Paths that answer 404; all others of the server's answer as below. */
  absent: Set<string>
  /** Answers that stand in the place of the usual ones, by path. */
  instead: Map<
    string,
    (request: {
      readonly body: URLSearchParams
      readonly query: URLSearchParams
      readonly json: Json
      readonly headers: IncomingMessage['headers']
      readonly n: number
    }) => Reply | undefined
  >
  /** Work between what happens at a path and its answer. */
  before: Map<string, () => Promise<unknown>>
  prm: (usual: Json) => Json
  metadata: (usual: Json) => Json
  /** Parameters of the way back to the client. */
  answer: (usual: Record<string, string>) => Record<string, string>
  /** The scope that is granted of the one asked for. */
  grants: (scope: string) => string
  /** Members of a token answer. */
  tokens: (usual: Json) => Json
  /** The refusal of a call without a good token; undefined: no field at all. */
  challenge: (usual: string) => string | undefined
  /** Scopes that a call needs; a token with fewer gets 403. */
  needs: (call: Json) => readonly string[]
  /** People are sent to registered redirect URIs alone (RFC 9700 §2.1), as real servers do. */
  strict: boolean
}

export interface FarServer {
  readonly origin: string
  /** The MCP endpoint. */
  readonly url: string
  readonly script: FarScript
  /** What was asked, by path: queries and forms. */
  readonly asked: {
    readonly path: string
    readonly fields: Record<string, string>
    readonly headers: IncomingMessage['headers']
  }[]
  /** Of a path. */
  count(path: string, grant?: string): number
  /** Calls that were let in: the token, and the message. */
  readonly calls: {
    readonly token: string
    readonly message: Json
    readonly headers: IncomingMessage['headers']
  }[]
  /** Whether a token is one of its own that lives. */
  isGood(token: string): boolean
  /** Access tokens die; refresh tokens live. */
  expire(): void
  /** All tokens die. */
  revoke(): void
  close(): Promise<void>
}

interface Grant {
  readonly scope: string
  readonly challenge: string
  readonly client: string
  readonly resource: string
}

const read = async (request: IncomingMessage): Promise<string> => {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  return Buffer.concat(parts).toString('utf8')
}

const objectOf = (text: string): Json => {
  try {
    return JSON.parse(text) as Json
  } catch {
    return {}
  }
}

const send = (response: ServerResponse, { status = 200, headers = {}, body }: Reply): void => {
  const text = typeof body === 'string' ? body : JSON.stringify(body ?? {})
  response
    .writeHead(status, {
      'content-type': typeof body === 'string' ? 'text/html' : 'application/json',
      ...headers,
    })
    .end(text)
}

const prmPath = '/.well-known/oauth-protected-resource/mcp'

export const openFarServer = async (): Promise<FarServer> => {
  const script: FarScript = {
    absent: new Set(),
    instead: new Map(),
    before: new Map(),
    prm: (usual) => usual,
    metadata: (usual) => usual,
    answer: (usual) => usual,
    grants: (scope) => scope,
    tokens: (usual) => usual,
    challenge: (usual) => usual,
    needs: () => [],
    strict: false,
  }
  const asked: { path: string; fields: Record<string, string>; headers: IncomingMessage['headers'] }[] = []
  const calls: { token: string; message: Json; headers: IncomingMessage['headers'] }[] = []
  const clients = new Map<string, readonly string[]>()
  const codes = new Map<string, Grant>()
  const refreshes = new Map<string, Grant>()
  const accesses = new Map<string, Grant>()
  let n = 0
  let origin = ''

  const issue = (grant: Grant): Reply => {
    n++
    accesses.set(`access-${n}`, grant)
    refreshes.set(`refresh-${n}`, grant)
    return {
      body: script.tokens({
        access_token: `access-${n}`,
        token_type: 'Bearer',
        expires_in: 3600,
        refresh_token: `refresh-${n}`,
        scope: grant.scope,
      }),
    }
  }
  const token = (form: URLSearchParams): Reply => {
    const grant = form.get('grant_type')
    if (grant === 'client_credentials' || grant === 'urn:ietf:params:oauth:grant-type:jwt-bearer')
      return issue({
        scope: form.get('scope') ?? '',
        challenge: '',
        client: form.get('client_id') ?? '',
        resource: form.get('resource') ?? '',
      })
    const kept = grant === 'refresh_token' ? refreshes : codes
    const key = form.get(grant === 'refresh_token' ? 'refresh_token' : 'code') ?? ''
    const found = kept.get(key)
    kept.delete(key)
    const proven =
      grant === 'refresh_token' ||
      createHash('sha256')
        .update(form.get('code_verifier') ?? '')
        .digest('base64url') === found?.challenge
    return found && proven
      ? issue(found)
      : { status: 400, body: { error: 'invalid_grant', error_description: '<script>alert(1)</script>' } }
  }
  const authorize = (query: URLSearchParams): Reply => {
    const registered = clients.get(query.get('client_id') ?? '') ?? []
    if (script.strict && !registered.includes(query.get('redirect_uri') ?? ''))
      return { status: 400, body: 'not a registered redirect URI' }
    const code = `code-${++n}`
    codes.set(code, {
      scope: script.grants(query.get('scope') ?? ''),
      challenge: query.get('code_challenge') ?? '',
      client: query.get('client_id') ?? '',
      resource: query.get('resource') ?? '',
    })
    const back = new URL(query.get('redirect_uri') ?? '')
    for (const [name, value] of Object.entries(
      script.answer({ code, state: query.get('state') ?? '', iss: origin }),
    ))
      back.searchParams.set(name, value)
    return { status: 302, headers: { location: back.href } }
  }
  const mcp = (request: IncomingMessage, message: Json): Reply => {
    const key = (request.headers.authorization ?? '').replace(/^Bearer /, '')
    const grant = accesses.get(key)
    const refuse = (status: number, more: string): Reply => {
      const field = script.challenge(`Bearer resource_metadata="${origin}${prmPath}"${more}`)
      return {
        status,
        ...(field === undefined ? {} : { headers: { 'www-authenticate': field } }),
        body: { error: 'no' },
      }
    }
    if (!grant) return refuse(401, '')
    const missing = script.needs(message).filter((scope) => !grant.scope.split(' ').includes(scope))
    if (missing.length > 0) return refuse(403, `, error="insufficient_scope", scope="${missing.join(' ')}"`)
    calls.push({ token: key, message, headers: request.headers })
    const result =
      message['method'] === 'initialize'
        ? {
            protocolVersion: '2025-06-18',
            capabilities: { tools: {} },
            serverInfo: { name: 'far', version: '1' },
          }
        : { content: [{ type: 'text', text: key }] }
    return { body: { jsonrpc: '2.0', id: message['id'] ?? null, result } }
  }
  const metadata = (): Json =>
    script.metadata({
      issuer: origin,
      authorization_endpoint: `${origin}/authorize`,
      token_endpoint: `${origin}/token`,
      registration_endpoint: `${origin}/register`,
      revocation_endpoint: `${origin}/revoke`,
      response_types_supported: ['code'],
      code_challenge_methods_supported: ['S256'],
      token_endpoint_auth_methods_supported: ['none'],
      authorization_response_iss_parameter_supported: true,
    })
  const usual = (
    path: string,
    query: URLSearchParams,
    form: URLSearchParams,
    json: Json,
    request: IncomingMessage,
  ): Reply => {
    switch (path) {
      case prmPath:
        return { body: script.prm({ resource: `${origin}/mcp`, authorization_servers: [origin] }) }
      case '/.well-known/oauth-authorization-server':
        return { body: metadata() }
      case '/register': {
        const id = `client-${++n}`
        clients.set(id, json['redirect_uris'] as readonly string[])
        return { status: 201, body: { ...json, client_id: id } }
      }
      case '/authorize':
        return authorize(query)
      case '/token':
        return token(form)
      case '/revoke': {
        for (const kept of [accesses, refreshes]) kept.delete(form.get('token') ?? '')
        return { body: '' }
      }
      case '/mcp':
        return mcp(request, json)
      default:
        return { status: 404, body: { error: 'not_found' } }
    }
  }
  const server = createServer((request, response) => {
    void read(request).then(async (body) => {
      const { pathname, searchParams } = new URL(request.url ?? '/', origin)
      const form = new URLSearchParams(
        (request.headers['content-type'] ?? '').startsWith('application/x-www-form-urlencoded') ? body : '',
      )
      const json = objectOf(body)
      asked.push({
        path: pathname,
        fields: Object.fromEntries([...searchParams, ...form]),
        headers: request.headers,
      })
      const count = asked.filter(({ path }) => path === pathname).length
      const instead = script.absent.has(pathname)
        ? { status: 404, body: {} }
        : script.instead.get(pathname)?.({
            body: form,
            query: searchParams,
            json,
            headers: request.headers,
            n: count,
          })
      const reply = instead ?? usual(pathname, searchParams, form, json, request)
      await script.before.get(pathname)?.()
      send(response, reply)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    origin,
    url: `${origin}/mcp`,
    script,
    asked,
    calls,
    count: (path, grant) =>
      asked.filter((one) => one.path === path && (grant === undefined || one.fields['grant_type'] === grant))
        .length,
    isGood: (token) => accesses.has(token),
    expire: () => accesses.clear(),
    revoke() {
      accesses.clear()
      refreshes.clear()
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
