// The accounts that people connected, one record for each person and service. The tokens of an account are
// sealed once more for person, service, issuer and account, so that a fault in the record cannot send one
// server the token of another.
import type * as oauth from 'oauth4webapi'
import { sealedRefusal } from '../kit/keyring.ts'
import { personKey, createRecords, keyMismatchOfRecord } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime, Timer } from '../ports/runtime.ts'
import type { ClientAuthMethod } from '../ports/services.ts'
import type { ClientRegistration } from './client-registration.ts'
import type { ProofKey } from './dpop.ts'

/** Whose: a person, or the gateway itself at services that it signs in to with credentials of its own. */
export type Owner = Person | 'gateway'

/** Tokens as they came. */
export interface Granted {
  readonly access: string
  readonly refresh?: string
  /** Milliseconds; absent where the server did not say. */
  readonly lifetimeMs?: number
  /** Absent: those that were asked for (RFC 6749 §5.1). */
  readonly scopes?: readonly string[]
  /** Of an identity provider; nobody has validated it yet. */
  readonly idToken?: string
  /** The access token is bound to the key that the request was proven with. */
  readonly bound?: true
}

/** What is kept of a token answer. Never in a log, a page or an answer. */
export interface Secrets {
  readonly access: string
  readonly refresh?: string
  /** As it came with the newest tokens of an identity provider. */
  readonly idToken?: string
  /** The newest ID token, where a service needs it to have it exchanged (RFC 8693). */
  readonly subjectToken?: string
  /** Of the client that the tokens belong to. */
  readonly clientSecret?: string
  /** What requests for tokens are proven with (RFC 9449), and calls where the access token is `bound` to it. */
  readonly proofKey?: ProofKey
  readonly bound?: true
}

/**
 * Somebody is asking for new tokens, and until when that is believed (epoch ms). Written before the request
 * goes out.
 */
export interface Lease {
  readonly fence: number
  readonly until: number
}

export interface Account {
  /** What the person calls it. */
  readonly name: string
  /**
   * Origin of the MCP server that it is for; absent for tokens of identity providers, which are for any
   * server of the operator's choice.
   */
  readonly at?: string
  readonly issuer: string
  readonly tokenEndpoint: string
  readonly revocationEndpoint?: string
  readonly clientId: string
  readonly method: ClientAuthMethod
  readonly resource?: string
  /** The identity provider whose sign-in was exchanged for it; nobody connected it. */
  readonly provider?: string
  /** Asked for, and granted. */
  readonly asked: readonly string[]
  readonly granted: readonly string[]
  /** Scopes that the upstream asked for beyond those, to be asked for at the next connecting. */
  readonly wanted?: readonly string[]
  readonly connectedAt: number
  /** Epoch ms; absent: nobody said, and the token is good until it is refused. */
  readonly expiresAt?: number
  /** When the tokens came, epoch ms. */
  readonly since: number
  /** One more with each new set of tokens. */
  readonly generation: number
  readonly refreshable: boolean
  readonly lease?: Lease
  /** Why the account has to be connected again. */
  readonly ended?: string
  /** `Secrets`, sealed. */
  readonly sealed: string
}

/** All of a person's accounts at one service; the default is the one that calls are made with. */
export interface Accounts {
  readonly chosen: string
  readonly list: readonly Account[]
  /** Key of the person; absent in records that were written before it was kept, and of the gateway itself. */
  readonly owner?: string
}

export interface StoredAccount {
  readonly accounts: Accounts
  readonly mark: string
}

export interface AccountStore {
  /** The id of the record, also the key for everything that is done once for it. */
  idOf(owner: Owner, service: string): string
  read(id: string): Promise<StoredAccount | undefined>
  /**
   * Only over the version read (`absent`: only where there is none); the new mark, undefined when somebody
   * else wrote meanwhile.
   */
  write(id: string, accounts: Accounts, over: string): Promise<string | undefined>
  /**
   * Reads, changes, writes, until nobody came between. `change` answers undefined to leave everything as it
   * is.
   */
  change(
    id: string,
    change: (accounts: Accounts | undefined) => Promise<Accounts | undefined> | Accounts | undefined,
  ): Promise<void>
  /** All records, so many read at once. */
  pages(limit: number): AsyncIterable<readonly { readonly id: string; readonly value: Accounts }[]>
  /** IDs of the records of a person, of these services only if they are named. */
  idsOf(
    person: Pick<Person, 'provider' | 'subject'>,
    services?: readonly string[],
  ): Promise<readonly string[]>
  /** Removes them, and answers what was in them. */
  takeAll(
    person: Pick<Person, 'provider' | 'subject'>,
    services?: readonly string[],
  ): AsyncIterable<{ readonly id: string; readonly accounts: Accounts }>
  seal(id: string, account: Pick<Account, 'issuer' | 'name'>, secrets: Secrets): Promise<string>
  /** Undefined when the sealed text is not of this account. */
  open(id: string, account: Account): Promise<Secrets | undefined>
}

