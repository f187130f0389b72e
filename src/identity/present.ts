// Who may still come in: people stay in sessions and grants for weeks, and the configuration that admitted them changes meanwhile.
import type { Present } from '../ports/rooms.ts'
import type { Directory } from '../ports/services.ts'
import type { LocalPeople } from './local.ts'
import { owner, type LoginLinks } from './login-link.ts'
import type { IdentityProvider } from './provider.ts'

export interface PresentDeps {
  readonly people: LocalPeople
  readonly providers: ReadonlyMap<string, IdentityProvider>
  readonly links: LoginLinks
  readonly directory: Directory
}

/** Judged by what the configuration holds and by what the provider said at the sign-in; nobody is asked. */
export const createPresent =
  ({ people, providers, links, directory }: PresentDeps): Present =>
  (person, resource) => {
    const only = resource === undefined ? undefined : directory.resolve(resource)?.service.provider
    if (only !== undefined && only !== person.provider) return undefined
    if (person.provider === owner.provider) return people.find(person.subject) ?? (links.enabled && person.subject === owner.subject ? owner : undefined)
    const provider = providers.get(person.provider)
    return provider && provider.bars(person) === undefined ? person : undefined
  }
