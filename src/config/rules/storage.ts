// Storage: what survives, what belongs to the type that is configured, and how a server is reached.
import type { Path } from '../tree.ts'
import type { RawConfig, Report, Rule } from './draft.ts'

const transitPath: Path = ['keys', 'root', 'vault_transit']

const survives: Rule = (draft, report) => {
  if (draft.production && draft.text('storage', 'type') === 'memory')
    report.fault(
      ['storage', 'type'],
      'memory is not allowed with NODE_ENV=production, because all sign-ins are lost on exit: use sqlite, redis, postgres or vault',
    )
}

/** Several processes are one gateway by their storage alone. */
const shared: Rule = (draft, report) => {
  if (draft.workers || draft.text('storage', 'type') !== 'memory') return
  const at = (draft.number('workers') ?? 1) > 1 ? 'workers' : draft.has('cluster') ? 'cluster' : undefined
  if (at !== undefined)
    report.fault(
      [at],
      'needs storage that processes share: set storage.type to sqlite (one computer), redis or postgres. With memory, each process would have its own sign-ins',
    )
}

/** A process that keeps its records to itself is no part of a gateway of several. */
const fallback: Rule = (draft, report) => {
  if (draft.workers || draft.text('storage', 'fallback') !== 'memory') return
  const because = draft.production
    ? 'with NODE_ENV=production, because all sign-ins are lost on exit'
    : (draft.number('workers') ?? 1) > 1
      ? 'with several workers, each of which would have its own sign-ins'
      : draft.has('cluster')
        ? 'with cluster, because each process would have its own sign-ins'
        : draft.has(...transitPath)
          ? 'with keys.root.vault_transit, whose secret is kept in the storage'
          : undefined
  if (because !== undefined)
    report.fault(['storage', 'fallback'], `memory is not allowed ${because}: use none`)
}

const anyHost = new Set(['0.0.0.0', '[::]'])

const cluster: Rule = (draft, report) => {
  const listen = draft.text('cluster', 'listen') ?? ''
  if (!draft.workers && anyHost.has(listen.replace(/:\d+$/, '')) && !draft.has('cluster', 'address'))
    report.fault(
      ['cluster', 'listen'],
      'names all addresses of this computer: set cluster.address to the one that the other processes connect to',
    )
}

const servers = ['redis', 'postgres', 'vault'] as const

/** A section of another type than the one that is used. */
const unused: Rule = (draft, report) => {
  const type = draft.text('storage', 'type')
  if (draft.workers || type === undefined) return
  for (const server of servers) {
    const keys = draft.keys('storage', server)
    if (type === server || keys.length === 0 || (server === 'vault' && draft.has(...transitPath))) continue
    for (const key of keys)
      if (draft.has('storage', 'type'))
        report.warn(['storage', server, key], `has no effect: storage.type is ${type}`)
      else
        report.fault(
          ['storage', server, key],
          `asks for storage in ${server}, but storage.type is not set: set storage.type to ${server}, or to sqlite to confirm the default`,
        )
  }
}

const isLoopbackHost = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host)

const urlOf = (draft: RawConfig, path: Path): URL | undefined => {
  const text = draft.text(...path)
  return text !== undefined && URL.canParse(text) ? new URL(text) : undefined
}

/** What a Redis URL says, by the key that says the same. */
const redisParts = (url: URL): Readonly<Record<string, string | undefined>> => ({
  host: url.hostname.replaceAll(/[[\]]/g, ''),
  port: url.port || '6379',
  username: url.username ? decodeURIComponent(url.username) : undefined,
  password: url.password ? decodeURIComponent(url.password) : undefined,
  ssl: String(url.protocol === 'rediss:'),
  db: url.pathname.slice(1) || '0',
})

const written = (draft: RawConfig, path: Path): string | undefined =>
  draft.text(...path) ?? draft.number(...path)?.toString() ?? String(draft.flag(...path))

/** Both are set by the environment as often as by the file. */
const redisAgrees = (draft: RawConfig, report: Report, url: URL): void => {
  for (const [key, said] of Object.entries(redisParts(url))) {
    const path = ['storage', 'redis', key]
    if (said === undefined || !draft.has(...path) || draft.lost(...path)) continue
    if (written(draft, path) !== said)
      report.fault(
        path,
        `differs from storage.redis.url (REDIS_URL), which sets the ${key} too: keep one of the two`,
      )
  }
}

/** Keys that belong to one server have no place beside those that name several. */
const redisNodes = (draft: RawConfig, report: Report, url: URL | undefined): void => {
  const at = (...keys: string[]): Path => ['storage', 'redis', ...keys]
  const isCluster = draft.has(...at('cluster'))
  const isSentinel = draft.has(...at('sentinel'))
  if (!isCluster && !isSentinel) return
  const name = isCluster ? 'cluster' : 'sentinel'
  if (isCluster && isSentinel)
    report.fault(at('sentinel'), 'cannot be combined with storage.redis.cluster: keep one of the two')
  for (const key of ['host', 'port'])
    if (draft.has(...at(key)))
      report.fault(
        at(key),
        `names one server, but storage.redis.${name} is set: remove it, or storage.redis.${name}`,
      )
  const db = url ? (redisParts(url)['db'] ?? '0') : String(draft.number(...at('db')) ?? 0)
  if (isCluster && db !== '0')
    report.fault(
      draft.has(...at('db')) ? at('db') : at('url'),
      'asks for another database than 0: a Redis Cluster has no other. Use storage.redis.prefix instead',
    )
}

