// Keys of the storage.
import * as z from 'zod'
import { secret, text } from './key-types.ts'

const port = (description: string) => z.number().int().min(1).max(65_535).describe(description)

const redisUrlText =
  'must be redis://host:port or rediss://host:port, with /number for another database than 0'

const isUrl = (text: string): boolean => {
  try {
    const { username, password } = new URL(text)
    decodeURIComponent(username + password)
    return true
  } catch {
    return false
  }
}

const nodes = (description: string) =>
  z
    .array(
      z
        .string()
        .regex(/^(?:[^\s/?#@:[\]]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?$/, 'must be host:port, without redis://'),
    )
    .min(1)
    .max(100)
    .describe(description)

const sentinelKeys = z
  .strictObject({
    name: text('Name of the master, as in `sentinel monitor` of `sentinel.conf`.'),
    nodes: nodes('The Sentinels, each as `host:port`. Default port: 26379.'),
    username: text('ACL user of the Sentinels. Default: their default user.').optional(),
    password: secret('Password of the Sentinels, which may differ from that of the servers.').optional(),
  })
  .describe(
    'Sentinels that say which server is the master, in place of `host` and `port`. If `url` is set, user, password, database and TLS are taken from it, and its host is not used. TLS applies to the Sentinels too.',
  )

const clusterKeys = z
  .strictObject({
    nodes: nodes('Some nodes of the cluster, each as `host:port`; they name the others. Default port: 6379.'),
  })
  .describe(
    'A Redis Cluster, in place of `host` and `port`. If `url` is set, user, password and TLS are taken from it, and its host is not used.',
  )

export const redisKeys = z
  .strictObject({
    url: z
      .string()
      .regex(/^rediss?:\/\/[^\s/?#]+(?:\/\d{0,2})?$/, redisUrlText)
      .refine(isUrl, redisUrlText)
      .describe(
        'The server: `redis://user:password@host:6379/0`, or `rediss://…` for TLS. In place of `host`, `port`, `username`, `password`, `ssl` and `db`.',
      )
      .meta({ writeOnly: true })
      .optional(),
    host: text('Host of the server. Default: `localhost`.').optional(),
    port: port('Port of the server. Default: 6379.').optional(),
    username: text('ACL user. Default: the default user of the server.').optional(),
    password: secret('Password of the user.').optional(),
    ssl: z.boolean().describe('Connect with TLS. Default: `false`.').optional(),
    ssl_ca_certs: text(
      'File with the CA certificates that may sign the certificate of the server, in PEM format. Default: those of Node.',
    ).optional(),
    ssl_cert_reqs: z
      .enum(['required', 'none'])
      .default('required')
      .describe(
        '`required`: the certificate of the server must be valid. `none`: it is not checked; allowed only if the server is on a loopback address.',
      ),
    db: z.number().int().min(0).max(99).describe('Database number. Default: 0.').optional(),
    sentinel: sentinelKeys.optional(),
    cluster: clusterKeys.optional(),
    wait_replicas: z
      .number()
      .int()
      .min(1)
      .max(5)
      .describe(
        'Number of replicas that must have a changed grant or client registration within 100 ms. If they do not, the request gets a 503. Default: replicas are not waited for, and the last writes can be lost when a replica becomes the master.',
      )
      .optional(),
    prefix: z
      .string()
      .regex(/^[A-Za-z0-9._:-]{1,64}$/, 'use letters, digits, . _ : and - (at most 64 characters)')
      .default('postern:')
      .describe('Begins every key. Gateways with different prefixes share a server without sharing records.'),
    max_connections: z
      .number()
      .int()
      .min(2)
      .max(10_000)
      .optional()
      .describe(
        'The most connections that a process may open. It uses one for each master, and one more for a moment while it replaces one that stopped responding. Default: no other limit.',
      ),
    require_persistence: z
      .boolean()
      .optional()
      .describe(
        'Refuse to start if the server can lose records (`appendonly no`, or a `maxmemory-policy` that evicts). Otherwise this is a warning. Default: `true` with `NODE_ENV=production`.',
      ),
  })
  .describe('The Redis server, for `type: redis`. Redis 7.0 or later.')

const postgresUrlText =
  'must be postgres://user:password@host:port/database; the only parameter is ?sslmode=disable, require, verify-ca or verify-full'

export const postgresKeys = z
  .strictObject({
    url: z
      .string()
      .regex(
        /^postgres(?:ql)?:\/\/[^\s/?#@]+@[^\s/?#@,]+\/[^\s/?#]+(?:\?sslmode=(?:disable|require|verify-ca|verify-full))?$/,
        postgresUrlText,
      )
      .refine(isUrl, postgresUrlText)
      .describe(
        'The server and the database: `postgres://user:password@host:5432/database`. With `?sslmode=`: `verify-full` (the default, unless the server is on a loopback address) requires TLS and a valid certificate for the host; `verify-ca` does not compare the host; `require` checks no certificate; `disable` connects without TLS.',
      )
      .meta({ writeOnly: true }),
    password: secret('Password of the user, in place of the one in `url`.').optional(),
    ssl_ca_certs: text(
      'File with the CA certificates that may sign the certificate of the server, in PEM format. Default: those of Node.',
    ).optional(),
    schema: z
      .string()
      .regex(/^[a-z_][a-z0-9_]{0,39}$/, 'use lower-case letters, digits and _ (at most 40 characters)')
      .default('postern')
      .describe(
        'The schema with the tables. Gateways with different schemas share a database without sharing records.',
      ),
    max_connections: z
      .number()
      .int()
      .min(2)
      .max(1000)
      .default(10)
      .describe(
        'The most connections that a process may open, and one more where open streams wait for revocations. All processes together must stay below `max_connections` of the server.',
      ),
    pooled: z
      .boolean()
      .default(false)
      .describe(
        'Set to `true` if a connection pooler such as PgBouncer stands in front of the server. Statements are then not prepared, and open streams look for revocations every two seconds.',
      ),
    require_persistence: z
      .boolean()
      .optional()
      .describe(
        'Refuse to start if the server can lose records (`fsync`, `synchronous_commit` or `full_page_writes` is off). Otherwise this is a warning. Default: `true` with `NODE_ENV=production`.',
      ),
  })
  .describe('The PostgreSQL server, for `type: postgres`. PostgreSQL 15 or later.')

const vaultUrl = z
  .string()
  .regex(/^https?:\/\/[^\s/?#@]+\/?$/, 'must be https://host:port, without a path')
  .refine((text) => URL.canParse(text), 'must be https://host:port, without a path')
const vaultPath = (description: string) =>
  z
    .string()
    .regex(/^[A-Za-z0-9_-]+(?:\/[A-Za-z0-9_-]+)*$/, 'use letters, digits, _ and -, with / between folders')
    .describe(description)

export const vaultKeys = z
  .strictObject({
    url: vaultUrl.describe('The server: `https://vault.example.com:8200`. Required.').optional(),
    urls: z
      .array(vaultUrl)
      .max(20)
      .default([])
      .describe(
        'Other servers of the same cluster. If one does not respond, the next is asked, and a standby may send the gateway to one of them.',
      ),
    namespace: vaultPath('Namespace (Vault Enterprise, OpenBao). Default: none.').optional(),
    mount_point: vaultPath('Where the KV engine, version 2, is mounted.').default('secret'),
    path_prefix: vaultPath(
      'Folder for all records. Gateways with different folders share an engine without sharing records.',
    ).default('postern'),
    auth_method: z
      .enum(['token', 'approle', 'kubernetes'])
      .default('token')
      .describe('How the gateway gets its token: `token`, `approle` or `kubernetes`.'),
    auth_mount: vaultPath('Where the auth method is mounted. Default: its name.').optional(),
    token: secret('The token, for `auth_method: token`. It is renewed if it can be.').optional(),
    role_id: text('Role ID, for `auth_method: approle`.').optional(),
    secret_id: secret('Secret ID, for `auth_method: approle`.').optional(),
    secret_id_wrapped: z
      .boolean()
      .default(false)
      .describe(
        '`secret_id` is a wrapping token (`-wrap-ttl`) that holds the secret ID and can be opened once. If somebody else has opened it, the gateway does not start.',
      ),
    role: text('Role, for `auth_method: kubernetes`.').optional(),
    jwt_path: text('File with the service account token, for `auth_method: kubernetes`.').default(
      '/var/run/secrets/kubernetes.io/serviceaccount/token',
    ),
    verify_ssl: z
      .boolean()
      .default(true)
      .describe(
        '`false`: the certificate of the server is not checked; allowed only if the server is on a loopback address.',
      ),
    ssl_ca_certs: text(
      'File with the CA certificates that may sign the certificate of the server, in PEM format. Default: those of Node.',
    ).optional(),
  })
  .describe('The Vault or OpenBao server, for `type: vault` and for `keys.root.vault_transit`.')

export const rootKeyKeys = z
  .strictObject({
    root: z
      .strictObject({
        vault_transit: z
          .strictObject({
            mount: vaultPath('Where the transit engine is mounted.').default('transit'),
            key: vaultPath('Name of the key in the engine.').default('postern'),
          })
          .describe(
            'Vault or OpenBao (`storage.vault` says which server) makes the root secret and encrypts it with a key that never leaves its transit engine. Only the encrypted secret is stored. In place of `session_secret` and `root.key`.',
          )
          .optional(),
      })
      .prefault({})
      .describe('Where the root secret comes from.'),
  })
  .describe('Keys of the gateway.')

export const storageKeys = z
  .strictObject({
    type: z
      .enum(['sqlite', 'memory', 'redis', 'postgres', 'vault'])
      .default('sqlite')
      .describe(
        '`sqlite`: a database file in the state directory. `redis` and `postgres`: a Redis or PostgreSQL server that several processes and machines share. `vault`: a Vault or OpenBao server, for some thousand grants. `memory`: a single process only, and all data is lost on exit. See [Storage](../guide/storage.md).',
      ),
    fallback: z
      .enum(['none', 'memory'])
      .optional()
      .describe(
        'What the gateway does if it cannot use the storage when it starts. `none` (default): it does not start. `memory`: it starts with an empty storage in memory, says so in the log and on `/health`, and all data is lost on exit. It does not change back while it runs.',
      ),
    redis: redisKeys.optional(),
    postgres: postgresKeys.optional(),
    vault: vaultKeys.optional(),
  })
  .describe('Storage for authorization codes, grants, sessions and client registrations.')

export type RedisSettings = z.output<typeof redisKeys>
export type PostgresSettings = z.output<typeof postgresKeys>
export type VaultSettings = z.output<typeof vaultKeys>
export type TransitSettings = NonNullable<z.output<typeof rootKeyKeys>['root']['vault_transit']>
