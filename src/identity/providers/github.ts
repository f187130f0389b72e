// GitHub and GitHub Enterprise: OAuth 2.0, and an API that says who the person is.
import { Refusal } from '../../kit/refusal.ts'
import type { Person } from '../../ports/people.ts'
import {
  type Claims,
  type IdentityProvider,
  type ProviderDeps,
  groupsOf,
  httpsUrl,
  isObject,
  plainEmail,
  short,
} from './provider.ts'
import { type OAuth2Server, type ReadApi, createOAuth2SignIn } from './oauth2.ts'

/** The API of github.com and of ghe.com has a host of its own, that of GitHub Enterprise Server a path. */
export const apiOf = (base: string): string => {
  const { protocol, host } = new URL(base)
  return host === 'github.com' || host.endsWith('.ghe.com') ? `${protocol}//api.${host}` : `${base}/api/v3`
}

const pageSize = 100
const mostPages = 5

/** All pages of a list. Undefined where it is not for this token; `cut`: there is more than was told. */
const listAt = async (
  read: ReadApi,
  path: string,
): Promise<{ readonly entries: readonly Claims[]; readonly cut: boolean } | undefined> => {
  const entries: Claims[] = []
  // Organizations that want single sign-on are left out where the token has none.
  let cut = false
  for (let page = 1; page <= mostPages; page++) {
    const { value, headers } = await read(`${path}?per_page=${pageSize}&page=${page}`)
    if (value === undefined) return undefined
    if (!Array.isArray(value)) throw new Refusal('provider.untrusted', `${path} is not a list`)
    entries.push(...value.filter(isObject))
    cut ||= (headers.get('x-github-sso') ?? '').startsWith('partial-results')
    if (value.length < pageSize) return { entries, cut }
  }
  return { entries, cut: true }
}

/** The primary address, else any other. Only what GitHub has verified counts; most people hide theirs in `/user`. */
const emailOf = async (read: ReadApi): Promise<string | undefined> => {
  const known =
    (await listAt(read, '/user/emails'))?.entries.filter(({ verified }) => verified === true) ?? []
  const chosen = known.find(({ primary }) => primary === true) ?? known[0]
  return plainEmail(chosen?.['email'])
}

/** GitHub compares names without regard to case. */
const nameIn = (value: unknown, key: string): string | undefined =>
  isObject(value) ? short(value[key])?.toLowerCase() : undefined

/** Organizations as `acme`, teams as `acme/platform`. */
const membershipsOf = async (read: ReadApi): Promise<Pick<Person, 'groups' | 'groupsUnknown'>> => {
  const organizations = await listAt(read, '/user/orgs')
  const teams = await listAt(read, '/user/teams')
  const names = [
    ...(organizations?.entries ?? []).map((entry) => nameIn(entry, 'login')),
    ...(teams?.entries ?? []).map((entry) => {
      const [organization, team] = [nameIn(entry['organization'], 'login'), nameIn(entry, 'slug')]
      return organization && team && `${organization}/${team}`
    }),
  ]
  const partial = !organizations || !teams || organizations.cut || teams.cut
  return { groups: groupsOf(names), ...(partial ? { groupsUnknown: true as const } : {}) }
}

/** Usernames change hands; the number of an account does not. */
const subjectOf = (id: unknown): string => {
  if (typeof id === 'number' && Number.isSafeInteger(id) && id > 0) return String(id)
  throw new Refusal('provider.untrusted', '/user has no numeric id')
}

const personAt = async (read: ReadApi, provider: string, scopes: readonly string[]): Promise<Person> => {
  const { value: user } = await read('/user')
  if (!isObject(user)) throw new Refusal('provider.untrusted', '/user does not say whose token it is')
  const has = (...names: readonly string[]): boolean => names.some((name) => scopes.includes(name))
  const [login, name, avatar] = [short(user['login']), short(user['name']), httpsUrl(user['avatar_url'])]
  const email = has('user', 'user:email') ? await emailOf(read) : undefined
  const memberships = has('read:org', 'write:org', 'admin:org')
    ? await membershipsOf(read)
    : { groups: [], groupsUnknown: true as const }
  return {
    provider,
    subject: subjectOf(user['id']),
    ...memberships,
    ...(login ? { login } : {}),
    ...(email ? { email } : {}),
    ...(name ? { name } : {}),
    ...(avatar ? { avatar } : {}),
  }
}

export const createGitHubProvider = (deps: ProviderDeps): IdentityProvider => {
  const { id, settings } = deps
  const base = new URL(settings.issuer).origin
  const api = apiOf(base)
  const server: OAuth2Server = {
    issuer: settings.issuer,
    authorization: `${base}/login/oauth/authorize`,
    token: `${base}/login/oauth/access_token`,
    method: 'client_secret_post',
  }
  const signIn = createOAuth2SignIn(deps, server, [base, api], async (read) => ({
    person: await personAt((path) => read(`${api}${path}`), id, settings.scopes),
    unverified: 'GitHub told no verified email address',
  }))
  return { ...signIn, tokensLast: true }
}
