// Back from the upstream's authorization server: the answer is checked, the code redeemed, and the tokens go into the wallet.
import * as oauth from 'oauth4webapi'
import { aboutRequest, whyOf } from '../kit/refusal-log.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, Handler } from '../ports/rooms.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Deposit } from './deposit.ts'
import type { Enrolments } from './enrol.ts'
import { answerRefusal, errorOf, signInRefusal } from './faults.ts'
import { exchangeCode, type Granted } from './tokens.ts'
import { seeOther, type Trip, type Trips, withOnward } from './trips.ts'
import type { Upstream } from './upstream.ts'
import { createWeb } from './web.ts'

interface ReturnDeps {
  readonly runtime: Pick<Runtime, 'now' | 'outbound'>
  readonly trips: Trips
  readonly deposit: Deposit
  readonly enrolments: Enrolments
  readonly upstreamFor: (service: string) => Upstream | undefined
  readonly record: Audit
}

/** GET /connect/callback/:id, /connect/callback, and /oauth/callback with a state of ours. */
export const createReturn = ({ runtime, trips, deposit, enrolments, upstreamFor, record }: ReturnDeps): Handler => {
  const redeem = async (trip: Trip, upstream: Upstream, answer: URLSearchParams, state: string): Promise<Granted> => {
    const { as, enrolment, resource } = trip
    let validated: URLSearchParams
    try {
      // RFC 9207 §2.4: `iss` is compared as text, before anything else of the answer is believed, errors included.
      validated = oauth.validateAuthResponse(as, { client_id: enrolment.clientId }, answer, state)
    } catch (thrown) {
      throw answerRefusal(thrown, upstream)
    }
    return exchangeCode({ as, enrolment, upstream, resource }, validated, enrolment.redirectUri, trip.verifier, createWeb(runtime, upstream).through).catch(async (thrown: unknown) => {
      if (errorOf(thrown) === 'invalid_client' && enrolment.how === 'registered') await enrolments.forget(as.issuer, upstream.id, enrolment.clientId)
      const facts = [{ name: 'Authorization server', value: as.issuer }, { name: 'Redirect URI', value: enrolment.redirectUri }]
      throw signInRefusal(thrown, upstream, 'code', facts)
    })
  }

  return async (request, visit) => {
    const answer = new URL(request.url).searchParams
    const [state, second] = answer.getAll('state')
    if (!state || second !== undefined) throw new Refusal('connection.state', 'state missing or repeated')
    const { trip, person } = await trips.end(state, request, visit)
    const facts = { service: trip.service, account: trip.account, issuer: trip.as.issuer, person: trip.person, ip: visit.ip, request_id: visit.requestId }
    const upstream = upstreamFor(trip.service)
    if (!upstream) throw new Refusal('connection.unknown', trip.service)
    const granted = await redeem(trip, upstream, answer, state).catch((thrown: unknown) => {
      const refusal = withOnward(thrown, trip)
      record({ event: 'connection.failed', refusal: refusal.code, why: whyOf(refusal), ...facts })
      throw aboutRequest(refusal, { service: trip.service, person: trip.person })
    })
    await deposit(trip, person, granted)
    record({ event: 'connection.made', scopes: granted.scopes ?? trip.asked, refreshable: granted.refresh !== undefined, ...facts })
    return seeOther(trip.returnTo)
  }
}
