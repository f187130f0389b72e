// What can go wrong at an OpenID provider, in the words of our refusals.
import * as oauth from 'oauth4webapi'
import { Refusal, type RefusalCode } from '../../kit/refusal.ts'

const refuse = (code: RefusalCode, why: string, retry: string, say?: string): Refusal =>
  new Refusal(code, why, {
    ...(say === undefined ? {} : { say }),
    ...(code === 'provider.unreachable' ? { headers: { 'retry-after': '1' } } : {}),
    page: { onward: { label: 'Try again', href: retry } },
  })

const unacceptable = 'The identity provider does not accept this gateway. The operator must check client_id, client_secret and the redirect URI there.'

// RFC 6749 §4.1.2.1 and OpenID Connect Core §3.1.2.6; `error_description` is the provider's prose and stays out of our pages.
const answered = (error: string, retry: string): Refusal => {
  const why = `authorization error ${error.slice(0, 60)}`
  if (error === 'server_error' || error === 'temporarily_unavailable') return refuse('provider.unreachable', why, retry)
  if (error === 'unauthorized_client' || error === 'invalid_scope' || error === 'invalid_request') return refuse('provider.denied', why, retry, unacceptable)
  return refuse('provider.denied', why, retry)
}

// Answers that are no answer: wrong status, not JSON (a proxy's error page, an outage).
const broken = new Set<string | undefined>([oauth.RESPONSE_IS_NOT_CONFORM, oauth.RESPONSE_IS_NOT_JSON])

/** The refusal for anything that was thrown while talking to the provider. `retry` is the path by which the person tries again. */
export const providerRefusal = (thrown: unknown, retry: string): Refusal => {
  if (thrown instanceof Refusal) {
    if (thrown.code.startsWith('outbound.')) return refuse(thrown.code === 'outbound.refused' ? 'provider.untrusted' : 'provider.unreachable', thrown.message, retry)
    return thrown
  }
  if (thrown instanceof oauth.AuthorizationResponseError) return answered(thrown.error, retry)
  if (thrown instanceof oauth.WWWAuthenticateChallengeError) return refuse('provider.unreachable', 'challenged the gateway', retry, unacceptable)
  if (thrown instanceof oauth.ResponseBodyError) {
    const ours = thrown.error === 'invalid_client' || thrown.error === 'unauthorized_client'
    return ours ? refuse('provider.unreachable', `token error ${thrown.error}`, retry, unacceptable) : refuse('provider.untrusted', `token error ${thrown.error.slice(0, 60)}`, retry)
  }
  const why = thrown instanceof Error ? thrown.message : String(thrown)
  const code = thrown instanceof oauth.OperationProcessingError ? thrown.code : undefined
  // Everything else that an answer can make the library or WebCrypto throw is an answer that cannot be believed.
  return refuse(broken.has(code) ? 'provider.unreachable' : 'provider.untrusted', why, retry)
}
