// `postern login`: a token for a service behind a gateway, found from the URL of the service alone (RFC 9728, RFC 8414):
// through the browser of this computer (login-loopback.ts), or on a machine without one with the device authorization
// grant (RFC 8628).
import { createHash, randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { ownClient } from '../config/device-keys.ts'
import { printable } from '../config/tree.ts'
import { isLoopbackHost } from '../kit/addresses.ts'
import { type Surroundings, hasBrowser, here, receiveAnswer } from './login-loopback.ts'
import { print, type Printer, StartError, UsageError } from './output.ts'

export interface LoginOptions {
  readonly scope?: string
  readonly client?: string
  /** Sign in on another device, though there is a browser here. */
  readonly device?: boolean
}

type Json = Readonly<Record<string, unknown>>

const grantType = 'urn:ietf:params:oauth:grant-type:device_code'
const answerMs = 30_000
/** RFC 8628 §3.5: without an interval it is 5 seconds, and `slow_down` adds as many. */
const defaultInterval = 5

const fail = (code: string, sentence: string): StartError => new StartError(`login.${code}`, sentence)

/** Of the other side: one short line without controls. */
const said = (value: unknown): string => printable(String(value), 300)

/** Whether tokens may be sent there: never unencrypted, but to this computer. */
const isPrivate = (url: URL | null): url is URL =>
  url !== null && (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopbackHost(url.hostname)))

const urlOf = (text: string): URL => {
  const url = URL.parse(text)
  if (isPrivate(url)) return url
  throw new UsageError(`${text} is not the https URL of a service. Example: https://mcp.example.com/jira/mcp`)
}

const ask = async (url: string, fields?: Readonly<Record<string, string>>): Promise<Response> => {
  if (!isPrivate(URL.parse(url))) throw fail('metadata', `${said(url)} is not an https URL.`)
  try {
    return await fetch(url, {
      redirect: 'error',
      signal: AbortSignal.timeout(answerMs),
      headers: { accept: 'application/json' },
      ...(fields && { method: 'POST', body: new URLSearchParams(fields) }),
    })
  } catch (error) {
    const cause = error instanceof Error ? (error.cause ?? error) : error
    throw fail('unreachable', `Cannot reach ${new URL(url).origin}: ${said((cause as Error).message)}`)
  }
}

const bodyOf = async (response: Response): Promise<Json> => {
  const body: unknown = await response.json().catch(() => undefined)
  return typeof body === 'object' && body !== null ? (body as Json) : {}
}

const document = async (url: string, what: string): Promise<Json> => {
  const response = await ask(url)
  if (response.ok) return bodyOf(response)
  throw fail(
    'metadata',
    `${url} answered ${response.status}: there is no ${what}. Check the URL of the service.`,
  )
}

const textOf = (body: Json, name: string): string | undefined => {
  const value = body[name]
  return typeof value === 'string' ? value : undefined
}

interface Discovered {
  readonly resource: string
  readonly issuer: string
  readonly authorize: string
  readonly tokens: string
  readonly devices: string
  /** RFC 9207 §3. */
  readonly namesItself: boolean
}

/** What the protected resource metadata, and then that of its authorization server, say. */
const discover = async (service: URL): Promise<Discovered> => {
  const { origin, pathname } = service
  const about = await document(`${origin}/.well-known/oauth-protected-resource${pathname}`, 'service')
  const resource = textOf(about, 'resource')
  const [issuer] = Array.isArray(about['authorization_servers']) ? about['authorization_servers'] : []
  // RFC 9728 §3.3: of another resource than the one that was asked about nothing counts.
  if (resource !== service.href || typeof issuer !== 'string')
    throw fail('metadata', `The metadata of ${service.href} is about ${said(resource)}.`)
  const server = await document(`${issuer}/.well-known/oauth-authorization-server`, 'gateway')
  const [authorize, tokens, devices] = [
    'authorization_endpoint',
    'token_endpoint',
    'device_authorization_endpoint',
  ].map((name) => textOf(server, name))
  if (server['issuer'] !== issuer || tokens === undefined || authorize === undefined)
    throw fail('metadata', `The metadata of ${said(issuer)} is about ${said(server['issuer'])}.`)
  if (devices === undefined)
    throw fail(
      'device',
      `${issuer} does not offer device authorization. Its administrator turns it on with "device: { clients: [${ownClient}] }".`,
    )
  const namesItself = server['authorization_response_iss_parameter_supported'] === true
  return { resource, issuer, authorize, tokens, devices, namesItself }
}

const refused = ({ error, error_description: text }: Json): StartError => {
  if (error === 'access_denied') return fail('denied', 'Access was denied.')
  if (error === 'expired_token') return fail('expired', 'The code has expired. Run the command again.')
  return fail('refused', `The gateway refused: ${said(text ?? error)}`)
}

