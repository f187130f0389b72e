// Pinned definitions: what a server says of its tools and prompts is compared with what was approved, in each list
// that passes and before each call.
import { ladder } from '../kit/levels.ts'
import { isOfUser } from '../kit/records.ts'
import type { ServiceConfig } from '../config/schema.ts'
import { Refusal } from '../kit/refusal.ts'
import type { SingleFlight } from '../kit/single-flight.ts'
import { isRecord } from '../mcp/json-rpc.ts'
import type { Audit } from '../ports/modules.ts'
import type { Principal } from '../ports/people.ts'
import type {
  Denied,
  JudgedMessage,
  MessageFacts,
  Pin,
  PinKind,
  PinnedItem,
  ServicePins,
  ServicePolicy,
  ToolHint,
} from '../ports/policy.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import { type Definition, createDigest, definitionsIn } from './definitions.ts'
import type { LookAtList } from './lists.ts'
import {
  type FirstList,
  type KeptPins,
  type PinRecords,
  applyLook,
  approvedOf,
  forAll,
  mostPins,
  pinKey,
  pinStateOf,
} from './pin-records.ts'

export type Pinning = NonNullable<NonNullable<ServiceConfig['access']>['pinning']>

type ServiceFacts = Pick<Service, 'id' | 'generation' | 'auth'>

/** How long what was read is believed, ms. */
const freshMs = 1_000
/** How long a list is believed; servers may say less (2026-07-28, caching of results). */
const mostAgeMs = 600_000
const leastAgeMs = 60_000
/** After a server did not say its list, it is not asked again for so long, ms. */
const againMs = 1_000
/** Accounts that are remembered of a service. */
const mostVariants = 1_000

/** What is known of one account, or of a service without accounts. */
interface Known {
  readonly variant: string
  /** Epoch ms until which what was read is believed. */
  until: number
  own: KeptPins | undefined
  shared: KeptPins | undefined
  items: Map<string, PinnedItem>
  /** What was listed last and is not written yet. */
  readonly unsaved: Map<string, Definition>
  saving: boolean
  /** Epoch ms at which the server was asked for the whole list, and at which it did not answer. */
  readonly readAt: Map<PinKind, number>
  readonly failedAt: Map<PinKind, number>
  ageMs: number
  /** Grows with each change that the server announces, to this process or to another. */
  turn: number
  /** As of the shared record, for what other processes heard. */
  announced: number
  /** What has come of the first list so far. */
  readonly walking: Map<PinKind, Map<string, Definition>>
}

const createKnown = (variant: string): Known => ({
  variant,
  until: -Infinity,
  own: undefined,
  shared: undefined,
  items: new Map(),
  unsaved: new Map(),
  saving: false,
  readAt: new Map(),
  failedAt: new Map(),
  ageMs: mostAgeMs,
  turn: 0,
  announced: 0,
  walking: new Map(),
})

/** Where each user has an account of their own, each may be shown other tools. */
const variantOf = ({ auth }: ServiceFacts, principal: Principal | undefined): string =>
  principal && isOfUser(auth) ? principal.personKey : forAll

const isBegun = ({ own }: Known, kind: PinKind): boolean => own?.record.first[kind] !== undefined

const turnOver = (known: Known): void => {
  known.turn++
  known.readAt.clear()
}

const stricter = (approved: ToolHint, seen: ToolHint): ToolHint =>
  approved && seen && ladder.indexOf(seen) > ladder.indexOf(approved) ? seen : approved

type Seen = Pick<Definition, 'digest' | 'hint'>

/** What one definition comes to. */
const judge = (
  pinning: Pinning,
  own: Pin | undefined,
  shared: Pin | undefined,
  seen: { readonly digest?: Seen['digest']; readonly hint?: Seen['hint'] } | undefined = own,
): PinnedItem => {
  const { digest, hint } = seen ?? {}
  const approved = approvedOf(own, shared)
  if (digest === undefined) return { held: true, hint: approved.at(-1)?.hint }
  const state = pinStateOf(own, shared, digest)
  if (state === 'approved') return { held: false, hint: approved.find((one) => one.digest === digest)?.hint }
  const last = approved.at(-1)
  const kept = state === 'new' && own?.first === true && pinning.first === 'hold'
  const mode = pinning[state === 'new' ? 'new' : 'changed']
  return {
    held: state === 'blocked' || kept || mode === 'quarantine',
    // Whatever it says of itself now, it needs no less than what was approved.
    hint: last ? stricter(last.hint, hint) : hint,
  }
}

const itemsOf = ({ own, shared, unsaved }: Known, pinning: Pinning): Map<string, PinnedItem> => {
  const items = new Map<string, PinnedItem>()
  const [pins, others] = [own?.record.pins ?? {}, shared?.record.pins ?? {}]
  for (const [key, pin] of Object.entries(pins)) items.set(key, judge(pinning, pin, others[key]))
  for (const [key, definition] of unsaved) items.set(key, judge(pinning, pins[key], others[key], definition))
  return items
}

export interface PinsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'digest' | 'defer' | 'log'>
  readonly records: PinRecords
  readonly singleFlight: SingleFlight
  readonly audit: Audit
}

