// The grant of device codes (RFC 8628 §3.4): a poll of a pending one is told to wait; of an approved one the grant is
// made live, once. Everything that was asked when the person approved is asked again then.
import { Refusal, type RefusalCode, type RefusalDetail } from '../kit/refusal.ts'
import type { Policy } from '../ports/policy.ts'
import type { Directory } from '../ports/services.ts'
import type { DeviceCodes, DeviceRequest } from './device-codes.ts'
import type { Grant, ReadGrant } from './grant.ts'
import {
  type GrantDeps,
  type GrantHandler,
  type TokenRequest,
  confirmPerson,
  factsOf,
  jsonResponse,
  one,
  refreshKeyOf,
  sameResource,
  tokenResponse,
} from './parameters.ts'
import { subjectOf } from './tokens.ts'

export interface DeviceGrantDeps extends GrantDeps {
  readonly directory: Pick<Directory, 'resolve'>
  readonly policy: Pick<Policy, 'of' | 'services' | 'fresh'>
  readonly devices: DeviceCodes
}

/** Two polls at the same moment come from one client; a later one means that the device code leaked. */
const racingMs = 2000

/** A device polls every few seconds: that it must wait is no refusal to be told of in the log. */
const wait = (code: RefusalCode, { context }: TokenRequest): Response => {
  const { row, say } = new Refusal(code)
  return jsonResponse(
    { error: row.oauth, error_description: say, code, request_id: context.requestId },
    row.status,
  )
}

/** The access rules may have changed since the person approved. */
const refuseDenied = async ({ policy, directory }: DeviceGrantDeps, grant: Grant): Promise<void> => {
  if (!policy.services.ruled) return
  await policy.fresh()
  const service = directory.resolve(grant.resource)?.service
  const by = {
    person: grant.person,
    personKey: subjectOf(grant),
    clientId: grant.clientId,
    redirectHost: '',
  }
  const choices = service && policy.of(service)?.choices?.(by, [])
  if (choices && 'allowed' in choices)
    throw new Refusal('device.denied', `${subjectOf(grant)} is denied by ${choices.rule ?? choices.code}`)
}

const endReplayed = async (
  { runtime, grants, record }: DeviceGrantDeps,
  grant: Grant,
  request: TokenRequest,
): Promise<never> => {
  if (runtime.now() - (grant.redeemedAt ?? 0) > racingMs) {
    await grants.revoke(grant.id, 'device_replayed')
    record({ event: 'device.replayed', ...factsOf(grant, request) })
  }
  throw new Refusal('device.replayed', `grant ${grant.id} was redeemed before`)
}

/** Throws unless the grant may come to life now. */
const check = async (deps: DeviceGrantDeps, grant: Grant, request: TokenRequest): Promise<void> => {
  request.about(grant)
  if (grant.state === 'live') await endReplayed(deps, grant, request)
  if (grant.state !== 'code')
    throw new Refusal('device.unknown', `grant is revoked: ${grant.revokedReason ?? 'ended'}`)
  if (deps.runtime.now() >= (grant.codeExpiresAt ?? 0))
    throw new Refusal('device.expired', 'approved and not redeemed in time')
  const [out] = await Promise.all([
    deps.blocks.covers(grant.person, request.client.id),
    sameResource(request.form, grant, deps.find),
    confirmPerson(deps, grant),
    refuseDenied(deps, grant),
  ])
  if (out)
    throw new Refusal(
      out === 'blocked' ? 'code.blocked' : 'person.removed',
      `${subjectOf(grant)} with ${request.client.id}`,
    )
}

const redeem = async (deps: DeviceGrantDeps, read: ReadGrant, request: TokenRequest): Promise<Response> => {
  const { grants, tokens, record } = deps
  const { grant } = read
  await check(deps, grant, request)
  const jkt = request.bind(grant.resource)
  // Signed before the code is spent, as in the exchange of an authorization code.
  const [access, refresh] = await Promise.all([
    tokens.access(grant, grant.scopes, jkt),
    grant.refreshable ? tokens.refresh(grant, 0) : undefined,
  ])
  await request.client.spend()
  if (!(await grants.redeem(read, request.context.ip, refreshKeyOf(request, jkt))))
    throw new Refusal('device.replayed', 'redeemed concurrently')
  const facts = { scopes: grant.scopes, ...factsOf(grant, request) }
  record({ event: 'device.redeemed', ...facts })
  record({ event: 'grant.issued', kind: grant.kind, ...facts })
  return tokenResponse(tokens, { access, scopes: grant.scopes, refresh, jkt })
}

const about = ({ flow }: DeviceRequest): RefusalDetail => ({ about: { flow } })

const read = async (
  { devices, runtime }: DeviceGrantDeps,
  { client, form }: TokenRequest,
): Promise<{ readonly device: DeviceRequest; readonly tooSoon: boolean }> => {
  const code = one(form, 'device_code')
  if (code === undefined)
    throw new Refusal('request.malformed', 'device_code missing', { say: 'device_code is required.' })
  const found = await devices.byDeviceCode(code)
  if (!found) throw new Refusal('device.unknown', 'device code unknown')
  const { device } = found
  if (device.client.id !== client.id)
    throw new Refusal('device.unknown', `issued to ${device.client.id}, presented by ${client.id}`)
  // Its flow has heard of it from the consent page.
  if (device.state === 'denied') throw new Refusal('device.denied', 'denied')
  if (device.state === 'approved') return { device, tooSoon: false }
  if (runtime.now() >= device.expiresAt)
    throw new Refusal('device.expired', 'nobody decided in time', about(device))
  return { device, tooSoon: !(await devices.poll(found)) }
}

export const createDeviceGrant =
  (deps: DeviceGrantDeps): GrantHandler =>
  async (request) => {
    const { device, tooSoon } = await read(deps, request)
    if (device.state === 'pending') return wait(tooSoon ? 'device.slow' : 'device.pending', request)
    const grant = await request.first(device.grantId ?? '')
    if (grant) return redeem(deps, grant, request)
    throw new Refusal('device.unknown', 'access was ended before it was redeemed', about(device))
  }
