// The token endpoint (RFC 6749 §3.2): parse, pace, authenticate the client, load, check everything, and only then spend what was presented, in one atomic write.
import type { Config } from '../config/schema.ts'
import { digest, sameText } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, Handler, Limit } from '../ports/rooms.ts'
import type { Runtime, Visit } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import type { Client } from './client.ts'
import type { Clients } from './clients.ts'
import { jsonAnswer, one, onlyMethod, readForm } from './form.ts'
import { endedRefusal, judgeRefresh } from './grants.ts'
import type { Grant, Grants } from './grants.ts'
import { subjectOf } from './tokens.ts'
import type { Tokens } from './tokens.ts'

export interface TokenDeps {
  readonly runtime: Pick<Runtime, 'now'>
  readonly config: Pick<Config, 'refresh_grace'>
  readonly directory: Directory
  readonly clients: Clients
  readonly grants: Grants
  readonly tokens: Tokens
  readonly limit: Limit
  readonly record: Audit
}

interface Exchange {
  readonly client: Client
  readonly form: URLSearchParams
  readonly visit: Visit
}

/** Two exchanges of one code at the same moment come from one impatient client; later ones from somebody who found the code (RFC 9700 §2.1.1, hostile case G2). */
const racingMs = 2_000
/** Every lost compare-and-set means that somebody else won one, so this many in a row mean that something is broken. */
const maxAttempts = 100

const verifierShape = /^[A-Za-z0-9\-._~]{43,128}$/

const facts = (grant: Grant, { visit }: Exchange) => ({ grant: grant.id, client: grant.clientId, person: subjectOf(grant), resource: grant.resource, ip: visit.ip, request_id: visit.requestId })

/** RFC 6749 §5.1. A member without a value is left out: clients throw their session away over a null. */
const answer = (access: string, scopes: readonly string[], refresh: string | undefined, expiresIn: number): Response =>
  jsonAnswer({ access_token: access, token_type: 'Bearer', expires_in: expiresIn, ...(refresh !== undefined && { refresh_token: refresh }), scope: scopes.join(' ') })