const errorOf = async (response: Response): Promise<StartError> => {
  const body = await bodyOf(response)
  if (body['error'] === 'unauthorized_client' || body['error'] === 'invalid_client')
    return fail(
      'client',
      `The gateway does not allow this client. Its administrator lists it under device.clients.`,
    )
  return refused(body)
}

/** Whatever the other side says, this command waits neither for ever nor without a pause. */
const [longestWait, longestInterval] = [1800, 60]
const secondsOf = (body: Json, name: string, fallback: number): number => {
  const seconds = Number(body[name] ?? fallback)
  return Number.isFinite(seconds) ? Math.min(longestWait, Math.max(1, seconds)) : fallback
}

/** Asks until the person has decided. */
const poll = async (url: string, fields: Readonly<Record<string, string>>, device: Json): Promise<Json> => {
  let interval = secondsOf(device, 'interval', defaultInterval)
  for (let left = secondsOf(device, 'expires_in', longestWait); left > 0; left -= interval) {
    await sleep(interval * 1000)
    // RFC 8628 §3.5: a device whose network is away for a moment asks again, later each time.
    const response = await ask(url, fields).catch(() => undefined)
    if (response?.ok) return bodyOf(response)
    const body = response && (await bodyOf(response))
    if (!response || response.status >= 500 || response.status === 429)
      interval = Math.min(longestInterval, interval * 2)
    else if (body?.['error'] === 'slow_down') interval += defaultInterval
    else if (body?.['error'] !== 'authorization_pending') throw refused(body ?? {})
  }
  throw refused({ error: 'expired_token' })
}

/** Words go to standard error: what stands on standard output is the token. */
const tell = (text: string): void => void process.stderr.write(`${text}\n`)

/** What is sent with every request of a login. */
interface Asked {
  readonly client: string
  readonly scope: { readonly scope?: string }
}

const onDevice = async (
  { resource, tokens, devices }: Discovered,
  { client, scope }: Asked,
): Promise<Json> => {
  const started = await ask(devices, { client_id: client, resource, ...scope })
  if (!started.ok) throw await errorOf(started)
  const device = await bodyOf(started)
  const minutes = Math.round(secondsOf(device, 'expires_in', longestWait) / 60)
  tell(`Open ${said(device['verification_uri'])} in a browser and enter the code`)
  tell('')
  tell(`    ${said(device['user_code'])}`)
  tell('')
  tell(`Or open ${said(device['verification_uri_complete'])}`)
  tell(`The code is valid for ${minutes} minutes. Waiting …`)
  const fields = {
    grant_type: grantType,
    client_id: client,
    device_code: String(device['device_code']),
    resource,
  }
  return poll(tokens, fields, device)
}

/** Authorization code with PKCE (RFC 7636) and a loopback redirect. */
const inBrowser = async (
  { resource, issuer, authorize, tokens, namesItself }: Discovered,
  { client, scope }: Asked,
  surroundings: Surroundings,
): Promise<Json> => {
  if (!isPrivate(URL.parse(authorize))) throw fail('metadata', `${said(authorize)} is not an https URL.`)
  const [verifier, state] = [randomBytes(32), randomBytes(16)].map((bytes) =>
    bytes.toString('base64url'),
  ) as [string, string]
  const urlFor = (redirectUri: string): string => {
    const url = new URL(authorize)
    const challenge = createHash('sha256').update(verifier).digest('base64url')
    const params = {
      ...{ response_type: 'code', client_id: client, redirect_uri: redirectUri, resource, ...scope, state },
      ...{ code_challenge: challenge, code_challenge_method: 'S256' },
    }
    for (const [name, value] of Object.entries(params)) url.searchParams.set(name, value)
    return url.href
  }
  const awaited = { state, issuer, namesItself }
  const { answer, redirectUri } = await receiveAnswer(awaited, urlFor, surroundings, tell)
  if (answer === 'late') throw fail('expired', 'Nobody signed in within ten minutes. Run the command again.')
  if ('error' in answer) throw refused({ error: answer.error })
  const response = await ask(tokens, {
    ...{ grant_type: 'authorization_code', client_id: client, code: answer.code, code_verifier: verifier },
    ...{ redirect_uri: redirectUri, resource },
  })
  if (!response.ok) throw await errorOf(response)
  return bodyOf(response)
}

/** `surroundings`: those of this process unless a test stands in for them. */
export const login = async (
  text: string,
  options: LoginOptions,
  json: Printer | undefined,
  surroundings: Surroundings = here(),
): Promise<void> => {
  const found = await discover(urlOf(text))
  const asked = {
    client: options.client ?? ownClient,
    scope: options.scope === undefined ? {} : { scope: options.scope },
  }
  const byDevice = options.device === true || !hasBrowser(surroundings)
  const token = await (byDevice ? onDevice(found, asked) : inBrowser(found, asked, surroundings))
  const access = textOf(token, 'access_token')
  if (access === undefined) throw fail('refused', 'The gateway answered without a token.')
  if (json) json(token)
  else print(access)
}
