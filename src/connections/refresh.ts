// New tokens for old, once however many ask: one flight in this process, one lease among processes.
import { Refusal } from '../kit/refusal.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import type { Runtime } from '../ports/runtime.ts'
import {
  type Account,
  type AccountStore,
  type Accounts,
  type StoredAccount,
  type Secrets,
  accountIn,
  withAccount,
} from './accounts.ts'
import type { Granted } from './token-endpoint.ts'
import { errorOf, isPermanent } from './upstream.ts'

// What becomes of an account's record when its tokens are renewed: leased, succeeded, ended. Every change is made over the version that was read.

export type RefreshedAccount =
  | { readonly kind: 'token'; readonly access: string; readonly account: Account }
  /** The account has to be connected again. */
  | { readonly kind: 'ended'; readonly why: string }
  /** Nobody knows right now; it may work in a moment. */
  | { readonly kind: 'later'; readonly why: string }

export interface TokenRotation {
  /** The lease, ours from the moment it is written over the version that was read; undefined when somebody else wrote first. */
  lease(id: string, kept: StoredAccount, account: Account): Promise<number | undefined>
  release(id: string, account: Account, fence: number): Promise<void>
  /** Kept before anybody uses it; false: the account is gone. Rejects with `storage.unavailable`; then it waits in memory for `rescue`. */
  persist(id: string, before: Account, after: Account): Promise<boolean>
  /** Writes down what an earlier `persist` could not. */
  rescue(id: string, name: string): Promise<void>
  end(id: string, account: Account, why: string): Promise<RefreshedAccount>
  /** What the store holds now, when that is newer; `otherwise` when it is not. */
  newer(id: string, account: Account, otherwise: RefreshedAccount): Promise<RefreshedAccount>
  tokenOf(id: string, account: Account): Promise<RefreshedAccount>
}

/** Longer than a request (5 s) and the writing of its answer take, shorter than a caller waits (10 s): when a process dies at it, whoever waits goes on after it. */
const leaseMs = 9_000

const saveAttempts = 5

export const pause = (ms: number): Promise<void> => new Promise((resolve) => void setTimeout(resolve, ms))

/** The account with its new tokens. */
export const renewedAccount = (account: Account, granted: Granted, sealed: string, now: number): Account => {
  const { lease: _, ended: __, expiresAt: ___, ...rest } = account
  return {
    ...rest,
    granted: granted.scopes ?? account.granted,
    generation: account.generation + 1,
    since: now,
    sealed,
    ...(granted.lifetimeMs !== undefined && { expiresAt: now + granted.lifetimeMs }),
  }
}

const withoutLease = (account: Account): Account => {
  const { lease: _, ...rest } = account
  return rest
}

/** The current account, when it is still the one of that generation; another of its name, connected since, is not. */
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

