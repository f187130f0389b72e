// An MCP server that takes tokens bound to a key alone, and wants a nonce in each proof (RFC 9449); its authorization
// server is oidc-provider, which wants nonces of its own.
import { calculateJwkThumbprint, decodeJwt, EmbeddedJWK, exportJWK, generateKeyPair, jwtVerify } from 'jose'
import { createHash, randomBytes } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Context, Provider } from 'oidc-provider'

/** One request to the server, as far as it counts. */
export interface BoundRequest {
  readonly method: string
  readonly scheme: string
  readonly token: string
  /** Claims of the proof. */
  readonly proof: Readonly<Record<string, unknown>>
  readonly jkt: string
  readonly body: string
  /** Why it was refused; undefined: it was let in. */
  readonly refused: string | undefined
}

export interface BoundUpstream {
  /** The MCP endpoint. */
  readonly url: string
  /** The authorization server. */
  readonly issuer: string
  readonly requests: readonly BoundRequest[]
  /** Tokens that were issued, each with the thumbprint of its key. */
  readonly tokens: readonly { readonly grant: string; readonly jkt: string }[]
  /** Errors of the token endpoint. */
  readonly errors: readonly string[]
  /** From here on proofs need another nonce. */
  renewNonce(): void
  /** The server takes no token that it issued so far. */
  forget(): void
  close(): Promise<void>
}

const listen = async (server: Server): Promise<string> => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const readBody = async (request: IncomingMessage): Promise<string> => {
  let body = ''
  for await (const piece of request.setEncoding('utf8')) body += piece as string
  return body
}

const configuration = async (resource: string, provider: () => Provider) => {
  const key = async (alg: string): Promise<object> => {
    const { privateKey } = await generateKeyPair(alg, { extractable: true })
    return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: alg }
  }
  const info = {
    scope: 'read',
    accessTokenTTL: 60,
    accessTokenFormat: 'jwt',
    jwt: { sign: { alg: 'ES256' } },
  }
  return {
    jwks: { keys: [await key('ES256'), await key('RS256')] },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    scopes: ['openid', 'offline_access', 'read'],
    clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post'],
    features: {
      devInteractions: { enabled: false },
      registration: { enabled: true },
      dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => resource,
        getResourceServerInfo: () => info,
        useGrantedResource: () => true,
      },
    },
    pkce: { required: () => true },
    issueRefreshToken: () => true,
    rotateRefreshToken: true,
    ttl: {
      AccessToken: 60,
      AuthorizationCode: 60,
      Grant: 3600,
      Interaction: 600,
      RefreshToken: 3600,
      Session: 3600,
    },
    interactions: { url: (_: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
    findAccount: (_: unknown, sub: string) => ({ accountId: sub, claims: () => ({ sub }) }),
    loadExistingGrant: async ({ oidc }: Context) => {
      const grant = new (provider().Grant)({
        clientId: oidc.client.clientId,
        accountId: oidc.session.accountId,
      })
      grant.addOIDCScope('openid offline_access read')
      grant.addResourceScope(resource, 'read')
      await grant.save()
      return grant
    },
  }
}

const textOf = (value: string | readonly string[] | undefined): string =>
  typeof value === 'string' ? value : (value ?? []).join(', ')

/** What is wrong with the proof of a request; nonces come last. */
const judge = async (
  request: IncomingMessage,
  about: { readonly url: string; readonly token: string; readonly seen: Set<string>; readonly nonce: string },
): Promise<Pick<BoundRequest, 'proof' | 'jkt' | 'refused'>> => {
  const field = textOf(request.headers['dpop'])
  const { payload, protectedHeader } = await jwtVerify(field, EmbeddedJWK, {
    typ: 'dpop+jwt',
    algorithms: ['ES256'],
  })
  const jkt = await calculateJwkThumbprint(protectedHeader.jwk ?? {})
  const { cnf } = decodeJwt(about.token) as { cnf?: { jkt?: string } }
  const ath = createHash('sha256').update(about.token).digest('base64url')
  const known = about.seen.has(String(payload.jti))
  about.seen.add(String(payload.jti))
  const faults: readonly (readonly [string, boolean])[] = [
    ['jkt', cnf?.jkt !== jkt],
    ['ath', payload['ath'] !== ath],
    ['htm', payload['htm'] !== request.method],
    ['htu', payload['htu'] !== about.url],
    ['jti', known],
    ['private', 'd' in (protectedHeader.jwk ?? {})],
    ['nonce', payload['nonce'] !== about.nonce],
  ]
  return { proof: payload, jkt, refused: faults.find(([, wrong]) => wrong)?.[0] }
}

