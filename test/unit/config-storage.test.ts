// Where records are kept: what the settings of a server say together, and what is never done in silence.
import { describe, expect, it } from 'vitest'
import { serverOf } from '../../src/node/redis-connection.ts'
import { serverOf as postgresServerOf } from '../../src/node/postgres-connection.ts'
import { type PostgresSettings, redisKeys } from '../../src/config/storage-keys.ts'
import { configOf, faultsOf, load, warningsOf } from './config-world.ts'

const url = 'redis://127.0.0.1:6379'

describe('REDIS_URL', () => {
  it.each([
    ['REDIS_HOST', '10.0.0.1', 'host'],
    ['REDIS_PORT', '6380', 'port'],
    ['REDIS_PASSWORD', 'another', 'password'],
    ['REDIS_SSL', 'true', 'ssl'],
    ['REDIS_DB', '3', 'db'],
  ])('never is used where %s says something else; both are named', async (name, text, key) => {
    const env = { REDIS_URL: 'redis://:secret@127.0.0.1:6379/0', [name]: text }
    expect(await faultsOf('', { env })).toEqual([
      `environment ${name} storage.redis.${key} – differs from storage.redis.url (REDIS_URL), which sets the ${key} too: keep one of the two`,
    ])
  })

  it('goes with variables that say the same, or what it leaves open', async () => {
    const env = {
      REDIS_URL: 'rediss://redis.example.com/2',
      REDIS_HOST: 'redis.example.com',
      REDIS_PORT: '6379',
      REDIS_SSL: 'true',
      REDIS_DB: '2',
      REDIS_PASSWORD: 'secret',
    }
    const { storage } = await configOf('', { env })
    expect(serverOf(storage.redis ?? redisKeys.parse({}))).toEqual({
      host: 'redis.example.com',
      port: 6379,
      tls: true,
      username: undefined,
      password: 'secret',
      db: 2,
    })
  })

  it.each([
    'redis.example.com:6379',
    'http://redis.example.com',
    'redis://h/a',
    'redis://h:99999',
    'redis://a b',
    'redis://:%zz@h',
  ])('that nothing can be connected to never is repeated in the message: %s', async (text) => {
    const [fault = '', ...others] = await faultsOf('', { env: { REDIS_URL: text } })
    expect(fault).toContain('environment REDIS_URL storage.redis.url – must be redis://host:port')
    expect([fault.includes(text), others]).toEqual([false, []])
  })

  it('is decoded', () => {
    const server = serverOf(redisKeys.parse({ url: 'redis://a%40b:p%3A%2Fq@[::1]:7000' }))
    expect(server).toEqual({ host: '::1', port: 7000, tls: false, username: 'a@b', password: 'p:/q', db: 0 })
  })
})

describe('a section of another type of storage', () => {
  it('is told to have no effect', async () =>
    expect(await warningsOf(`storage: { type: sqlite, redis: { url: "${url}" } }\n`)).toEqual([
      expect.stringContaining('storage.redis.url – has no effect: storage.type is sqlite'),
    ]))

  it('never leaves the records in a file where the type is not said', async () =>
    expect(await faultsOf('', { env: { REDIS_PASSWORD: 'x' } })).toEqual([
      'environment REDIS_PASSWORD storage.redis.password – asks for storage in redis, but storage.type is not set: set storage.type to redis, or to sqlite to confirm the default',
    ]))
})

describe('a server on the network', () => {
  it('is told to need TLS', async () => {
    const warning =
      'connects without TLS: the password and all records can be read on the network. Use rediss:// or `ssl: true`'
    expect(await warningsOf('', { env: { REDIS_URL: 'redis://10.0.0.5' } })).toEqual([
      `environment REDIS_URL storage.redis.url – ${warning}`,
    ])
    expect(await warningsOf('', { env: { REDIS_HOST: '10.0.0.5' } })).toEqual([
      `environment REDIS_HOST storage.redis.host – ${warning}`,
    ])
    expect(await warningsOf('', { env: { REDIS_URL: 'rediss://10.0.0.5' } })).toEqual([])
  })

  it('never goes unchecked', async () =>
    expect(
      await faultsOf('storage: { type: redis, redis: { url: "rediss://10.0.0.5", ssl_cert_reqs: none } }\n'),
    ).toEqual([
      expect.stringContaining(
        'storage.redis.ssl_cert_reqs – is allowed only for a server on a loopback address: set ssl_ca_certs to the CA of the server instead',
      ),
    ]))
})

