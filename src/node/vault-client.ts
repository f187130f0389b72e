// Requests to Vault or OpenBao: the token with which they are made and how it stays valid, which server is asked, and what
// answers mean. Rules for what a server may do are in its documentation (API index; auth token, approle, kubernetes;
// sys/health; HA: redirects of a standby).
import { readFileSync } from 'node:fs'
import { Agent, fetch } from 'undici'
import type { VaultSettings } from '../config/storage-keys.ts'
import type { Log, Timer } from '../ports/runtime.ts'
import { type Failure, unavailable } from './remote-store.ts'

export interface VaultAnswer {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
}

/** Says itself what it means. */
export class VaultError extends Error {
  readonly failure: Failure
  /** The token, or its policy. */
  readonly denied: boolean
  constructor(failure: Failure, denied = false) {
    super(failure.why)
    this.failure = failure
    this.denied = denied
  }
}

interface Asked {
  readonly body?: object | undefined
  /** In place of the gateway's own. */
  readonly token?: string | undefined
  readonly signal?: AbortSignal | undefined
}

export interface VaultClientOptions {
  readonly settings: VaultSettings
  readonly timer: Timer
  readonly now: () => number
  readonly random: (n: number) => Uint8Array<ArrayBuffer>
  readonly log: Log
}

/** At the start, and where nobody waits, a request has so many ms. */
const startMs = 10_000

const refused = (why: string): VaultError => new VaultError({ kind: 'refused', why })
const passes = (why: string): VaultError => new VaultError({ kind: 'passes', why })

const firstError = ({ body }: VaultAnswer): string => {
  const { errors } = body as { readonly errors?: readonly string[] }
  return errors?.[0]?.trim() ?? ''
}

/** What an answer says of the server; undefined where it is an answer to what was asked. */
const failureIn = (answer: VaultAnswer, what: string): VaultError | undefined => {
  const { status } = answer
  const said = firstError(answer)
  if (status === 403)
    return new VaultError(
      { kind: 'refused', why: `the policy of Vault does not allow ${what}: add the policy of the guide` },
      true,
    )
  if (status === 429) return passes('Vault allows no more requests for now (429): raise its rate limit quota')
  if (status === 412) return passes('this server of Vault does not have the latest writes yet (412)')
  if (status === 413) return refused('the record is too large for Vault (413)')
  if (status === 503) return passes('Vault is sealed: unseal it')
  if (/local node not active/.test(said)) return passes('Vault has no active server')
  if (status >= 500)
    return new VaultError({ kind: 'lost', why: `Vault answered ${status}${said ? ` (${said})` : ''}` })
  return undefined
}