const answer = ({ method }: IncomingMessage, body: string, response: ServerResponse): void => {
  if (method === 'GET')
    return void response.writeHead(200, { 'content-type': 'text/event-stream' }).end(': here\n\n')
  const { id = null } = JSON.parse(body) as { id?: unknown }
  const result = { content: [], structuredContent: { ok: true } }
  response
    .writeHead(200, { 'content-type': 'application/json' })
    .end(JSON.stringify({ jsonrpc: '2.0', id, result }))
}

export const openBoundUpstream = async (): Promise<BoundUpstream> => {
  const requests: BoundRequest[] = []
  const tokens: { grant: string; jkt: string }[] = []
  const errors: string[] = []
  const seen = new Set<string>()
  const forgotten = new Set<string>()
  let nonces = 1
  const resources = createServer()
  const authorization = createServer()
  const [origin, issuer] = [await listen(resources), await listen(authorization)]
  const url = `${origin}/mcp`
  const provider: Provider = new Provider(issuer, await configuration(url, () => provider))
  const handle = provider.callback()
  provider.on('grant.success', ({ oidc }) => {
    const { AccessToken: token } = oidc.entities ?? {}
    tokens.push({ grant: String(oidc.params['grant_type']), jkt: token?.jkt ?? '' })
  })
  provider.on('grant.error', (_, { error }) => void errors.push(error))
  authorization.on('request', (request: IncomingMessage, response: ServerResponse) => {
    if (!request.url?.startsWith('/interaction/')) return handle(request, response)
    provider
      .interactionFinished(request, response, { login: { accountId: 'olga' }, consent: {} })
      .catch((error: unknown) => response.writeHead(500).end(String(error)))
  })
  const prm = {
    resource: url,
    authorization_servers: [issuer],
    scopes_supported: ['read'],
    dpop_bound_access_tokens_required: true,
    dpop_signing_alg_values_supported: ['ES256'],
  }
  const refuse = (response: ServerResponse, more: string): void => {
    const metadata = `resource_metadata="${origin}/.well-known/oauth-protected-resource/mcp"`
    response
      .writeHead(401, {
        'www-authenticate': `DPoP ${more}${metadata}, algs="ES256"`,
        'dpop-nonce': `rs-${nonces}`,
        'content-type': 'application/json',
      })
      .end('{"error":"no"}')
  }
  resources.on('request', (request: IncomingMessage, response: ServerResponse) => {
    const work = async (): Promise<void> => {
      if (request.url?.startsWith('/.well-known/oauth-protected-resource/mcp'))
        return void response.setHeader('content-type', 'application/json').end(JSON.stringify(prm))
      if (!request.url?.startsWith('/mcp')) return void response.writeHead(404).end()
      const body = await readBody(request)
      const [scheme = '', token = ''] = textOf(request.headers.authorization).split(' ')
      if (token === '') return refuse(response, '')
      const judged = forgotten.has(token)
        ? { proof: {}, jkt: '', refused: 'token' }
        : await judge(request, { url, token, seen, nonce: `rs-${nonces}` }).catch(() => ({
            proof: {},
            jkt: '',
            refused: 'proof',
          }))
      const wrong = scheme === 'DPoP' ? judged.refused : 'scheme'
      requests.push({ ...judged, method: request.method ?? '', scheme, token, body, refused: wrong })
      if (wrong === 'nonce') return refuse(response, 'error="use_dpop_nonce", ')
      if (wrong !== undefined) return refuse(response, 'error="invalid_token", ')
      response.setHeader('dpop-nonce', `rs-${nonces}`)
      answer(request, body, response)
    }
    work().catch((error: unknown) => response.writeHead(500).end(String(error)))
  })
  return {
    url,
    issuer,
    requests,
    tokens,
    errors,
    renewNonce: () => void nonces++,
    forget() {
      for (const { token } of requests) forgotten.add(token)
    },
    async close() {
      for (const server of [resources, authorization]) {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      }
    },
  }
}