describe('several processes', () => {
  it.each(['workers: 2', 'cluster: {}'])('never keep their records in memory: %s', async (key) =>
    expect(await faultsOf(`${key}\nstorage: { type: memory }\n`)).toEqual([
      expect.stringContaining(
        `${key.split(':')[0]} – needs storage that processes share: set storage.type to sqlite (one computer), redis or postgres. With memory, each process would have its own sign-ins`,
      ),
    ]),
  )

  it.each([
    ['listen: "h:65536"', 'listen – must have a port between 0 and 65535'],
    ['address: "h:0"', 'address – must have a port between 1 and 65535'],
    ['address: "h:99999"', 'address – must have a port between 1 and 65535'],
    ['listen: "h"', 'listen – must be host:port, e.g. "127.0.0.1:7946"'],
    [
      'listen: "0.0.0.0:7946"',
      'listen – names all addresses of this computer: set cluster.address to the one that the other processes connect to',
    ],
  ])('are not reached at %s', async (key, said) =>
    expect(await faultsOf(`cluster: { ${key} }\n`)).toEqual([expect.stringContaining(`cluster.${said}`)]),
  )

  it('are reached at any port there is', async () =>
    expect(await faultsOf('cluster: { listen: "0.0.0.0:0", address: "h:65535" }\n')).toEqual([]))
})

describe('several Redis servers', () => {
  const file = (keys: string): string => `storage: { type: redis, redis: { ${keys} } }\n`
  const sentinel = 'sentinel: { name: gw, nodes: ["127.0.0.1:26379", "[::1]:26379"] }'
  const cluster = 'cluster: { nodes: ["127.0.0.1:7000"] }'

  it('never go with keys that name one server, or with one another', async () => {
    expect(await faultsOf(file(`host: localhost, port: 6379, ${sentinel}`))).toEqual([
      expect.stringContaining(
        'storage.redis.host – names one server, but storage.redis.sentinel is set: remove it, or storage.redis.sentinel',
      ),
      expect.stringContaining('storage.redis.port – names one server'),
    ])
    expect(await faultsOf(file(`${sentinel}, ${cluster}`))).toEqual([
      expect.stringContaining('storage.redis.sentinel – cannot be combined with storage.redis.cluster'),
    ])
    expect(await faultsOf(file(cluster), { env: { REDIS_URL: 'redis://h/3' } })).toEqual([
      expect.stringContaining('storage.redis.url – asks for another database than 0'),
    ])
    expect(await faultsOf(file(`db: 1, ${cluster}`))).toEqual([
      expect.stringContaining('storage.redis.db – asks for another database than 0'),
    ])
    expect(await faultsOf(file(`url: "${url}", ${sentinel}`))).toEqual([])
  })

  it.each(['redis://h:1', 'h:1/2', 'u@h:1', '::1', 'h:', 'a b'])('are host:port, not %s', async (node) =>
    expect(await faultsOf(file(`cluster: { nodes: ["${node}"] }`))).toEqual([
      expect.stringContaining('storage.redis.cluster.nodes[0] – must be host:port, without redis://'),
    ]),
  )

  it('are told to need TLS on the network, each checked', async () => {
    const nodes = 'cluster: { nodes: ["127.0.0.1:7000", "10.0.0.5:7000"] }'
    expect(await warningsOf(file(nodes))).toEqual([
      expect.stringContaining('storage.redis.cluster.nodes[1] – connects without TLS'),
    ])
    expect(await warningsOf(file(`ssl: true, ${nodes}`))).toEqual([])
    expect(await faultsOf(file(`ssl: true, ssl_cert_reqs: none, ${nodes}`))).toEqual([
      expect.stringContaining('storage.redis.ssl_cert_reqs – is allowed only for a server on a loopback'),
    ])
  })
})

