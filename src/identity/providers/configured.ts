// The identity providers that the configuration names.
import type { Config } from '../../config/schema.ts'
import { Refusal } from '../../kit/refusal.ts'
import type { Runtime } from '../../ports/runtime.ts'
import { type IdentityProvider, type ProviderDeps, denialOf, plainEmail, short } from './provider.ts'
import { createGitHubProvider } from './github.ts'
import { createOAuth2Provider } from './oauth2.ts'
import { createOpenIdProvider } from './openid.ts'

// For tests: whoever types an email address is that person. The configuration allows it on this computer only.

const createMockProvider = ({ id, settings }: ProviderDeps): IdentityProvider => {
  const nowhere = (): Promise<never> =>
    Promise.reject(new Refusal('provider.untrusted', `${id} is a mock and sends no browser away`))
  return {
    id,
    name: settings.name ?? id,
    begin: nowhere,
    finish: nowhere,
    direct(form) {
      const email = plainEmail(form.get('email')?.trim().toLowerCase())
      if (email === undefined)
        throw new Refusal('request.malformed', 'email is not an email address', {
          say: 'Enter an email address such as ana@example.com.',
        })
      const name = short(form.get('name')?.trim())
      const person = { provider: id, subject: email, email, groups: [], ...(name ? { name } : {}) }
      return { person, denied: denialOf(person, settings) }
    },
    denied: (person) => denialOf(person, settings),
  }
}

export interface ProvidersDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'outbound' | 'digest'>
  readonly config: Pick<Config, 'oauth_providers'>
  /** The public origin, no trailing slash. */
  readonly issuer: string
}

const idPart = '{provider}'

type Settings = Config['oauth_providers'][string]

/** All others are OpenID providers. */
const creators: Readonly<Partial<Record<Settings['type'], (deps: ProviderDeps) => IdentityProvider>>> = {
  github: createGitHubProvider,
  oauth2: createOAuth2Provider,
  mock: createMockProvider,
}

/**
 * In the order of the configuration. Throws RangeError for `local`, which names the people of this gateway
 * itself.
 */
export const createProviders = ({
  runtime,
  config,
  issuer,
}: ProvidersDeps): ReadonlyMap<string, IdentityProvider> => {
  const one = (id: string, settings: Settings): IdentityProvider => {
    if (id === 'local') throw new RangeError('oauth_providers.local: the name is taken by local_users')
    const create = creators[settings.type] ?? createOpenIdProvider
    const path = settings.redirect_path.replace(idPart, id)
    const provider = create({
      runtime,
      id,
      settings: { ...settings, name: settings.name ?? id },
      redirectUri: `${issuer}${path}`,
    })
    return settings.redirect_path.includes(idPart) ? { ...provider, callback: path } : provider
  }
  return new Map(Object.entries(config.oauth_providers).map(([id, settings]) => [id, one(id, settings)]))
}
