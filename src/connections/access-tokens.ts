// The token that a call is made with: from memory for half a second, else from the store, renewed before it ends.
import { createSingleFlight } from '../kit/single-flight.ts'
import type { Runtime } from '../ports/runtime.ts'
import { type Account, type AccountStore, type Owner, accountIn } from './accounts.ts'
import type { Refreshes } from './refresh.ts'

export interface HeldTokens {
  readonly kind: 'token'
  /** Where memory keeps it, and the record. */
  readonly key: string
  readonly id: string
  readonly access: string
  readonly account: Account
}

/** `none`: no account. `ended`: it has to be connected again. `later`: its token has run out, and no other can be had right now. */
export type TokenLookup =
  | HeldTokens
  | { readonly kind: 'none' }
  | { readonly kind: 'ended' | 'later'; readonly why: string }

export interface AccessTokens {
  /** At once when it was asked for a moment ago. */
  draw(owner: Owner, service: string): TokenLookup | Promise<TokenLookup>
  /** After the server refused this token: the next one. */
  redraw(held: HeldTokens): Promise<TokenLookup>
  /** What was drawn does not count any more: an account was connected, chosen or removed in this process. */
  forget(owner: Owner, service: string): void
}

interface WalletDeps {
  readonly runtime: Pick<Runtime, 'now' | 'defer'>
  readonly accounts: AccountStore
  readonly renewals: Refreshes
}

/** Another process may have changed an account: it is heard of within this time, as with grants. */
const freshMs = 500
const mostKept = 20_000
/** A token is renewed this long before it ends, or in the last quarter of a short life. */
const earlyMs = 300_000
/** Closer to its end than this, a token may be refused on the way; one that lives for seconds is used nearly to its end. */
const tightOf = ({ since, expiresAt = Infinity }: Pick<Account, 'since' | 'expiresAt'>): number =>
  Math.min(5_000, (expiresAt - since) / 8)

/** How long before its end a token is renewed: early enough for a long call, late enough that a short-lived one serves at all. */
export const marginOf = ({ since, expiresAt = Infinity }: Pick<Account, 'since' | 'expiresAt'>): number =>
  Math.min(earlyMs, (expiresAt - since) / 4)

const keyOf = (owner: Owner, service: string): string =>
  `${owner === 'gateway' ? 'gateway' : `${owner.provider}\n${owner.subject}`}\n${service}`

export const createAccessTokens = ({ runtime, accounts, renewals }: WalletDeps): AccessTokens => {
  const kept = new Map<string, { readonly drawn: TokenLookup; readonly until: number }>()
  const once = createSingleFlight(runtime)

  const renewed = async (key: string, id: string, account: Account): Promise<TokenLookup> => {
    const result = await renewals.renew(id, account.name, account.generation)
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
    // A token without a successor is used to its end; the server has the last word.
    if (left <= (account.refreshable ? tightOf(account) : 0)) return renewed(key, id, account)
    const secrets = await accounts.open(id, account)
    if (!secrets) return renewed(key, id, account)
    if (account.refreshable && left <= marginOf(account))
      runtime.defer(renewals.renew(id, account.name, account.generation))
    return { kind: 'token', key, id, access: secrets.access, account }
  }

  const remember = (key: string, drawn: TokenLookup): TokenLookup => {
    if (kept.size >= mostKept) kept.delete(kept.keys().next().value as string)
    const ends =
      drawn.kind === 'token' ? (drawn.account.expiresAt ?? Infinity) - tightOf(drawn.account) : Infinity
    kept.set(key, { drawn, until: Math.min(runtime.now() + freshMs, ends) })
    return drawn
  }

  return {
    draw(owner, service) {
      const key = keyOf(owner, service)
      const before = kept.get(key)
      if (before && before.until > runtime.now()) return before.drawn
      kept.delete(key)
      return once(key, async () => remember(key, await read(key, owner, service)))
    },
    async redraw({ key, id, account }) {
      kept.delete(key)
      return renewed(key, id, account)
    },
    forget(owner, service) {
      kept.delete(keyOf(owner, service))
    },
  }
}
