// Personal access tokens at the operator's own API: a script of an administrator needs no browser and no cookie. A token
// for it is good for nothing else, and no other token is good for it.
import { personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { BrowserSession, Sessions } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Grant } from './grant.ts'
import type { Grants } from './grants.ts'
import { type PersonalTokenCheck, type RefusedToken, personalPrefix } from './personal-token.ts'

/** Stands where the id of a service stands, which has no slash. */
export const apiTarget = '/api'

export interface ApiSessionsDeps {
  readonly sessions: Sessions
  readonly personal: Pick<PersonalTokenCheck, 'claims'>
  readonly grants: Pick<Grants, 'live'>
  readonly isAdmin: (person: Person) => boolean
}

const bearer = /^bearer +(\w+) *$/i

const refused = ({ code, why, say }: RefusedToken): Refusal =>
  new Refusal(code, why, {
    ...(say !== undefined && { say }),
    headers: { 'www-authenticate': 'Bearer error="invalid_token"' },
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
 * `of` throws `token.malformed`, `personal-token.*` and `admin.required`.
 */
export const createApiSessions = ({ sessions, personal, grants, isAdmin }: ApiSessionsDeps): Sessions => ({
  async of(request: Request) {
    const header = request.headers.get('authorization')
    if (header === null || !new URL(request.url).pathname.startsWith(`${apiTarget}/`))
      return sessions.of(request)
    const token = bearer.exec(header)?.[1]
    if (!token?.startsWith(personalPrefix))
      throw refused({ code: 'token.malformed', why: 'no personal access token at the API' })
    const claims = await personal.claims(token, { service: { id: apiTarget, scopes: [] } })
    if ('code' in claims) throw refused(claims)
    const grant = await grants.live(claims.gid)
    if (!grant || grant.instance !== claims.gin)
      throw refused({ code: 'personal-token.ended', why: `grant ${claims.gid}` })
    // Never more than its user may do now.
    if (!isAdmin(grant.person))
      throw new Refusal('admin.required', `${personKey(grant.person)} is not listed in admins`)
    return sessionOf(grant)
  },
})
