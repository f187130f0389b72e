// What is kept of pinned definitions: one record for each service, and one for each account where every user has
// one of their own. Whoever changes one compares and sets, so that of two processes each builds on the other.
import { createRecords } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, AuditEvent } from '../ports/modules.ts'
import type { ApprovedDefinition, ListedPin, Pin, PinAdmin, PinKind, PinState } from '../ports/policy.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import type { Definition } from './definitions.ts'

/** Of another generation it is another server, of which nothing is approved. */
type PinnedService = Pick<Service, 'id' | 'generation'>

/** The record of a service without accounts of users, and of what is approved and blocked for all accounts. */
export const forAll = '-'

export interface PinRecord {
  readonly service: string
  readonly variant: string
  /** When the first list was complete, epoch ms. */
  readonly first: Readonly<Partial<Record<PinKind, number>>>
  /** Grows each time the server announces a change, so that every process asks again. */
  readonly announced: number
  readonly pins: Readonly<Record<string, Pin>>
  /** Epoch ms; it lives for `lifetimeMs` from then on. */
  readonly renewedAt: number
}

export const pinKey = (kind: PinKind, name: string): string => `${kind} ${name}`

/** Definitions that are remembered of one server; beyond them none is known. */
export const mostPins = 2_000
const mostApproved = 3
/** Of texts, for those who approve; a digest is kept in any case. */
const mostTextBytes = 1_000_000
const lifetimeMs = 400 * 86_400_000
const renewEveryMs = 7 * 86_400_000
/** Each lost compare-and-set means that another process won. */
const maxAttempts = 10
/** Events of one list; the others are counted. */
const mostEvents = 50

export const approvedOf = (own: Pin | undefined, shared: Pin | undefined): readonly ApprovedDefinition[] =>
  own === shared ? (own?.approved ?? []) : [...(shared?.approved ?? []), ...(own?.approved ?? [])]

/** `digest`: as it was listed last; undefined for what cannot be pinned. */
export const pinStateOf = (own: Pin | undefined, shared: Pin | undefined, digest = own?.digest): PinState => {
  if (own?.blocked || shared?.blocked) return 'blocked'
  const approved = approvedOf(own, shared)
  if (digest !== undefined && approved.some((one) => one.digest === digest)) return 'approved'
  return approved.length === 0 ? 'new' : 'changed'
}

const empty = (service: string, variant: string): PinRecord => ({
  service,
  variant,
  first: {},
  announced: 0,
  pins: {},
  renewedAt: 0,
})

/** A list that is complete, and begins the record of its kind. `trust`: what is on it is approved. */
export interface FirstList {
  readonly kind: PinKind
  readonly trust: boolean
}

/** What one list changes of a record. */
export interface PinLook {
  readonly seen: readonly Definition[]
  readonly first?: FirstList | undefined
  /** Whether a new or a changed definition counts as approved. */
  readonly approves: { readonly new: boolean; readonly changed: boolean }
  readonly at: number
}

interface Applied {
  readonly record: PinRecord
  readonly events: readonly AuditEvent[]
  /** Texts of what is new in the record, by digest. */
  readonly texts: Readonly<Record<string, string>>
}

const eventOf = (before: PinState | undefined, now: PinState): AuditEvent | undefined => {
  if (now === 'new') return { event: 'pin.new' }
  if (now === 'changed') return { event: 'pin.changed' }
  return now === 'approved' && before === 'changed' ? { event: 'pin.reverted' } : undefined
}

const seenPin = (
  before: Pin | undefined,
  { digest, hint }: Definition,
  { first, approves, at }: PinLook,
): Pin => {
  const { approved = [], blocked, first: wasFirst } = before ?? {}
  const isApproved = first ? first.trust : approves[approved.length === 0 ? 'new' : 'changed']
  const by = first ? 'first list' : 'configuration'
  const isKnown = approved.some((one) => one.digest === digest)
  return {
    approved:
      digest !== undefined && isApproved && !isKnown
        ? [...approved, { digest, by, at, ...(hint && { hint }) }].slice(-mostApproved)
        : approved,
    ...(digest !== undefined && { digest }),
    ...(hint && { hint }),
    seenAt: at,
    ...((first || wasFirst) && { first: true as const }),
    ...(blocked && { blocked }),
  }
}

/** What is worth an event of one definition; undefined: nothing. */
const seenEvent = (
  before: Pin | undefined,
  others: Pin | undefined,
  { name, kind, digest = 'none' }: Definition,
  { first }: PinLook,
): AuditEvent | undefined => {
  const state = pinStateOf(before ?? { approved: [], seenAt: 0 }, others, digest)
  const event = eventOf(before && pinStateOf(before, others), state)
  // Of a first list that is trusted there is one event for all.
  if (!event || first?.trust) return undefined
  return { ...event, name, item: kind, digest, ...(before?.digest && { before: before.digest }) }
}