const hostOfNode = (node: string): string => node.replace(/:\d+$/, '').replaceAll(/[[\]]/g, '')

/** Every host that is connected to, with the key that names it. */
const redisHosts = (draft: RawConfig, url: URL | undefined): readonly (readonly [string, Path])[] => {
  const at = (...keys: string[]): Path => ['storage', 'redis', ...keys]
  const nodes = [...draft.texts(...at('sentinel', 'nodes')), ...draft.texts(...at('cluster', 'nodes'))]
  if (nodes.length > 0) return nodes.map(({ value, path }) => [hostOfNode(value), path])
  return url
    ? [[redisParts(url)['host'] ?? '', at('url')]]
    : [[draft.text(...at('host')) ?? 'localhost', at('host')]]
}

const redis: Rule = (draft, report) => {
  if (draft.workers || draft.text('storage', 'type') !== 'redis') return
  const at = (key: string): Path => ['storage', 'redis', key]
  const url = urlOf(draft, at('url'))
  if (url) redisAgrees(draft, report, url)
  redisNodes(draft, report, url)
  const tls = url ? url.protocol === 'rediss:' : draft.flag(...at('ssl'))
  const [, remote] = redisHosts(draft, url).find(([host]) => !isLoopbackHost(host)) ?? []
  if (!remote) return
  if (draft.text(...at('ssl_cert_reqs')) === 'none')
    report.fault(
      at('ssl_cert_reqs'),
      'is allowed only for a server on a loopback address: set ssl_ca_certs to the CA of the server instead',
    )
  if (!tls)
    report.warn(
      remote,
      'connects without TLS: the password and all records can be read on the network. Use rediss:// or `ssl: true`',
    )
}

const postgres: Rule = (draft, report) => {
  if (draft.workers || draft.text('storage', 'type') !== 'postgres') return
  const at = (key: string): Path => ['storage', 'postgres', key]
  const url = urlOf(draft, at('url'))
  if (!draft.has(...at('url')) && !draft.lost(...at('url')))
    report.fault(
      ['storage', 'type'],
      'asks for storage in PostgreSQL: set storage.postgres.url to the server',
    )
  if (!url) return
  if (
    url.password &&
    draft.has(...at('password')) &&
    decodeURIComponent(url.password) !== draft.text(...at('password'))
  )
    report.fault(at('password'), 'differs from the password in storage.postgres.url: keep one of the two')
  if (isLoopbackHost(url.hostname.replaceAll(/[[\]]/g, ''))) return
  const mode = url.searchParams.get('sslmode')
  if (mode === 'disable')
    report.warn(
      at('url'),
      'connects without TLS: the password and all records can be read on the network. Use sslmode=verify-full',
    )
  if (mode === 'require')
    report.warn(
      at('url'),
      'checks no certificate: whoever is on the network can pose as the server. Use sslmode=verify-full, and ssl_ca_certs for a CA of your own',
    )
}

/** What each way to a token needs. */
const vaultLogin: Readonly<Record<string, readonly string[]>> = {
  token: ['token'],
  approle: ['role_id', 'secret_id'],
  kubernetes: ['role'],
}

const vaultTls = (draft: RawConfig, report: Report, path: Path): void => {
  const url = urlOf(draft, path)
  const verify: Path = ['storage', 'vault', 'verify_ssl']
  if (!url || isLoopbackHost(url.hostname.replaceAll(/[[\]]/g, ''))) return
  if (draft.has(...verify) && !draft.flag(...verify))
    report.fault(
      verify,
      'can be false only for a server on a loopback address: set ssl_ca_certs to the CA of the server instead',
    )
  if (url.protocol === 'http:')
    report.warn(
      path,
      'connects without TLS: the token and all records can be read on the network. Use https://',
    )
}

const vault: Rule = (draft, report) => {
  const isStore = draft.text('storage', 'type') === 'vault'
  if (draft.workers || !(isStore || draft.has(...transitPath))) return
  const asks: Path = isStore ? ['storage', 'type'] : transitPath
  const at = (key: string): Path => ['storage', 'vault', key]
  const isMissing = (key: string): boolean => !draft.has(...at(key)) && !draft.lost(...at(key))
  if (isMissing('url'))
    report.fault(asks, `asks for ${isStore ? 'storage in ' : ''}Vault: set storage.vault.url to the server`)
  const method = draft.text(...at('auth_method')) ?? ''
  for (const key of vaultLogin[method] ?? [])
    if (isMissing(key))
      report.fault(
        draft.has(...at('auth_method')) ? at('auth_method') : asks,
        `needs storage.vault.${key} to sign in to Vault (auth_method: ${method})`,
      )
  for (const path of [at('url'), ...draft.texts(...at('urls')).map((one) => one.path)])
    vaultTls(draft, report, path)
}

/** The root secret comes from one place. */
const transit: Rule = (draft, report) => {
  if (!draft.has(...transitPath)) return
  if (draft.workers)
    report.fault(transitPath, 'is not available on Cloudflare Workers: remove it, and set SESSION_SECRET')
  else if (draft.has('session_secret'))
    report.fault(
      transitPath,
      'cannot be combined with session_secret: move the secret to previous_secrets, which still opens what it encrypted',
    )
  else if (draft.text('storage', 'type') === 'memory')
    report.fault(
      transitPath,
      'needs a storage that keeps the encrypted root secret: use another storage.type than memory',
    )
}

export const storageRules: readonly Rule[] = [
  survives,
  shared,
  fallback,
  cluster,
  unused,
  redis,
  postgres,
  vault,
  transit,
]
