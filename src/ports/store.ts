// The two storage contracts. A Store is strong: every operation is one atomic step on every backend. A Cache
// may be stale or empty at any time. The two are different types on purpose: Workers KV can only ever be a
// Cache, so a configuration that would keep codes in it does not type-check.

/** A record's version. Opaque; it changes with every write of the key and is never reused for it. */
export type Mark = string & { readonly mark: unique symbol }

export interface Entry {
  /** The stored text, exactly as written. */
  readonly value: string
  readonly mark: Mark
}

export interface PutOptions {
  /**
   * Milliseconds until the record is gone; without it the record stays. Expired records are absent to every
   * operation.
   */
  readonly ttlMs?: number
  /**
   * `'absent'`: write only when the key holds nothing. A mark: write only when the key still holds that
   * version.
   */
  readonly only?: 'absent' | Mark
}

export interface ListOptions {
  /** Return keys strictly after this one, in ascending byte order. */
  readonly after?: string
  /** At most this many; 100 when absent. */
  readonly limit?: number
}

/**
 * Strong key-value storage. Keys are ASCII, at most 512 bytes, `kind:id` by convention. Every method rejects
 * with a `Refusal('storage.unavailable')` when the backend cannot be reached; it never answers from a guess.
 */
export interface Store {
  get(key: string): Promise<Entry | undefined>
  /** Resolves with the new mark, or undefined when `only` was not met (nothing was written then). */
  put(key: string, value: string, options?: PutOptions): Promise<Mark | undefined>
  /** Atomic read-and-delete: of any number of parallel takers exactly one receives the entry. */
  take(key: string): Promise<Entry | undefined>
  /**
   * The same for many keys, each a step of its own; the entries that were there, by key. For a store that
   * asks less by it than by one `take` each; absent elsewhere.
   */
  takeMany?(keys: readonly string[]): Promise<ReadonlyMap<string, Entry>>
  /** Live records whose key starts with the prefix, ascending. */
  list(
    prefix: string,
    options?: ListOptions,
  ): Promise<readonly { readonly key: string; readonly value: string }[]>
  /**
   * The record of what is closed for now (`closuresKey`), as the last read of any record brought it along, and
   * when (epoch ms). For a store in which a read of its own costs much; absent elsewhere.
   */
  noticed?(): { readonly entry: Entry | undefined; readonly at: number } | undefined
}

/**
 * `changed`: the record was written or taken. `lost`: nothing more will be heard, and what happened since the
 * last word is not known.
 */
export type Notice = 'changed' | 'lost'

/**
 * Tells of changes of one record, without asking again and again: for backends that can. It only makes things
 * cheaper and sooner; what a record says is read from the Store. Resolves with what ends it, once every later
 * change will be told; rejects with `Refusal('storage.unavailable')`.
 */
export type Subscribe = (key: string, heard: (notice: Notice) => void) => Promise<() => void>

/** A Store whose backend does not drop expired records by itself. */
export interface SweptStore extends Store {
  /**
   * Removes at most `limit` expired records and resolves with how many went; exactly `limit` means there may
   * be more. Nothing but space depends on it.
   */
  sweep(limit: number): Promise<number>
}

/** A record as a copy of a storage has it. */
export interface StoredRecord {
  readonly key: string
  readonly value: string
  /** What is left of its lifetime; undefined: it stays. */
  readonly ttlMs: number | undefined
}

/** All records of a storage, for whoever copies them. */
export interface StoredRecords {
  /** Live records with keys after this one, ascending, at most so many; none: there are no more. */
  records(after: string, limit: number): Promise<readonly StoredRecord[]>
  /** How many there are, where that is known without reading them all. */
  count?(): Promise<number>
}

/** Storage that may lose or delay anything; what it answers is a hint. */
export interface Cache {
  get(key: string): Promise<string | undefined>
  put(key: string, value: string, options: { readonly ttlMs: number }): Promise<void>
}

// What is counted against those who ask too often, and where counts are kept (policy/rate-limit.ts).

export type PaceKind =
  | 'register'
  | 'register-address'
  | 'authorize'
  | 'token'
  | 'sign-in'
  | 'sign-in-address'
  | 'kept-registrations'
  | 'kept-flows'
  | 'flows'
  | 'kept-strangers-flows'
  | 'device'
  | 'kept-devices'
  | 'user-code'
  | 'user-code-address'
  | 'user-codes'
  | 'assertions'
  | 'refused-assertions'
  | 'client-tokens'
  | 'refused-clients'

/**
 * Who is counted: a name of its own, or an address: IPv4 alone, IPv6 by its /64, and by its /48 at sixteen
 * times the number. `and` narrows an address, to a client or a username.
 */
export type Counted = string | { readonly ip: string; readonly and?: string }

/** One thing that is counted, or taken back (policy/rate-limit.ts). */
export type CountAction =
  | { readonly do: 'use'; readonly kind: PaceKind; readonly who: Counted; readonly cost: number }
  | { readonly do: 'forgive'; readonly kind: PaceKind; readonly who: Counted }
  | { readonly do: 'guess'; readonly account: string; readonly ip: string }
  | { readonly do: 'wrong'; readonly account: string }

/** A use of something of which there is so much in so long. */
export interface Hit {
  readonly cost: number
  readonly limit: number
  /** From the first use. */
  readonly windowMs: number
}