it('in production a server must keep what it is told, unless the file says otherwise', async () => {
  const required = async (text: string, env: Record<string, string>) =>
    (await configOf(text, { env })).storage.redis?.require_persistence
  const file = (more = '') => `storage: { type: redis, redis: { url: "${url}"${more} } }\n`
  expect(await required(file(), {})).toBeUndefined()
  expect(await required(file(), { NODE_ENV: 'production' })).toBe(true)
  expect(await required('', { REDIS_URL: url, ENVIRONMENT: 'production' })).toBe(true)
  expect(await required(file(', require_persistence: false'), { NODE_ENV: 'production' })).toBe(false)
})

it('links that Kubernetes makes of a service called redis name no server', async () => {
  const env = { REDIS_PORT: 'tcp://10.0.0.7:6379', REDIS_SERVICE_HOST: '10.0.0.7' }
  expect(await load('', { env })).toMatchObject({ ok: true, config: { storage: { type: 'sqlite' } } })
})

it('a storage that cannot be used is replaced only by a gateway of one process, outside production', async () => {
  const file = (more = ''): string => `storage: { type: redis, fallback: memory }\n${more}`
  expect((await configOf(file())).storage.fallback).toBe('memory')
  const at = 'storage.fallback – memory is not allowed'
  expect([
    await faultsOf(file(), { env: { NODE_ENV: 'production' } }),
    await faultsOf(file('workers: 2\n')),
  ]).toEqual([
    [
      expect.stringContaining(
        `${at} with NODE_ENV=production, because all sign-ins are lost on exit: use none`,
      ),
    ],
    [
      expect.stringContaining(
        `${at} with several workers, each of which would have its own sign-ins: use none`,
      ),
    ],
  ])
})

describe('Vault', () => {
  const vault = (keys: string): string => `storage: { type: vault, vault: { ${keys} } }\n`

  it('needs a URL, and what its way to a token needs', async () => {
    expect(await faultsOf('storage: { type: vault }\n')).toEqual([
      expect.stringContaining(
        'storage.type – asks for storage in Vault: set storage.vault.url to the server',
      ),
      expect.stringContaining(
        'storage.type – needs storage.vault.token to sign in to Vault (auth_method: token)',
      ),
    ])
    expect(await faultsOf(vault('url: "http://[::1]:8200", auth_method: approle, role_id: a'))).toEqual([
      expect.stringContaining(
        'storage.vault.auth_method – needs storage.vault.secret_id to sign in to Vault (auth_method: approle)',
      ),
    ])
    expect(
      await faultsOf(vault('url: "http://localhost", token: a, path_prefix: "../x", timeout: 10')),
    ).toEqual([
      expect.stringContaining('storage.vault.path_prefix – use letters, digits, _ and -'),
      expect.stringContaining('storage.vault.timeout – is not needed: a request to Vault has 800 ms'),
    ])
  })

  it('can make the root secret of records that are elsewhere, in place of every other secret', async () => {
    const transit = 'keys: { root: { vault_transit: {} } }\n'
    const connection = 'storage: { vault: { url: "http://localhost:8200", token: a } }\n'
    const { keys, storage } = await configOf(`${transit}${connection}`)
    expect([keys, storage.type]).toEqual([
      { root: { vault_transit: { mount: 'transit', key: 'postern' } } },
      'sqlite',
    ])
    expect(await faultsOf(transit)).toEqual([
      expect.stringContaining(
        'keys.root.vault_transit – asks for Vault: set storage.vault.url to the server',
      ),
      expect.stringContaining('keys.root.vault_transit – needs storage.vault.token to sign in to Vault'),
    ])
    const secret = `session_secret: ${'abcdefgh12345678'.repeat(2)}\n`
    expect(await faultsOf(`${transit}${connection}${secret}`)).toEqual([
      expect.stringContaining('keys.root.vault_transit – cannot be combined with session_secret'),
    ])
    expect(await faultsOf(`${transit}${connection.replace('{ vault', '{ type: memory, vault')}`)).toEqual([
      expect.stringContaining(
        'keys.root.vault_transit – needs a storage that keeps the encrypted root secret',
      ),
    ])
  })

  it('is reached with TLS, and its certificate checked, on the network', async () => {
    const far = 'url: "http://vault.example.com:8200", token: a'
    expect(await warningsOf(vault(far))).toEqual([
      expect.stringContaining(
        'storage.vault.url – connects without TLS: the token and all records can be read',
      ),
    ])
    expect(await faultsOf(vault(`${far}, verify_ssl: false`))).toEqual([
      expect.stringContaining(
        'storage.vault.verify_ssl – can be false only for a server on a loopback address',
      ),
    ])
    expect(await warningsOf(vault('url: "https://vault.example.com", token: a'))).toEqual([])
  })
})