interface PinnedService extends PinsDeps {
  readonly service: ServiceFacts
  readonly pinning: Pinning
  readonly strict: boolean
}

// What is read and written.

const took = (
  { pinning, runtime }: PinnedService,
  known: Known,
  own: Known['own'],
  shared: Known['own'],
): void => {
  const same = known.own?.mark === own?.mark && known.shared?.mark === shared?.mark
  known.own = own
  known.shared = shared
  known.until = runtime.now() + freshMs
  if (!same) known.items = itemsOf(known, pinning)
  const announced = shared?.record.announced ?? 0
  if (announced === known.announced) return
  known.announced = announced
  turnOver(known)
}

/** Rejects while the storage is away; what could not be written stays as it was seen. */
const save = async (pinned: PinnedService, known: Known, first?: FirstList): Promise<void> => {
  const { service, pinning, records, runtime } = pinned
  const seen = first ? [...(known.walking.get(first.kind)?.values() ?? [])] : [...known.unsaved.values()]
  const approves = { new: pinning.new === 'allow', changed: pinning.changed === 'allow' }
  const shared = known.variant === forAll ? undefined : known.shared?.record
  const own = await records.change(service, known.variant, (record) =>
    applyLook(record, shared, { seen, first, approves, at: runtime.now() }),
  )
  for (const definition of seen) {
    const key = pinKey(definition.kind, definition.name)
    if (known.unsaved.get(key) === definition) known.unsaved.delete(key)
  }
  if (own) took(pinned, known, own, known.variant === forAll ? own : known.shared)
  known.items = itemsOf(known, pinning)
}

const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

const saveLater = (pinned: PinnedService, known: Known): void => {
  if (known.saving) return
  known.saving = true
  const { service, runtime } = pinned
  const work = async (): Promise<void> => {
    try {
      while (known.unsaved.size > 0) await save(pinned, known)
    } catch (error) {
      runtime.log('warn', 'pin.unsaved', { service: service.id, why: reasonOf(error) })
    } finally {
      known.saving = false
    }
  }
  runtime.defer(work())
}

const read = (pinned: PinnedService, known: Known): Promise<void> =>
  pinned.singleFlight(`pins ${pinned.service.id} ${known.variant}`, async () => {
    const { service, records } = pinned
    const isShared = known.variant === forAll
    const [shared, own] = await Promise.all([
      records.get(service, forAll),
      isShared ? undefined : records.get(service, known.variant),
    ])
    took(pinned, known, isShared ? shared : own, shared)
    if (known.unsaved.size > 0) saveLater(pinned, known)
  })

/** Before the first list is complete. Of two definitions of one name nobody knows which would be called. */
const lookFirst = (known: Known, definition: Definition): void => {
  const { kind, name, digest } = definition
  const walking = known.walking.get(kind)
  const before = walking?.get(pinKey(kind, name))
  const isTwice = before !== undefined && before.digest !== digest
  walking?.set(
    pinKey(kind, name),
    isTwice ? { ...definition, digest: undefined, text: undefined } : definition,
  )
}

/** One definition on a list that passes. */
const lookAt = ({ pinning, strict }: PinnedService, known: Known, definition: Definition): PinnedItem => {
  const { kind, name, digest, hint } = definition
  if (!isBegun(known, kind)) {
    lookFirst(known, definition)
    return { held: strict || digest === undefined, hint }
  }
  const key = pinKey(kind, name)
  const own = known.own?.record.pins[key]
  const last = known.unsaved.get(key) ?? own
  if (!last && known.items.size >= mostPins) return { held: strict, hint }
  const item = judge(pinning, own, known.shared?.record.pins[key], definition)
  if (!last || last.digest !== digest) {
    known.unsaved.set(key, definition)
    known.items.set(key, item)
  }
  return item
}

// Asking the server for its list.

const walkOnce = async (pinned: PinnedService, known: Known, kind: PinKind, walk: () => Promise<void>) => {
  const first = isBegun(known, kind) ? undefined : { kind, trust: pinned.pinning.first === 'trust' }
  const [turn, at] = [known.turn, pinned.runtime.now()]
  if (first) known.walking.set(kind, new Map())
  try {
    await walk()
    if (first) await save(pinned, known, first)
    else if (known.own && pinned.records.isOld(known.own.record))
      await pinned.records.renew(pinned.service, known.variant)
  } finally {
    known.walking.delete(kind)
  }
  if (known.turn === turn) known.readAt.set(kind, at)
}

const refresh = async (pinned: PinnedService, known: Known, kind: PinKind, walk: () => Promise<void>) => {
  const { runtime, service, strict, audit } = pinned
  const refused = (why: string): Refusal =>
    new Refusal('pin.refresh', `${service.id}: ${why}`, { headers: { 'retry-after': '1' } })
  if (runtime.now() - (known.failedAt.get(kind) ?? -Infinity) < againMs) {
    if (strict) throw refused('its list could not be read a moment ago')
    return
  }
  try {
    await walkOnce(pinned, known, kind, walk)
    // The server announced another change meanwhile.
    if (!known.readAt.has(kind)) await walkOnce(pinned, known, kind, walk)
  } catch (error) {
    known.failedAt.set(kind, runtime.now())
    audit({ event: 'pin.refresh-failed', service: service.id, item: kind, why: reasonOf(error) })
    if (strict) throw refused(reasonOf(error))
  }
}

