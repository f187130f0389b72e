// How the answer on the consent page reaches whoever asked: by a redirect, by a page that opens an installed app, or
// by the record that a device polls (RFC 8628).
import { networkOf } from '../kit/addresses.ts'
import { seeOther } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { judgeRedirectUri } from '../kit/urls.ts'
import type { Audit } from '../ports/modules.ts'
import type { Pages } from '../ports/pages.ts'
import type { Directory } from '../ports/services.ts'
import type { DeviceOrigin, PendingRequest, PendingRequests } from './authorization-requests.ts'
import { clientView } from './client.ts'
import type { DeviceCodes } from './device-codes.ts'
import type { Grant, NewGrant } from './grant.ts'
import type { Grants } from './grants.ts'
import { authorizationResponse } from './parameters.ts'

export interface ConsentAnswerDeps {
  readonly directory: Pick<Directory, 'issuer'>
  readonly pendingRequests: PendingRequests
  readonly pages: Pages
  readonly devices: Pick<DeviceCodes, 'decide'>
  readonly grants: Pick<Grants, 'discard'>
  readonly record: Audit
}

/**
 * An app with a scheme of its own gets a page with a button, because a browser may ignore such a redirect
 * (RFC 8252 §8.1). A redirect URL that is to be copied is shown.
 */
export const respond = (
  { directory, pendingRequests, pages }: ConsentAnswerDeps,
  pending: PendingRequest,
  params: Readonly<Record<string, string>>,
): Response => {
  const { redirectUri, state } = pending
  const cookie = pendingRequests.forget(pending.id)
  const href =
    redirectUri === undefined
      ? undefined
      : authorizationResponse(directory.issuer)(redirectUri, { ...params, state })
  const client = clientView(pending.client)
  const drawn = (): Response | undefined => {
    if (href === undefined) return pages.deviceDone({ client, allowed: params['error'] === undefined })
    if (pending.copied) return pages.copyRedirect({ client, href })
    return judgeRedirectUri(redirectUri ?? '') === 'native' ? pages.goBack({ client, href }) : undefined
  }
  const page = drawn() ?? seeOther(href ?? '/')
  page.headers.append('set-cookie', cookie)
  return page
}

/** A redirect URL that a person copies leads to the app at once; whoever else gets hold of it should be too late, ms. */
const copiedMs = 60_000

/** Where a code of this request may go, and how long it is good. The code of a device is the device’s, and lives as long. */
export const codeOriginOf = (
  { redirectUri, redirectSent = false, challenge = '', jkt, copied, device }: PendingRequest,
  { ip, now }: { readonly ip: string; readonly now: number },
): Pick<
  NewGrant,
  'kind' | 'device' | 'codeExpiresAt' | 'redirectUri' | 'redirectSent' | 'challenge' | 'jkt'
> => {
  const bound = jkt === undefined ? {} : { jkt }
  if (redirectUri !== undefined)
    return {
      redirectUri,
      redirectSent,
      challenge,
      ...bound,
      ...(copied && { codeExpiresAt: now + copiedMs }),
    }
  if (!device) return {}
  const networks = { from: device.from, approvedFrom: networkOf(ip) }
  return { kind: 'device', device: networks, codeExpiresAt: device.expiresAt }
}

/**
 * Tells the device of the answer. Two browsers may have entered one code: the first answer counts. Throws `flow.used`
 * for the other.
 */
export const decideDevice = async (
  { devices, grants, record }: Pick<ConsentAnswerDeps, 'devices' | 'grants' | 'record'>,
  { id, from }: DeviceOrigin,
  { grant, reported, facts }: { readonly grant?: Grant; readonly reported?: boolean; readonly facts: object },
): Promise<void> => {
  const state = grant ? 'approved' : 'denied'
  if (!(await devices.decide(id, { state, ...(grant && { grantId: grant.id }) }))) {
    if (grant) await grants.discard(grant.id)
    throw new Refusal('flow.used', 'the device request was decided elsewhere, or is over')
  }
  if (grant) record({ event: 'device.approved', ...facts, from })
  else if (reported) record({ event: 'device.reported', ...facts, from })
  else record({ event: 'device.denied', ...facts, from })
}