export interface HitResult {
  /** Counted only then. */
  readonly allowed: boolean
  readonly remaining: number
  /** Until the count begins anew. */
  readonly resetMs: number
}

/**
 * Counts that all processes of this gateway share. Each call is one atomic step. Counts may be lost with what
 * keeps them. Both reject with `Refusal('storage.unavailable')` when the counts cannot be reached.
 */
export interface Counters {
  hit(key: string, hit: Hit): Promise<HitResult>
  /**
   * Carries out the actions in order, up to the first that has somebody wait. Answers for how many
   * milliseconds, 0 when nobody has to.
   */
  act(actions: readonly CountAction[]): Promise<number>
}

/** The same where it can be answered at once. */
export interface CounterSteps {
  hit(key: string, hit: Hit): HitResult
  act(actions: readonly CountAction[]): number
}

/** Where counts are kept: in memory, or in the rows of a database. */
export interface CountTable {
  /** Undefined where nothing is counted, or the count is over. */
  get(of: string, key: string): { readonly used: number; readonly until: number } | undefined
  /** `until`: epoch ms at which the count is over. */
  set(of: string, key: string, used: number, until: number): void
}

// The audit trail: rows, and the chains in which they are kept.

/** An event as modules record it (ports/modules.ts), out of JSON. */
export type RecordedEvent = Readonly<Record<string, unknown>> & { readonly event: string }

/** `step-up`: allowed by the rules, and refused until the user approves more. */
export type AuditOutcome = 'allowed' | 'denied' | 'step-up' | 'failed'

/** Absent facts are null. Numbers are integers. */
export interface AuditRow {
  /** Epoch milliseconds. */
  readonly at: number
  readonly kind: string
  /** Key of the person: `provider:subject`. */
  readonly person: string | null
  /** Who did it, where that is not the person: an administrator, or `cli`. */
  readonly actor: string | null
  readonly client: string | null
  readonly service: string | null
  readonly method: string | null
  /** Tool, prompt, resource or task; of a failed sign-in the name tried; of a registration the app's name. */
  readonly name: string | null
  readonly decision: AuditOutcome
  /** Code of the refusal. */
  readonly code: string | null
  /** The access rule that decided. */
  readonly rule: string | null
  /** HTTP status that the caller saw. */
  readonly status: number | null
  /** Whether the tool said that it failed (`isError`): 1 or 0; null where the answer was not looked at. */
  readonly is_error: number | null
  readonly ms: number | null
  readonly ip: string | null
  readonly request: string | null
  /** Id of the login or connection attempt that it is part of. */
  readonly flow: string | null
  readonly grant: string | null
  /** Keyed digest of a tool call's arguments. */
  readonly digest: string | null
  /** SHA-256 of what was known of the caller, kept once (`AuditSubject`). */
  readonly subject: string | null
  /** JSON text. */
  readonly detail: string | null
}

/** What was known of a caller when it called, for whoever asks later what other rules would have said. */
export interface AuditSubject {
  readonly person: {
    readonly provider: string
    readonly subject: string
    readonly login?: string | undefined
    readonly email?: string | undefined
    readonly tenant?: string | undefined
    readonly groups: readonly string[]
    readonly groupsUnknown?: true | undefined
  }
  readonly client: string
  /** `Principal.redirectHost`. Earlier versions kept none. */
  readonly redirect?: string | undefined
  readonly scopes: readonly string[]
}

/** Calls of the trail that are alike. */
export interface AuditCombination extends Pick<
  AuditRow,
  'person' | 'client' | 'service' | 'method' | 'name' | 'subject' | 'decision' | 'code'
> {
  readonly calls: number
  /** Of the newest of them. */
  readonly request: string | null
}

/** The keyed digest of the arguments of one message of a call. */
export type ArgumentsDigest = (index: number, person: string, tool: string) => string | null

/** The last row of a chain. */
export interface ChainHead {
  readonly chain: string
  readonly seq: number
  readonly hash: string
}

export interface ChainedRow extends AuditRow {
  readonly chain: string
  /** From 1, without a gap. */
  readonly seq: number
  readonly hash: string
}

/** What is wrong, and where. */
export interface ChainFault {
  readonly what: 'changed' | 'missing' | 'moved' | 'cut' | 'damaged' | 'signature'
  readonly chain?: string
  readonly seq?: number
  readonly say: string
}

/** What is kept of the arguments and results of one tool call, beside the trail. */
export interface AuditBody {
  /** SHA-256 of the text, base64url: how rows name it. */
  readonly hash: string
  /** JSON: `salt`, `arguments`, `result`, and names of what was cut. */
  readonly text: string
  readonly at: number
  readonly person: string | null
  readonly request: string
}

/** What a verification of the trail found. */
export interface AuditCheck {
  readonly fault?: ChainFault | undefined
  /** Up to the fault. */
  readonly rows: number
  readonly chains: number
  /** Chains without an end: their process is running, or was killed. */
  readonly open: readonly ChainHead[]
  /** Ids of the keys with which it is signed. */
  readonly keys: readonly string[]
  /** Files that were damaged, and are not part of it since. */
  readonly aside: readonly { readonly file: string; readonly at: number }[]
}
