// Pinned definitions of two processes on one store: what one of them hears, the other does not let through.
import { createHash } from 'node:crypto'
import { beforeEach, expect, it } from 'vitest'
import { type KeyRing, createKeyRing } from '../../src/kit/keyring.ts'
import { Refusal } from '../../src/kit/refusal.ts'
import { createSingleFlight } from '../../src/kit/single-flight.ts'
import { createPinRecords } from '../../src/policy/pin-records.ts'
import { type Pinning, type Pins, createPins } from '../../src/policy/pins.ts'
import { checkAccess } from '../../src/proxy/access.ts'
import type { AuditEvent } from '../../src/ports/modules.ts'
import type { Principal } from '../../src/ports/people.ts'
import type { PinAdmin } from '../../src/ports/policy.ts'
import type { Service } from '../../src/ports/services.ts'
import type { Store } from '../../src/ports/store.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'

const plain = { id: 'jira', generation: 'g1' } as Service
/** Each user has an account there. */
const personal = { ...plain, auth: { type: 'oauth' } } as Service
const quarantine: Pinning = { changed: 'quarantine', new: 'quarantine', first: 'trust' }
const nobody = undefined
const person = (personKey: string) => ({ personKey }) as Principal

let time: number
let store: Store
let failing: number
let keys: KeyRing
let events: AuditEvent[]
let list: Record<string, unknown>[]

const random = (n: number): Uint8Array<ArrayBuffer> => crypto.getRandomValues(new Uint8Array(n))
beforeEach(async () => {
  time = 1_000_000
  failing = 0
  events = []
  list = [{ name: 'read' }, { name: 'write' }]
  const inner = createMemoryStore({ now: () => time })
  const put: Store['put'] = (...args) =>
    failing-- > 0
      ? Promise.reject(new Refusal('storage.unavailable', 'broken by a test'))
      : inner.put(...args)
  store = { get: inner.get, put, take: inner.take, list: inner.list }
  keys = await createKeyRing([random(32)], random)
})

interface Process {
  readonly pins: Pins
  readonly admin: PinAdmin
  /** Looks at a list, as one passes. */
  look(who?: Principal): ReadonlyMap<string, unknown>
  /** Whether a call of the tool would go. */
  call(tool: string, who?: Principal): Promise<boolean>
  /** Until nothing is being written. */
  settled(): Promise<unknown>
}

const open = (service: Service, pinning = quarantine): Process => {
  let work: Promise<unknown> = Promise.resolve()
  const runtime = {
    store,
    keys,
    log: () => undefined,
    now: () => time,
    digest: (text: string) => createHash('sha256').update(text).digest('base64url'),
    defer: (more: Promise<unknown>) => void (work = Promise.all([work, more])),
  }
  const audit = (event: AuditEvent): void => void events.push(event)
  const records = createPinRecords({ runtime, record: audit })
  const pins = createPins(service, pinning, {
    runtime,
    records,
    audit,
    singleFlight: createSingleFlight(runtime),
  })
  const look = (who?: Principal) => pins.look(who)('tools', list, undefined) ?? new Map()
  return {
    pins,
    admin: records.admin,
    look,
    async call(tool, who) {
      await pins.load(who)
      if (pins.isDue(who, 'tool', false))
        await pins.refresh(who, 'tool', () => Promise.resolve().then(() => void look(who)))
      return pins.find(who, 'tool', tool)?.held === false
    },
    async settled() {
      for (let before; before !== work;) await (before = work)
    },
  }
}

const write = (n: number) => ({ name: 'write', description: `Version ${n}.` })

it('a change that one process hears of holds the tool in the other, 100 times', async () => {
  const [one, other] = [open(plain), open(plain)]
  expect([await one.call('write'), await other.call('write')]).toEqual([true, true])
  for (let round = 0; round < 100; round++) {
    list = [{ name: 'read' }, write(round)]
    one.pins.changed()
    // The very next call of the process that heard it, and of the other once it has read again.
    expect(await one.call('write')).toBe(false)
    await one.settled()
    time += 1001
    expect([await other.call('write'), await other.call('read')]).toEqual([false, true])
    const [{ digest = '' } = {}] = (await other.admin.list(plain)).filter(({ name }) => name === 'write')
    await other.admin.approve(plain, { kind: 'tool', name: 'write' }, digest, 'ana')
    time += 1001
    expect([await one.call('write'), await other.call('write')]).toEqual([true, true])
    await Promise.all([one.settled(), other.settled()])
  }
})

it('an approval while the definition changes again approves what was shown, or nothing', async () => {
  const both = [open(plain), open(plain)] as const
  await both[0].call('write')
  for (let round = 0; round < 20; round++) {
    list = [write(2 * round)]
    both[0].look()
    await both[0].settled()
    const [{ digest: shown = '' } = {}] = (await both[1].admin.list(plain)).filter(
      ({ name }) => name === 'write',
    )
    list = [write(2 * round + 1)]
    const approving = both[1].admin
      .approve(plain, { kind: 'tool', name: 'write' }, shown, 'ana')
      .catch((error: unknown) => (error as Refusal).code)
    both[0].look()
    const outcome = await approving
    await both[0].settled()
    time += 1001
    expect([undefined, 'pin.moved']).toContain(outcome)
    // Whichever came first: what the server says now is not what was shown.
    for (const each of both) expect(await each.call('write')).toBe(false)
  }
})

