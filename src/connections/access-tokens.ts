// The access token of a call: from memory for half a second, otherwise from the store. It is refreshed before
// it expires, once for all who ask: a single flight in this process, a lease among processes.
import { Refusal } from '../kit/refusal.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import type { Runtime, Timer } from '../ports/runtime.ts'
import {
  type Account,
  type AccountStore,
  type Accounts,
  type Granted,
  type Owner,
  type Secrets,
  type StoredAccount,
  accountIn,
  pause,
  refreshedAccount,
  withAccount,
} from './accounts.ts'
import type { ProofKey } from './dpop.ts'
import { isOfProvider } from './provider-tokens.ts'
import { errorOf, isPermanent, isVerdict } from './upstream.ts'

export interface AccountTokens {
  readonly kind: 'token'
  /** The keys in memory and in the store. */
  readonly key: string
  readonly id: string
  readonly access: string
  readonly account: Account
  /** What calls with it are proven with; absent: it is a Bearer token. */
  readonly proofKey?: ProofKey | undefined
}

/**
 * `none`: no account. `ended`: the account must be connected again. `later`: the token has expired, and a new
 * one cannot be had right now.
 */
export type TokenLookup =
  | AccountTokens
  | { readonly kind: 'none' }
  | { readonly kind: 'ended' | 'later'; readonly why: string }

export interface AccessTokens {
  /** Synchronous for half a second after the last lookup. */
  find(owner: Owner, service: string): TokenLookup | Promise<TokenLookup>
  /** The next token, after the server refused this one. */
  replace(tokens: AccountTokens): Promise<TokenLookup>
  /** Drops the token in memory, because an account was connected, chosen or removed in this process. */
  forget(owner: Owner, service: string): void
}

interface AccessTokensDeps {
  readonly runtime: Pick<Runtime, 'now' | 'defer'>
  readonly accounts: AccountStore
  readonly refreshes: Refreshes
}

/** A change of an account in another process takes effect within this time, as with grants. */
const freshMs = 500
const maxEntries = 20_000
/** A token is refreshed this long before it expires, or in the last quarter of a short lifetime. */
const earlyMs = 300_000
/**
 * Closer to its expiry than this, a token may expire on the way. A token that lives for seconds is used
 * almost until it expires.
 */
const expiryMarginOf = ({ since, expiresAt = Infinity }: Pick<Account, 'since' | 'expiresAt'>): number =>
  Math.min(5_000, (expiresAt - since) / 8)

/**
 * How long before its expiry a token is refreshed: early enough for a long call, late enough that a
 * short-lived token can be used.
 */
export const marginOf = ({ since, expiresAt = Infinity }: Pick<Account, 'since' | 'expiresAt'>): number =>
  Math.min(earlyMs, (expiresAt - since) / 4)

const keyOf = (owner: Owner, service: string): string =>
  `${owner === 'gateway' ? 'gateway' : `${owner.provider}\n${owner.subject}`}\n${service}`

export const createAccessTokens = ({ runtime, accounts, refreshes }: AccessTokensDeps): AccessTokens => {
  const kept = new Map<string, { readonly found: TokenLookup; readonly until: number }>()
  const singleFlight = createSingleFlight(runtime)

  const refreshed = async (key: string, id: string, account: Account): Promise<TokenLookup> => {
    const result = await refreshes.refresh(id, account.name, account.generation)
    return result.kind === 'token' ? { ...result, key, id } : result
  }

  const read = async (key: string, owner: Owner, service: string): Promise<TokenLookup> => {
    const id = accounts.idOf(owner, service)
    const account = accountIn((await accounts.read(id))?.accounts)
    if (!account) return { kind: 'none' }
    if (account.ended !== undefined) return { kind: 'ended', why: account.ended }
    const left = (account.expiresAt ?? Infinity) - runtime.now()
    // A token without a refresh token is used until it expires; the server decides.
    if (left <= (account.refreshable ? expiryMarginOf(account) : 0)) return refreshed(key, id, account)
    const secrets = await accounts.open(id, account)
    if (!secrets) return refreshed(key, id, account)
    if (account.refreshable && left <= marginOf(account))
      runtime.defer(refreshes.refresh(id, account.name, account.generation))
    return { ...tokenIn(secrets, account), key, id }
  }

  const remember = (key: string, found: TokenLookup): TokenLookup => {
    if (kept.size >= maxEntries) kept.delete(kept.keys().next().value as string)
    const ends =
      found.kind === 'token'
        ? (found.account.expiresAt ?? Infinity) - expiryMarginOf(found.account)
        : Infinity
    kept.set(key, { found, until: Math.min(runtime.now() + freshMs, ends) })
    return found
  }

  return {
    find(owner, service) {
      const key = keyOf(owner, service)
      const before = kept.get(key)
      const left = before ? before.until - runtime.now() : 0
      // More is left only after the clock was set back.
      if (before && left > 0 && left <= freshMs) return before.found
      kept.delete(key)
      return singleFlight(key, async () => remember(key, await read(key, owner, service)))
    },
    async replace({ key, id, account }) {
      kept.delete(key)
      return refreshed(key, id, account)
    },
    forget(owner, service) {
      kept.delete(keyOf(owner, service))
    },
  }
}

