// The operator's own API as a protected resource: a program of an administrator needs no browser and no cookie. It sends
// an access token for this resource, which is in no list of services, or a personal access token for it. Neither is
// good for anything else, and no other token is good for it. A grant without a person in front of it gets none, except
// that of a service account that the operator named (client-credentials.ts).
import { personKey } from '../kit/records.ts'
import { type RefusalCode, Refusal } from '../kit/refusal.ts'
import type { BrowserSession, ServiceChoices, Sessions, Signer } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Address, Service } from '../ports/services.ts'
import type { Dpop } from './dpop.ts'
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
  readonly runtime: Pick<Runtime, 'digest'>
  /** Absent where tokens are bound to nothing. */
  readonly dpop?: Dpop | undefined
}

// RFC 6750 §2.1, RFC 9449 §7.1: as at every other resource (bearer.ts).
const credentials = /^(?:bearer|(dpop)) +([A-Za-z0-9\-._~+/]+=*) *$/i
const longest = 8_192

const createChallenge =
  ({ issuer, dpop }: ApiSessionsDeps) =>
  (error?: string) => {
    const said = error === undefined ? '' : `error="${error}", `
    const params = `${said}resource_metadata="${issuer}/.well-known/oauth-protected-resource${apiTarget}", scope="${apiScope}"`
    if (!dpop) return { 'www-authenticate': `Bearer ${params}` }
    const algorithms = `algs="${dpop.algorithms}"`
    // As at every other resource: clients that know of bearer tokens alone read the first challenge.
    return {
      'www-authenticate':
        dpop.modeOf(undefined, {}) === 'required'
          ? `DPoP ${params}, ${algorithms}`
          : `Bearer ${params}, DPoP ${algorithms}`,
    }
  }

/** `bearer`: no form token is asked for, because a browser sends this header for no other site. */
const sessionOf = (grant: Grant): BrowserSession => ({
  id: grant.id,
  person: grant.person,
  signedInAt: grant.createdAt,
  csrf: '',
  bearer: true,
})

/** Resolves with the nonce for the next proof. Throws `token.bound`, `token.unbound` and `proof.*`. */
type Prove = (
  request: Request,
  presented: {
    readonly token: string
    /** It came with the scheme DPoP. */
    readonly byKey: boolean
    readonly claims: AccessClaims
    readonly grant: Grant
  },
) => Promise<string | undefined>

/** As at every other resource (RFC 9449 §7). */
const createProve =
  ({ issuer, dpop, runtime }: ApiSessionsDeps): Prove =>
  async (request, { token, byKey, claims: { jkt, client_id: client }, grant }) => {
    const refuse = async (code: RefusalCode, why: string): Promise<never> => {
      const { row, say } = new Refusal(code)
      const nonce = await dpop?.fresh()
      throw new Refusal(code, why, {
        status: 401,
        headers: {
          'www-authenticate': `DPoP error="${row.oauth}", error_description="${say}", resource_metadata="${issuer}/.well-known/oauth-protected-resource${apiTarget}", scope="${apiScope}"`,
          ...(nonce !== undefined && { 'dpop-nonce': nonce }),
        },
      })
    }
    if (jkt === undefined) {
      if (byKey || dpop?.modeAt(client, {}) === 'required') await refuse('token.unbound', 'at the API')
      return undefined
    }
    if (!byKey || !dpop) return refuse('token.bound', 'sent as Bearer')
    const facts = { client, person: personKey(grant.person), service: apiTarget }
    const { fault, nonce } = await dpop.atApi(request, { jkt, ath: runtime.digest(token), facts })
    return fault ? refuse(fault.code, fault.why) : nonce
  }

const createRefused =
  (challenge: ReturnType<typeof createChallenge>) =>
  (code: RefusalCode, why: string, say?: string): Refusal =>
    new Refusal(code, why, {
      ...(say !== undefined && { say }),
      headers: challenge(code === 'scope.insufficient' ? 'insufficient_scope' : 'invalid_token'),
    })

export interface ApiSessions extends Sessions {
  /** The `DPoP-Nonce` of the answer to this request, whatever it says (RFC 9449 §8.2). */
  nonceOf(request: Request): string | undefined
}

/**
 * The sessions of browsers, and at the API those of tokens: with an Authorization header cookies count for nothing.
 * `of` throws `login.required`, `token.malformed`, `token.audience`, `token.revoked`, `scope.insufficient`,
 * `token.bound`, `token.unbound`, `proof.*`, `personal-token.*` and `admin.required`.
 */
export const createApiSessions = (deps: ApiSessionsDeps): ApiSessions => {
  const { issuer, sessions, signer, personal, grants, isAdmin, dpop } = deps
  const prove = createProve(deps)
  const challenge = createChallenge(deps)
  const refused = createRefused(challenge)
  const nonces = new WeakMap<Request, string>()
  const ofPersonalToken = async (token: string, byKey: boolean): Promise<Grant> => {
    if (byKey || dpop?.modeOf(undefined, {}) === 'required')
      throw refused('token.unbound', 'a personal access token')
    const claims: AccessClaims | RefusedToken = await personal.claims(token, {
      service: { id: apiTarget, scopes: [] },
    })
    if ('code' in claims) throw refused(claims.code, claims.why, claims.say)
    const grant = await grants.live(claims.gid)
    if (!grant || grant.instance !== claims.gin) throw refused('personal-token.ended', `grant ${claims.gid}`)
    return grant
  }
  const ofAccessToken = async (token: string, byKey: boolean, request: Request): Promise<Grant> => {
    const claims =
      token.length <= longest ? accessClaimsOf(await signer.verify(token, accessTokenType)) : undefined
    if (!claims) throw refused('token.malformed', 'no live access token at the API')
    if (claims.aud !== issuer + apiTarget) throw refused('token.audience', `${claims.aud} at the API`)
    const grant = await grants.live(claims.gid)
    if (!grant || !isTokenOf(grant, claims)) throw refused('token.revoked', `grant ${claims.gid}`)
    if (!claims.scope.split(' ').includes(apiScope)) throw refused('scope.insufficient', `lacks ${apiScope}`)
    const nonce = await prove(request, { token, byKey, claims, grant })
    if (nonce !== undefined) nonces.set(request, nonce)
    return grant
  }
  /** A proof is good once, and a request may be asked about more than once. */
  const asked = new WeakMap<Request, Promise<Grant>>()
  const grantOf = (request: Request, header: string): Promise<Grant> => {
    const [, scheme, token] = credentials.exec(header) ?? []
    if (token === undefined || (scheme !== undefined && !dpop))
      throw refused('token.malformed', 'not one bearer token')
    const byKey = scheme !== undefined
    const known =
      asked.get(request) ??
      (token.startsWith(personalPrefix)
        ? ofPersonalToken(token, byKey)
        : ofAccessToken(token, byKey, request))
    asked.set(request, known)
    return known
  }
  return {
    nonceOf: (request) => nonces.get(request),
    async of(request: Request) {
      if (!new URL(request.url).pathname.startsWith(`${apiTarget}/`)) return sessions.of(request)
      const header = request.headers.get('authorization')
      if (header === null) {
        const session = await sessions.of(request)
        if (session) return session
        throw new Refusal('login.required', 'session cookie missing or expired', { headers: challenge() })
      }
      const grant = await grantOf(request, header)
      // Never more than its user may do now.
      if (!isAdmin(grant.person))
        throw new Refusal('admin.required', `${personKey(grant.person)} is not listed in admins`)
      return sessionOf(grant)
    },
  }
}
