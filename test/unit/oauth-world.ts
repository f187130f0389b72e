// The authorization server alone: a store, a clock that is a number, clients' documents on a web of the
// test's own, and a browser that is a cookie jar.
import { type ConfigInput, parseConfig } from '../../src/config/schema.ts'
import { encodeBase64url } from '../../src/kit/bytes.ts'
import { type KeyRing, createKeyRing } from '../../src/kit/keyring.ts'
import { Refusal } from '../../src/kit/refusal.ts'
import { digest } from '../../src/node/crypto.ts'
import { createPendingRequests } from '../../src/oauth/authorization-requests.ts'
import { authorizationResponse } from '../../src/oauth/parameters.ts'
import { createAuthorize } from '../../src/oauth/authorize.ts'
import { createAuthenticateBearer } from '../../src/oauth/bearer.ts'
import { createClientBindings } from '../../src/oauth/client-bindings.ts'
import { createClientDocuments } from '../../src/oauth/client-id-document.ts'
import { createClients } from '../../src/oauth/clients.ts'
import { createConsent } from '../../src/oauth/consent.ts'
import { createDeviceCodes } from '../../src/oauth/device-codes.ts'
import { createDpop } from '../../src/oauth/dpop.ts'
import { createGrants } from '../../src/oauth/grants.ts'
import { createIssuedTokens } from '../../src/oauth/issued-tokens.ts'
import { createPersonalTokenCheck } from '../../src/oauth/personal-token.ts'
import { createMetadata } from '../../src/oauth/metadata.ts'
import { createClientConfiguration, createRegister } from '../../src/oauth/registration.ts'
import { createSigner } from '../../src/oauth/signing-keys.ts'
import { createToken } from '../../src/oauth/token-endpoint.ts'
import { createStepUps } from '../../src/oauth/step-up.ts'
import { createTokens } from '../../src/oauth/tokens.ts'
import { createPages } from '../../src/pages/views.ts'
import type { Handler, Limit, BrowserSession } from '../../src/ports/modules.ts'
import type { Person } from '../../src/ports/people.ts'
import type { ConsentChoices, Denied, ServicePolicy } from '../../src/ports/policy.ts'
import type { Outbound, Runtime } from '../../src/ports/runtime.ts'
import type { Service } from '../../src/ports/services.ts'
import type { Store } from '../../src/ports/store.ts'
import { createDirectory } from '../../src/services/directory.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'
import { noTimer } from '../runtimes/clock.ts'

export const origin = 'https://gw.test'
export const resource = `${origin}/echo/mcp`
export const context = { requestId: 'r1', ip: '192.0.2.1' }
export const random = (n: number): Uint8Array<ArrayBuffer> => crypto.getRandomValues(new Uint8Array(n))
export const ana: Person = {
  provider: 'local',
  subject: 'ana',
  login: 'ana',
  email: 'ana@example.com',
  groups: [],
}

const service = (id: string, more: Partial<Service> = {}): Service => ({
  id,
  name: id,
  description: '',
  upstream: { kind: 'http', url: `https://${id}.upstream.test/mcp` },
  authRequired: true,
  scopes: ['mcp'],
  timeoutMs: 1000,
  maxBodyBytes: 1000,
  identity: { preset: 'all', headers: {}, assertion: true },
  ...more,
})

const noLimit: Limit = Object.assign(() => Promise.resolve(), {
  guess: () => Promise.resolve(),
  guessed: () => Promise.resolve(),
  takeBack: () => Promise.resolve(),
})

export interface WorldOptions {
  readonly config?: ConfigInput
  /** Services by id; absent: `echo` alone. */
  readonly services?: Readonly<Record<string, Partial<Service>>>
  readonly store?: (now: () => number) => Store
  readonly keys?: KeyRing
  readonly origins?: readonly string[]
  /** Absent: nobody is ever too many. */
  readonly limit?: Limit
  /** Whether an administrator has blocked everybody. */
  readonly blocked?: () => boolean
  /** What people may let apps do; absent: there are no access rules. */
  readonly choices?: () => ConsentChoices | Denied
}

/** One page of the outer web: what a GET of its URL answers, or how it fails. */
export type WebPage =
  | { readonly status?: number; readonly body?: unknown; readonly headers?: Record<string, string> }
  | { readonly why: string }
  | 'down'
  | 'refused'

/**
 * A web the test writes: pages by URL, and every request made. Obeys `maxBytes` as the guarded outbound does.
 */
