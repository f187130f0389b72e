// What becomes of an account's record when its tokens are renewed: leased, succeeded, ended. Every change is made over the version that was read.
import type { Runtime } from '../ports/runtime.ts'
import { type Account, type AccountStore, accountIn, type Accounts, type Kept, withAccount } from './accounts.ts'
import type { Granted } from './tokens.ts'

export type Renewed =
  | { readonly kind: 'token'; readonly access: string; readonly account: Account }
  /** The account has to be connected again. */
  | { readonly kind: 'ended'; readonly why: string }
  /** Nobody knows right now; it may work in a moment. */
  | { readonly kind: 'later'; readonly why: string }

export interface Succession {
  /** The lease, ours from the moment it is written over the version that was read; undefined when somebody else wrote first. */
  lease(id: string, kept: Kept, account: Account): Promise<number | undefined>
  release(id: string, account: Account, fence: number): Promise<void>
  /** Kept before anybody uses it; false: the account is gone. Rejects with `storage.unavailable`; then it waits in memory for `rescue`. */
  persist(id: string, before: Account, after: Account): Promise<boolean>
  /** Writes down what an earlier `persist` could not. */
  rescue(id: string, name: string): Promise<void>
  end(id: string, account: Account, why: string): Promise<Renewed>
  /** What the store holds now, when that is newer; `otherwise` when it is not. */
  newer(id: string, account: Account, otherwise: Renewed): Promise<Renewed>
  tokenOf(id: string, account: Account): Promise<Renewed>
}

/** Longer than a request (5 s) and the writing of its answer take, shorter than a caller waits (10 s): when a process dies at it, whoever waits goes on after it. */
const leaseMs = 9_000
const pauseMs = 100
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
const unchanged = (accounts: Accounts | undefined, { name, generation, issuer, connectedAt }: Account): Account | undefined => {
  const current = accountIn(accounts, name)
  return current?.generation === generation && current.issuer === issuer && current.connectedAt === connectedAt ? current : undefined
}

const createPersistence = (accounts: AccountStore): Pick<Succession, 'persist' | 'rescue'> => {
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

export const createSuccession = ({ runtime, accounts }: { readonly runtime: Pick<Runtime, 'now'>; readonly accounts: AccountStore }): Succession => {
  const tokenOf: Succession['tokenOf'] = async (id, account) => {
    const secrets = await accounts.open(id, account)
    return secrets ? { kind: 'token', access: secrets.access, account } : { kind: 'ended', why: 'stored tokens cannot be decrypted' }
  }

  const newer: Succession['newer'] = async (id, account, otherwise) => {
    const current = accountIn((await accounts.read(id))?.accounts, account.name)
    return current && current.generation > account.generation && current.ended === undefined ? tokenOf(id, current) : otherwise
  }

  return {
    ...createPersistence(accounts),
    tokenOf,
    newer,
    async lease(id, kept, account) {
      const fence = (account.lease?.fence ?? 0) + 1
      const leased = withAccount(kept.accounts, { ...account, lease: { fence, until: runtime.now() + leaseMs } })
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
