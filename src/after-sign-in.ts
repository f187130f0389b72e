// What becomes of the access of people after they signed in: their grants, and what their identity provider says of
// them later. Built here of parts of several modules, as in gateway.ts.
import { type RollCall, createRollCall } from './admin/roll-call.ts'
import type { Config } from './config/schema.ts'
import type { Connections } from './connections/connections.ts'
import { type EndPerson, createBackChannelLogout } from './identity/back-channel-logout.ts'
import { type ProfileRefresh, createProfileRefresh } from './identity/profile-refresh.ts'
import { createKnownPeople } from './identity/known-people.ts'
import type { SignedIn } from './identity/provider-callback.ts'
import type { IdentityProvider } from './identity/providers/provider.ts'
import { type EndPeople, type Scim, createScim } from './identity/scim.ts'
import { type ScimPeople, createScimPeople } from './identity/scim-people.ts'
import type { LocalPeople } from './identity/local-users.ts'
import type { BrowserSessions } from './identity/session.ts'
import { personKey } from './kit/records.ts'
import { type ApiSessions, createApiSessions } from './oauth/api-tokens.ts'
import { type AppAccess, createAppAccess, createGrantAdmin } from './oauth/connected-apps.ts'
import type { Dpop } from './oauth/dpop.ts'
import type { Grant } from './oauth/grant.ts'
import { type DeviceCodes, createDeviceCodes } from './oauth/device-codes.ts'
import { type Grants, createGrants } from './oauth/grants.ts'
import { type PersonalTokenCheck, createPersonalTokenCheck } from './oauth/personal-token.ts'
import { type PersonalTokens, createPersonalTokens } from './oauth/personal-tokens.ts'
import type { RunningCalls } from './ports/call.ts'
import { createRunningCalls } from './proxy/callers.ts'
import type { FlowGrant } from './ports/flow-record.ts'
import type {
  Audit,
  Blocks,
  ConfirmPerson,
  GrantAdmin,
  Handler,
  Limit,
  MayStillSignIn,
  NewestPrincipal,
  ProvisionPerson,
  Signer,
} from './ports/modules.ts'
import type { FindKnownPerson, Person, Principal } from './ports/people.ts'
import type { Policy } from './ports/policy.ts'
import type { Runtime } from './ports/runtime.ts'
import type { Directory, FindAddress } from './ports/services.ts'

interface AfterSignInDeps {
  readonly runtime: Runtime
  readonly config: Config
  readonly directory: Directory
  readonly find: FindAddress
  readonly providers: ReadonlyMap<string, IdentityProvider>
  readonly mayStillSignIn: MayStillSignIn
  readonly provision: ProvisionPerson | undefined
  readonly issuer: string
  readonly sessions: Pick<BrowserSessions, 'of' | 'endOf'>
  readonly connections: Pick<Connections, 'renewTokens' | 'endAccounts'>
  readonly limit: Limit
  readonly policy: Policy
  readonly blocks: Pick<Blocks, 'covers'>
  readonly people: Pick<LocalPeople, 'all'>
  readonly builtInUser: Person | undefined
  readonly isAdmin: (person: Person) => boolean
  readonly signer: Pick<Signer, 'verify'>
  readonly dpop: Dpop | undefined
  readonly record: Audit
  readonly closures: { refresh(): Promise<void> }
  readonly met?: ((grant: FlowGrant) => void) | undefined
}

export interface AfterSignIn {
  readonly grants: Grants
  readonly newest: NewestPrincipal
  readonly devices: DeviceCodes
  readonly access: AppAccess
  readonly grantAdmin: GrantAdmin
  readonly personal: PersonalTokenCheck
  readonly personalTokens: PersonalTokens
  /** Those of browsers, and of tokens at the operator's API. */
  readonly apiSessions: ApiSessions
  readonly signedIn: SignedIn
  readonly knownPerson: FindKnownPerson
  /** Only where a provider is asked again. */
  readonly confirm?: ConfirmPerson
  readonly backChannelLogout: Handler
  readonly scim: Scim
  readonly rollCall: RollCall
  /** The calls in progress, which that counts. */
  readonly running: RunningCalls
}

/**
 * Whoever holds something open was let in with the groups of that time. The same principal for the same groups, because
 * what is known of one is kept with it.
 */
const createNewest = ({ lately }: Pick<Grants, 'lately'>): NewestPrincipal => {
  const renewed = new WeakMap<Principal, Principal>()
  const groupsOf = ({ groups, groupsUnknown }: Person): string =>
    JSON.stringify([groups, groupsUnknown ?? false])
  return (principal) => {
    const before = renewed.get(principal) ?? principal
    const person = lately(principal.grantId, true)?.person
    if (!person || person === before.person || groupsOf(person) === groupsOf(before.person)) return before
    const next = { ...before, person }
    renewed.set(principal, next)
    return next
  }
}