const createWeb = () => {
  const pages = new Map<string, WebPage>()
  const asked: string[] = []
  const outbound: Outbound = (url, { maxBytes = 1_048_576 } = {}) => {
    asked.push(url)
    const page = pages.get(url) ?? { status: 404 }
    if (page === 'down') return Promise.reject(new Refusal('outbound.failed', 'connection reset'))
    if (typeof page === 'object' && 'why' in page)
      return Promise.reject(new Refusal('outbound.failed', page.why))
    if (page === 'refused') return Promise.reject(new Refusal('outbound.refused', 'not global unicast'))
    const body = new TextEncoder().encode(
      typeof page.body === 'string' ? page.body : JSON.stringify(page.body ?? ''),
    ) as Uint8Array<ArrayBuffer>
    if (body.length > maxBytes)
      return Promise.reject(new Refusal('outbound.failed', `the answer is larger than ${maxBytes} bytes`))
    return Promise.resolve({
      status: page.status ?? 200,
      headers: new Headers({ 'content-type': 'application/json', ...page.headers }),
      body,
    })
  }
  return { pages, asked, outbound }
}

const memoryCache = (now: () => number) => {
  const kept = new Map<string, { readonly value: string; readonly until: number }>()
  return {
    get: (key: string) =>
      Promise.resolve((kept.get(key)?.until ?? 0) > now() ? kept.get(key)?.value : undefined),
    put: (key: string, value: string, { ttlMs }: { readonly ttlMs: number }) =>
      Promise.resolve(void kept.set(key, { value, until: now() + ttlMs })),
  }
}

/** What a handler did: its answer, or its refusal. */
export interface Outcome {
  readonly status: number
  readonly code?: string
  readonly refusal?: Refusal
  readonly headers: Headers
  readonly body: Record<string, unknown>
  readonly text: string
  /** Where the browser is sent, refusals told by redirect included. */
  readonly location?: URL
}

export const createWorld = async ({
  config: input = {},
  services = { echo: {} },
  store: makeStore,
  keys,
  origins = [origin],
  limit = noLimit,
  blocked = () => false,
  choices,
}: WorldOptions = {}) => {
  const config = parseConfig(input)
  const clock = { now: Date.UTC(2026, 0, 1) }
  const now = (): number => clock.now
  const web = createWeb()
  const events: Record<string, unknown>[] = []
  const store = (makeStore ?? ((time) => createMemoryStore({ now: time })))(now)
  const runtime: Runtime = {
    now,
    timer: noTimer,
    digest,
    random,
    outbound: web.outbound,
    defer: () => undefined,
    log: (level, event, fields) => void events.push({ level, event, ...fields }),
    store,
    cache: memoryCache(now),
    keys: keys ?? (await createKeyRing([random(32)], random)),
    transports: {
      fetch: Promise.reject.bind(Promise),
      socket: Promise.reject.bind(Promise),
      publicOnly: { fetch: Promise.reject.bind(Promise), socket: Promise.reject.bind(Promise) },
    },
    passwords: {
      hash: Promise.reject.bind(Promise),
      verify: () => Promise.resolve(false),
      outdated: () => false,
    },
    bodyBytes: 1 << 26,
    about: { version: '0', runtime: 'test', storage: 'memory' },
  }
  const directory = createDirectory({
    issuer: origin,
    origins,
    services: Object.entries(services).map(([id, more]) => service(id, more)),
  })
  const find = (resource: string) => Promise.resolve(directory.resolve(resource))
  const who: { session: BrowserSession | undefined } = { session: undefined }
  let signIns = 0
  const signIn = (person: Person = ana): void =>
    void (who.session = {
      // As of a browser: each sign-in begins another session.
      id: `session ${++signIns} of ${person.subject}`,
      person,
      signedInAt: clock.now,
      csrf: `csrf of ${person.subject}`,
    })
  const sessions = { of: () => Promise.resolve(who.session) }
  const pages = () => createPages({ issuer: origin, version: '0' })
  const record = (event: Record<string, unknown>) => void events.push(event)
  const signer = createSigner({
    runtime,
    issuer: origin,
    rotationMs: config.key_rotation * 1000,
    overlapMs: config.access_token_lifetime * 1000,
  })
  const clients = createClients({
    runtime,
    config,
    documents: createClientDocuments({ runtime, config, directory }),
    directory,
  })
  const clientBindings = createClientBindings({ runtime })
  const dpop = createDpop({ runtime, config, directory, record })
  const grants = createGrants({ runtime, config, record, mayStillSignIn: (person) => person, find })
  const tokens = createTokens({ runtime, config, signer })
  const pendingRequests = createPendingRequests({ runtime })
  const blocks = { covers: () => Promise.resolve(blocked() ? ('blocked' as const) : undefined) }
  const upstream = {
    ahead: () => Promise.resolve(undefined),
    standing: () => Promise.resolve(undefined),
    begin: () => Promise.reject(new Refusal('connection.unknown')),
  }
  const stepUps = createStepUps({ runtime, issuer: origin })
  const ruled = { of: () => (choices ? ({} as ServicePolicy) : undefined) }
  const openPolicy = { of: () => undefined, services: { ruled: false }, fresh: () => undefined }
  const devices = createDeviceCodes({ runtime, config })
  const consent = createConsent({
    devices,
    choices: () => Promise.resolve(choices?.()),
    stepUps,
    runtime,
    config,
    directory,
    find,
    clients,
    grants,
    tokens,
    pendingRequests,
    sessions,
    pages,
    record,
    upstream,
    blocks,
  })
  const common = { config, runtime, directory, clients, clientBindings, grants, record }
  const handlers = {
    ...createMetadata({ config, directory, signer, policy: ruled, dpop }),
    register: createRegister({ config, directory, clients, limit, record }),
    manage: createClientConfiguration(common),
    authorize: createAuthorize({
      config,
      runtime,
      directory,
      find,
      clients,
      pendingRequests,
      sessions,
      limit,
    }),
    consentPage: consent.page,
    decide: consent.decide,
    token: createToken({
      ...common,
      devices,
      knownPerson: () => Promise.resolve(undefined),
      stepUps,
      find,
      tokens,
      blocks,
      limit,
      policy: openPolicy,
      mayStillSignIn: (person) => person,
      findResource: find,
      isAdmin: () => false,
      dpop,
    }),
    ...createIssuedTokens({
      runtime,
      directory,
      clients,
      grants,
      tokens,
      limit,
      record,
      personalTokens: { end: () => Promise.resolve(false) },
    }),
  }
  const personal = createPersonalTokenCheck({ runtime, grants, policy: openPolicy })
  const authenticate = createAuthenticateBearer({ runtime, directory, signer, grants, personal, dpop })
  const guard = async (...token: Parameters<typeof authenticate>) => authenticate(...token)
  return {
    config,
    clock,
    runtime,
    store,
    web,
    events,
    directory,
    who,
    signIn,
    signer,
    clients,
    grants,
    personal,
    tokens,
    pendingRequests,
    consent,
    stepUps,
    handlers,
    guard,
    dpop,
  }
}

