// A stand-in for Vault and OpenBao, whose servers can be had for no test: the requests of their documentation that the
// gateway makes, answered as it says (API pages: index, kv-v2, transit, auth token, approle and kubernetes, sys/health,
// wrapping/unwrap), in one process and with a clock of its own. Faults on demand.
import { randomBytes, randomUUID } from 'node:crypto'
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http'
import { answerTransit } from './vault-transit.ts'

interface Version {
  readonly data: unknown
  readonly createdAt: number
  deletedAt: number | undefined
  destroyed: boolean
}

interface Secret {
  current: number
  oldest: number
  maxVersions: number
  readonly versions: Map<number, Version>
}

export interface VaultToken {
  readonly id: string
  readonly accessor: string
  expiresAt: number | undefined
  readonly maxAt: number | undefined
  readonly ttlMs: number
  readonly renewable: boolean
  readonly policies: readonly string[]
  readonly numUses: number
  /** Path prefixes, by capability; undefined: all. */
  readonly allows: ((capability: string, path: string) => boolean) | undefined
  revoked: boolean
}

export interface VaultFault {
  /** Answered in place of what was asked for; `cut`: carried out, and the connection ended without an answer. */
  readonly how:
    | 'cut'
    | 'hang'
    | { readonly status: number; readonly body: string; readonly location?: string }
}

interface Answer {
  readonly status: number
  readonly body?: unknown
}

const fail = (status: number, ...errors: string[]): Answer => ({ status, body: { errors } })
const absent: Answer = { status: 404, body: { errors: [] } }
const none: Answer = { status: 204 }

const capabilityOf = (method: string, exists: boolean): string =>
  method === 'GET'
    ? 'read'
    : method === 'LIST'
      ? 'list'
      : method === 'DELETE'
        ? 'delete'
        : exists
          ? 'update'
          : 'create'

