// Who may still come in: people stay in sessions and grants for weeks, and the configuration that admitted them changes meanwhile.
import type { MayStillSignIn } from '../ports/modules.ts'
import type { Directory } from '../ports/services.ts'
import type { LocalPeople } from './local-users.ts'
import { type LoginLinks, owner } from './login-link.ts'
import type { IdentityProvider } from './providers/provider.ts'

export interface AccessRulesDeps {
  readonly people: LocalPeople
  readonly providers: ReadonlyMap<string, IdentityProvider>
  readonly links: LoginLinks
  readonly directory: Directory
}

/** Judged by what the configuration holds and by what the provider said at the sign-in; nobody is asked. */
export const createAccessRules =
  ({ people, providers, links, directory }: AccessRulesDeps): MayStillSignIn =>
  (person, resource) => {
    const only = resource === undefined ? undefined : directory.resolve(resource)?.service.provider
    if (only !== undefined && only !== person.provider) return undefined
    if (person.provider === owner.provider)
      return (
        people.find(person.subject) ?? (links.enabled && person.subject === owner.subject ? owner : undefined)
      )
    const provider = providers.get(person.provider)
    return provider && provider.bars(person) === undefined ? person : undefined
  }
