// The operator's own API as a protected resource: a program of an administrator needs no browser and no cookie. It sends
// an access token for this resource, which is in no list of services, or a personal access token for it. Neither is
// good for anything else, and no other token is good for it. A grant without a person in front of it gets none, except
// that of a service account that the operator named (client-credentials.ts).
import { personKey } from '../kit/records.ts'
import { type RefusalCode, Refusal } from '../kit/refusal.ts'
import type { BrowserSession, ServiceChoices, Sessions, Signer } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Address, Service } from '../ports/services.ts'
import type { Grant } from './grant.ts'
import type { Grants } from './grants.ts'
import { type PersonalTokenCheck, type RefusedToken, personalPrefix } from './personal-token.ts'
import { type AccessClaims, accessClaimsOf, accessTokenType, isTokenOf } from './tokens.ts'

/** Its path, which stands where the id of a service stands: that has no slash. */
export const apiTarget = '/api'
export const apiScope = 'admin'
export const apiName = 'API of this gateway'

const service: Service = {
  id: apiTarget,
  name: apiName,
  description: '',
  // Nothing is proxied there: the address is in no directory.
  upstream: { kind: 'local', handle: () => Promise.reject(new Refusal('route.unknown', apiTarget)) },
  authRequired: true,
  scopes: [apiScope],
  timeoutMs: 0,
  maxBodyBytes: 0,
  identity: { preset: 'none', headers: {}, assertion: false },
}

export const apiAddress = (issuer: string): Address => ({
  service,
  path: apiTarget,
  resource: issuer + apiTarget,
})

/** The access rules say nothing of the API: it is for administrators, now and at each request. */
export const choicesWithApi =
  (choices: ServiceChoices, isAdmin: (person: Person) => boolean): ServiceChoices =>
  async (at, by) => {
    if (at.id !== apiTarget) return choices(at, by)
    return isAdmin(by.person) ? undefined : { allowed: false, code: 'policy.service' }
  }

// A request to the API.

export interface ApiSessionsDeps {
  readonly issuer: string
  readonly sessions: Sessions
  readonly signer: Pick<Signer, 'verify'>
  readonly personal: Pick<PersonalTokenCheck, 'claims'>
  readonly grants: Pick<Grants, 'live'>
  readonly isAdmin: (person: Person) => boolean
}

// RFC 6750 §2.1: as at every other resource (bearer.ts).
const bearer = /^bearer +([A-Za-z0-9\-._~+/]+=*) *$/i
const longest = 8_192

const createChallenge = (issuer: string) => (error?: string) => ({
  'www-authenticate': `Bearer ${error === undefined ? '' : `error="${error}", `}resource_metadata="${issuer}/.well-known/oauth-protected-resource${apiTarget}", scope="${apiScope}"`,
})

/** `bearer`: no form token is asked for, because a browser sends this header for no other site. */
const sessionOf = (grant: Grant): BrowserSession => ({
  id: grant.id,
  person: grant.person,
  signedInAt: grant.createdAt,
  csrf: '',
  bearer: true,
})

/**
 * The sessions of browsers, and at the API those of tokens: with an Authorization header cookies count for nothing.
 * `of` throws `login.required`, `token.malformed`, `token.audience`, `token.revoked`, `scope.insufficient`,
 * `personal-token.*` and `admin.required`.
 */
export const createApiSessions = (deps: ApiSessionsDeps): Sessions => {
  const { issuer, sessions, signer, personal, grants, isAdmin } = deps
  const challenge = createChallenge(issuer)
  const refused = (code: RefusalCode, why: string, say?: string): Refusal =>
    new Refusal(code, why, {
      ...(say !== undefined && { say }),
      headers: challenge(code === 'scope.insufficient' ? 'insufficient_scope' : 'invalid_token'),
    })
  const ofPersonalToken = async (token: string): Promise<Grant> => {
    const claims: AccessClaims | RefusedToken = await personal.claims(token, {
      service: { id: apiTarget, scopes: [] },
    })
    if ('code' in claims) throw refused(claims.code, claims.why, claims.say)
    const grant = await grants.live(claims.gid)
    if (!grant || grant.instance !== claims.gin) throw refused('personal-token.ended', `grant ${claims.gid}`)
    return grant
  }
  const ofAccessToken = async (token: string): Promise<Grant> => {
    const claims =
      token.length <= longest ? accessClaimsOf(await signer.verify(token, accessTokenType)) : undefined
    if (!claims) throw refused('token.malformed', 'no live access token at the API')
    if (claims.aud !== issuer + apiTarget) throw refused('token.audience', `${claims.aud} at the API`)
    const grant = await grants.live(claims.gid)
    if (!grant || !isTokenOf(grant, claims)) throw refused('token.revoked', `grant ${claims.gid}`)
    if (!claims.scope.split(' ').includes(apiScope)) throw refused('scope.insufficient', `lacks ${apiScope}`)
    return grant
  }
  return {
    async of(request: Request) {
      if (!new URL(request.url).pathname.startsWith(`${apiTarget}/`)) return sessions.of(request)
      const header = request.headers.get('authorization')
      if (header === null) {
        const session = await sessions.of(request)
        if (session) return session
        throw new Refusal('login.required', 'session cookie missing or expired', { headers: challenge() })
      }
      const token = bearer.exec(header)?.[1]
      if (token === undefined) throw refused('token.malformed', 'not one bearer token')
      const grant = await (token.startsWith(personalPrefix) ? ofPersonalToken(token) : ofAccessToken(token))
      // Never more than its user may do now.
      if (!isAdmin(grant.person))
        throw new Refusal('admin.required', `${personKey(grant.person)} is not listed in admins`)
      return sessionOf(grant)
    },
  }
}
