// Device codes (RFC 8628): a device asks for access, and its user answers in a browser elsewhere. One sealed record
// each, in the states pending, then approved or denied; every change is one compare-and-set. An approved one names a
// grant whose code it is, so that redeeming it is a change of that grant, as with an authorization code.
import type { Config } from '../config/schema.ts'
import { networkOf } from '../kit/addresses.ts'
import { encodeBase64url, sameText } from '../kit/bytes.ts'
import { createRecords } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { BeginFlow } from '../ports/flow-record.ts'
import type { Audit, Handler, Limit } from '../ports/modules.ts'
import type { Permission } from '../ports/policy.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory, FindAddress } from '../ports/services.ts'
import { resourceKnown, scopeGranted } from './authorize.ts'
import { type ClientSnapshot, mayUseDevice, snapshotOf } from './client.ts'
import type { Clients } from './clients.ts'
import { endpoints } from './metadata.ts'
import { countFailures, jsonResponse, onlyMethod, paceKey, readForm } from './parameters.ts'

export interface DeviceRequest {
  /** Of the device code's secret. */
  readonly secretDigest: string
  readonly client: ClientSnapshot
  readonly resource: string
  readonly scopes: readonly string[]
  readonly level?: Permission
  /** Address of the device. */
  readonly ip: string
  readonly createdAt: number
  readonly expiresAt: number
  readonly state: 'pending' | 'approved' | 'denied'
  /** Of an approved one. */
  readonly grantId?: string
  readonly flow?: string
}

/** A device request as it was read, with the version a change must find. */
export interface ReadDevice {
  readonly id: string
  readonly device: DeviceRequest
  readonly mark: string
}

type NewDevice = Pick<DeviceRequest, 'client' | 'resource' | 'scopes' | 'level' | 'ip' | 'flow'>

export interface DeviceCodes {
  create(
    request: NewDevice,
  ): Promise<{ readonly deviceCode: string; readonly userCode: string; readonly device: DeviceRequest }>
  /** By what a person typed; undefined for everything that is no code of a pending request. */
  byUserCode(typed: string): Promise<ReadDevice | undefined>
  byDeviceCode(code: string): Promise<ReadDevice | undefined>
  /** Decides a pending one, once; false when somebody else did. */
  decide(id: string, decision: Pick<DeviceRequest, 'state' | 'grantId'>): Promise<boolean>
  /** Counts a poll of a pending one; false when it came too soon. */
  poll(read: ReadDevice): Promise<boolean>
}

// RFC 8628 §6.1: no vowels and no digits, so that no words come out and no character is taken for another. 20^8
// codes are 34.6 bits.
const alphabet = 'BCDFGHJKLMNPQRSTVWXZ'
const userCodeLength = 8
const longestTyped = 64

/** The code in what a person typed, in whatever case and with whatever between; undefined: it is none. */
export const userCodeIn = (typed: string): string | undefined => {
  if (typed.length > longestTyped) return undefined
  const code = Array.from(typed.normalize('NFKC').toUpperCase())
    .filter((character) => alphabet.includes(character))
    .join('')
  return code.length === userCodeLength ? code : undefined
}

export const shownUserCode = (code: string): string => `${code.slice(0, 4)}-${code.slice(4)}`

const newUserCode = (random: Runtime['random']): string => {
  let code = ''
  // Bytes beyond the last multiple of the alphabet would make its first letters more likely.
  const most = 256 - (256 % alphabet.length)
  while (code.length < userCodeLength)
    for (const byte of random(userCodeLength))
      if (byte < most && code.length < userCodeLength) code += alphabet.charAt(byte % alphabet.length)
  return code
}

const deviceCodeShape = /^pd_([\w-]{32})\.([\w-]{43})$/

/** A device that asks too often waits so much longer each time (RFC 8628 §3.5), ms. */
const slowerMs = 5000
const slowestMs = 60_000
/** A poll may come so much too soon: clocks and networks are not exact. */
const toleranceMs = 1000
/** How long one that is over is known: a late poll hears that it has expired, or was used. */
const knownAfterMs = 600_000

/** Of a pending one: the last poll that was not too soon, and how long to wait after it. */
interface Pace {
  readonly at: number
  readonly intervalMs: number
}

export interface DeviceCodesDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'digest'>
  readonly config: Pick<Config, 'device'>
}

