// What becomes of the access of people after they signed in: their grants, and what their identity provider says of
// them later. Built here of parts of several modules, as in gateway.ts.
import type { Config } from './config/schema.ts'
import { type ProfileRefresh, createProfileRefresh } from './identity/profile-refresh.ts'
import type { IdentityProvider } from './identity/providers/provider.ts'
import { personKey } from './kit/records.ts'
import { type AppAccess, createAppAccess } from './oauth/connected-apps.ts'
import { type Grants, createGrants } from './oauth/grants.ts'
import type { Audit, FlowGrant, MayStillSignIn, RenewProviderTokens } from './ports/modules.ts'
import type { Person } from './ports/people.ts'
import type { Runtime } from './ports/runtime.ts'
import type { Directory, FindAddress } from './ports/services.ts'

interface AfterSignInDeps {
  readonly runtime: Runtime
  readonly config: Config
  readonly directory: Directory
  readonly find: FindAddress
  readonly providers: ReadonlyMap<string, IdentityProvider>
  readonly mayStillSignIn: MayStillSignIn
  readonly sessions: { endOfPerson(key: string): Promise<number> }
  readonly connections: { readonly renewTokens: RenewProviderTokens }
  readonly record: Audit
  readonly met?: ((grant: FlowGrant) => void) | undefined
}

/** `confirm` and `inUse` only where a provider is asked again. */
export interface AfterSignIn
  extends Pick<ProfileRefresh, 'signedIn'>, Partial<Omit<ProfileRefresh, 'signedIn'>> {
  readonly grants: Grants
  readonly access: AppAccess
}

/** Ends the grants and the browser sessions of a person, at once. */
const createEndPerson =
  ({ sessions }: Pick<AfterSignInDeps, 'sessions'>, access: AppAccess) =>
  async (person: Person, reason: string): Promise<void> => {
    const key = personKey(person)
    await sessions.endOfPerson(key)
    await access.end(await access.ofPerson(key), { reason, by: person.provider })
  }

const withProfileRefresh = (deps: AfterSignInDeps): AfterSignIn => {
  // Made of the grants, whose use it follows.
  const inUse = (person: Person): void => profiles.inUse(person)
  const grants = createGrants({ ...deps, inUse })
  const access = createAppAccess({ ...deps, grants })
  const profiles = createProfileRefresh({
    ...deps,
    renew: deps.connections.renewTokens,
    describe: (person) => access.describe(person),
    end: createEndPerson(deps, access),
  })
  return { ...profiles, grants, access }
}

export const createAfterSignIn = (deps: AfterSignInDeps): AfterSignIn => {
  if (Object.values(deps.config.oauth_providers).some(({ profile_refresh: every }) => every > 0))
    return withProfileRefresh(deps)
  const grants = createGrants(deps)
  return { signedIn: () => Promise.resolve(), grants, access: createAppAccess({ ...deps, grants }) }
}
