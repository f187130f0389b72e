// grant_type=refresh_token (RFC 6749 §6): rotation that a lost answer or a parallel process cannot break, and that a thief cannot outlive.
import { Refusal } from '../kit/refusal.ts'
import { factsOf, sameResource, tokenAnswer } from './exchange.ts'
import type { Exchange, ExchangeDeps } from './exchange.ts'
import { one } from './form.ts'
import { endedRefusal, judgeRefresh } from './grants.ts'
import type { Grant } from './grants.ts'

/** Every lost compare-and-set means that somebody else won one, so this many in a row mean that something is broken. */
const maxAttempts = 100

/** RFC 6749 §6: the same or narrower, for this access token only. */
const narrowed = (form: URLSearchParams, grant: Grant): readonly string[] => {
  const asked = (one(form, 'scope') ?? '').split(' ').filter(Boolean)
  const wider = asked.filter((scope) => !grant.scopes.includes(scope) && scope !== 'offline_access')
  if (wider.length > 0) throw new Refusal('scope.exceeded', wider.join(' ').slice(0, 500))
  const kept = grant.scopes.filter((scope) => asked.includes(scope))
  return kept.length > 0 ? kept : grant.scopes
}

export const createRefresh = ({ runtime, config, directory, grants, tokens, record }: ExchangeDeps): Exchange => async (request) => {
  const { client, form } = request
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
    sameResource(form, grant, directory)
    const scopes = narrowed(form, grant)
    const verdict = judgeRefresh(grant, claim.generation, now, config.refresh_grace * 1000)
    if (verdict === 'reuse') {
      await grants.revoke(grant.id, 'refresh_reuse')
      record({ event: 'refresh.reuse', reason: 'refresh_reuse', generation: claim.generation, latest: grant.generation, ...factsOf(grant, request) })
      throw new Refusal('refresh.reuse', `generation ${claim.generation} of ${grant.generation}`)
    }
    const moved = verdict === 'advance' ? await grants.advance(read) : grant
    if (!moved) continue
    const successor = await tokens.refresh(moved, claim.generation + 1)
    if (successor === undefined) throw new Refusal('refresh.unknown', 'the root key of the successor is gone')
    return tokenAnswer(tokens, await tokens.access(grant, scopes), scopes, successor)
  }
  throw new Refusal('storage.unavailable', 'the grant changed under every attempt')
}

