// What can go wrong at an upstream's authorization server, in the words of our refusals.
import * as oauth from 'oauth4webapi'
import { Refusal } from '../kit/refusal.ts'
import { type Upstream, unreachable, untrusted } from './upstream.ts'

/** The error member of a token, registration or revocation answer (RFC 6749 §5.2, RFC 7591 §3.2.2); undefined for everything else, and for 429, which is about pace. */
export const errorOf = (thrown: unknown): string | undefined => (thrown instanceof oauth.ResponseBodyError && thrown.status !== 429 ? thrown.error : undefined)

/** RFC 6749 §5.2: only these say that asking again with the same credentials is pointless. Everything else may pass. */
export const isPermanent = (error: string | undefined): boolean => error === 'invalid_grant' || error === 'invalid_client'

const facts = (upstream: Upstream) => ({ page: { facts: [{ name: 'MCP server', value: upstream.name }] } })

/** `error_description` is somebody else's prose and stays out of our pages and logs. */
export const signInRefusal = (thrown: unknown, upstream: Upstream, step: 'registration' | 'code' | 'refresh' | 'machine'): Refusal => {
  if (thrown instanceof Refusal) {
    if (thrown.code === 'outbound.refused') return untrusted(upstream, thrown.message)
    return thrown.code === 'outbound.failed' ? unreachable(upstream, thrown.message) : thrown
  }
  const error = errorOf(thrown)
  if (error !== undefined) {
    const why = `${upstream.name}: ${step} error ${error.slice(0, 60)}`
    if (error === 'temporarily_unavailable' || error === 'server_error') return unreachable(upstream, why)
    return step === 'registration' || step === 'machine' || error === 'invalid_client' || error === 'unauthorized_client' ? new Refusal('connection.enrolment', why, facts(upstream)) : new Refusal('connection.denied', why, facts(upstream))
  }
  const why = `${step}: ${thrown instanceof Error ? thrown.message : String(thrown)}`
  return unreachable(upstream, why)
}

/** An error that the browser brought back from the authorization server (RFC 6749 §4.1.2.1), after `iss` was checked. */
export const answerRefusal = (thrown: unknown, upstream: Upstream): Refusal => {
  if (thrown instanceof oauth.AuthorizationResponseError) {
    const { error } = thrown
    if (error === 'server_error' || error === 'temporarily_unavailable') return unreachable(upstream, `authorization error ${error}`)
    return new Refusal('connection.denied', `${upstream.name}: authorization error ${error.slice(0, 60)}`, facts(upstream))
  }
  // State, `iss` and missing parameters: the answer is not from whom it should be.
  return untrusted(upstream, thrown instanceof Error ? thrown.message : String(thrown))
}
