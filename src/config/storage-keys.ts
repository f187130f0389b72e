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
        'The most connections that a process may open. It uses one, and two for a moment while it replaces one that stopped responding. Default: no other limit.',
      ),
    require_persistence: z
      .boolean()
      .optional()
      .describe(
        'Refuse to start if the server can lose records (`appendonly no`, or a `maxmemory-policy` that evicts). Otherwise this is a warning. Default: `true` with `NODE_ENV=production`.',
      ),
  })
  .describe('The Redis server, for `type: redis`. Redis 7.0 or later, without Cluster.')

export const storageKeys = z
  .strictObject({
    type: z
      .enum(['sqlite', 'memory', 'redis'])
      .default('sqlite')
      .describe(
        '`sqlite`: a database file in the state directory. `redis`: a Redis server that several processes and machines share. `memory`: a single process only, and all data is lost on exit. See [Storage](../guide/storage.md).',
      ),
    redis: redisKeys.optional(),
  })
  .describe('Storage for authorization codes, grants, sessions and client registrations.')

export type RedisSettings = z.output<typeof redisKeys>