interface GrantsInUse {
  readonly grants: Grants
  readonly access: AppAccess
  readonly profiles?: ProfileRefresh
}

/**
 * Ends the grants and the browser sessions of a person, at once, and answers how many grants there were. Of one session
 * at the provider: what came of it, and what nobody knows not to have come of it.
 */
const createEndPerson =
  ({ sessions }: Pick<AfterSignInDeps, 'sessions'>, access: AppAccess): EndPerson =>
  async (key, why, session) => {
    const isMeant = ({ providerSession = session }: { readonly providerSession?: string }): boolean =>
      session === undefined || providerSession === session
    await sessions.endOf((person, began) => personKey(person) === key && isMeant(began))
    let count = 0
    // So many at once: the list of one person is read in parts.
    for (let ended = 1; ended > 0; count += ended)
      ended = await access.end((await access.ofPerson(key)).filter(isMeant), why)
    return count
  }

const createGrantsInUse = (deps: AfterSignInDeps): GrantsInUse => {
  if (!Object.values(deps.config.oauth_providers).some(({ profile_refresh: every }) => every > 0)) {
    const grants = createGrants(deps)
    return { grants, access: createAppAccess({ ...deps, grants }) }
  }
  // Made of the grants, whose use it follows.
  const inUse = (person: Person): void => profiles.inUse(person)
  const grants = createGrants({ ...deps, inUse })
  const access = createAppAccess({ ...deps, grants })
  const end = createEndPerson(deps, access)
  const profiles = createProfileRefresh({
    ...deps,
    renew: deps.connections.renewTokens,
    describe: (person) => access.describe(person),
    end: (person, reason) => end(personKey(person), { reason, by: person.provider }),
  })
  return { grants, access, profiles }
}

/** The same for people who are known by other names; what they connected is removed too. */
const createEndPeople =
  (
    { sessions, connections }: Pick<AfterSignInDeps, 'sessions' | 'connections'>,
    access: AppAccess,
    people: ScimPeople,
  ): EndPeople =>
  async (provider, { matches, names }, reason) => {
    const isMeant = (person: Person): boolean => person.provider === provider && matches(person)
    const why = { reason, by: `scim:${provider}` }
    // By a name that is the subject there may be accounts of somebody without session and grant.
    const found = new Map(names.map((subject) => [subject, { provider, subject }]))
    for (const person of await sessions.endOf(isMeant)) found.set(person.subject, person)
    let count = 0
    const end = async (grants: readonly Grant[]): Promise<number> => {
      const ended = grants.filter(({ person }) => isMeant(person))
      for (const { person } of ended) found.set(person.subject, person)
      count += await access.end(ended, why)
      return ended.length
    }
    if (!(await people.isComplete(provider))) {
      for await (const page of access.find({})) {
        const own = page.filter(({ person }) => person.provider === provider)
        for (const { person } of new Map(own.map((grant) => [personKey(grant.person), grant])).values())
          await people.note(person)
        await end(own)
      }
      await people.completed(provider)
    }
    for (const person of [...found.values(), ...(await people.find(provider, names))])
      // So many at once: the list of one person is read in parts.
      while ((await end(await access.ofPerson(personKey(person)))) > 0);
    await connections.endAccounts(
      [...found.values()].map((person) => ({ person })),
      why.by,
      0,
    )
    return count
  }

export const createAfterSignIn = (deps: AfterSignInDeps): AfterSignIn => {
  const { grants, access, profiles } = createGrantsInUse(deps)
  const endPerson = createEndPerson(deps, access)
  const grantAdmin = createGrantAdmin(access)
  const personal = createPersonalTokenCheck({ ...deps, grants })
  const people = createScimPeople(deps.runtime, deps.config.oauth_providers)
  const known = createKnownPeople({ ...deps, ofPerson: access.ofPerson })
  const { logout, remember } = createBackChannelLogout({ ...deps, endPerson })
  const running = createRunningCalls()
  return {
    grants,
    newest: createNewest(grants),
    devices: createDeviceCodes(deps),
    access,
    grantAdmin,
    personal,
    apiSessions: createApiSessions({ ...deps, grants, personal }),
    personalTokens: createPersonalTokens({ ...deps, grants, access, grantAdmin }),
    async signedIn(person, session) {
      await Promise.all([profiles?.signedIn(person), people.note(person), known.note(person)])
      return session === undefined ? undefined : remember(person, session)
    },
    knownPerson: known.find,
    ...(profiles && { confirm: profiles.confirm }),
    backChannelLogout: logout,
    scim: createScim({ ...deps, endPeople: createEndPeople(deps, access, people) }),
    rollCall: createRollCall({ ...deps, forget: grants.forgetAll, running }),
    running,
  }
}