export type World = Awaited<ReturnType<typeof createWorld>>

/** Runs a handler and says what came of it, a refusal as the app would answer it. */
export const run = async (handler: Handler, request: Request, ip = context.ip): Promise<Outcome> => {
  const outcome = (response: Response, text: string, more: Partial<Outcome>): Outcome => {
    const location = response.headers.get('location')
    const json = /json/.test(response.headers.get('content-type') ?? '')
      ? (JSON.parse(text) as Record<string, unknown>)
      : {}
    return {
      status: response.status,
      headers: response.headers,
      body: json,
      text,
      ...(location === null ? {} : { location: new URL(location, origin) }),
      ...more,
    }
  }
  try {
    const response = await handler(request, { ...context, ip })
    return outcome(response, await response.text(), {})
  } catch (thrown) {
    if (!(thrown instanceof Refusal)) throw thrown
    const { redirect, headers } = thrown.detail
    const body = { error: thrown.row.oauth, error_description: thrown.say }
    const drawn =
      redirect && redirect.ask === undefined
        ? new Response(null, {
            status: 303,
            headers: {
              location: authorizationResponse(origin)(redirect.uri, { ...body, state: redirect.state }),
            },
          })
        : Response.json(body, { status: thrown.row.status, ...(headers && { headers }) })
    return outcome(drawn, JSON.stringify(body), { code: thrown.code, refusal: thrown })
  }
}

export const get = (path: string, headers: Record<string, string> = {}): Request =>
  new Request(new URL(path, origin), { headers })
export const post = (
  path: string,
  fields: Record<string, string> | URLSearchParams | string,
  headers: Record<string, string> = {},
): Request =>
  new Request(new URL(path, origin), {
    method: 'POST',
    headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers },
    body: typeof fields === 'string' ? fields : new URLSearchParams(fields).toString(),
  })
export const postJson = (path: string, body: unknown, headers: Record<string, string> = {}): Request =>
  new Request(new URL(path, origin), {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })

export const verifier = 'v'.repeat(43)
export const challengeOf = (text: string): string => digest(text)
export const nonce = (): string => encodeBase64url(random(12))
