// Blocks and closures as records: whom a block covers, who remains to lift it, and what a process that has not read
// anything, or whose storage is away, takes for closed.
import { expect, test } from 'vitest'
import { createBlocks, createClosures, leaveNoAdministrator } from '../../src/admin/blocks.ts'
import { createKeyRing } from '../../src/kit/keyring.ts'
import { Refusal } from '../../src/kit/refusal.ts'
import type { Service } from '../../src/ports/services.ts'
import type { Store } from '../../src/ports/store.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'

const random = (n: number): Uint8Array<ArrayBuffer> => crypto.getRandomValues(new Uint8Array(n))
const [secret, older] = [random(32), random(32)]
const by = { by: 'cli', at: 1 }
const ana = {
  provider: 'local',
  subject: 'ana',
  login: 'ana',
  name: 'Ana',
  groups: [],
  email: 'ana@example.com',
}

const world = async (secrets = [secret], store: Store = createMemoryStore({ now: () => 0 })) => {
  const clock = { now: 1000 }
  const state = { away: false }
  const reads: string[] = []
  const guarded: Store = {
    ...store,
    get(key) {
      reads.push(key)
      return state.away ? Promise.reject(new Refusal('storage.unavailable', '')) : store.get(key)
    },
  }
  const runtime = {
    store: guarded,
    keys: await createKeyRing(secrets, random),
    log: () => undefined,
    now: () => clock.now,
    defer: () => undefined,
  }
  return { store, runtime, clock, state, reads }
}

test('a domain is the host of the document or one above it, for everybody or for one user', async () => {
  const { runtime } = await world()
  const blocks = createBlocks(runtime)
  await blocks.add({ domain: 'evil.example', ...by })
  await blocks.add({ user: 'ANA@example.com', domain: 'apps.example', ...by })
  const covered = async (id: string, person = ana) => blocks.covers(person, id)
  for (const id of [
    'https://evil.example/c.json',
    'https://a.b.evil.example:8443/c',
    'https://EVIL.example/c',
  ])
    expect([id, await covered(id)]).toEqual([id, 'blocked'])
  for (const id of [
    'https://notevil.example/c.json',
    'https://evil.example.org/c.json',
    'https://good.example/evil.example',
    'https://evil.example@good.example/',
    'evil.example',
    'client_evil.example',
  ])
    expect([id, await covered(id)]).toEqual([id, undefined])
  const bob = { ...ana, subject: 'bob', email: 'bob@example.com' }
  expect([
    await covered('https://apps.example/c', ana),
    await covered('https://apps.example/c', bob),
    await blocks.covers(ana),
  ]).toEqual(['blocked', undefined, undefined])
})

test('the last administrator is seen under the key, the address, and both', () => {
  const last = (users: readonly string[], entries: readonly string[]): boolean =>
    leaveNoAdministrator(
      users.map((user) => ({ user })),
      { entries, people: [ana] },
    )
  expect([
    last(['ANA@example.com'], ['ana@example.com']),
    last(['local:ana'], ['ana@example.com']),
    last(['ana@example.com'], ['local:ana']),
    last(['local:ana', 'local:bob'], ['local:bob', 'ana@example.com']),
  ]).toEqual([true, true, true, true])
  expect([
    last(['local:ana'], ['local:ana', 'local:bob']),
    last(['local:Ana'], ['local:ana']),
    last(['local:ana'], []),
    leaveNoAdministrator([{ user: 'local:ana', client: 'x' }], { entries: ['local:ana'], people: [] }),
    leaveNoAdministrator([{ user: 'local:ana', domain: 'x.example' }], {
      entries: ['local:ana'],
      people: [],
    }),
  ]).toEqual([false, false, false, false, false])
})

test('neither is lost with the secret that sealed it: whoever reads it seals it anew', async () => {
  const before = await world([older])
  await createBlocks(before.runtime).add({ user: 'local:ana', ...by })
  await createClosures(before.runtime).close('echo', by)
  const between = await world([secret, older], before.store)
  await createBlocks(between.runtime).list()
  await createClosures(between.runtime).refresh()
  const after = await world([secret], before.store)
  const closures = createClosures(after.runtime)
  await closures.refresh()
  expect([await createBlocks(after.runtime).covers(ana), [...closures.closed.services]]).toEqual([
    'blocked',
    ['echo'],
  ])
})

const echo = { id: 'echo' } as Service
const serving = { known: () => true, served: async () => true, record: () => undefined }

test('what was read last holds while the storage is away; what was never read is not taken for open', async () => {
  const { runtime, clock, state } = await world()
  const closures = createClosures(runtime)
  state.away = true
  await expect(closures.refresh()).rejects.toMatchObject({ code: 'storage.unavailable' })
  expect(closures.closed.checkedAt).toBe(Number.NEGATIVE_INFINITY)
  state.away = false
  await closures.close('echo', by)
  expect(await closures.close('echo', by)).toBe(false)
  expect([closures.over(serving).known(echo), await closures.over(serving).served(echo)]).toEqual([
    false,
    false,
  ])
  state.away = true
  clock.now = 9000
  await closures.refresh()
  expect([closures.closed.services.has('echo'), closures.closed.checkedAt]).toEqual([true, 9000])
})

test('a read that began before a change of this process does not undo it', async () => {
  const { runtime } = await world()
  const closures = createClosures(runtime)
  const reading = closures.refresh()
  await closures.close(undefined, by)
  await reading
  expect(closures.closed.gateway).toBe(true)
})

test('what a read of another record has brought along is not read again, for half a second', async () => {
  const { runtime, clock, reads, store } = await world()
  await createClosures(runtime).close(undefined, by)
  const noticed = { entry: await store.get('closures'), at: 1000 }
  const closures = createClosures({ ...runtime, store: { ...runtime.store, noticed: () => noticed } })
  reads.length = 0
  clock.now = 1400
  await closures.refresh()
  expect([closures.closed.gateway, reads]).toEqual([true, []])
  clock.now = 1500
  await closures.refresh()
  expect(reads).toEqual(['closures'])
})