/** Undefined: the record says all this already. */
export const applyLook = (
  record: PinRecord,
  shared: PinRecord | undefined,
  asked: PinLook,
): Applied | undefined => {
  const first = asked.first && record.first[asked.first.kind] === undefined ? asked.first : undefined
  const look = { ...asked, first }
  const pins: Record<string, Pin> = { ...record.pins }
  const texts: Record<string, string> = {}
  const events: AuditEvent[] = []
  let room = mostPins - Object.keys(pins).length
  // Before the first complete list nobody knows what is new.
  const seen = look.seen.filter(({ kind }) => record.first[kind] !== undefined || kind === first?.kind)
  const changed = seen.filter((definition) => {
    const before = pins[pinKey(definition.kind, definition.name)]
    return before ? before.digest !== definition.digest : room-- > 0
  })
  for (const definition of changed) {
    const key = pinKey(definition.kind, definition.name)
    const event = seenEvent(pins[key], shared?.pins[key], definition, look)
    if (event) events.push(event)
    pins[key] = seenPin(pins[key], definition, look)
    if (definition.digest && definition.text) texts[definition.digest] = definition.text
  }
  if (first?.trust)
    events.push({ event: 'pin.approved', item: first.kind, definitions: changed.length, how: 'first list' })
  if (!first && changed.length === 0) return undefined
  const begun = first ? { ...record.first, [first.kind]: look.at } : record.first
  return { record: { ...record, pins, first: begun }, events, texts }
}

export interface PinRecordsDeps {
  readonly runtime: Pick<Runtime, 'store' | 'keys' | 'log' | 'digest' | 'now'>
  readonly record: Audit
}

export interface KeptPins {
  readonly record: PinRecord
  readonly mark: string
}

/** Texts of definitions, by digest, beside each record. */
type Texts = Readonly<Record<string, string>>

const digestsIn = ({ pins }: PinRecord): ReadonlySet<string> =>
  new Set(
    Object.values(pins).flatMap(({ digest, approved }) => [
      ...(digest === undefined ? [] : [digest]),
      ...approved.map((one) => one.digest),
    ]),
  )

/** What the record names, as far as there is room. */
const keptTexts = (before: Texts, added: Texts, record: PinRecord): Texts => {
  const named = digestsIn(record)
  const kept: Record<string, string> = {}
  let size = 0
  for (const [digest, text] of Object.entries({ ...before, ...added })) {
    if (!named.has(digest) || size + text.length > mostTextBytes) continue
    size += text.length
    kept[digest] = text
  }
  return kept
}

export interface PinRecords {
  get(service: PinnedService, variant: string): Promise<KeptPins | undefined>
  /** Undefined from `next`: nothing is written. Rejects with `storage.unavailable`. */
  change(
    service: PinnedService,
    variant: string,
    next: (record: PinRecord) => Applied | undefined,
  ): Promise<KeptPins | undefined>
  /** It is kept for as long as it is used. */
  isOld(record: PinRecord): boolean
  renew(service: PinnedService, variant: string): Promise<void>
  readonly admin: PinAdmin
}

// What administrators decide. It is kept in the record for all accounts: a digest means one definition, whoever was
// shown it.

type Named = Pick<ListedPin, 'kind' | 'name'>

const listedIn = (record: PinRecord, shared: PinRecord | undefined): readonly ListedPin[] =>
  Object.entries(record.pins).flatMap(([key, pin]) => {
    const at = key.indexOf(' ')
    const kind = key.slice(0, at) as PinKind
    // What stands there for other accounts alone was never listed here.
    if (record.first[kind] === undefined) return []
    const others = shared?.pins[key]
    const blocked = pin.blocked ?? others?.blocked
    return {
      ...pin,
      kind,
      name: key.slice(at + 1),
      ...(record.variant === forAll ? {} : { account: record.variant }),
      approved: approvedOf(pin, others),
      ...(blocked && { blocked }),
      state: pinStateOf(pin, others),
    }
  })

const pinMoved = (name: string): Refusal => new Refusal('pin.moved', name.slice(0, 80))

const approvedPin = (
  record: PinRecord,
  { kind, name, hint }: Named & Pick<Pin, 'hint'>,
  approval: ApprovedDefinition,
): Applied => {
  const key = pinKey(kind, name)
  const { blocked: _, ...pin } = record.pins[key] ?? { approved: [], seenAt: approval.at }
  // Another list may have come meanwhile.
  if (record.first[kind] !== undefined && pin.digest !== approval.digest) throw pinMoved(name)
  const others = pin.approved.filter(({ digest }) => digest !== approval.digest)
  const approved = [...others, { ...approval, ...(hint && { hint }) }].slice(-mostApproved)
  const { digest, by } = approval
  return {
    record: { ...record, pins: { ...record.pins, [key]: { ...pin, approved } } },
    events: [{ event: 'pin.approved', name, item: kind, digest, by }],
    texts: {},
  }
}

