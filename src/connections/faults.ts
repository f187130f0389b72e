// What can go wrong at an upstream's authorization server, in the words of our refusals.
import * as oauth from 'oauth4webapi'
import { Refusal } from '../kit/refusal.ts'
import { type EndpointError, isEndpointError, sentenceOf } from './endpoint-error.ts'
import { type Upstream, unreachable, untrusted } from './upstream.ts'

/**
 * The error member of a token, registration or revocation answer (RFC 6749 §5.2, RFC 7591 §3.2.2);
 * undefined for everything else: an outage (5xx) and a pace (429) are no verdict.
 */
export const errorOf = (thrown: unknown): string | undefined =>
  isEndpointError(thrown) && thrown.status >= 400 && thrown.status < 500 && thrown.status !== 429
    ? thrown.error
    : undefined

/** RFC 6749 §5.2: only these say that asking again with the same credentials is pointless. Everything else may pass. */
export const isPermanent = (error: string | undefined): boolean => error === 'invalid_grant' || error === 'invalid_client'

/** Whatever was thrown, to be thrown once more. */
export const errorFrom = (thrown: unknown): Error =>
  thrown instanceof Error ? thrown : new Error(String(thrown))

type Facts = readonly { readonly name: string; readonly value: string }[]
const about = (upstream: Upstream, more: Facts = []) => ({
  page: { facts: [{ name: 'MCP server', value: upstream.name }, ...more] },
})

/** Answers that may be others in a moment: a timeout, a pace, an outage (RFC 9110 §15.5.9, RFC 6585 §4). */
const passes = (status: number): boolean =>
  status >= 500 || status === 408 || status === 425 || status === 429

/**
 * Whether the gateway itself is turned away, so that asking again is pointless and the operator has to act.
 */
const turnedAway = (thrown: EndpointError, step: Step): boolean => {
  if (step === 'registration' || step === 'machine') return true
  const error = errorOf(thrown)
  // RFC 6749 §5.2: 400 is about the request; every other status without an error member is about who asks,
  // or where.
  return error === undefined
    ? thrown.status >= 400 && thrown.status !== 400
    : error === 'invalid_client' || error === 'unauthorized_client'
}

export type Step = 'registration' | 'code' | 'refresh' | 'machine'

/**
 * What the server says is somebody else's prose: in the log for the operator, cleaned and cut, and never on
 * a page. `more`: facts for the page.
 */
export const signInRefusal = (thrown: unknown, upstream: Upstream, step: Step, more?: Facts): Refusal => {
  if (thrown instanceof Refusal) {
    if (thrown.code === 'outbound.refused') return untrusted(upstream, thrown.message)
    return thrown.code === 'outbound.failed' ? unreachable(upstream, thrown.message) : thrown
  }
  const why = `${step}: ${thrown instanceof Error ? thrown.message : String(thrown)}`
  if (!isEndpointError(thrown)) {
    // An answer that is no registration will be none the next time either; one that holds no tokens may be
    // a mishap.
    return step === 'registration' ? enrolmentRefusal(upstream, why, more) : unreachable(upstream, why)
  }
  const error = errorOf(thrown)
  if (passes(thrown.status) || error === 'temporarily_unavailable' || error === 'server_error')
    return unreachable(upstream, why)
  const facts: Facts = [
    ...(more ?? []),
    { name: 'Response', value: `${thrown.status} ${error?.slice(0, 60) ?? ''}`.trim() },
  ]
  if (turnedAway(thrown, step)) return enrolmentRefusal(upstream, why, facts)
  if (error === undefined) return unreachable(upstream, why)
  return new Refusal('connection.denied', `${upstream.name}: ${why}`, about(upstream, facts))
}

/** The operator has to register the gateway, or to correct what was registered. */
export const enrolmentRefusal = (upstream: Upstream, why: string, more?: Facts): Refusal => {
  const key = `mcp_services.${upstream.id}.upstream_auth`
  const advice =
    upstream.auth.client_id === undefined
      ? `register an OAuth client there and set ${key}.client_id and issuer`
      : `check ${key}: client_id, client_secret and redirect_uri must match the registration`
  return new Refusal('connection.enrolment', `${upstream.name}: ${why}; ${advice}`, about(upstream, more))
}

/** An error that the browser brought back from the authorization server (RFC 6749 §4.1.2.1), after `iss` was checked. */
export const answerRefusal = (thrown: unknown, upstream: Upstream): Refusal => {
  if (thrown instanceof oauth.AuthorizationResponseError) {
    const { error, error_description: words } = thrown
    if (error === 'server_error' || error === 'temporarily_unavailable') return unreachable(upstream, `authorization error ${error}`)
    const said = typeof words === 'string' ? ` "${sentenceOf(words)}"` : ''
    return new Refusal(
      'connection.denied',
      `${upstream.name}: authorization error ${error.slice(0, 60)}${said}`,
      about(upstream),
    )
  }
  // State, `iss` and missing parameters: the answer is not from whom it should be.
  return untrusted(upstream, thrown instanceof Error ? thrown.message : String(thrown))
}