// One refresh for all who ask.

type AccountToken = Omit<AccountTokens, 'key' | 'id'>

const tokenIn = ({ access, bound, proofKey }: Secrets, account: Account): AccountToken => ({
  kind: 'token',
  access,
  account,
  ...(bound && { proofKey }),
})

type RefreshedAccount =
  | AccountToken
  /** The account has to be connected again. */
  | { readonly kind: 'ended'; readonly why: string }
  /** A temporary failure. */
  | { readonly kind: 'later'; readonly why: string }

interface TokenRotation {
  /**
   * The fence of the lease, valid once it is written over the version that was read; undefined if another
   * process wrote first.
   */
  lease(id: string, kept: StoredAccount, account: Account): Promise<number | undefined>
  release(id: string, account: Account, fence: number): Promise<void>
  /**
   * Saves the account before anybody uses its tokens; false: the account was removed. Rejects with
   * `storage.unavailable`; the tokens then stay in memory until `rescue`.
   */
  persist(id: string, before: Account, after: Account): Promise<boolean>
  /** Saves what an earlier `persist` could not. */
  rescue(id: string, name: string): Promise<void>
  end(id: string, account: Account, why: string): Promise<RefreshedAccount>
  /** What the store holds now, when that is newer; `otherwise` when it is not. */
  newer(id: string, account: Account, otherwise: RefreshedAccount): Promise<RefreshedAccount>
  tokenOf(id: string, account: Account): Promise<RefreshedAccount>
}

/**
 * Longer than a request (5 s) and saving its response, shorter than a caller waits (10 s): if the process
 * dies, another one continues.
 */
const leaseMs = 9_000

const saveAttempts = 5

const withoutLease = (account: Account): Account => {
  const { lease: _, ...rest } = account
  return rest
}

/**
 * The current account, when it is still the one of that generation; another of its name, connected since, is
 * not.
 */
const unchanged = (
  accounts: Accounts | undefined,
  { name, generation, issuer, connectedAt }: Account,
): Account | undefined => {
  const current = accountIn(accounts, name)
  return current?.generation === generation &&
    current.issuer === issuer &&
    current.connectedAt === connectedAt
    ? current
    : undefined
}

const createPersistence = (
  accounts: AccountStore,
  timer: Timer,
): Pick<TokenRotation, 'persist' | 'rescue'> => {
  /**
   * Tokens that could not be saved. Without them the account would be lost, because the server has replaced
   * the old ones.
   */
  const unsaved = new Map<string, { readonly before: Account; readonly after: Account }>()

  const save = async (id: string, before: Account, after: Account): Promise<boolean> => {
    let kept = false
    await accounts.change(id, (current) => {
      const same = unchanged(current, before)
      kept = same !== undefined
      return same && withAccount(current, { ...after, ...(same.wanted && { wanted: same.wanted }) })
    })
    return kept
  }

  return {
    async persist(id, before, after) {
      for (let i = 0; ; i++) {
        try {
          return await save(id, before, after)
        } catch (error) {
          if (i + 1 >= saveAttempts) {
            unsaved.set(`${id}\n${before.name}`, { before, after })
            throw error
          }
          await pause(timer, pauseMs * 2 ** i)
        }
      }
    },
    async rescue(id, name) {
      const key = `${id}\n${name}`
      const kept = unsaved.get(key)
      if (!kept) return
      await save(id, kept.before, kept.after)
      unsaved.delete(key)
    },
  }
}

