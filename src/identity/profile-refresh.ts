// What identity providers say of people after they signed in: profile and groups are asked for again while access
// is in use, and whoever the provider or the rules of the operator admit no more has none from then on.
import { type Records, createRecords, personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import type {
  Audit,
  ConfirmPerson,
  ConfirmedPerson,
  ProvisionPerson,
  RenewProviderTokens,
} from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { IdentityProvider } from './providers/provider.ts'
import { asTold } from './scim-groups.ts'

/** Sealed, under `profile:{digest of the person}`. */
interface ProfileRecord {
  readonly person: Person
  /** When the provider said so, epoch ms. */
  readonly confirmedAt: number
  /** Why the person has no access until they sign in again. */
  readonly gone?: string
}

interface RefreshSettings {
  /** Seconds; 0 for never. */
  readonly profile_refresh: number
  readonly profile_refresh_grace: number
}

export interface ProfileRefreshDeps {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'keys' | 'log' | 'digest' | 'defer'>
  readonly config: { readonly oauth_providers: Readonly<Record<string, RefreshSettings>> }
  readonly providers: ReadonlyMap<string, IdentityProvider>
  readonly renew: RenewProviderTokens
  /** Absent where no provider pushes groups. */
  readonly provision?: ProvisionPerson | undefined
  /** Writes the profile into every grant of the person. */
  readonly describe: (person: Person) => Promise<void>
  /** Ends everything of the person. */
  readonly end: (person: Person, reason: string) => Promise<unknown>
  readonly record: Audit
}

export interface ProfileRefresh {
  /** The provider has just described the person. */
  signedIn(person: Person): Promise<void>
  readonly confirm: ConfirmPerson
  /** A call of the person was let through: the provider is asked after it, if that is due. */
  inUse(person: Person): void
}

/** As long as tokens of providers are kept (connections/accounts.ts). */
const keepMs = 400 * 86_400_000
/** A provider that could not be asked is tried again after this time. */
const retryMs = 60_000
const maxKnown = 20_000

/** What this process knows of a person without looking. */
interface Standing {
  readonly until: number
  /** From when on, and why, there is no access without a word of the provider. */
  readonly closed?: { readonly at: number; readonly why: string }
}

const unreachable = (why: string): Refusal =>
  new Refusal('provider.unreachable', why, { headers: { 'retry-after': '30' } })

const isSame = (a: Person, b: Person): boolean => {
  const text = (said: Person): string => {
    const { groups, ...person } = asTold(said)
    return JSON.stringify([
      groups.toSorted(),
      Object.entries(person).toSorted(([one], [other]) => one.localeCompare(other)),
    ])
  }
  return text(a) === text(b)
}

const groupChanges = (before: Person, after: Person) => ({
  groups_added: after.groups.filter((group) => !before.groups.includes(group)),
  groups_removed: before.groups.filter((group) => !after.groups.includes(group)),
})

/** What the provider says now. Never rejects because of the provider. */
type Answer =
  | { readonly kind: 'person'; readonly person: Person }
  /** There is nothing to ask with: what was said at the sign-in stays. */
  | { readonly kind: 'silent' }
  | { readonly kind: 'gone'; readonly why: string }
  | { readonly kind: 'later'; readonly why: string }

const createAsk =
  ({ providers, renew, provision }: Pick<ProfileRefreshDeps, 'providers' | 'renew' | 'provision'>) =>
  async (former: Person): Promise<Answer> => {
    const provider = providers.get(former.provider)
    if (!provider?.profile) return { kind: 'silent' }
    const tokens = await renew(former)
    if (tokens.kind === 'none') return { kind: 'silent' }
    if (tokens.kind === 'refused') return { kind: 'gone', why: `refresh token refused: ${tokens.why}` }
    if (tokens.kind === 'later') return tokens
    let person: Person | undefined
    try {
      person = await provider.profile(tokens, former)
    } catch (error) {
      return { kind: 'later', why: error instanceof Error ? error.message : String(error) }
    }
    // GitHub takes a token until it is revoked or its user is gone; others may simply let it expire.
    if (!person)
      return provider.tokensLast ? { kind: 'gone', why: 'access token refused' } : { kind: 'silent' }
    const denied = provider.denied(provision ? await provision(person) : person)
    return denied ? { kind: 'gone', why: denied.why } : { kind: 'person', person }
  }

interface Settings {
  readonly everyMs: number
  readonly graceMs: number
}
type FindSettings = (person: Person) => Settings | undefined

interface Standings {
  /** Undefined: the person has to be looked up. */
  of(key: string): Standing | undefined
  note(key: string, standing: Standing): void
}

const createStandings = ({ now }: Pick<Runtime, 'now'>): Standings => {
  const known = new Map<string, Standing>()
  return {
    of(key) {
      const standing = known.get(key)
      return standing && now() < standing.until ? standing : undefined
    },
    note(key, standing) {
      known.delete(key)
      if (known.size >= maxKnown) known.delete(known.keys().next().value as string)
      known.set(key, standing)
    },
  }
}

type Profiles = Records<ProfileRecord>

const write = (profiles: Profiles, id: string, profile: ProfileRecord): Promise<unknown> =>
  profiles.put(id, profile, { ttlMs: keepMs })

/** Asks the provider, and does what follows from its answer. */
const createReview = (deps: ProfileRefreshDeps, profiles: Profiles, { note }: Standings) => {
  const { runtime, describe, end, record } = deps
  const ask = createAsk(deps)

  const remove = async (key: string, former: ProfileRecord, why: string): Promise<ConfirmedPerson> => {
    const { person } = former
    await write(profiles, runtime.digest(key), { ...former, gone: why })
    record({ event: 'person.removed', person: key, provider: person.provider, reason: why })
    await end(person, 'removed_at_provider')
    return { kind: 'gone', why }
  }

  const keep = async (key: string, former: Person, person: Person): Promise<ConfirmedPerson> => {
    await write(profiles, runtime.digest(key), { person, confirmedAt: runtime.now() })
    if (isSame(person, former)) return { kind: 'same' }
    await describe(person)
    record({
      event: 'person.changed',
      person: key,
      provider: former.provider,
      ...groupChanges(former, person),
    })
    return { kind: 'known', person }
  }

  return async (key: string, former: ProfileRecord, settings: Settings): Promise<ConfirmedPerson> => {
    const answer = await ask(former.person)
    const now = runtime.now()
    if (answer.kind === 'gone') return remove(key, former, answer.why)
    if (answer.kind === 'later') {
      const closed = { at: former.confirmedAt + settings.everyMs + settings.graceMs, why: answer.why }
      runtime.log('warn', 'profile.not-refreshed', { person: key, why: answer.why })
      note(key, { until: now + retryMs, closed })
      if (now >= closed.at) throw unreachable(answer.why)
      return { kind: 'same' }
    }
    note(key, { until: now + settings.everyMs })
    return answer.kind === 'silent' ? { kind: 'same' } : keep(key, former.person, answer.person)
  }
}

export const createProfileRefresh = (deps: ProfileRefreshDeps): ProfileRefresh => {
  const { runtime, config, describe } = deps
  const profiles: Profiles = createRecords<ProfileRecord>(runtime, 'profile:')
  const standings = createStandings(runtime)
  const review = createReview(deps, profiles, standings)
  const singleFlight = createSingleFlight(runtime)
  const settingsOf: FindSettings = ({ provider }) => {
    const { profile_refresh: every = 0, profile_refresh_grace: grace = 0 } =
      config.oauth_providers[provider] ?? {}
    return every > 0 ? { everyMs: every * 1000, graceMs: grace * 1000 } : undefined
  }

  const look = async (key: string, person: Person, settings: Settings): Promise<ConfirmedPerson> => {
    const kept = (await profiles.get(runtime.digest(key)))?.value
    if (kept?.gone !== undefined) return { kind: 'gone', why: kept.gone }
    const due = kept ? kept.confirmedAt + settings.everyMs : runtime.now() + retryMs
    if (kept && runtime.now() >= due) return review(key, kept, settings)
    standings.note(key, { until: due })
    // Whoever signed in before this was kept is asked about from the next sign-in on.
    if (!kept || isSame(kept.person, person)) return { kind: 'same' }
    // Another process asked, and what this grant was told is from before.
    await describe(kept.person)
    return { kind: 'known', person: kept.person }
  }

  const confirm: ConfirmPerson = async (person) => {
    const settings = settingsOf(person)
    if (!settings) return { kind: 'same' }
    const key = personKey(person)
    const standing = standings.of(key)
    if (!standing) return singleFlight(key, () => look(key, person, settings))
    if (standing.closed && runtime.now() >= standing.closed.at) throw unreachable(standing.closed.why)
    return { kind: 'same' }
  }

  return {
    confirm,
    async signedIn(person) {
      const settings = settingsOf(person)
      if (!settings) return
      const key = personKey(person)
      const now = runtime.now()
      await write(profiles, runtime.digest(key), { person, confirmedAt: now })
      standings.note(key, { until: now + settings.everyMs })
    },
    inUse(person) {
      if (settingsOf(person) && !standings.of(personKey(person)))
        runtime.defer(confirm(person).catch(() => undefined))
    },
  }
}
