// What refuses a start on Redis, and in which words; what can lose records; TLS.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, type Socket, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { describe, expect, test } from 'vitest'
import { selfSigned } from '../../scripts/harness/certificate.ts'
import { freePort } from '../../scripts/harness/free-port.ts'
import type { RedisSettings } from '../../src/config/storage-keys.ts'
import type { Refusal } from '../../src/kit/refusal.ts'
import { findingsOf } from '../../src/node/redis.ts'
import { timer } from '../../src/node/runtime.ts'
import type { Timer } from '../../src/ports/runtime.ts'
import { startRedis } from '../runtimes/redis-server.ts'
import { type Line, useRedis, withoutRedis } from './redis-world.ts'

const { server, admin, space, open, openKept } = useRedis()

describe.skipIf(withoutRedis)('the start on Redis', () => {
  test('what can lose records is found at the start, with the line that mends it', async () => {
    const lines: Line[] = []
    await open({ prefix: space() }, lines)
    expect(lines).toEqual([
      [
        'warn',
        'storage.unsafe',
        {
          location: `redis://127.0.0.1:${server().port}`,
          message: 'Redis loses the last writes when it ends: set `appendonly yes` in redis.conf',
        },
      ],
    ])
    await expect(open({ require_persistence: true })).rejects.toMatchObject({
      code: 'storage.unavailable',
      why: `redis://127.0.0.1:${server().port}: Redis loses the last writes when it ends: set \`appendonly yes\` in redis.conf`,
    })
  })

  test('what changes later is said once: a server that evicts from now on, and one whose records are gone', async () => {
    const lines: Line[] = []
    const { store, check } = await open({ prefix: space() }, lines)
    lines.length = 0
    await check()
    expect(lines).toEqual([])
    await admin().configSet({ 'maxmemory': '1gb', 'maxmemory-policy': 'volatile-lru' })
    await store.take('meta:store')
    await check()
    await check()
    await admin().configSet({ 'maxmemory': '0', 'maxmemory-policy': 'noeviction' })
    const location = `redis://127.0.0.1:${server().port}`
    const message =
      'Redis removes records when its memory is full (volatile-lru): set `maxmemory-policy noeviction` in redis.conf'
    expect(lines).toEqual([
      ['warn', 'storage.unsafe', { location, message }],
      [
        'error',
        'storage.emptied',
        { location, message: 'all records are gone: users have to sign in again' },
      ],
    ])
    expect((await store.get('meta:store'))?.value).toContain('"layout":1')
  })

  test('a password that is wrong or missing refuses the start at once, and is never repeated', async () => {
    const never: Timer = () => () => undefined
    const lines: Line[] = []
    const url = `redis://guest:hunter2@127.0.0.1:${server().port}`
    const place = `redis://127.0.0.1:${server().port}`
    const refused = (settings: Partial<RedisSettings>) =>
      open(settings, lines, never).catch((error: unknown) => error)
    const wrong = [await refused({ url }), await refused({ username: 'guest', password: 'hunter2' })]
    const why = `${place}: Redis does not accept the username and password: correct them in storage.redis`
    for (const error of wrong) expect(error).toMatchObject({ code: 'storage.unavailable', why })
    await admin().configSet('requirepass', 'swordfish')
    const missed = await refused({})
    await admin().configSet('requirepass', '')
    expect(missed).toMatchObject({ why: `${place}: Redis asks for a password: set storage.redis.password` })
    const said = inspect([...wrong, missed, lines], { depth: 9, showHidden: true })
    expect(said).not.toMatch(/hunter2|swordfish|guest/)
  })

  test('a server that takes connections and says nothing is given up, and another connection made', async () => {
    const near = new Set<Socket>()
    const silent = createServer((socket) => {
      near.add(socket)
      const first = near.size === 1
      const far = first ? undefined : connect(server().port, '127.0.0.1')
      for (const end of [socket, ...(far ? [far] : [])])
        end.on('error', () => undefined).on('close', () => (socket.destroy(), far?.destroy()))
      if (far) socket.pipe(far).pipe(socket)
    })
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const { port } = silent.address() as AddressInfo
    // Two seconds are for the greeting.
    const hasty: Timer = (ms, run) => timer(ms === 2000 ? 50 : ms * 20, run)
    const { store } = await open({ port, prefix: space() }, [], hasty)
    await store.put('k', 'one')
    expect((await store.get('k'))?.value).toBe('one')
    // On a slow machine the second may be given up, too.
    expect(near.size).toBeGreaterThanOrEqual(2)
    for (const socket of near) socket.destroy()
    silent.close()
  })

  test('TLS: a certificate that its CA vouches for is accepted, and no other', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'postern-redis-tls-'))
    const { key, cert } = selfSigned(['localhost'])
    const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    writeFileSync(keyFile, key)
    writeFileSync(certFile, cert)
    const port = await freePort()
    const files = ['--tls-cert-file', certFile, '--tls-key-file', keyFile, '--tls-ca-cert-file', certFile]
    const own = await startRedis({ args: ['--tls-port', String(port), '--tls-auth-clients', 'no', ...files] })
    const url = `rediss://localhost:${port}`
    const why = (settings: Partial<RedisSettings>): Promise<unknown> =>
      openKept(settings).then(
        ({ close }) => close(),
        (error: Refusal) => error.why,
      )
    try {
      const { store } = await open({ url, ssl_ca_certs: certFile })
      await store.put('k', 'one')
      expect((await store.take('k'))?.value).toBe('one')
      expect(await why({ host: 'localhost', port, ssl: true, ssl_cert_reqs: 'none' })).toBeUndefined()
      expect([
        await why({ url }),
        await why({ url: `rediss://127.0.0.1:${port}`, ssl_ca_certs: certFile }),
        await why({ url, ssl_ca_certs: keyFile.replace('key', 'none') }),
      ]).toEqual([
        `${url}: no connection to Redis: nobody signed its certificate: set storage.redis.ssl_ca_certs to its CA`,
        `rediss://127.0.0.1:${port}: no connection to Redis: its certificate is for another host: use a host of the certificate in storage.redis`,
        `cannot read storage.redis.ssl_ca_certs, ${keyFile.replace('key', 'none')} (ENOENT)`,
      ])
    } finally {
      await own.close()
      rmSync(folder, { recursive: true })
    }
  })

  test('a closed port, and records of another layout, refuse the start in words', async () => {
    const port = await freePort()
    await expect(
      open({ port }, [], (ms, run) => timer(ms === 1000 ? 50 : ms * 20, run)),
    ).rejects.toMatchObject({
      code: 'storage.unavailable',
      why: `redis://127.0.0.1:${port}: no connection to Redis (connect ECONNREFUSED 127.0.0.1:${port})`,
    })
    const prefix = space()
    const { store } = await open({ prefix })
    await store.put('meta:store', JSON.stringify({ layout: 2, shards: 1 }))
    await expect(open({ prefix })).rejects.toMatchObject({
      why: expect.stringContaining('another layout (2)') as string,
    })
  })
})