export const startVault = async () => {
  let offset = 0
  const now = (): number => Date.now() + offset
  const secrets = new Map<string, Secret>()
  const tokens = new Map<string, VaultToken>()
  const wrapped = new Map<string, unknown>()
  const transit = new Map<string, Buffer[]>()
  const roles = new Map<string, { readonly secretIds: Set<string>; readonly ttlMs: number }>()
  const jwts = new Map<string, string>()
  const requests: string[] = []
  const state = {
    sealed: false,
    initialized: true,
    standby: false,
    mountVersion: '2',
    mount: 'secret',
    namespace: '',
    approle: 'approle',
    kubernetes: 'kubernetes',
    fault: (() => undefined) as (method: string, path: string) => VaultFault | undefined,
  }
  const iso = (at: number): string => new Date(at).toISOString()

  const addToken = (more: Partial<VaultToken> = {}): VaultToken => {
    const ttlMs = more.ttlMs ?? 0
    const made: VaultToken = {
      id: `hvs.${randomBytes(18).toString('base64url')}`,
      accessor: randomUUID(),
      expiresAt: ttlMs === 0 ? undefined : now() + ttlMs,
      maxAt: undefined,
      renewable: ttlMs > 0,
      policies: ['postern'],
      numUses: 0,
      allows: undefined,
      revoked: false,
      ...more,
      ttlMs,
    }
    tokens.set(made.id, made)
    return made
  }
  const authOf = (token: VaultToken) => ({
    auth: {
      client_token: token.id,
      accessor: token.accessor,
      policies: token.policies,
      lease_duration: token.ttlMs / 1000,
      renewable: token.renewable,
    },
  })
  const metadataOf = (version: number, { createdAt, deletedAt, destroyed }: Version) => ({
    created_time: iso(createdAt),
    custom_metadata: null,
    deletion_time: deletedAt === undefined ? '' : iso(deletedAt),
    destroyed,
    version,
  })

  const readData = (path: string, wanted: number): Answer => {
    const secret = secrets.get(path)
    const number = wanted || secret?.current || 0
    const version = secret?.versions.get(number)
    if (!version) return absent
    const metadata = metadataOf(number, version)
    if (version.deletedAt !== undefined || version.destroyed)
      return { status: 404, body: { data: { data: null, metadata } } }
    return { status: 200, body: { data: { data: version.data, metadata } } }
  }
  const writeData = (path: string, body: Record<string, unknown>): Answer => {
    if (body['data'] === undefined) return fail(400, 'no data provided')
    const { cas } = (body['options'] ?? {}) as { readonly cas?: number }
    const secret = secrets.get(path) ?? {
      current: 0,
      oldest: 0,
      maxVersions: 0,
      versions: new Map<number, Version>(),
    }
    if (cas !== undefined && cas !== secret.current)
      return fail(400, 'check-and-set parameter did not match the current version')
    secrets.set(path, secret)
    const version: Version = { data: body['data'], createdAt: now(), deletedAt: undefined, destroyed: false }
    secret.versions.set(++secret.current, version)
    const kept = secret.maxVersions || 10
    while (secret.versions.size > kept) secret.versions.delete(Math.min(...secret.versions.keys()))
    secret.oldest = Math.min(...secret.versions.keys())
    return { status: 200, body: { data: metadataOf(secret.current, version) } }
  }
  const listNames = (path: string): Answer => {
    const folder = path === '' ? '' : `${path.replace(/\/$/, '')}/`
    const names = new Set<string>()
    for (const key of secrets.keys()) {
      if (!key.startsWith(folder)) continue
      const rest = key.slice(folder.length)
      names.add(rest.includes('/') ? `${rest.slice(0, rest.indexOf('/'))}/` : rest)
    }
    return names.size === 0 ? absent : { status: 200, body: { data: { keys: [...names].sort() } } }
  }
  const metadata = (method: string, path: string, body: Record<string, unknown>): Answer => {
    const secret = secrets.get(path)
    if (method === 'LIST') return listNames(path)
    if (method === 'DELETE') {
      secrets.delete(path)
      return none
    }
    if (method === 'GET')
      return secret
        ? {
            status: 200,
            body: {
              data: {
                current_version: secret.current,
                oldest_version: secret.oldest,
                max_versions: secret.maxVersions,
                cas_required: false,
                delete_version_after: '0s',
                versions: Object.fromEntries(
                  [...secret.versions].map(([number, version]) => [number, metadataOf(number, version)]),
                ),
              },
            },
          }
        : absent
    const made = secret ?? { current: 0, oldest: 0, maxVersions: 0, versions: new Map<number, Version>() }
    made.maxVersions = Number(body['max_versions'] ?? 0)
    secrets.set(path, made)
    return none
  }
  const kv = (
    method: string,
    path: string,
    query: URLSearchParams,
    body: Record<string, unknown>,
  ): Answer => {
    const [kind = '', ...rest] = path.split('/')
    const name = rest.join('/')
    if (/(?:^|\/)\.\.(?:\/|$)/.test(name)) return fail(400, 'path cannot contain parent references')
    if (name.endsWith('.')) return fail(404, 'unsupported path')
    if (kind === 'metadata') return metadata(method, name, body)
    if (kind !== 'data') return absent
    if (method === 'GET') return readData(name, Number(query.get('version') ?? 0))
    if (method === 'DELETE') {
      const secret = secrets.get(name)
      const version = secret?.versions.get(secret.current)
      if (version) version.deletedAt = now()
      return none
    }
    return writeData(name, body)
  }

  const lookup = (token: VaultToken): Answer => ({
    status: 200,
    body: {
      data: {
        accessor: token.accessor,
        creation_ttl: token.ttlMs / 1000,
        expire_time: token.expiresAt === undefined ? null : iso(token.expiresAt),
        explicit_max_ttl: token.maxAt === undefined ? 0 : token.ttlMs / 1000,
        num_uses: token.numUses,
        policies: token.policies,
        renewable: token.renewable,
        ttl: token.expiresAt === undefined ? 0 : Math.max(0, Math.floor((token.expiresAt - now()) / 1000)),
      },
    },
  })
  const renew = (token: VaultToken): Answer => {
    if (!token.renewable) return fail(400, 'lease is not renewable')
    token.expiresAt = Math.min(now() + token.ttlMs, token.maxAt ?? Number.POSITIVE_INFINITY)
    return { status: 200, body: authOf({ ...token, ttlMs: token.expiresAt - now() }) }
  }
  const login = (path: string, body: Record<string, unknown>): Answer | undefined => {
    if (path === `auth/${state.approle}/login`) {
      const role = roles.get(String(body['role_id']))
      if (!role?.secretIds.has(String(body['secret_id']))) return fail(400, 'invalid role or secret ID')
      return { status: 200, body: authOf(addToken({ ttlMs: role.ttlMs })) }
    }
    if (path === `auth/${state.kubernetes}/login`) {
      if (jwts.get(String(body['role'])) !== body['jwt']) return fail(403, 'permission denied')
      return { status: 200, body: authOf(addToken({ ttlMs: 3_600_000 })) }
    }
    return undefined
  }
  const health = (): Answer => ({
    status: state.initialized ? (state.sealed ? 503 : state.standby ? 429 : 200) : 501,
    body: {
      initialized: state.initialized,
      sealed: state.sealed,
      standby: state.standby,
      performance_standby: false,
      server_time_utc: Math.floor(now() / 1000),
      version: '1.18.0',
    },
  })
  const tokenOf = (request: IncomingMessage): VaultToken | undefined => {
    const { 'x-vault-token': own, authorization = '' } = request.headers
    const found = tokens.get(typeof own === 'string' ? own : authorization.replace(/^Bearer /, ''))
    return found && !found.revoked && (found.expiresAt ?? Number.POSITIVE_INFINITY) > now()
      ? found
      : undefined
  }
  const unwrap = (request: IncomingMessage): Answer => {
    const id = String(request.headers['x-vault-token'])
    const body = wrapped.get(id)
    wrapped.delete(id)
    return body === undefined
      ? fail(400, 'wrapping token is not valid or does not exist')
      : { status: 200, body: { data: body } }
  }
  const answer = (request: IncomingMessage, url: URL, body: Record<string, unknown>): Answer => {
    const method =
      request.method === 'PUT'
        ? 'POST'
        : url.searchParams.get('list') === 'true'
          ? 'LIST'
          : (request.method ?? '')
    let path = decodeURIComponent(url.pathname.slice('/v1/'.length))
    if (path === 'sys/health') return health()
    if (!state.initialized || state.sealed) return fail(503, 'Vault is sealed')
    if (state.standby) return fail(500, 'local node not active but active cluster node not found')
    const namespace = String(request.headers['x-vault-namespace'] ?? '').replace(/\/$/, '')
    if (state.namespace !== '') {
      const inPath = path.startsWith(`${state.namespace}/`)
      if (!inPath && namespace !== state.namespace) return fail(404, 'no handler for route')
      if (inPath) path = path.slice(state.namespace.length + 1)
    }
    if (method === 'POST' && path.startsWith('auth/')) {
      const logged = login(path, body)
      if (logged) return logged
    }
    if (path === 'sys/wrapping/unwrap') return unwrap(request)
    const token = tokenOf(request)
    if (!token) return fail(403, 'permission denied', 'invalid token')
    if (path === 'auth/token/lookup-self') return lookup(token)
    if (path === 'auth/token/renew-self') return renew(token)
    const exists = secrets.has(path.split('/').slice(2).join('/'))
    if (token.allows && !token.allows(capabilityOf(method, exists), path))
      return fail(403, 'permission denied')
    if (path === `sys/internal/ui/mounts/${state.mount}`)
      return { status: 200, body: { data: { type: 'kv', options: { version: state.mountVersion } } } }
    if (path.startsWith(`${state.mount}/`))
      return kv(method, path.slice(state.mount.length + 1), url.searchParams, body)
    if (path.startsWith('transit/')) return answerTransit(transit, path.slice('transit/'.length), body)
    return fail(404, `no handler for route "${path}"`)
  }
  const send = (response: ServerResponse, { status, body }: Answer, location?: string): void => {
    const headers = {
      'date': new Date(now()).toUTCString(),
      'content-type': 'application/json',
      ...(location === undefined ? {} : { location }),
    }
    response
      .writeHead(status, headers)
      .end(body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body))
  }
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => void parts.push(part))
    request.on('end', () => {
      const url = new URL(request.url ?? '/', 'http://vault')
      const path = url.pathname.slice('/v1/'.length)
      requests.push(`${request.method} ${path}`)
      const how = state.fault(request.method ?? '', path)?.how
      if (how === 'hang') return
      if (typeof how === 'object') return send(response, how, how.location)
      const text = Buffer.concat(parts).toString()
      const answered = answer(request, url, text === '' ? {} : (JSON.parse(text) as Record<string, unknown>))
      if (how === 'cut') request.socket.destroy()
      else send(response, answered)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    url: `http://127.0.0.1:${port}`,
    state,
    secrets,
    tokens,
    transit,
    roles,
    jwts,
    /** Method and path of each request. */
    requests,
    addToken,
    wrap(body: unknown): string {
      const id = `hvs.wrapped-${randomUUID()}`
      wrapped.set(id, body)
      return id
    },
    now,
    advance: (ms: number): void => void (offset += ms),
    async close() {
      server.closeAllConnections()
      await new Promise((resolve) => void server.close(resolve))
    },
  }
}

export type VaultStandIn = Awaited<ReturnType<typeof startVault>>