it('what could not be written down is held all the same, and written when it can be', async () => {
  const [one, other] = [open(plain), open(plain)]
  await one.call('write')
  list = [write(1)]
  failing = 100
  one.look()
  await one.settled()
  time += 1001
  failing = 0
  expect(await one.call('write')).toBe(false)
  await one.settled()
  time += 1001
  await other.pins.load(nobody)
  expect(other.pins.find(nobody, 'tool', 'write')?.held).toBe(true)
})

it('a first list that could not be written down approves nothing', async () => {
  const one = open(plain)
  failing = 100
  await expect(one.call('write')).rejects.toMatchObject({ code: 'pin.refresh' })
  failing = 0
  time += 1001
  expect(await one.call('write')).toBe(true)
})

it('of two first lists that differ one is the first', async () => {
  const both = [open(plain), open(plain)] as const
  for (const { pins } of both) await pins.load(nobody)
  await Promise.all(
    both.map(({ pins }, n) =>
      pins.refresh(nobody, 'tool', () =>
        Promise.resolve().then(() => void pins.look(nobody)('tools', [write(n)], undefined)),
      ),
    ),
  )
  await Promise.all(both.map((each) => each.settled()))
  expect(events.filter(({ event, how }) => event === 'pin.approved' && how === 'first list')).toHaveLength(1)
  time += 1001
  // The other process saw it last.
  for (const { pins } of both) {
    await pins.load(nobody)
    expect(pins.find(nobody, 'tool', 'write')?.held).toBe(true)
  }
})

it('each account has a first list of its own, and an approval counts for all', async () => {
  const one = open(personal)
  const [ana, ben] = [person('local:ana'), person('local:ben')]
  expect(await one.call('write', ana)).toBe(true)
  list = [{ name: 'read' }, write(1)]
  expect(await one.call('write', ben)).toBe(true)
  one.look(ana)
  expect(await one.call('write', ana)).toBe(false)
  await one.settled()
  const pins = await one.admin.list(personal)
  expect(pins.map(({ name, account, state }) => `${String(account)} ${name} ${state}`).toSorted()).toEqual([
    'local:ana read approved',
    'local:ana write changed',
    'local:ben read approved',
    'local:ben write approved',
  ])
  const digest = pins.find(({ state }) => state === 'changed')?.digest ?? ''
  await one.admin.approve(personal, { kind: 'tool', name: 'write' }, digest, 'ana')
  time += 1001
  expect([await one.call('write', ana), await one.call('write', ben)]).toEqual([true, true])
  await one.admin.block(personal, { kind: 'tool', name: 'write' }, 'ana')
  time += 1001
  expect([await one.call('write', ana), await one.call('write', ben)]).toEqual([false, false])
})

it('another server under the same name begins with nothing', async () => {
  await open(plain).call('write')
  list = [write(1)]
  const moved = { ...plain, generation: 'g2' }
  const other = open(moved)
  expect(await other.call('write')).toBe(true)
  expect((await other.admin.list(moved)).length).toBe(1)
  expect((await other.admin.list(plain)).length).toBe(2)
})

it('the last three approved definitions stay approved, and no more', async () => {
  const one = open(plain)
  await one.call('write')
  for (let n = 1; n <= 4; n++) {
    list = [write(n)]
    one.look()
    await one.settled()
    const pin = (await one.admin.list(plain)).find(({ name }) => name === 'write')
    await one.admin.approve(plain, { kind: 'tool', name: 'write' }, pin?.digest ?? '', 'ana')
    time += 1001
    await one.pins.load(nobody)
  }
  const isHeld = (n: number): unknown => {
    list = [write(n)]
    return (one.look().get('write') as { held: boolean }).held
  }
  expect([4, 3, 2, 1].map(isHeld)).toEqual([false, false, false, true])
})

it('a server that wants an account first is asked for no list before the user has connected one', async () => {
  const consent = new Refusal('upstream.consent', 'no account')
  const answer = { kind: 'answer', status: 200, headers: [], body: 'connect' }
  const ended: unknown[] = []
  let accountIs: 'missing' | 'asked for later' = 'missing'
  let walks = 0
  const pins = {
    load: () => undefined,
    isDue: () => true,
    async refresh() {
      walks++
      if (accountIs === 'asked for later') accountIs = 'missing'
      throw new Refusal('pin.refresh')
    },
  }
  const rules = { pins, judgeConnection: () => ({ allowed: true }) }
  const check = checkAccess.make({
    policy: { services: { ruled: true }, fresh: () => undefined, of: () => rules },
    catalog: {},
    recovery: {
      refuse: (_: unknown, error: unknown) =>
        error === consent ? Promise.resolve(answer) : Promise.reject(error as Error),
    },
    finish: (_: unknown, { status }: { status: number }) => void ended.push(status),
  } as never)
  const call = {
    head: {},
    address: { service: plain },
    envelope: { messages: [{ method: 'tools/call', name: 'write' }] },
    context: {
      credential() {
        if (accountIs === 'missing') throw consent
      },
    },
  } as never
  expect([await check(call), walks, ended]).toEqual([answer, 0, [200]])
  // It says so only when it is asked.
  accountIs = 'asked for later'
  expect([await check(call), walks, ended]).toEqual([answer, 1, [200, 200]])
})