export const createToken = ({ runtime, config, directory, clients, grants, tokens, limit, record }: TokenDeps): Handler => {
  /** RFC 8707 §2.2: the same resource again, or none. */
  const sameResource = (form: URLSearchParams, grant: Grant): void => {
    for (const named of form.getAll('resource').filter(Boolean)) if (directory.resolve(named)?.resource !== grant.resource) throw new Refusal('resource.mismatch', named.slice(0, 500))
  }

  const redeem = async (exchange: Exchange): Promise<Response> => {
    const { client, form } = exchange
    const [code, verifier, redirectUri] = ['code', 'code_verifier', 'redirect_uri'].map((name) => one(form, name))
    if (code === undefined) throw new Refusal('request.malformed', 'no code', { say: 'code is required.' })
    if (verifier === undefined) throw new Refusal('request.malformed', 'no code_verifier', { say: 'code_verifier is required.' })
    const claim = tokens.readCode(code)
    const read = claim && (await grants.read(claim.grantId))
    if (!claim || !(await tokens.holdsCode(read?.grant, claim)) || !read) throw new Refusal('code.unknown', 'no such code')
    const { grant } = read
    if (grant.clientId !== client.id) throw new Refusal('code.unknown', `code of ${grant.clientId} sent by ${client.id}`)
    if ((redirectUri ?? (grant.redirectSent ? undefined : grant.redirectUri)) !== grant.redirectUri) throw new Refusal('code.redirect', `${redirectUri}`.slice(0, 500))
    // RFC 7636 §4.6.
    if (!verifierShape.test(verifier) || !sameText(await digest(verifier), grant.challenge)) throw new Refusal('pkce.verifier', 'challenge differs')
    const now = runtime.now()
    if (grant.state !== 'code') {
      // Whoever holds the verifier too is no bystander: the code or the whole client was stolen.
      if (grant.state === 'live' && now - (grant.redeemedAt ?? 0) > racingMs) {
        await grants.revoke(grant.id, 'code_replayed')
        record({ event: 'code.replayed', ...facts(grant, exchange) })
      }
      throw new Refusal('code.spent', `grant is ${grant.state}`)
    }
    if (now >= grant.codeExpiresAt) throw new Refusal('code.expired')
    sameResource(form, grant)
    // Signed before the code is spent: afterwards nothing can fail any more, and no code is lost to a fault.
    const [access, refresh] = await Promise.all([tokens.access(grant, grant.scopes), grant.refreshable ? tokens.refresh(grant, 0) : undefined])
    if (!(await grants.redeem(read))) throw new Refusal('code.spent', 'lost the race')
    record({ event: 'grant.issued', scopes: grant.scopes, ...facts(grant, exchange) })
    return answer(access, grant.scopes, refresh, tokens.expiresIn)
  }

  /** RFC 6749 §6: the same or narrower, for this access token only. */
  const narrowed = (form: URLSearchParams, grant: Grant): readonly string[] => {
    const asked = (one(form, 'scope') ?? '').split(' ').filter(Boolean)
    const wider = asked.filter((scope) => !grant.scopes.includes(scope) && scope !== 'offline_access')
    if (wider.length > 0) throw new Refusal('scope.exceeded', wider.join(' ').slice(0, 500))
    const kept = grant.scopes.filter((scope) => asked.includes(scope))
    return kept.length > 0 ? kept : grant.scopes
  }

  const refresh = async (exchange: Exchange): Promise<Response> => {
    const { client, form } = exchange
    const presented = one(form, 'refresh_token')
    if (presented === undefined) throw new Refusal('request.malformed', 'no refresh_token', { say: 'refresh_token is required.' })
    const claim = tokens.readRefresh(presented)
    if (!claim) throw new Refusal('refresh.unknown', 'not a refresh token')
    for (let attempt = 0; attempt < maxAttempts; attempt++) {
      const read = await grants.read(claim.grantId)
      if (!(await tokens.holdsRefresh(read?.grant, claim)) || !read) throw new Refusal('refresh.unknown', 'no such refresh token')
      const { grant } = read
      if (grant.clientId !== client.id) throw new Refusal('refresh.unknown', `token of ${grant.clientId} sent by ${client.id}`)
      const now = runtime.now()
      const ended = endedRefusal(grant, now)
      if (ended) throw ended
      sameResource(form, grant)
      const scopes = narrowed(form, grant)
      const verdict = judgeRefresh(grant, claim.generation, now, config.refresh_grace * 1000)
      if (verdict === 'reuse') {
        await grants.revoke(grant.id, 'refresh_reuse')
        record({ event: 'refresh.reuse', reason: 'refresh_reuse', generation: claim.generation, latest: grant.generation, ...facts(grant, exchange) })
        throw new Refusal('refresh.reuse', `generation ${claim.generation} of ${grant.generation}`)
      }
      const access = await tokens.access(grant, scopes)
      const moved = verdict === 'advance' ? await grants.advance(read) : grant
      if (!moved) continue
      const successor = await tokens.refresh(moved, claim.generation + 1)
      if (successor === undefined) throw new Refusal('refresh.unknown', 'the root key of the successor is gone')
      return answer(access, scopes, successor, tokens.expiresIn)
    }
    throw new Refusal('storage.unavailable', 'the grant changed under every attempt')
  }

  const exchanges: Readonly<Record<string, (exchange: Exchange) => Promise<Response>>> = { authorization_code: redeem, refresh_token: refresh }

  return async (request, visit) => {
    onlyMethod(request, 'POST')
    const form = await readForm(request)
    // Counted per address and client: many people share the address of a hosted client, and nobody may use up another's share by naming its id.
    await limit('token', `${visit.ip} ${form.get('client_id') ?? ''}`)
    const type = one(form, 'grant_type')
    if (type === undefined) throw new Refusal('request.malformed', 'no grant_type', { say: 'grant_type is required.' })
    const exchange = Object.hasOwn(exchanges, type) ? exchanges[type] : undefined
    const client = await clients.authenticate(request, form)
    if (!exchange) throw new Refusal('grant.type', type.slice(0, 100))
    return exchange({ client, form, visit })
  }
}
