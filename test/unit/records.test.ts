// Sealed records: what comes back is what was kept, or a refusal.
import { beforeEach, describe, expect, test } from 'vitest'
import { type KeyRing, createKeyRing, markerKey } from '../../src/kit/keyring.ts'
import { type Records, createRecords } from '../../src/kit/records.ts'
import type { Store } from '../../src/ports/store.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'

interface Grant {
  readonly person: string
  readonly scopes: readonly string[]
}

const random = (n: number): Uint8Array<ArrayBuffer> => crypto.getRandomValues(new Uint8Array(n))
const [secret, older, foreign] = [random(32), random(32), random(32)]
const grant: Grant = { person: 'local:ann', scopes: ['mcp'] }

let store: Store
let keys: KeyRing
let time: number
let logged: unknown[][]
let grants: Records<Grant>
const recordsWith = (ring: KeyRing, prefix = 'grant:'): Records<Grant> =>
  createRecords<Grant>({ store, keys: ring, log: (...line) => void logged.push(line) }, prefix)

beforeEach(async () => {
  time = 0
  logged = []
  store = createMemoryStore({ now: () => time })
  keys = await createKeyRing([secret], random)
  grants = recordsWith(keys)
})

test('a record comes back as the value it was, with the mark of its version', async () => {
  const mark = await grants.put('1', grant)
  expect(await grants.get('1')).toEqual({ value: grant, mark, former: false })
  expect(await grants.take('1')).toEqual({ value: grant, mark, former: false })
  expect(await grants.get('1')).toBeUndefined()
  expect(logged).toEqual([])
})

test('a dump of the store shows neither the value nor its shape', async () => {
  await grants.put('1', grant)
  const dump = JSON.stringify(await store.list(''))
  for (const canary of ['local:ann', 'person', 'scopes', 'mcp']) expect(dump).not.toContain(canary)
})

test('marks, lifetimes and "only where absent" are the store\'s', async () => {
  const first = (await grants.put('1', grant, { only: 'absent', ttlMs: 10 }))!
  expect(await grants.put('1', grant, { only: 'absent' })).toBeUndefined()
  const second = (await grants.put('1', { ...grant, scopes: [] }, { only: first, ttlMs: 10 }))!
  expect(await grants.put('1', grant, { only: first })).toBeUndefined()
  expect((await grants.get('1'))?.mark).toBe(second)
  time = 10
  expect(await grants.get('1')).toBeUndefined()
})

test('a remembered record is opened once for each version, and what another process wrote is read', async () => {
  let opened = 0
  const counting: KeyRing = {
    ...keys,
    open: (text, context) => {
      opened++
      return keys.open(text, context)
    },
  }
  const deps = { store, keys: counting, log: () => undefined }
  const [here, elsewhere] = [
    createRecords<Grant>(deps, 'client:', { remembered: 2 }),
    createRecords<Grant>(deps, 'client:'),
  ]
  await elsewhere.put('1', grant)
  const first = await here.get('1')
  expect([await here.get('1'), first?.value, opened]).toEqual([first, grant, 1])
  const other = { ...grant, scopes: [] }
  await elsewhere.put('1', other)
  expect([(await here.get('1'))?.value, opened]).toEqual([other, 2])
  await here.put('1', grant)
  expect([(await here.get('1'))?.value, opened]).toEqual([grant, 2])
  // Two others make the first leave.
  await here.put('2', grant)
  await here.put('3', grant)
  expect([(await here.get('1'))?.value, opened]).toEqual([grant, 3])
  await elsewhere.take('1')
  expect(await here.get('1')).toBeUndefined()
})

test('records are listed by id, in pages', async () => {
  for (const id of ['c', 'a', 'b']) await grants.put(id, { ...grant, person: id })
  await recordsWith(keys, 'grants-of-others:').put('x', grant)
  expect((await grants.list()).map(({ id, value }) => [id, value.person])).toEqual([
    ['a', 'a'],
    ['b', 'b'],
    ['c', 'c'],
  ])
  expect((await grants.list({ after: 'a', limit: 1 })).map(({ id }) => id)).toEqual(['b'])
})

test('listed records are opened once for each version, and those of another record never stand for it', async () => {
  let opened = 0
  const ring: KeyRing = {
    ...keys,
    async open(text, context) {
      opened++
      return keys.open(text, context)
    },
  }
  const listed = createRecords<Grant>({ store, keys: ring, log: () => undefined }, 'grant:', { listed: 2 })
  const all = async () => (await listed.list()).map(({ id, value }) => `${id} ${value.person}`)
  await grants.put('1', grant)
  await grants.put('2', { ...grant, person: 'local:bo' })
  expect([await all(), await all(), opened]).toEqual([
    ['1 local:ann', '2 local:bo'],
    ['1 local:ann', '2 local:bo'],
    2,
  ])
  await grants.put('1', { ...grant, person: 'local:cy' })
  await grants.take('2')
  expect([await all(), opened]).toEqual([['1 local:cy'], 3])
  // The same text under another key is not what was sealed there.
  const { value } = (await store.get('grant:1')) ?? { value: '' }
  await store.put('grant:3', value)
  expect([await all(), await all()]).toEqual([['1 local:cy'], ['1 local:cy']])
  // More than are kept: each is opened again.
  for (const id of ['4', '5', '6']) await grants.put(id, grant)
  const before = opened
  expect([(await all()).length, (await all()).length, opened - before > 4]).toEqual([4, 4, true])
})