describe('PostgreSQL', () => {
  const postgres = (keys: string): string => `storage: { type: postgres, postgres: { ${keys} } }\n`

  it('is reached as its URL says, with TLS and a valid certificate unless it is on this computer', async () => {
    const reached = async (keys: string) => {
      const { storage } = await configOf(postgres(keys))
      return postgresServerOf(storage.postgres as PostgresSettings)
    }
    const base = { user: 'u', password: 'p', port: 5432, database: 'd' }
    expect([
      await reached('url: "postgres://u:p@127.0.0.1/d"'),
      await reached('url: "postgresql://u@db.example.com/d", password: p'),
      await reached('url: "postgres://a%40b:p%3A%2Fq@[::1]:5433/d%2Fe?sslmode=verify-ca"'),
    ]).toEqual([
      { ...base, host: '127.0.0.1', sslMode: 'disable' },
      { ...base, host: 'db.example.com', sslMode: 'verify-full' },
      { user: 'a@b', password: 'p:/q', host: '::1', port: 5433, database: 'd/e', sslMode: 'verify-ca' },
    ])
  })

  it.each([
    'db.example.com/d',
    'mysql://u@h/d',
    'postgres://h/d',
    'postgres://u@h',
    'postgres://u@h,g/d',
    'postgres://u@h/d?sslmode=prefer',
    'postgres://u@h/d?sslmode=require&options=-c',
    'postgres://u:%zz@h/d',
  ])('never repeats a URL that nothing can be connected to: %s', async (text) => {
    const [fault = '', ...others] = await faultsOf(postgres(`url: "${text}"`))
    expect(fault).toContain('storage.postgres.url – must be postgres://user:password@host:port/database')
    expect([fault.includes(text), others]).toEqual([false, []])
  })

  it('needs a URL, in a schema whose name needs no quotes', async () => {
    expect(await faultsOf('storage: { type: postgres }\n')).toEqual([
      expect.stringContaining(
        'storage.type – asks for storage in PostgreSQL: set storage.postgres.url to the server',
      ),
    ])
    expect(await faultsOf(postgres('url: "postgres://u@localhost/d", schema: "a; DROP"'))).toEqual([
      expect.stringContaining('storage.postgres.schema – use lower-case letters, digits and _'),
    ])
    expect(await faultsOf(postgres('url: "postgres://u:one@localhost/d", password: two'))).toEqual([
      expect.stringContaining(
        'storage.postgres.password – differs from the password in storage.postgres.url',
      ),
    ])
  })

  it('says what a network can read, and who can pose as the server', async () => {
    const warnings = (mode: string) =>
      warningsOf(postgres(`url: "postgres://u:p@db.example.com/d?sslmode=${mode}"`))
    expect([await warnings('disable'), await warnings('require'), await warnings('verify-full')]).toEqual([
      [expect.stringContaining('connects without TLS: the password and all records can be read')],
      [expect.stringContaining('checks no certificate: whoever is on the network can pose as the server')],
      [],
    ])
  })

  it('must keep what it is told in production', async () => {
    const { storage } = await configOf(postgres('url: "postgres://u@localhost/d"'), {
      env: { NODE_ENV: 'production' },
    })
    expect(storage.postgres?.require_persistence).toBe(true)
  })
})
