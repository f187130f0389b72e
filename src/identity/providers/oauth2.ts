// Any provider of plain OAuth 2.0: three URLs, and a profile whose members the operator may name.
import type { ProviderConfig } from '../../config/schema.ts'
import { Refusal } from '../../kit/refusal.ts'
import type { Person } from '../../ports/people.ts'
import { type Claims, claimAt, groupsOf, httpsUrl, isObject, plainEmail, short } from './claims.ts'
import { type OAuth2Server, createOAuth2SignIn } from './oauth2-requests.ts'
import type { IdentityProvider, ProviderDeps } from './provider.ts'

type Settings = Pick<ProviderConfig, 'claim_paths' | 'groups_claim' | 'email_verified'>
type Member = keyof NonNullable<Settings['claim_paths']>

/** The first member that is there; many APIs write `null` for what they do not say. */
const memberOf = (profile: Claims, member: Member, { claim_paths: paths }: Settings): unknown =>
  paths?.[member].map((path) => claimAt(profile, path)).find((value) => value !== undefined && value !== null)

const subjectOf = (value: unknown): string => {
  const subject = Number.isSafeInteger(value) ? String(value) : short(value, 255)
  if (subject === undefined)
    throw new Refusal(
      'provider.untrusted',
      'the profile has no usable user ID: name the member in claims.subject',
    )
  return subject
}

interface Profile {
  readonly person: Person
  readonly unverified: string
}

/** An address counts where the provider says that it is verified, or where the operator vouches for all of them. */
export const personOf = (profile: Claims, provider: string, settings: Settings): Profile => {
  const member = (name: Member): unknown => memberOf(profile, name, settings)
  const said = member('email_verified')
  const counts =
    said === true || said === 'true' || (said === undefined && settings.email_verified === 'trust')
  const written = plainEmail(member('email'))
  const email = counts ? written : undefined
  const [login, name, avatar] = [short(member('login')), short(member('name')), httpsUrl(member('avatar'))]
  const groups = claimAt(profile, settings.groups_claim)
  return {
    person: {
      provider,
      subject: subjectOf(member('subject')),
      groups: groupsOf(groups),
      ...(login ? { login } : {}),
      ...(email ? { email } : {}),
      ...(name ? { name } : {}),
      ...(avatar ? { avatar } : {}),
    },
    unverified:
      written === undefined
        ? 'the profile has no email address'
        : `the provider does not say that ${written} is verified; if it gives out only addresses that it has checked, set oauth_providers.${provider}.email_verified: trust`,
  }
}

export const createOAuth2Provider = (deps: ProviderDeps): IdentityProvider => {
  const { id, settings } = deps
  const {
    authorization_url: authorization = '',
    token_url: token = '',
    userinfo_url: userinfo = '',
  } = settings
  const server: OAuth2Server = {
    issuer: settings.issuer,
    authorization,
    token,
    method:
      settings.client_secret === undefined
        ? 'none'
        : (settings.token_endpoint_auth_method ?? 'client_secret_post'),
  }
  return createOAuth2SignIn(deps, server, [authorization, token, userinfo], async (read) => {
    const { value } = await read(userinfo)
    if (!isObject(value)) throw new Refusal('provider.untrusted', `${userinfo} answered with no JSON object`)
    return personOf(value, id, settings)
  })
}
