// The page on which a person enters the code that a device shows (RFC 8628 §3.3). A code leads to the consent page and
// to nothing else: a link that somebody sent fills the field, and decides nothing.
import type { Config } from '../config/schema.ts'
import { neighbourhoodOf, networkOf } from '../kit/addresses.ts'
import { readOwnForm, seeOther } from '../kit/http.ts'
import { levelOf, refusedFields } from '../kit/log.ts'
import { personKey } from '../kit/records.ts'
import { Refusal, type RequestFacts } from '../kit/refusal.ts'
import type { BrowserSession, Handler, Limit, Sessions } from '../ports/modules.ts'
import type { PagesFor } from '../ports/pages.ts'
import type { RequestContext, Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import type { AuthorizationRequest, DeviceOrigin, PendingRequests } from './authorization-requests.ts'
import {
  type DeviceAuthorizationDeps,
  type DeviceCodes,
  type ReadDevice,
  createDeviceAuthorization,
  devicePath,
  shownUserCode,
  userCodeIn,
} from './device-codes.ts'
import { endpoints } from './metadata.ts'
import { readQuery } from './parameters.ts'

/** Whoever signed in longer ago signs in again before they give access to a device. */
const freshMs = 900_000

export interface DevicePageDeps {
  readonly runtime: Pick<Runtime, 'now' | 'digest' | 'log'>
  readonly config: Pick<Config, 'device'>
  readonly directory: Pick<Directory, 'origins'>
  readonly devices: DeviceCodes
  readonly pendingRequests: PendingRequests
  readonly sessions: Sessions
  readonly pages: PagesFor
  readonly limit: Limit
}

interface DevicePage {
  /** GET /device, with user_code in the link */
  readonly page: Handler
  /** POST /device with csrf and user_code */
  readonly enter: Handler
}

const pathWith = (code: string | undefined): string =>
  code === undefined ? devicePath : `${devicePath}?user_code=${shownUserCode(code)}`

const loginPath = (code: string | undefined, more = ''): string =>
  `/login?${more}return_to=${encodeURIComponent(pathWith(code))}`

/**
 * The device request of this code. Codes are few enough to be guessed, so each person, and each address, may be wrong
 * a few times; one that was right is no guess, and what was wrong before still counts. Nobody who is not signed in
 * gets here, so no stranger uses up what all have together.
 */
const findDevice = async (
  { devices, limit, runtime }: DevicePageDeps,
  typed: string,
  { person }: BrowserSession,
  ip: string,
): Promise<ReadDevice | undefined> => {
  const own = runtime.digest(`user-code ${personKey(person)}`)
  await limit('user-code', own)
  await limit('user-code-address', { ip })
  await limit('user-codes', { ip })
  const found = await devices.byUserCode(typed)
  if (found)
    await Promise.all([limit.takeBack('user-code', own), limit.takeBack('user-code-address', { ip })])
  return found
}

const originOf = ({ id, device }: ReadDevice, ip: string): DeviceOrigin => ({
  id,
  askedAt: device.createdAt,
  expiresAt: device.expiresAt,
  from: networkOf(device.ip),
  elsewhere: neighbourhoodOf(device.ip) !== neighbourhoodOf(ip),
})

const requestOf = ({ device }: ReadDevice, origin: DeviceOrigin, now: number): AuthorizationRequest => ({
  clientId: device.client.id,
  client: device.client,
  resource: device.resource,
  scopes: device.scopes,
  ...(device.level !== undefined && { level: device.level }),
  promptConsent: true,
  promptNone: false,
  signedInSince: now - freshMs,
  ownNavigation: false,
  ...(device.flow !== undefined && { flow: device.flow }),
  device: origin,
})

const onward = { label: 'Enter a code', href: devicePath }

/** `device.form`, with what its page says. */
const unsaved = (why: string): Refusal =>
  new Refusal('device.form', why, {
    page: {
      title: 'Nothing was saved',
      steps: ['Open the page again, then enter the code.', 'If another site sent you here, close this page.'],
      onward,
    },
  })

const formOf = async (
  request: Request,
  { csrf }: BrowserSession,
  { origins }: DevicePageDeps['directory'],
): ReturnType<typeof readOwnForm> => {
  try {
    return await readOwnForm(request, csrf, origins, 'device.form')
  } catch (thrown) {
    throw thrown instanceof Refusal && thrown.code === 'device.form' ? unsaved(thrown.why) : thrown
  }
}

/** `other_network: refuse`. */
const refuseElsewhere = ({ from }: DeviceOrigin, ip: string, about: RequestFacts): Refusal =>
  new Refusal('device.network', `device ${from}, browser ${networkOf(ip)}`, {
    about,
    page: {
      title: 'Your device is in another network',
      steps: [
        'Use a browser in the network that the device is in.',
        'If somebody sent you the code or a link, close this page. They would get access as you.',
      ],
      onward,
    },
  })

const createDevicePage = (deps: DevicePageDeps): DevicePage => {
  const { runtime, config, directory, pendingRequests, sessions, pages } = deps
  const draw = (
    request: Request,
    session: BrowserSession,
    code: string | undefined,
    problem?: string,
  ): Response =>
    pages(request).device({
      person: session.person,
      csrf: session.csrf,
      switchAccount: loginPath(code, 'switch=1&'),
      ...(code !== undefined && { code: shownUserCode(code) }),
      linked: code !== undefined && problem === undefined,
      ...(problem !== undefined && { problem }),
    })
  const wrong = (
    request: Request,
    session: BrowserSession,
    typed: string,
    { ip, requestId }: RequestContext,
  ): Response => {
    const refusal = new Refusal('device.code', 'no pending device request has this code')
    const facts = { method: 'POST', path: devicePath, person: personKey(session.person), ip, requestId }
    runtime.log(levelOf(refusal), 'refused', refusedFields(refusal, facts))
    return draw(request, session, userCodeIn(typed), refusal.say)
  }
  return {
    async page(request) {
      const code = userCodeIn(readQuery(request).get('user_code') ?? '')
      const session = await sessions.of(request)
      return session ? draw(request, session, code) : seeOther(loginPath(code))
    },
    async enter(request, context) {
      const session = await sessions.of(request)
      if (!session) throw unsaved('session cookie missing or expired')
      const form = await formOf(request, session, directory)
      const typed = form.get('user_code') ?? ''
      const found = await findDevice(deps, typed, session, context.ip)
      if (!found) return wrong(request, session, typed, context)
      const origin = originOf(found, context.ip)
      if (origin.elsewhere && config.device?.other_network === 'refuse')
        throw refuseElsewhere(origin, context.ip, {
          person: personKey(session.person),
          flow: found.device.flow,
        })
      const asked = requestOf(found, origin, runtime.now())
      const { id, cookies } = await pendingRequests.open(asked, request)
      return seeOther(`${endpoints.consent.path}?flow=${id}`, cookies)
    },
  }
}

export interface DeviceHandlers extends DevicePage {
  /** POST /oauth/device_authorization */
  readonly authorize: Handler
}

/** None where no client may use it. */
export const createDeviceHandlers = (
  deps: DevicePageDeps & DeviceAuthorizationDeps,
): { readonly device?: DeviceHandlers } =>
  deps.config.device?.enabled
    ? { device: { authorize: createDeviceAuthorization(deps), ...createDevicePage(deps) } }
    : {}
