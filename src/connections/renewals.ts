// New tokens for old, once however many ask: one flight in this process, one lease among processes.
import { createOnce } from '../kit/once.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Runtime } from '../ports/runtime.ts'
import { type Account, type AccountStore, accountIn, type Secrets } from './accounts.ts'
import { errorOf, isPermanent } from './faults.ts'
import { createSuccession, pause, type Renewed, renewedAccount, type Succession } from './succession.ts'
import type { Granted } from './tokens.ts'

/** Asks the authorization server. Undefined: this account has nothing to ask with. Rejects with whatever the request threw. */
export type AskAnew = (id: string, account: Account, secrets: Secrets) => Promise<Granted> | undefined

export interface Renewals {
  /** Tokens of a generation after the given one, which was found wanting. Rejects with `storage.unavailable` alone. */
  renew(id: string, name: string, generation: number): Promise<Renewed>
}

/** Tokens that came for an account which was disconnected meanwhile: nobody will ever use them. */
export type Discard = (id: string, account: Account, secrets: Secrets) => Promise<void>

interface RenewalsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'defer' | 'log'>
  readonly accounts: AccountStore
  readonly ask: AskAnew
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

type Perform = (id: string, account: Account, secrets: Secrets, fence: number) => Promise<Renewed>

/** One request under a lease that is ours, and what is written down of its answer. */
const createPerform = ({ runtime, accounts, ask, discard }: RenewalsDeps, succession: Succession, rest: ReturnType<typeof createRest>): Perform => {
  const failed = async (id: string, account: Account, fence: number, thrown: unknown): Promise<Renewed> => {
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
    const next: Secrets = { ...secrets, access: granted.access, ...(granted.refresh !== undefined && { refresh: granted.refresh }) }
    const kept = await succession.persist(id, account, renewedAccount(account, granted, await accounts.seal(id, account, next), runtime.now()))
    if (!kept) runtime.defer(discard(id, account, next))
    return succession.newer(id, account, { kind: 'ended', why: 'disconnected during the refresh' })
  }
}

export const createRenewals = (deps: RenewalsDeps): Renewals => {
  const { runtime, accounts } = deps
  const once = createOnce(runtime)
  const succession = createSuccession(deps)
  const rest = createRest(runtime.now)
  const perform = createPerform(deps, succession, rest)

  const run = async (id: string, name: string, generation: number): Promise<Renewed> => {
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
          runtime.log('error', 'upstream.refresh-failed', { connection: id, why: error instanceof Error ? (error.stack ?? error.message) : String(error) })
          return { kind: 'later', why: said(error) } as const
        }),
      ),
  }
}
