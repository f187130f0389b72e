// Which ways in a person is offered: all of them, or the one that the asked service insists on.
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

export type FindSignInOptions = (aim: ReturnTarget, request: Request) => Promise<SignInOptions>

export const createSignInOptions =
  ({ providers, people, links, describeFlow }: SignInOptionsDeps): FindSignInOptions =>
  async (aim, request) => {
    const flow = aim.flow ? await describeFlow(aim.flow, request) : undefined
    const only = flow?.address.service.provider
    const meant = (id: string): boolean => only === undefined || only === id
    return {
      ...(flow ? { asking: { client: flow.client, service: flow.address.service.name } } : {}),
      ...(only === undefined ? {} : { only }),
      providers: [...providers.values()].filter((provider) => meant(provider.id)),
      password: people.any && meant('local'),
      link: links.enabled && meant('local'),
    }
  }