test.each([
  [{ redis_version: '6.2.14', role: 'master' }, 'too old: use 7.0 or later'],
  [{ redis_version: '7.0.15', redis_mode: 'cluster', role: 'master' }, 'part of a Redis Cluster'],
  [{ redis_version: '7.0.15', redis_mode: 'sentinel' }, 'a Sentinel, which keeps no data'],
  [
    { redis_version: '7.4.0', redis_mode: 'standalone', role: 'slave' },
    'a replica: set storage.redis to the master',
  ],
])('a server that says %j is not used', (info, why) => {
  const { faults } = findingsOf({ maxmemory: '0', aof_enabled: '1', ...info })
  expect(faults.join('; ')).toContain(why)
})

test('a server that evicts records, or could not write them, is unsafe', () => {
  const info = {
    redis_version: '7.0.15',
    redis_mode: 'standalone',
    role: 'master',
    aof_enabled: '1',
    maxmemory: '0',
  }
  expect(findingsOf(info)).toEqual({ faults: [], unsafe: [] })
  const evicting = { ...info, maxmemory: '1000000', maxmemory_policy: 'volatile-lru' }
  expect(findingsOf(evicting).unsafe).toEqual([
    'Redis removes records when its memory is full (volatile-lru): set `maxmemory-policy noeviction` in redis.conf',
  ])
  expect(
    findingsOf({ ...info, aof_last_write_status: 'err', rdb_last_bgsave_status: 'err' }).unsafe,
  ).toHaveLength(2)
})
