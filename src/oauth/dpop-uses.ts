// Nonces of proofs (RFC 9449 §8), and that each proof is accepted once (§11.1). A process that works alone with the
// records hands out nonces of its own, which no other process accepts, and remembers by itself what was used with them.
// Where there are more processes the nonces are the same at all of them, and what was used is in the storage. Which it
// is changes nothing but what a call costs: whoever moves from one to the other is told of another nonce.
import type { Config } from '../config/schema.ts'
import { encodeBase64url } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Runtime } from '../ports/runtime.ts'

export interface ProofUsesDeps extends Pick<
  Runtime,
  'now' | 'random' | 'keys' | 'store' | 'counters' | 'defer'
> {
  readonly transports: Pick<Runtime['transports'], 'sessionLocations'>
}

const nonceMs = 60_000
const nonceBytes = 18

export interface JudgedNonce {
  /** Number of the minute that it belongs to; undefined: it counts no more, or never did. */
  readonly minute: number | undefined
  /** What the next proof should contain, where that is another one. */
  readonly newer: string | undefined
  /** No other process accepts it. */
  readonly own: boolean
}

interface Nonces {
  current(): Promise<string>
  judge(nonce: unknown): Promise<JudgedNonce>
}

/**
 * One for each minute, which every process of the gateway can work out for itself. `of`: the process that they are good
 * at; empty: all of them.
 */
const createNonces = ({ now, keys }: ProofUsesDeps, of: string): Nonces => {
  const own = of !== ''
  const made = new Map<number, string>()
  // A clock that was set back must not make good again what was forgotten meanwhile.
  let newest = 0
  const minute = (): number => (newest = Math.max(newest, Math.floor(now() / nonceMs)))
  const at = async (index: number): Promise<string> => {
    const known = made.get(index)
    if (known !== undefined) return known
    const mac = await keys.mac('dpop-nonce', `${of}.${index}`)
    if (!mac) throw new TypeError('the current root key is gone')
    const nonce = encodeBase64url(mac.subarray(0, nonceBytes))
    for (const before of made.keys()) if (before < index - 1) made.delete(before)
    made.set(index, nonce)
    return nonce
  }
  return {
    current: () => at(minute()),
    async judge(nonce) {
      const index = minute()
      const current = await at(index)
      if (nonce === current) return { minute: index, newer: undefined, own }
      const isLast = nonce === (await at(index - 1))
      return { minute: isLast ? index - 1 : undefined, newer: current, own }
    },
  }
}

// That each proof is accepted once.

/** What a proof was used for: it may be used for nothing else, and for this once. */
export interface ProofUse {
  readonly id: string
  /** Epoch ms after which no process accepts it. */
  readonly until: number
  readonly minute: number | undefined
  /** Only this process accepts its nonce. */
  readonly here: boolean
}

/** False where it was remembered before. */
type Remember = (use: ProofUse) => boolean | Promise<boolean>

/** Proofs of one minute. */
const mostRemembered = 200_000
const leewayMs = 60_000

const rememberInStore =
  ({ store, now }: ProofUsesDeps): Remember =>
  async ({ id, until }) =>
    (await store.put(`proof:${id}`, '', { ttlMs: Math.max(1, until - now()) + leewayMs, only: 'absent' })) !==
    undefined

/**
 * By the minute of their nonce, which is good for two minutes: what is older is forgotten at once. A process that
 * starts anew has other nonces, so nothing has to outlive it.
 */
export const createProofMemory = (most = mostRemembered): Remember => {
  const used = new Map<number, Set<string>>()
  return ({ id, minute = 0 }) => {
    const ids = used.get(minute) ?? new Set<string>()
    if (ids.has(id)) return false
    if (ids.size >= most)
      throw new Refusal('storage.unavailable', `${ids.size} proofs in a minute`, {
        say: 'Too many requests with DPoP proofs. Try again in a moment.',
        headers: { 'retry-after': '5' },
      })
    used.set(minute, ids.add(id))
    // One minute later than they end: a proof that was let through a moment ago is being remembered now.
    for (const before of used.keys()) if (before < minute - 3) used.delete(before)
    return true
  }
}

// Who remembers.

const processes = 'proof-process:'
/** How often a process says that it is there, and looks who else is. */
const lookEveryMs = 30_000
/** One that has not said so for this long is gone. */
const goneMs = 90_000

/** Whether no other process works with these records, as far as the last look has shown; at first, that is unknown. */
const createAlone = ({ store, now, defer }: ProofUsesDeps, id: string): (() => boolean) => {
  let alone = false
  let lookedAt = -Infinity
  const look = async (): Promise<void> => {
    await store.put(processes + id, '', { ttlMs: goneMs })
    alone = (await store.list(processes, { limit: 2 })).length === 1
  }
  return () => {
    if (Math.abs(now() - lookedAt) >= lookEveryMs) {
      lookedAt = now()
      defer(look().catch(() => void (alone = false)))
    }
    return alone
  }
}

/** Nonces of two kinds: those that are handed out now, and those that are good besides. */
const createBoth = (runtime: ProofUsesDeps, id: string): Nonces => {
  const isAlone = createAlone(runtime, id)
  const [own, shared] = [createNonces(runtime, id), createNonces(runtime, '')]
  return {
    current: () => (isAlone() ? own : shared).current(),
    async judge(nonce) {
      const [first, second] = isAlone() ? [own, shared] : [shared, own]
      const judged = await first.judge(nonce)
      if (judged.minute !== undefined) return judged
      const { minute, own: isOwn } = await second.judge(nonce)
      return { minute, newer: judged.newer, own: isOwn }
    },
  }
}

export interface ProofUses {
  /** Undefined where none are asked for. */
  readonly nonces: Nonces | undefined
  /** Of calls. */
  readonly remember: Remember
  /** Of token requests. */
  readonly inStore: Remember
}

export const createProofUses = (
  runtime: ProofUsesDeps,
  { replay, nonce }: Pick<NonNullable<Config['dpop']>, 'replay' | 'nonce'>,
): ProofUses => {
  const inStore = rememberInStore(runtime)
  if (nonce === 'off') return { nonces: undefined, remember: inStore, inStore }
  const inMemory = createProofMemory()
  const remember: Remember = (use) => (use.here ? inMemory(use) : inStore(use))
  const id = encodeBase64url(runtime.random(12))
  // Counts that nobody shares: the records are in the memory of this process.
  const isMemory = replay === 'memory' || (replay === 'auto' && runtime.counters === undefined)
  if (isMemory) return { nonces: createNonces(runtime, id), remember, inStore }
  // On Workers there is never one process alone, and none lasts.
  const isStore = replay === 'store' || runtime.transports.sessionLocations !== undefined
  return { nonces: isStore ? createNonces(runtime, '') : createBoth(runtime, id), remember, inStore }
}