const bodyOf = (text: string): Readonly<Record<string, unknown>> => {
  try {
    const parsed: unknown = JSON.parse(text)
    return typeof parsed === 'object' && parsed !== null ? (parsed as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

const certificatesIn = (path: string): string => {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    throw unavailable(
      `cannot read storage.vault.ssl_ca_certs, ${path} (${(error as NodeJS.ErrnoException).code})`,
    )
  }
}

/** Why there was no answer at all. */
const lostBy = (error: unknown): VaultError => {
  const { cause, name, message } = error as Error
  const { code = '', message: text = message } = (cause ?? {}) as Partial<NodeJS.ErrnoException>
  if (name === 'AbortError' || name === 'TimeoutError')
    return new VaultError({ kind: 'lost', why: 'no answer in time' })
  if (/^(?:ERR_TLS|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/.test(code))
    return refused(`no connection to Vault (${text}): set storage.vault.ssl_ca_certs to the CA of the server`)
  return new VaultError({
    kind: code === 'ECONNREFUSED' ? 'passes' : 'lost',
    why: `no connection to Vault (${text})`,
  })
}

/** One request to one server. */
const createSend = (
  { verify_ssl: verify, ssl_ca_certs: path, namespace }: VaultSettings,
  heard: (date: string | null) => void,
) => {
  const ca = path === undefined ? undefined : certificatesIn(path)
  const agent = new Agent({ connect: { rejectUnauthorized: verify, ...(ca === undefined ? {} : { ca }) } })
  return {
    async send(url: string, method: string, { body, token, signal }: Asked) {
      const headers = {
        'x-vault-request': 'true',
        ...(token === undefined ? {} : { 'x-vault-token': token }),
        ...(namespace === undefined ? {} : { 'x-vault-namespace': `${namespace}/` }),
        ...(body ? { 'content-type': 'application/json' } : {}),
      }
      const response = await fetch(url, {
        ...{ method, headers, redirect: 'manual', dispatcher: agent },
        signal: signal ?? AbortSignal.timeout(startMs),
        body: body ? JSON.stringify(body) : null,
      })
      heard(response.headers.get('date'))
      return { response, text: await response.text() }
    },
    close: () => void agent.destroy().catch(() => undefined),
  }
}

/** Requests to whichever of the servers answers. */
const createRequests = ({ settings, now }: VaultClientOptions) => {
  const origins = [settings.url ?? [], settings.urls].flat().map((url) => new URL(url).origin)
  let at = 0
  let offset = 0
  const next = (): void => {
    at = (at + 1) % origins.length
  }
  const { send, close } = createSend(settings, (date) => {
    const found = Date.parse(date ?? '') + 500 - now()
    // Its grain is a second, so that less is no difference.
    if (Math.abs(found - offset) > 1000) offset = found
  })
  /** A standby that forwards nothing names the active server. */
  const follow = (from: string, location: string | null): string => {
    const to = URL.canParse(location ?? '', from) ? new URL(location ?? '', from) : undefined
    if (to && origins.includes(to.origin)) return to.href
    throw refused(
      `a standby of Vault sends the gateway to ${to?.origin ?? 'nowhere'} (its api_addr): add it to storage.vault.urls`,
    )
  }
  const request = async (method: string, path: string, asked: Asked = {}): Promise<VaultAnswer> => {
    for (let tries = 1; ; tries++) {
      const url = `${origins[at]}/v1/${path}`
      try {
        let { response, text } = await send(url, method, asked)
        if (response.status === 307 || response.status === 308)
          ({ response, text } = await send(follow(url, response.headers.get('location')), method, asked))
        return { status: response.status, body: bodyOf(text) }
      } catch (error) {
        if (error instanceof VaultError) throw error
        const lost = lostBy(error)
        next()
        // It was not sent: another server may take it.
        if (lost.failure.kind !== 'passes' || tries === origins.length) throw lost
      }
    }
  }
  return { now: () => now() + offset, offset: () => offset, request, next, close }
}

interface Lease {
  readonly token: string
  /** Seconds; 0: it does not end. */
  readonly seconds: number
  readonly renewable: boolean
}

const leaseIn = ({ body }: VaultAnswer): Lease | undefined => {
  const { auth } = body as {
    readonly auth?: { client_token?: string; lease_duration?: number; renewable?: boolean }
  }
  if (typeof auth?.client_token !== 'string') return undefined
  return {
    token: auth.client_token,
    seconds: auth.lease_duration ?? 0,
    renewable: auth.renewable ?? false,
  }
}

/** The longest time between two renewals, s. */
const mostBetween = 1800
/** A lease that is nearly over cannot be renewed for long. */
const leastSeconds = 10

type Request = ReturnType<typeof createRequests>['request']

const secretIdOf = async (settings: VaultSettings, request: Request): Promise<string> => {
  const { secret_id: secret = '', secret_id_wrapped: wrapped } = settings
  if (!wrapped) return secret
  const answer = await request('POST', 'sys/wrapping/unwrap', { token: secret })
  const { data } = answer.body as { readonly data?: { readonly secret_id?: string } }
  if (answer.status === 200 && data?.secret_id !== undefined) return data.secret_id
  throw refused(
    'the wrapped secret ID was opened before, or is too old: treat it as stolen, and make another one',
  )
}

const jwtIn = (path: string): string => {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    throw refused(`cannot read storage.vault.jwt_path, ${path} (${(error as NodeJS.ErrnoException).code})`)
  }
}

/** How a token is got, each time that there is none. */
const createLogin = (settings: VaultSettings, request: Request) => {
  const { auth_method: method, auth_mount: mount = method } = settings
  let secretId: string | undefined
  const own = async (): Promise<Lease> => {
    const token = settings.token ?? ''
    const answer = await request('GET', 'auth/token/lookup-self', { token })
    if (answer.status !== 200)
      throw failureIn(answer, '')?.denied === false
        ? (failureIn(answer, '') as VaultError)
        : refused(
            'Vault does not accept the token (it is wrong, expired or revoked): set storage.vault.token',
          )
    const { data = {} } = answer.body as { readonly data?: { ttl?: number; renewable?: boolean } }
    return { token, seconds: data.ttl ?? 0, renewable: data.renewable ?? false }
  }
  const byRole = async (): Promise<Lease> => {
    if (method === 'approle') secretId ??= await secretIdOf(settings, request)
    const body =
      method === 'approle'
        ? { role_id: settings.role_id, secret_id: secretId }
        : { role: settings.role, jwt: jwtIn(settings.jwt_path) }
    const answer = await request('POST', `auth/${mount}/login`, { body })
    const lease = leaseIn(answer)
    if (lease) return lease
    const failure = failureIn(answer, '')
    if (failure && !failure.denied) throw failure
    const keys =
      method === 'approle' ? 'role_id and storage.vault.secret_id' : 'role and storage.vault.jwt_path'
    throw refused(
      `Vault does not accept the login at auth/${mount} (${firstError(answer) || String(answer.status)}): check storage.vault.${keys}`,
    )
  }
  return method === 'token' ? own : byRole
}

export interface VaultClient {
  /** Rejects with VaultError. 400 and 404 are answers. */
  call(method: string, path: string, asked?: Asked): Promise<VaultAnswer>
  /** Without a token. */
  health(): Promise<VaultAnswer>
  /** What there is to know of the token. */
  lookup(): Promise<Readonly<Record<string, unknown>>>
  /** Epoch ms, by the clock of the server. */
  now(): number
  /** By how much it is ahead of ours. */
  offset(): number
  close(): void
}

/** Keeps the token valid: half of its lease before it ends, or with another one. */
const createToken = (options: VaultClientOptions, request: Request) => {
  const { settings, timer, random, log } = options
  const login = createLogin(settings, request)
  let lease: Lease | undefined
  let logging: Promise<Lease> | undefined
  let cancel = (): void => undefined
  const plan = ({ seconds }: Lease): void => {
    cancel()
    if (seconds === 0) return
    const chance = (random(1)[0] as number) / 255
    const wait = Math.max(1, Math.min(seconds / 2, mostBetween) * (0.8 + 0.2 * chance))
    cancel = timer(wait * 1000, () => void renewed().catch(() => undefined))
  }
  const kept = (next: Lease): Lease => {
    lease = next
    plan(next)
    return next
  }
  /** One login for all who wait. */
  const anew = (): Promise<Lease> =>
    (logging ??= login()
      .then(kept)
      .finally(() => (logging = undefined)))
  const renewed = async (): Promise<void> => {
    const held = lease
    if (!held) return
    const answer = held.renewable
      ? await request('POST', 'auth/token/renew-self', {
          token: held.token,
          body: {},
        }).catch(() => undefined)
      : undefined
    const next = answer && leaseIn(answer)
    if (next && next.seconds >= leastSeconds) return void kept(next)
    if (settings.auth_method !== 'token') return void (await anew().catch(() => plan(held)))
    const left = next?.seconds ?? held.seconds / 2
    log('warn', 'storage.token', {
      message: `the token of Vault ends in ${Math.round(left)} s and cannot be renewed: set storage.vault.token to another one`,
    })
    if (left > 2 * leastSeconds) plan({ ...held, seconds: left })
  }
  return {
    current: async (): Promise<Lease> => lease ?? anew(),
    /** The token was not accepted. */
    async replaced(dead: Lease): Promise<Lease> {
      if (lease === dead) lease = undefined
      return lease ?? anew()
    },
    stop: () => cancel(),
  }
}

/** The login of all is not ended by one who no longer waits. */
const inTime = async <T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> => {
  if (!signal) return work
  const late = Promise.withResolvers<never>()
  const end = (): void => late.reject(new VaultError({ kind: 'lost', why: 'no answer in time' }))
  signal.addEventListener('abort', end)
  try {
    return await Promise.race([work, late.promise])
  } finally {
    signal.removeEventListener('abort', end)
    work.catch(() => undefined)
  }
}

export const createVaultClient = (options: VaultClientOptions): VaultClient => {
  const requests = createRequests(options)
  const { request } = requests
  const token = createToken(options, request)
  const isDead = async ({ token: id }: Lease, signal: AbortSignal | undefined): Promise<boolean> =>
    (await request('GET', 'auth/token/lookup-self', { token: id, signal })).status === 403
  const once = async (lease: Lease, method: string, path: string, asked: Asked): Promise<VaultAnswer> => {
    const answer = await request(method, path, { ...asked, token: lease.token })
    const failure = failureIn(answer, `${method} ${path}`)
    if (failure?.failure.kind === 'passes') requests.next()
    if (failure) throw failure
    return answer
  }
  const call = async (method: string, path: string, asked: Asked = {}): Promise<VaultAnswer> => {
    const lease = await inTime(token.current(), asked.signal)
    try {
      return await once(lease, method, path, asked)
    } catch (error) {
      // A dead token and a policy that does not allow it are answered alike.
      if (!(error instanceof VaultError && error.denied) || !(await isDead(lease, asked.signal))) throw error
      return once(await inTime(token.replaced(lease), asked.signal), method, path, asked)
    }
  }
  return {
    call,
    health: () => request('GET', 'sys/health'),
    async lookup() {
      const { body } = await call('GET', 'auth/token/lookup-self')
      return (body['data'] ?? {}) as Readonly<Record<string, unknown>>
    },
    now: requests.now,
    offset: requests.offset,
    close() {
      token.stop()
      requests.close()
    },
  }
}