const createTokenRotation = ({
  runtime,
  accounts,
}: {
  readonly runtime: Pick<Runtime, 'now' | 'timer'>
  readonly accounts: AccountStore
}): TokenRotation => {
  const tokenOf: TokenRotation['tokenOf'] = async (id, account) => {
    const secrets = await accounts.open(id, account)
    return secrets ? tokenIn(secrets, account) : { kind: 'ended', why: 'stored tokens cannot be decrypted' }
  }

  const newer: TokenRotation['newer'] = async (id, account, otherwise) => {
    const current = accountIn((await accounts.read(id))?.accounts, account.name)
    return current && current.generation > account.generation && current.ended === undefined
      ? tokenOf(id, current)
      : otherwise
  }

  return {
    ...createPersistence(accounts, runtime.timer),
    tokenOf,
    newer,
    async lease(id, kept, account) {
      const fence = (account.lease?.fence ?? 0) + 1
      const leased = withAccount(kept.accounts, {
        ...account,
        lease: { fence, until: runtime.now() + leaseMs },
      })
      return (await accounts.write(id, leased, kept.mark)) === undefined ? undefined : fence
    },
    async release(id, account, fence) {
      const released = accounts.change(id, (current) => {
        const same = unchanged(current, account)
        return same?.lease?.fence === fence ? withAccount(current, withoutLease(same)) : undefined
      })
      // A lease that remains only makes others wait until it expires.
      await released.catch(() => undefined)
    },
    async end(id, account, why) {
      await accounts.change(id, (current) => {
        const same = unchanged(current, account)
        return same && withAccount(current, { ...withoutLease(same), ended: why })
      })
      return newer(id, account, { kind: 'ended', why })
    },
  }
}

/**
 * Sends the token request. Undefined: this account has no refresh token. Rejects with the error of the
 * request.
 */
export type RequestTokens = (id: string, account: Account, secrets: Secrets) => Promise<Granted> | undefined

export interface Refreshes {
  /**
   * Tokens of a generation after the given one, which was found wanting. Rejects with `storage.unavailable`
   * alone.
   */
  refresh(id: string, name: string, generation: number): Promise<RefreshedAccount>
}

/** Revokes tokens for an account that was disconnected during the refresh. */
export type Discard = (id: string, account: Account, secrets: Secrets) => Promise<void>

interface RefreshesDeps {
  readonly runtime: Pick<Runtime, 'now' | 'timer' | 'defer' | 'log'>
  readonly accounts: AccountStore
  readonly requestTokens: RequestTokens
  readonly discard: Discard
}

const maxWaitMs = 10_000
const pauseMs = 100
/** After a temporary failure no request is sent for this long. */
const backoffMs = 2_000
const maxFailures = 10_000

const messageOf = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown))

/** Temporary failures of a moment ago, with their reasons. */
const createBackoff = (now: () => number) => {
  const failures = new Map<string, { readonly until: number; readonly why: string }>()
  return {
    of(key: string): string | undefined {
      const failure = failures.get(key)
      return failure && failure.until > now() ? failure.why : undefined
    },
    begin(key: string, why: string): void {
      if (failures.size >= maxFailures) failures.clear()
      failures.set(key, { until: now() + backoffMs, why })
    },
  }
}

type RefreshUnderLease = (
  id: string,
  account: Account,
  secrets: Secrets,
  fence: number,
) => Promise<RefreshedAccount>

const isGood = ({ expiresAt = 0 }: Account, now: number): boolean => expiresAt > now

