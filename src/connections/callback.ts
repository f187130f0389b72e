// The callback of the upstream's authorization server: the response is checked, the code exchanged, and the
// tokens are saved.
import * as oauth from 'oauth4webapi'
import { aboutRequest, whyOf } from '../kit/log.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, Handler } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { ClientRegistrations } from './client-registration.ts'
import { createGuardedFetch } from './oauth-fetch.ts'
import {
  type PendingAuthorization,
  type PendingAuthorizations,
  seeOther,
  withOnward,
} from './pending-authorizations.ts'
import type { SaveTokens } from './save-tokens.ts'
import { type Granted, exchangeCode } from './token-endpoint.ts'
import { type AuthorizedUpstream, responseRefusal, errorOf, signInRefusal } from './upstream.ts'

interface CallbackDeps {
  readonly runtime: Pick<Runtime, 'now' | 'outbound'>
  readonly pendingAuthorizations: PendingAuthorizations
  readonly saveTokens: SaveTokens
  readonly clientRegistrations: ClientRegistrations
  readonly upstreamFor: (service: string) => AuthorizedUpstream | undefined
  readonly record: Audit
}

/** Validates the authorization response and exchanges its code. */
const exchange = async (
  { as, registration, resource, verifier }: PendingAuthorization,
  upstream: AuthorizedUpstream,
  response: URLSearchParams,
  state: string,
  { runtime, clientRegistrations }: Pick<CallbackDeps, 'runtime' | 'clientRegistrations'>,
): Promise<Granted> => {
  let validated: URLSearchParams
  try {
    // RFC 9207 §2.4: `iss` is compared as text, before anything else in the response is believed, errors
    // included.
    validated = oauth.validateAuthResponse(as, { client_id: registration.clientId }, response, state)
  } catch (thrown) {
    throw responseRefusal(thrown, upstream)
  }
  return exchangeCode(
    { as, registration, upstream, resource },
    validated,
    registration.redirectUri,
    verifier,
    createGuardedFetch(runtime, upstream).through,
  ).catch(async (thrown: unknown) => {
    if (errorOf(thrown) === 'invalid_client' && registration.how === 'registered')
      await clientRegistrations.forget(as.issuer, upstream.id, registration.clientId)
    const facts = [
      { name: 'Authorization server', value: as.issuer },
      { name: 'Redirect URI', value: registration.redirectUri },
    ]
    throw signInRefusal(thrown, upstream, 'code', facts)
  })
}

/** GET /connect/callback/:id, /connect/callback, and /oauth/callback with a state of this module. */
export const createCallback = (deps: CallbackDeps): Handler => {
  const { pendingAuthorizations, saveTokens, upstreamFor, record } = deps
  return async (request, context) => {
    const response = new URL(request.url).searchParams
    const [state, second] = response.getAll('state')
    if (!state || second !== undefined) throw new Refusal('connection.state', 'state missing or repeated')
    const { authorization, person } = await pendingAuthorizations.end(state, request, context)
    const facts = {
      service: authorization.service,
      account: authorization.account,
      issuer: authorization.as.issuer,
      person: authorization.person,
      ip: context.ip,
      request_id: context.requestId,
    }
    const upstream = upstreamFor(authorization.service)
    if (!upstream) throw new Refusal('connection.unknown', authorization.service)
    const granted = await exchange(authorization, upstream, response, state, deps).catch(
      (thrown: unknown) => {
        const refusal = withOnward(thrown, authorization)
        record({ event: 'connection.failed', refusal: refusal.code, why: whyOf(refusal), ...facts })
        throw aboutRequest(refusal, { service: authorization.service, person: authorization.person })
      },
    )
    await saveTokens(authorization, person, granted)
    record({
      event: 'connection.made',
      scopes: granted.scopes ?? authorization.asked,
      refreshable: granted.refresh !== undefined,
      ...facts,
    })
    return seeOther(authorization.returnTo)
  }
}