const createPersistence = (accounts: AccountStore): Pick<TokenRotation, 'persist' | 'rescue'> => {
  /** Tokens that could not be written down: without them the account would be lost, since the server has replaced the old ones. */
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
          await pause(pauseMs * 2 ** i)
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

export const createTokenRotation = ({
  runtime,
  accounts,
}: {
  readonly runtime: Pick<Runtime, 'now'>
  readonly accounts: AccountStore
}): TokenRotation => {
  const tokenOf: TokenRotation['tokenOf'] = async (id, account) => {
    const secrets = await accounts.open(id, account)
    return secrets
      ? { kind: 'token', access: secrets.access, account }
      : { kind: 'ended', why: 'stored tokens cannot be decrypted' }
  }

  const newer: TokenRotation['newer'] = async (id, account, otherwise) => {
    const current = accountIn((await accounts.read(id))?.accounts, account.name)
    return current && current.generation > account.generation && current.ended === undefined
      ? tokenOf(id, current)
      : otherwise
  }

  return {
    ...createPersistence(accounts),
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
      // A lease that stays only makes others wait for its end.
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

/** Asks the authorization server. Undefined: this account has nothing to ask with. Rejects with whatever the request threw. */
export type RequestTokens = (id: string, account: Account, secrets: Secrets) => Promise<Granted> | undefined

export interface Refreshes {
  /** Tokens of a generation after the given one, which was found wanting. Rejects with `storage.unavailable` alone. */
  renew(id: string, name: string, generation: number): Promise<RefreshedAccount>
}

/** Tokens that came for an account which was disconnected meanwhile: nobody will ever use them. */
export type Discard = (id: string, account: Account, secrets: Secrets) => Promise<void>

interface RenewalsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'defer' | 'log'>
  readonly accounts: AccountStore
  readonly ask: RequestTokens
  readonly discard: Discard
}

const patienceMs = 10_000
const pauseMs = 100
/** After a failure that may pass, nobody asks again for this long. */
const restMs = 2_000
const mostResting = 10_000

const said = (thrown: unknown): string => (thrown instanceof Error ? thrown.message : String(thrown))

/** What failed a moment ago in a way that may pass, and why. */
const createRest = (now: () => number) => {
  const resting = new Map<string, { readonly until: number; readonly why: string }>()
  return {
    of(key: string): string | undefined {
      const rest = resting.get(key)
      return rest && rest.until > now() ? rest.why : undefined
    },
    begin(key: string, why: string): void {
      if (resting.size >= mostResting) resting.clear()
      resting.set(key, { until: now() + restMs, why })
    },
  }
}

type Perform = (id: string, account: Account, secrets: Secrets, fence: number) => Promise<RefreshedAccount>

/** One request under a lease that is ours, and what is written down of its answer. */
const createPerform = (
  { runtime, accounts, ask, discard }: RenewalsDeps,
  succession: TokenRotation,
  rest: ReturnType<typeof createRest>,
): Perform => {
  const failed = async (
    id: string,
    account: Account,
    fence: number,
    thrown: unknown,
  ): Promise<RefreshedAccount> => {
    const error = errorOf(thrown)
    if (isPermanent(error)) {
      runtime.log('warn', 'upstream.account-ended', { connection: id, issuer: account.issuer, why: error })
      return succession.end(id, account, error ?? '')
    }
    const why = error ?? said(thrown)
    rest.begin(`${id}\n${account.name}`, why)
    runtime.log('warn', 'upstream.refresh-failed', { connection: id, issuer: account.issuer, why })
    await succession.release(id, account, fence)
    return succession.newer(id, account, { kind: 'later', why })
  }

  return async (id, account, secrets, fence) => {
    const asked = ask(id, account, secrets)
    if (!asked) return succession.end(id, account, 'expired')
    let granted: Granted
    try {
      granted = await asked
    } catch (thrown) {
      return failed(id, account, fence, thrown)
    }
    // RFC 6749 §6: an answer without a new refresh token leaves the old one in place.
    const next: Secrets = {
      ...secrets,
      access: granted.access,
      ...(granted.refresh !== undefined && { refresh: granted.refresh }),
    }
    const kept = await succession.persist(
      id,
      account,
      renewedAccount(account, granted, await accounts.seal(id, account, next), runtime.now()),
    )
    if (!kept) runtime.defer(discard(id, account, next))
    return succession.newer(id, account, { kind: 'ended', why: 'disconnected during the refresh' })
  }
}

export const createRefreshes = (deps: RenewalsDeps): Refreshes => {
  const { runtime, accounts } = deps
  const once = createSingleFlight(runtime)
  const succession = createTokenRotation(deps)
  const rest = createRest(runtime.now)
  const perform = createPerform(deps, succession, rest)

  const run = async (id: string, name: string, generation: number): Promise<RefreshedAccount> => {
    const why = rest.of(`${id}\n${name}`)
    if (why !== undefined) return { kind: 'later', why }
    const patience = runtime.now() + patienceMs
    for (;;) {
      await succession.rescue(id, name)
      const kept = await accounts.read(id)
      const account = accountIn(kept?.accounts, name)
      if (!kept || !account) return { kind: 'ended', why: 'not connected' }
      if (account.ended !== undefined) return { kind: 'ended', why: account.ended }
      if (account.generation !== generation) return succession.tokenOf(id, account)
      const secrets = await accounts.open(id, account)
      if (!secrets) return succession.end(id, account, 'stored tokens cannot be decrypted')
      if (account.lease && account.lease.until > runtime.now()) {
        if (runtime.now() >= patience) return { kind: 'later', why: 'refresh in progress in another process' }
        await pause(pauseMs)
      } else {
        const fence = await succession.lease(id, kept, account)
        if (fence !== undefined) return perform(id, account, secrets, fence)
      }
    }
  }

  return {
    renew: (id, name, generation) =>
      once(`${id}\n${name}\n${generation}`, () =>
        run(id, name, generation).catch((error: unknown) => {
          if (error instanceof Refusal && error.code.startsWith('storage.')) throw error
          runtime.log('error', 'upstream.refresh-failed', {
            connection: id,
            why: error instanceof Error ? (error.stack ?? error.message) : String(error),
          })
          return { kind: 'later', why: said(error) } as const
        }),
      ),
  }
}