/** Unused for longer than this, an account is forgotten. */
const keepMs = 400 * 86_400_000
const attempts = 10

const ownerKey = (owner: Owner): string => (owner === 'gateway' ? 'gateway:' : personKey(owner))

export const createAccountStore = ({
  runtime,
}: {
  readonly runtime: Pick<Runtime, 'store' | 'keys' | 'log' | 'digest'>
}): AccountStore => {
  const records = createRecords<Accounts>(runtime, 'connection:')
  const contextOf = (id: string, { issuer, name }: Pick<Account, 'issuer' | 'name'>): string =>
    `upstream-token\n${id}\n${issuer}\n${name}`

  const read: AccountStore['read'] = async (id) => {
    const kept = await records.get(id)
    return kept && { accounts: kept.value, mark: kept.mark }
  }
  const idsOf: AccountStore['idsOf'] = async (person, services) => {
    const owner = `${runtime.digest(personKey(person))}:`
    if (services) return services.map((service) => owner + service)
    const prefix = 'connection:'
    return (await runtime.store.list(prefix + owner)).map(({ key }) => key.slice(prefix.length))
  }
  const write: AccountStore['write'] = (id, accounts, over) =>
    records.put(id, accounts, { only: over, ttlMs: keepMs })

  return {
    idOf: (owner, service) => `${runtime.digest(ownerKey(owner))}:${service}`,
    read,
    write,
    async change(id, change) {
      for (let i = 0; i < attempts; i++) {
        const kept = await read(id)
        const changed = await change(kept?.accounts)
        if (changed === undefined || (await write(id, changed, kept?.mark ?? 'absent')) !== undefined) return
      }
      throw new Refusal('storage.unavailable', `connection record ${id} changes too often`)
    },
    pages: (limit) => records.pages(limit),
    idsOf,
    async *takeAll(person, services) {
      for (const id of await idsOf(person, services)) {
        const taken = await records.take(id)
        if (taken) yield { id, accounts: taken.value }
      }
    },
    seal: (id, account, secrets) => runtime.keys.seal(JSON.stringify(secrets), contextOf(id, account)),
    async open(id, account) {
      const text = await runtime.keys.open(account.sealed, contextOf(id, account))
      if (text !== undefined) return JSON.parse(text) as Secrets
      const misfit = await keyMismatchOfRecord(runtime, contextOf(id, account), account.sealed)
      // Damaged tokens are replaced by connecting again; those whose key is missing come back with the key.
      if (misfit?.kind === 'foreign') throw sealedRefusal(misfit)
      return undefined
    },
  }
}

/**
 * Whether the service has come to mean another server since the account was connected: its tokens are not for
 * that one.
 */
export const isElsewhere = ({ at }: Pick<Account, 'at'>, origin: string): boolean =>
  at !== undefined && at !== origin

/** The service of a record. */
export const serviceOf = (id: string): string => id.slice(id.indexOf(':') + 1)

/** The account that calls are made with, or the named one. */
export const accountIn = (accounts: Accounts | undefined, name?: string): Account | undefined =>
  accounts?.list.find((account) => account.name === (name ?? accounts.chosen))

/** With the account in place of the one of its name, or as the last. */
export const withAccount = (accounts: Accounts | undefined, account: Account): Accounts => {
  const list = accounts?.list ?? []
  const known = list.some(({ name }) => name === account.name)
  return {
    ...accounts,
    chosen: accounts?.chosen || account.name,
    list: known ? list.map((other) => (other.name === account.name ? account : other)) : [...list, account],
  }
}

/** Without it; the first of the others is chosen where it was. */
export const withoutAccount = (accounts: Accounts, name: string): Accounts => {
  const list = accounts.list.filter((account) => account.name !== name)
  return { ...accounts, chosen: accounts.chosen === name ? (list[0]?.name ?? '') : accounts.chosen, list }
}

