// Which ways to sign in a person is offered: all of them, or the one that the requested service insists on.
import type { DescribeFlow } from '../ports/modules.ts'
import type { LoginView } from '../ports/pages.ts'
import type { LocalPeople } from './local-users.ts'
import type { LoginLinks } from './login-link.ts'
import type { IdentityProvider } from './providers/provider.ts'
import type { ReturnTarget } from './return-to.ts'

export interface SignInOptions {
  readonly asking?: NonNullable<LoginView['asking']>
  /** The provider that the service insists on. */
  readonly only?: string
  readonly providers: readonly IdentityProvider[]
  readonly password: boolean
  readonly link: boolean
}

export interface SignInOptionsDeps {
  readonly providers: ReadonlyMap<string, IdentityProvider>
  readonly people: LocalPeople
  readonly links: LoginLinks
  readonly describeFlow: DescribeFlow
}

export type FindSignInOptions = (target: ReturnTarget, request: Request) => Promise<SignInOptions>

export const createSignInOptions =
  ({ providers, people, links, describeFlow }: SignInOptionsDeps): FindSignInOptions =>
  async (target, request) => {
    const asking = target.flow ? await describeFlow(target.flow, request) : undefined
    const only = asking?.address.service.provider
    const allowed = (id: string): boolean => only === undefined || only === id
    return {
      ...(asking ? { asking: { client: asking.client, service: asking.address.service.name } } : {}),
      ...(only === undefined ? {} : { only }),
      providers: [...providers.values()].filter((provider) => allowed(provider.id)),
      password: people.any && allowed('local'),
      link: links.enabled && allowed('local'),
    }
  }
