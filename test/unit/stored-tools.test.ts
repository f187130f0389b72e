// What the consent page knows of tools after a restart: what the last list said, of the right account.
import { createHash } from 'node:crypto'
import { beforeEach, expect, it } from 'vitest'
import { type KeyRing, createKeyRing } from '../../src/kit/keyring.ts'
import { Refusal } from '../../src/kit/refusal.ts'
import type { LearnedTool } from '../../src/ports/policy.ts'
import type { Service } from '../../src/ports/services.ts'
import type { Store } from '../../src/ports/store.ts'
import { createToolCatalog } from '../../src/proxy/access.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'
import { createToolMemory } from '../../src/stored-tools.ts'

const shared = { id: 'jira', generation: 'g1', auth: { type: 'static' } } as Service
/** Each user has an account there. */
const personal = { ...shared, auth: { type: 'oauth' } } as Service
const tool = (name: string): LearnedTool => ({ name, hint: 'read', about: `Does ${name}.` })

let keys: KeyRing
let store: Store
let writes: number
let isAway: boolean
beforeEach(async () => {
  const random = (n: number): Uint8Array<ArrayBuffer> => crypto.getRandomValues(new Uint8Array(n))
  keys = await createKeyRing([random(32)], random)
  const inner = createMemoryStore({ now: () => 1_000_000 })
  writes = 0
  isAway = false
  const unlessAway = <Value>(work: () => Promise<Value>): Promise<Value> =>
    isAway ? Promise.reject(new Refusal('storage.unavailable', 'broken by a test')) : work()
  store = {
    get: (key) => unlessAway(() => inner.get(key)),
    put: (...args) => {
      writes++
      return unlessAway(() => inner.put(...args))
    },
    take: inner.take,
    list: inner.list,
  }
})

const open = () => {
  let work: Promise<unknown> = Promise.resolve()
  const memory = createToolMemory({
    store,
    keys,
    log: () => undefined,
    digest: (text) => createHash('sha256').update(text).digest('base64url'),
    defer: (one) => void (work = Promise.all([work, one])),
  })
  const catalog = createToolCatalog({
    ...memory,
    ask: () => Promise.reject(new Error('nobody is asked')),
    now: () => 0,
    singleFlight: (_key, run) => run(),
    changed: () => undefined,
  })
  const learn = async (service: Service, personKey: string, ...names: string[]): Promise<void> => {
    catalog.learn(service, personKey === '' ? undefined : ({ personKey } as never), names.map(tool))
    await work
  }
  return { ...memory, learn }
}

it('finds the tools of the last list in another process', async () => {
  await open().learn(shared, 'local:ana', 'search', 'create')
  const other = open()
  expect(await other.stored(shared, 'local:ben', false)).toEqual([tool('search'), tool('create')])
  expect(await other.stored({ ...shared, generation: 'g2' } as Service, 'local:ben', false)).toEqual([])
})

it('finds of accounts of users only the own ones', async () => {
  await open().learn(personal, 'local:ana', 'search')
  const other = open()
  expect(await other.stored(personal, 'local:ana', true)).toEqual([tool('search')])
  expect(await other.stored(personal, 'local:ben', true)).toEqual([])
  expect(await other.stored(personal, 'local:ben', false)).toEqual([])
})

it('keeps all pages of a list, however fast they come', async () => {
  const process = open()
  await Promise.all(['search', 'create', 'query'].map((name) => process.learn(shared, 'local:ana', name)))
  const found = await open().stored(shared, 'local:ana', false)
  expect([found.map(({ name }) => name), writes]).toEqual([['search', 'create', 'query'], 2])
})

it('writes a list once, until it says something else', async () => {
  const process = open()
  await process.learn(shared, 'local:ana', 'search')
  await process.learn(shared, 'local:ben', 'search')
  expect(writes).toBe(1)
  await process.learn(shared, 'local:ben', 'create')
  expect(writes).toBe(2)
})

it('knows nothing while the storage is away, and writes later what it could not', async () => {
  const process = open()
  isAway = true
  await process.learn(shared, 'local:ana', 'search')
  expect(await process.stored(shared, 'local:ana', false)).toEqual([])
  isAway = false
  await process.learn(shared, 'local:ana', 'search')
  expect(await open().stored(shared, 'local:ana', false)).toEqual([tool('search')])
})
