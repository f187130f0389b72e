// Back from the upstream's authorization server: the answer is checked, the code redeemed, and the tokens go into the wallet.
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
import { type AuthorizedUpstream, answerRefusal, errorOf, signInRefusal } from './upstream.ts'

interface ReturnDeps {
  readonly runtime: Pick<Runtime, 'now' | 'outbound'>
  readonly trips: PendingAuthorizations
  readonly deposit: SaveTokens
  readonly enrolments: ClientRegistrations
  readonly upstreamFor: (service: string) => AuthorizedUpstream | undefined
  readonly record: Audit
}

/** GET /connect/callback/:id, /connect/callback, and /oauth/callback with a state of ours. */
export const createCallback = ({
  runtime,
  trips,
  deposit,
  enrolments,
  upstreamFor,
  record,
}: ReturnDeps): Handler => {
  const redeem = async (
    trip: PendingAuthorization,
    upstream: AuthorizedUpstream,
    answer: URLSearchParams,
    state: string,
  ): Promise<Granted> => {
    const { as, enrolment, resource } = trip
    let validated: URLSearchParams
    try {
      // RFC 9207 §2.4: `iss` is compared as text, before anything else of the answer is believed, errors included.
      validated = oauth.validateAuthResponse(as, { client_id: enrolment.clientId }, answer, state)
    } catch (thrown) {
      throw answerRefusal(thrown, upstream)
    }
    return exchangeCode(
      { as, enrolment, upstream, resource },
      validated,
      enrolment.redirectUri,
      trip.verifier,
      createGuardedFetch(runtime, upstream).through,
    ).catch(async (thrown: unknown) => {
      if (errorOf(thrown) === 'invalid_client' && enrolment.how === 'registered')
        await enrolments.forget(as.issuer, upstream.id, enrolment.clientId)
      const facts = [
        { name: 'Authorization server', value: as.issuer },
        { name: 'Redirect URI', value: enrolment.redirectUri },
      ]
      throw signInRefusal(thrown, upstream, 'code', facts)
    })
  }

  return async (request, context) => {
    const answer = new URL(request.url).searchParams
    const [state, second] = answer.getAll('state')
    if (!state || second !== undefined) throw new Refusal('connection.state', 'state missing or repeated')
    const { trip, person } = await trips.end(state, request, context)
    const facts = {
      service: trip.service,
      account: trip.account,
      issuer: trip.as.issuer,
      person: trip.person,
      ip: context.ip,
      request_id: context.requestId,
    }
    const upstream = upstreamFor(trip.service)
    if (!upstream) throw new Refusal('connection.unknown', trip.service)
    const granted = await redeem(trip, upstream, answer, state).catch((thrown: unknown) => {
      const refusal = withOnward(thrown, trip)
      record({ event: 'connection.failed', refusal: refusal.code, why: whyOf(refusal), ...facts })
      throw aboutRequest(refusal, { service: trip.service, person: trip.person })
    })
    await deposit(trip, person, granted)
    record({
      event: 'connection.made',
      scopes: granted.scopes ?? trip.asked,
      refreshable: granted.refresh !== undefined,
      ...facts,
    })
    return seeOther(trip.returnTo)
  }
}