const blockedPin = (record: PinRecord, { kind, name }: Named, by: string, at: number): Applied => {
  const key = pinKey(kind, name)
  const pin = record.pins[key] ?? { approved: [], seenAt: at }
  return {
    record: { ...record, pins: { ...record.pins, [key]: { ...pin, blocked: { by, at } } } },
    events: [{ event: 'pin.blocked', name, item: kind, by }],
    texts: {},
  }
}

interface AdminDeps {
  readonly all: (service: PinnedService) => Promise<readonly PinRecord[]>
  readonly change: PinRecords['change']
  readonly textsOf: (service: PinnedService, variant: string) => Promise<Texts>
  readonly now: () => number
}

const createPinAdmin = ({ all, change, textsOf, now }: AdminDeps): PinAdmin => {
  const list = async (service: PinnedService): Promise<readonly ListedPin[]> => {
    const records = await all(service)
    const shared = records.find(({ variant }) => variant === forAll)
    return records.flatMap((record) => listedIn(record, record === shared ? undefined : shared))
  }
  const named = async (service: PinnedService, { kind, name }: Named): Promise<readonly ListedPin[]> => {
    const found = (await list(service)).filter((pin) => pin.kind === kind && pin.name === name)
    if (found.length === 0) throw new Refusal('pin.unknown', name.slice(0, 80))
    return found
  }
  return {
    list,
    text: async (service, { account = forAll }, digest) => (await textsOf(service, account))[digest],
    async approve(service, pin, digest, by) {
      const shown = (await named(service, pin)).find((each) => each.digest === digest)
      if (!shown) throw pinMoved(pin.name)
      await change(service, forAll, (record) => approvedPin(record, shown, { digest, by, at: now() }))
    },
    async block(service, pin, by) {
      await named(service, pin)
      await change(service, forAll, (record) => blockedPin(record, pin, by, now()))
    },
  }
}

export const createPinRecords = ({ runtime, record: audit }: PinRecordsDeps): PinRecords => {
  const { digest, now } = runtime
  const records = createRecords<PinRecord>(runtime, 'pin:', { remembered: 1_000 })
  const definitions = createRecords<Texts>(runtime, 'pin-texts:')
  const serviceKey = ({ id, generation = '' }: PinnedService): string =>
    digest(`${id}\n${generation}`).slice(0, 22)
  const keyOf = (service: PinnedService, variant: string): string =>
    `${serviceKey(service)}:${variant === forAll ? forAll : digest(variant).slice(0, 22)}`

  const putTexts = async (key: string, added: Texts, record: PinRecord): Promise<void> => {
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const kept = await definitions.get(key)
      const texts = keptTexts(kept?.value ?? {}, added, record)
      if (await definitions.put(key, texts, { only: kept?.mark ?? 'absent', ttlMs: lifetimeMs })) return
    }
  }

  const change: PinRecords['change'] = async (service, variant, next) => {
    const key = keyOf(service, variant)
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const kept = await records.get(key)
      const applied = next(kept?.value ?? empty(service.id, variant))
      if (!applied) return kept && { record: kept.value, mark: kept.mark }
      const { events, texts } = applied
      const record = { ...applied.record, renewedAt: now() }
      // The text first: whatever the record names can be shown.
      if (Object.keys(texts).length > 0) await putTexts(key, texts, record)
      const mark = await records.put(key, record, { only: kept?.mark ?? 'absent', ttlMs: lifetimeMs })
      if (mark === undefined) continue
      const about = { service: service.id, ...(variant === forAll ? {} : { person: variant }) }
      for (const event of events.slice(0, mostEvents)) audit({ ...about, ...event })
      if (events.length > mostEvents)
        audit({ event: 'pin.changed', ...about, definitions: events.length - mostEvents })
      return { record, mark }
    }
    throw new Refusal('storage.unavailable', `the pins of ${service.id} changed again and again`)
  }

  const all = async (service: PinnedService): Promise<readonly PinRecord[]> => {
    const found: PinRecord[] = []
    const ofService = createRecords<PinRecord>(runtime, `pin:${serviceKey(service)}:`)
    for await (const page of ofService.pages(100)) found.push(...page.map(({ value }) => value))
    return found
  }
  const textsOf = async (service: PinnedService, variant: string): Promise<Texts> =>
    (await definitions.get(keyOf(service, variant)))?.value ?? {}

  return {
    admin: createPinAdmin({ all, change, textsOf, now }),
    async get(service, variant) {
      const kept = await records.get(keyOf(service, variant))
      return kept && { record: kept.value, mark: kept.mark }
    },
    change,
    isOld: ({ renewedAt }) => now() - renewedAt > renewEveryMs,
    async renew(service, variant) {
      const kept = await change(service, variant, (record) => ({ record, events: [], texts: {} }))
      if (kept) await putTexts(keyOf(service, variant), {}, kept.record)
    },
  }
}