/** The account with its new tokens. */
export const refreshedAccount = (
  account: Account,
  granted: Granted,
  sealed: string,
  now: number,
): Account => {
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

// Saves the tokens of an account that was connected.

/** What is saved of an authorization. */
export interface AuthorizedAccount {
  readonly service: string
  readonly account: string
  /** Origin of the MCP server; absent for an identity provider. */
  readonly at?: string
  readonly as: oauth.AuthorizationServer
  readonly registration: Pick<ClientRegistration, 'clientId' | 'method' | 'secret'>
  readonly resource?: string
  readonly asked: readonly string[]
  readonly proofKey?: ProofKey
  readonly subjectToken?: string
}

/**
 * Saves the tokens as the account that the authorization was for. They replace the tokens of an account with
 * that name.
 */
export type SaveTokens = (authorization: AuthorizedAccount, person: Person, granted: Granted) => Promise<void>

interface SaveTokensDeps {
  readonly runtime: Pick<Runtime, 'now'>
  readonly accounts: AccountStore
  readonly accessTokens: {
    /** Drops the token in memory. */
    forget(owner: Owner, service: string): void
  }
}

/** What is sealed of a first token answer. */
export const secretsOf = (
  { access, refresh, bound }: Granted,
  {
    clientSecret,
    proofKey,
    subjectToken,
  }: { readonly [Name in 'clientSecret' | 'proofKey' | 'subjectToken']?: Secrets[Name] | undefined },
): Secrets => ({
  access,
  ...(refresh !== undefined && { refresh }),
  ...(clientSecret !== undefined && { clientSecret }),
  ...(proofKey && { proofKey }),
  ...(subjectToken !== undefined && { subjectToken }),
  ...(bound && { bound }),
})

/** The account as it is before its first tokens. */
const fresh = (
  { account, at, as, registration, resource, asked }: AuthorizedAccount,
  before: Account | undefined,
  refreshable: boolean,
  now: number,
): Account => ({
  name: account,
  ...(at !== undefined && { at }),
  issuer: as.issuer,
  tokenEndpoint: as.token_endpoint ?? '',
  ...(as.revocation_endpoint !== undefined && { revocationEndpoint: as.revocation_endpoint }),
  clientId: registration.clientId,
  method: registration.method,
  ...(resource !== undefined && { resource }),
  asked,
  granted: asked,
  connectedAt: now,
  since: now,
  // Whoever still holds the former tokens must see that these are later ones.
  generation: before?.generation ?? 0,
  refreshable,
  sealed: '',
})

export const createSaveTokens =
  ({ runtime, accounts, accessTokens }: SaveTokensDeps): SaveTokens =>
  async (authorization, person, { refresh, ...granted }) => {
    const id = accounts.idOf(person, authorization.service)
    const { proofKey, registration, subjectToken } = authorization
    const secrets = secretsOf(
      { ...granted, ...(refresh !== undefined && { refresh }) },
      { clientSecret: registration.secret, proofKey, subjectToken },
    )
    await accounts.change(id, async (current): Promise<Accounts> => {
      const account = fresh(
        authorization,
        accountIn(current, authorization.account),
        refresh !== undefined,
        runtime.now(),
      )
      const sealed = await accounts.seal(id, account, secrets)
      return {
        ...withAccount(current, refreshedAccount(account, granted, sealed, runtime.now())),
        owner: personKey(person),
      }
    })
    accessTokens.forget(person, authorization.service)
  }

// The first token of an account that is connected without a browser: there is no account yet that could be leased.

const claimMs = 9_000
const claimPauseMs = 100

export const pause = (timer: Timer, ms: number): Promise<void> =>
  new Promise((resolve) => void timer(ms, resolve))

interface ClaimDeps {
  readonly runtime: Pick<Runtime, 'now' | 'timer' | 'store'>
  readonly accounts: Pick<AccountStore, 'read'>
}

/**
 * One process gets the first token, and the others find its account: a company that counts assertions sees one. Where
 * the one that began does not end, the next begins. Throws `late`.
 */
export const createClaimedWork =
  ({ runtime: { now, store, timer }, accounts }: ClaimDeps) =>
  async (id: string, work: () => Promise<void>, late: () => Refusal): Promise<void> => {
    const key = `connection-claim:${id}`
    const before = (await accounts.read(id))?.mark
    const deadline = now() + 2 * claimMs
    for (;;) {
      const mark = await store.put(key, '', { ttlMs: claimMs, only: 'absent' })
      const isDone = (await accounts.read(id))?.mark !== before
      if (mark !== undefined) {
        try {
          if (!isDone) await work()
        } finally {
          // It may be another process's by now: this one was too slow then.
          await store.put(key, '', { ttlMs: 1, only: mark }).catch(() => undefined)
        }
        return
      }
      if (isDone) return
      if (now() >= deadline) throw late()
      await pause(timer, claimPauseMs)
    }
  }
