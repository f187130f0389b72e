// The access token of a call: from memory for half a second, otherwise from the store. It is refreshed before
// it expires.
import { createSingleFlight } from '../kit/single-flight.ts'
import type { Runtime } from '../ports/runtime.ts'
import { type Account, type AccountStore, type Owner, accountIn } from './accounts.ts'
import type { Refreshes } from './refresh.ts'

export interface AccountTokens {
  readonly kind: 'token'
  /** The keys in memory and in the store. */
  readonly key: string
  readonly id: string
  readonly access: string
  readonly account: Account
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
    return result.kind === 'token'
      ? { kind: 'token', key, id, access: result.access, account: result.account }
      : result
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
    return { kind: 'token', key, id, access: secrets.access, account }
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
      if (before && before.until > runtime.now()) return before.found
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