/** One token request under this process's lease. Its result is saved before anybody uses it. */
const createRefreshUnderLease = (
  { runtime, accounts, requestTokens, discard }: RefreshesDeps,
  rotation: TokenRotation,
  backoff: ReturnType<typeof createBackoff>,
): RefreshUnderLease => {
  const failed = async (
    id: string,
    account: Account,
    fence: number,
    thrown: unknown,
  ): Promise<RefreshedAccount> => {
    const error = errorOf(thrown)
    // An identity provider that does not know the gateway says nothing of the person.
    if (isPermanent(error) && (error === 'invalid_grant' || !isOfProvider(id))) {
      runtime.log('warn', 'upstream.account-ended', { connection: id, issuer: account.issuer, why: error })
      return rotation.end(id, account, error ?? '')
    }
    // The next call hears which. What the token may still be used for is the company's decision alone.
    if (isVerdict(thrown) && (thrown.code === 'connection.company-denied' || !isGood(account, runtime.now())))
      return rotation.end(id, account, thrown.code)
    const why = error ?? messageOf(thrown)
    backoff.begin(`${id}\n${account.name}`, why)
    runtime.log('warn', 'upstream.refresh-failed', { connection: id, issuer: account.issuer, why })
    await rotation.release(id, account, fence)
    return rotation.newer(id, account, { kind: 'later', why })
  }

  return async (id, account, secrets, fence) => {
    const requested = requestTokens(id, account, secrets)
    if (!requested) return rotation.end(id, account, 'expired')
    let granted: Granted
    try {
      granted = await requested
    } catch (thrown) {
      return failed(id, account, fence, thrown)
    }
    // RFC 6749 §6: an answer without a new refresh token leaves the old one in place.
    const { idToken: _, bound: __, ...before } = secrets
    const { access, refresh, idToken, bound } = granted
    const next: Secrets = {
      ...before,
      access,
      ...(refresh !== undefined && { refresh }),
      ...(idToken !== undefined && { idToken }),
      ...(idToken !== undefined && before.subjectToken !== undefined && { subjectToken: idToken }),
      ...(bound && { bound }),
    }
    const kept = await rotation.persist(
      id,
      account,
      refreshedAccount(account, granted, await accounts.seal(id, account, next), runtime.now()),
    )
    if (!kept) runtime.defer(discard(id, account, next))
    return rotation.newer(id, account, { kind: 'ended', why: 'disconnected during the refresh' })
  }
}

export const createRefreshes = (deps: RefreshesDeps): Refreshes => {
  const { runtime, accounts } = deps
  const once = createSingleFlight(runtime)
  const rotation = createTokenRotation(deps)
  const backoff = createBackoff(runtime.now)
  const refreshUnderLease = createRefreshUnderLease(deps, rotation, backoff)

  const run = async (id: string, name: string, generation: number): Promise<RefreshedAccount> => {
    const why = backoff.of(`${id}\n${name}`)
    if (why !== undefined) return { kind: 'later', why }
    const deadline = runtime.now() + maxWaitMs
    for (;;) {
      await rotation.rescue(id, name)
      const kept = await accounts.read(id)
      const account = accountIn(kept?.accounts, name)
      if (!kept || !account) return { kind: 'ended', why: 'not connected' }
      if (account.ended !== undefined) return { kind: 'ended', why: account.ended }
      if (account.generation !== generation) return rotation.tokenOf(id, account)
      const secrets = await accounts.open(id, account)
      if (!secrets) return rotation.end(id, account, 'stored tokens cannot be decrypted')
      if (account.lease && account.lease.until > runtime.now()) {
        if (runtime.now() >= deadline) return { kind: 'later', why: 'refresh in progress in another process' }
        await pause(runtime.timer, pauseMs)
      } else {
        const fence = await rotation.lease(id, kept, account)
        if (fence !== undefined) return refreshUnderLease(id, account, secrets, fence)
      }
    }
  }

  return {
    refresh: (id, name, generation) =>
      once(`${id}\n${name}\n${generation}`, () =>
        run(id, name, generation).catch((error: unknown) => {
          if (error instanceof Refusal && error.code.startsWith('storage.')) throw error
          runtime.log('error', 'upstream.refresh-failed', {
            connection: id,
            why: error instanceof Error ? (error.stack ?? error.message) : String(error),
          })
          return { kind: 'later', why: messageOf(error) } as const
        }),
      ),
  }
}