describe('a record that cannot be read', () => {
  const spoil: readonly (readonly [string, (text: string) => string | Promise<string>])[] = [
    ['altered', (text) => text.slice(0, -4) + (text.endsWith('AAAA') ? 'BBBB' : 'AAAA')],
    ['cut', (text) => text.slice(0, text.length / 2)],
    ['emptied', () => ''],
    ['replaced by plain JSON', () => JSON.stringify(grant)],
    [
      'sealed by a key nobody holds',
      async () => (await createKeyRing([foreign], random)).seal(JSON.stringify(grant), 'grant:1'),
    ],
    ['moved from another record', async () => keys.seal(JSON.stringify(grant), 'grant:2')],
    ['moved from another kind', async () => keys.seal(JSON.stringify(grant), 'session:1')],
  ]
  const sealed = { code: 'storage.sealed' }
  const whyOf: Readonly<Record<string, RegExp>> = {
    'sealed by a key nobody holds':
      /^grant:1 is encrypted with key [\da-f]{8}, which this gateway does not have$/,
  }
  test.each(spoil)(
    'because it was %s is refused to every operation and stays as it is, and the log says so once a read [H-S11]',
    async (how, change) => {
      await grants.put('1', grant)
      await grants.put('2', grant)
      const text = await change((await store.get('grant:1'))!.value)
      await store.put('grant:1', text)
      await expect(grants.get('1')).rejects.toMatchObject(sealed)
      expect(logged).toEqual([
        [
          'error',
          'record.unreadable',
          { key: 'grant:1', why: expect.stringMatching(whyOf[how] ?? /^grant:1 is damaged$/) as unknown },
        ],
      ])
      await expect(grants.take('1')).rejects.toMatchObject(sealed)
      await expect(grants.put('1', { ...grant, person: 'new' }, { only: 'absent' })).rejects.toMatchObject(
        sealed,
      )
      expect((await store.get('grant:1'))?.value).toBe(text)
    },
  )
  test.each(spoil.filter(([how]) => how !== 'sealed by a key nobody holds'))(
    'because it was %s leaves a gap in a list',
    async (_, change) => {
      await grants.put('1', grant)
      await grants.put('2', grant)
      await store.put('grant:1', await change((await store.get('grant:1'))!.value))
      expect((await grants.list()).map(({ id }) => id)).toEqual(['2'])
    },
  )
  test('because its key is missing is no gap in a list', async () => {
    await recordsWith(await createKeyRing([foreign], random)).put('1', grant)
    await expect(grants.list()).rejects.toMatchObject(sealed)
  })
})

describe('a record sealed with a key that was retired', () => {
  beforeEach(async () => {
    await recordsWith(await createKeyRing([older], random)).put('1', grant)
    await createRecords<readonly object[]>({ store, keys, log: () => undefined }, markerKey).put('', [
      { root: keys.current },
    ])
  })
  test('counts as absent, because the secrets at hand are the ones of this store [H-T9]', async () => {
    expect(await grants.get('1')).toBeUndefined()
    expect(await grants.take('1')).toBeUndefined()
    expect(await grants.list()).toEqual([])
    expect(logged.at(-1)).toEqual([
      'error',
      'record.unreadable',
      {
        key: 'grant:1',
        why: expect.stringMatching(
          /^grant:1 is encrypted with key [\da-f]{8}, which this gateway does not have anymore$/,
        ) as unknown,
      },
    ])
    expect(await grants.put('1', { ...grant, person: 'new' }, { only: 'absent' })).toEqual(expect.any(String))
    expect((await grants.get('1'))?.value.person).toBe('new')
  })
  test('does not, where the marker names another root than the ones at hand', async () => {
    await createRecords<readonly object[]>({ store, keys, log: () => undefined }, markerKey).put('', [
      { root: 'ffffffff' },
    ])
    await expect(grants.get('1')).rejects.toMatchObject({ code: 'storage.sealed' })
  })
})

test('a rotated root still opens what the old one sealed; what is written then is sealed with the new [H-T9]', async () => {
  await recordsWith(await createKeyRing([older], random)).put('1', grant)
  const rotated = await createKeyRing([secret, older], random)
  const kept = (await recordsWith(rotated).get('1'))!
  expect(kept.value).toEqual(grant)
  await recordsWith(rotated).put('1', kept.value, { only: kept.mark })
  expect((await grants.get('1'))?.value).toEqual(grant)
})