export const createDeviceCodes = ({ runtime, config }: DeviceCodesDeps): DeviceCodes => {
  const { now, random, keys, digest } = runtime
  const records = createRecords<DeviceRequest>(runtime, 'device:')
  const paces = createRecords<Pace>(runtime, 'device-poll:')
  const ttlOf = ({ expiresAt }: DeviceRequest): number => Math.max(1, expiresAt + knownAfterMs - now())
  // A code has few bits: nobody who reads the store may find it by trying (hence no plain digest).
  const idOf = async (userCode: string): Promise<string> =>
    encodeBase64url((await keys.mac('user-code', userCode)) ?? new Uint8Array()).slice(0, 32)
  const read = async (id: string): Promise<ReadDevice | undefined> => {
    const kept = await records.get(id)
    return kept && { id, device: kept.value, mark: kept.mark }
  }

  return {
    async create(request) {
      const secret = encodeBase64url(random(32))
      const createdAt = now()
      const device: DeviceRequest = {
        ...request,
        secretDigest: digest(secret),
        createdAt,
        expiresAt: createdAt + (config.device?.lifetime ?? 0) * 1000,
        state: 'pending',
      }
      for (;;) {
        const userCode = newUserCode(random)
        const id = await idOf(userCode)
        // Another device may have it.
        if (await records.put(id, device, { ttlMs: ttlOf(device), only: 'absent' }))
          return { deviceCode: `pd_${id}.${secret}`, userCode, device }
      }
    },
    async byUserCode(typed) {
      const code = userCodeIn(typed)
      const found = code === undefined ? undefined : await read(await idOf(code))
      return found?.device.state === 'pending' && now() < found.device.expiresAt ? found : undefined
    },
    async byDeviceCode(code) {
      const [, id, secret] = deviceCodeShape.exec(code) ?? []
      const found = id === undefined ? undefined : await read(id)
      return found && sameText(digest(secret ?? ''), found.device.secretDigest) ? found : undefined
    },
    async decide(id, decision) {
      const found = await read(id)
      if (found?.device.state !== 'pending' || now() >= found.device.expiresAt) return false
      const decided = { ...found.device, ...decision }
      return (await records.put(id, decided, { ttlMs: ttlOf(decided), only: found.mark })) !== undefined
    },
    async poll({ id, device }) {
      const kept = await paces.get(id)
      const at = now()
      const { intervalMs } = kept?.value ?? { intervalMs: (config.device?.interval ?? 0) * 1000 }
      const soon = kept !== undefined && at - kept.value.at < intervalMs - toleranceMs
      // One that was too soon moves nothing but the interval: who waits long enough is let through, whatever was
      // before.
      const next: Pace = soon
        ? { at: kept.value.at, intervalMs: Math.min(slowestMs, intervalMs + slowerMs) }
        : { at, intervalMs }
      const written = await paces.put(id, next, { ttlMs: ttlOf(device), only: kept?.mark ?? 'absent' })
      // Of polls at one moment one is in time.
      return !soon && written !== undefined
    },
  }
}

// The device authorization endpoint (RFC 8628 §3.1).

export interface DeviceAuthorizationDeps {
  readonly runtime: Pick<Runtime, 'digest'>
  readonly config: Pick<Config, 'device'>
  readonly directory: Pick<Directory, 'issuer' | 'only'>
  readonly find: FindAddress
  readonly clients: Clients
  readonly devices: DeviceCodes
  readonly limit: Limit
  readonly record: Audit
  readonly beginFlow?: BeginFlow | undefined
}

export const devicePath = '/device'

export const createDeviceAuthorization = (deps: DeviceAuthorizationDeps): Handler => {
  const { runtime, config, directory, clients, devices, limit, record, beginFlow } = deps
  return async (request, { ip, requestId }) => {
    onlyMethod(request, 'POST')
    const params = await readForm(request)
    await limit('device', paceKey(runtime.digest, ip, params))
    const client = await countFailures(deps, clients.authenticate, ip)(request, params)
    if (!mayUseDevice(config, client))
      throw new Refusal('client.grant', `${client.id} at ${endpoints.device.path}`)
    const { address, scopes, level } = scopeGranted(await resourceKnown({ params }, deps))
    const flow = beginFlow?.(request)
    const asked: NewDevice = {
      client: snapshotOf(client, scopes),
      resource: address.resource,
      scopes,
      ...(level !== undefined && { level }),
      ip,
      ...(flow !== undefined && { flow }),
    }
    // Of a flood the newest are refused, and nobody who has a grant or a session is kept out.
    await limit('kept-devices', { ip }, Math.ceil(JSON.stringify(asked).length / 1024))
    await client.spend()
    const { deviceCode, userCode, device } = await devices.create(asked)
    record({
      event: 'device.started',
      client: client.id,
      resource: address.resource,
      scopes,
      from: networkOf(ip),
      flow,
      ip,
      request_id: requestId,
    })
    const page = directory.issuer + devicePath
    return jsonResponse({
      device_code: deviceCode,
      user_code: shownUserCode(userCode),
      verification_uri: page,
      verification_uri_complete: `${page}?user_code=${shownUserCode(userCode)}`,
      expires_in: Math.floor((device.expiresAt - device.createdAt) / 1000),
      interval: config.device?.interval,
    })
  }
}
