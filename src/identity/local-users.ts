// People whom the gateway itself signs in: those whose passwords are in the configuration, and without any the
// owner, by a link. And who of all people may still come in.
import type { Config } from '../config/schema.ts'
import { decodeBase64url, encodeBase64url, sameText } from '../kit/bytes.ts'
import { personKey, servesProvider, serviceAccounts } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { MayStillSignIn } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import type { IdentityProvider } from './providers/provider.ts'

export interface LocalPeople {
  /** Whether anybody signs in with a password. */
  readonly any: boolean
  /** As the configuration describes them now. */
  all(): readonly Person[]
  /** The person as the configuration describes them now. */
  find(username: string): Person | undefined
  /**
   * The person, when username and password belong together; an unknown username takes as long as a wrong
   * password. `known`: the username signed in from this browser before, so a crowd of strangers does not keep
   * it out. Throws `sign-in.busy`.
   */
  check(username: string, password: string, known: boolean): Promise<Person | undefined>
}

export interface LocalPeopleDeps {
  readonly runtime: Pick<Runtime, 'passwords' | 'digest'>
  readonly users: Config['local_users']
}

type User = Config['local_users'][number]

// The same "é" from any keyboard (RFC 8265 §4.2.2: NFC for passwords).
const normal = (text: string): string => text.normalize('NFC')
const longest = 1024
// A hash costs tens of milliseconds and megabytes: strangers may queue this many at once, known browsers as
// many again.
const queue = 32

const personOf = (user: User): Person => ({
  provider: 'local',
  subject: user.username,
  login: user.username,
  name: user.name ?? user.username,
  groups: user.groups,
  ...(user.email === undefined ? {} : { email: user.email }),
})

/**
 * Every check costs one slow hash, whoever it is about. A plain password needs none to be compared (who reads
 * the configuration has it), so its hash is made for the time it takes alone: nothing is prepared before the
 * first check, which on Workers would be seconds in each new isolate.
 */
export const createLocalPeople = ({ runtime, users }: LocalPeopleDeps): LocalPeople => {
  const fits = async ({ password, password_hash: hash }: User, given: string): Promise<boolean> => {
    if (hash !== undefined) return runtime.passwords.verify(given, hash)
    await runtime.passwords.hash(given)
    return password !== undefined && sameText(runtime.digest(normal(password)), runtime.digest(given))
  }

  let queued = 0
  const inTurn = async (known: boolean, work: () => Promise<boolean>): Promise<boolean> => {
    if (queued >= (known ? 2 * queue : queue))
      throw new Refusal('sign-in.busy', `${queued} password checks queued`, {
        headers: { 'retry-after': '1' },
      })
    queued++
    try {
      await runtime.passwords.turn?.(known)
      return await work()
    } finally {
      queued--
    }
  }

  return {
    any: users.length > 0,
    all: () => users.map(personOf),
    find(username) {
      const user = users.find((candidate) => candidate.username === username)
      return user && personOf(user)
    },
    async check(username, password, known) {
      if (users.length === 0) return undefined
      const name = normal(username)
      const user = users.find(({ username: known }) => normal(known) === name)
      // An unknown name also costs one hash, with the parameters of a user that is always the same for that
      // name, so that time tells nothing.
      const standIn = users[(decodeBase64url(runtime.digest(name))?.[0] ?? 0) % users.length]
      const measured = user ?? standIn
      const right = await inTurn(
        known,
        async () => measured !== undefined && (await fits(measured, normal(password).slice(0, longest))),
      )
      return right && user && password.length <= longest ? personOf(user) : undefined
    },
  }
}

// The magic link: a sign-in link that the terminal prints, valid once and for fifteen minutes.

/** The built-in person. Exists only while neither local users nor providers are configured. */
export const owner: Person = {
  provider: 'local',
  subject: 'owner',
  login: 'owner',
  name: 'Owner',
  groups: ['admins'],
}

export const linkLifetimeMs = 15 * 60_000

export interface LoginLinks {
  readonly enabled: boolean
  /** A new secret; the link is `{issuer}/?t={secret}`. */
  mint(): Promise<string>
  /** True for exactly one caller per secret, within fifteen minutes. */
  redeem(secret: string): Promise<boolean>
}

export interface LoginLinksDeps {
  readonly runtime: Pick<Runtime, 'random' | 'store' | 'digest'>
  readonly enabled: boolean
}

/** Links in the store under `login-link:{digest}`; the secret itself is kept nowhere. */
export const createLoginLinks = ({ runtime, enabled }: LoginLinksDeps): LoginLinks => ({
  enabled,
  async mint() {
    const secret = encodeBase64url(runtime.random(32))
    await runtime.store.put(`login-link:${runtime.digest(secret)}`, '{}', {
      ttlMs: linkLifetimeMs,
      only: 'absent',
    })
    return secret
  },
  async redeem(secret) {
    if (!enabled || !/^[A-Za-z0-9_-]{43}$/.test(secret)) return false
    return (await runtime.store.take(`login-link:${runtime.digest(secret)}`)) !== undefined
  },
})

// Who may still come in: people stay in sessions and grants for weeks, and the configuration that admitted
// them changes meanwhile.

export interface AccessRulesDeps {
  readonly accounts: Config['service_accounts']
  readonly people: LocalPeople
  readonly providers: ReadonlyMap<string, IdentityProvider>
  readonly links: LoginLinks
  readonly directory: Directory
}

/** A service account is named for its services: nobody signs in as one, so how people do is nothing to it. */
const accountOf = (
  accounts: Config['service_accounts'],
  id: string,
  service: string | undefined,
): Person | undefined => {
  const account = Object.hasOwn(accounts, id) ? accounts[id] : undefined
  const { services = [], name = id, groups = [] } = account ?? {}
  const serves = service === undefined || services.includes('*') || services.includes(service)
  const person = { provider: serviceAccounts, subject: id }
  return account && serves ? { ...person, login: personKey(person), name, groups } : undefined
}

/** Decided by the configuration and by what the provider said at the sign-in; no provider is asked. */
export const createAccessRules =
  ({ accounts, people, providers, links, directory }: AccessRulesDeps): MayStillSignIn =>
  (person, resource) => {
    const service = resource === undefined ? undefined : directory.resolve(resource)?.service
    if (person.provider === serviceAccounts) return accountOf(accounts, person.subject, service?.id)
    if (service && !servesProvider(service, person.provider)) return undefined
    if (person.provider === owner.provider)
      return (
        people.find(person.subject) ?? (links.enabled && person.subject === owner.subject ? owner : undefined)
      )
    const provider = providers.get(person.provider)
    return provider && provider.denied(person) === undefined ? person : undefined
  }