/** Tells the other processes. */
const announce = async ({ records, service }: PinnedService, all: Iterable<Known>): Promise<void> => {
  const kept = await records.change(service, forAll, (record) => ({
    record: { ...record, announced: record.announced + 1 },
    events: [],
    texts: {},
  }))
  const announced = kept?.record.announced ?? 0
  // Nobody else announced anything meanwhile: this process knows already.
  for (const known of all) if (known.announced === announced - 1) known.announced = announced
}

export interface Pins extends ServicePins {
  look(principal: Principal | undefined): LookAtList
  /** What is neither listed nor called, by kind and name. */
  held(principal: Principal | undefined): readonly string[]
}

export const createPins = (service: ServiceFacts, pinning: Pinning, deps: PinsDeps): Pins => {
  const { runtime, singleFlight } = deps
  const strict = pinning.changed === 'quarantine' || pinning.new === 'quarantine' || pinning.first === 'hold'
  const pinned: PinnedService = { ...deps, service, pinning, strict }
  const variants = new Map<string, Known>()
  const digestOf = createDigest(runtime.digest)
  let announcing = false
  const knownOf = (principal: Principal | undefined): Known => {
    const variant = variantOf(service, principal)
    const before = variants.get(variant)
    if (before) return before
    if (variants.size >= mostVariants) variants.delete(variants.keys().next().value as string)
    const made = createKnown(variant)
    variants.set(variant, made)
    return made
  }
  return {
    strict,
    load(principal) {
      const known = knownOf(principal)
      const left = known.until - runtime.now()
      // More is left only after the clock was set back.
      if (left > 0 && left <= freshMs) return undefined
      return read(pinned, known).catch((error: unknown) => {
        if (strict) throw error
        known.until = runtime.now() + freshMs
      })
    },
    find: (principal, kind, name) => knownOf(principal).items.get(pinKey(kind, name)),
    isDue(principal, kind, listing) {
      const known = knownOf(principal)
      if (!isBegun(known, kind)) return true
      return !listing && runtime.now() - (known.readAt.get(kind) ?? -Infinity) > known.ageMs
    },
    refresh(principal, kind, walk) {
      const known = knownOf(principal)
      return singleFlight(`list ${service.id} ${known.variant} ${kind}`, () =>
        refresh(pinned, known, kind, walk),
      )
    },
    held: (principal) => [...knownOf(principal).items].flatMap(([key, { held }]) => (held ? [key] : [])),
    changed() {
      for (const known of variants.values()) turnOver(known)
      if (announcing) return
      announcing = true
      const done = (): void => void (announcing = false)
      runtime.defer(announce(pinned, variants.values()).then(done, done))
    },
    look(principal) {
      const known = knownOf(principal)
      return (member, list, ttlMs) => {
        const seen = definitionsIn(member, list, digestOf)
        if (!seen) return undefined
        if (typeof ttlMs === 'number') known.ageMs = Math.min(Math.max(ttlMs, leastAgeMs), mostAgeMs)
        const found = new Map(seen.map((one) => [one.name, lookAt(pinned, known, one)]))
        if (known.unsaved.size > 0) saveLater(pinned, known)
        return found
      }
    },
  }
}

// Calls.

/** What a message names that may be pinned: a tool, or a prompt. */
const pinnedBy = (
  pins: ServicePins,
  principal: Principal | undefined,
  { method, name }: JudgedMessage,
  facts: MessageFacts,
): PinnedItem | 'unknown' | undefined => {
  const find = (kind: PinKind, said: unknown): PinnedItem | 'unknown' | undefined =>
    pins.find(principal, kind, typeof said === 'string' ? said : '') ?? (pins.strict ? 'unknown' : undefined)
  if (method === 'tools/call') return find('tool', name)
  if (method === 'prompts/get') return find('prompt', name)
  if (method !== 'completion/complete') return undefined
  const { ref } = facts.params()
  return isRecord(ref) && ref['type'] !== 'ref/resource' ? find('prompt', ref['name']) : undefined
}

const pinned: Denied = { allowed: false, code: 'policy.pinned' }

/** The rules first: who may not use a tool anyway is told so. */
export const judgeByPins =
  (pins: ServicePins, byRules: ServicePolicy['judge']): ServicePolicy['judge'] =>
  (principal, message, facts) => {
    const pin = pinnedBy(pins, principal, message, facts)
    if (pin === undefined) return byRules(principal, message, facts)
    const tool = pin === 'unknown' ? () => undefined : () => pin
    const verdict = byRules(principal, message, { ...facts, tool })
    if (!verdict.allowed) return verdict
    if (pin !== 'unknown') return pin.held ? pinned : verdict
    return message.method === 'tools/call' ? { allowed: false, code: 'policy.unlisted' } : pinned
  }
