// Forward auth: a proxy in front of a server asks here, for each request, whether it may pass (nginx `auth_request`, Caddy
// `forward_auth`, Traefik ForwardAuth). The steps of admit.ts decide, without those that are about reaching the server. What
// cannot be judged without the message, or would have to be changed in it, does not pass.
import { createRanges } from '../kit/addresses.ts'
import { isNormalPath, readWhole } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Answer, Head, ReadBody, Refuse } from '../ports/call.ts'
import type { Handler, Route } from '../ports/modules.ts'
import type { RequestContext } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import { checkAccess } from './access.ts'
import {
  type AdmitDeps,
  type Call,
  checkRevision,
  checkToken,
  createCall,
  identify,
  readMessage,
  takePermit,
} from './admit.ts'
import type { StepResult } from './admitted-call.ts'
import { checkRates } from './call-rates.ts'
import { presets } from './identity-headers.ts'
import { normalName } from './inbound-request.ts'
import { refusedCall } from './outcome.ts'
import { checkHost, checkPage, findService } from './resolve.ts'
import { flatOf, headersOf } from './response-sources.ts'

/** As configured under `forward_auth`. */
interface ForwardAuthSettings {
  /** Messages that the proxy does not hand on. */
  readonly without_body: 'refuse' | 'allow'
  /** Preflight requests of browsers (Fetch, CORS). */
  readonly preflight: 'refuse' | 'pass'
}

// The request that is asked about, as the proxy describes it. Nothing else of the request to this endpoint is about it: Caddy
// appends the client's query, and every proxy has a method of its own.

const described = ['x-forwarded-method', 'x-forwarded-proto', 'x-forwarded-host', 'x-forwarded-uri'] as const
type Described = Readonly<Record<(typeof described)[number], string>>

/** Other ways to say the same: a proxy that passes them on from its client says two things. */
const alternatives = new Set(['x-original-url', 'x-original-uri', 'x-original-method', 'x-rewrite-url'])
/** With which a server may take a request for another one than was judged. */
const overrides = new Set(['x-http-method', 'x-http-method-override', 'x-method-override'])

const isOneOf = (names: readonly string[], name: string): boolean => names.includes(name)

/** Throws `verify.incomplete` and `verify.method`. */
const describedIn = (headers: Headers): Described => {
  for (const [name] of headers) {
    const normal = normalName(name).replaceAll('.', '-')
    if (overrides.has(normal)) throw new Refusal('verify.method', name)
    if (alternatives.has(normal) || (normal !== name && isOneOf(described, normal)))
      throw new Refusal('verify.incomplete', `${name} beside the fields of the proxy`)
  }
  const hop = (headers.get('connection') ?? '').toLowerCase().split(',')
  if (hop.some((name) => isOneOf(described, name.trim())))
    throw new Refusal('verify.incomplete', 'Connection names a field of the proxy')
  const found = described.map((name) => {
    const value = headers.get(name)
    // Several are joined with a comma and a space, and an address has no space.
    if (value === null || !/^[^\s]+$/.test(value) || (name !== 'x-forwarded-uri' && value.includes(',')))
      throw new Refusal('verify.incomplete', `${name} is ${value === null ? 'missing' : 'not one value'}`)
    return [name, value] as const
  })
  return Object.fromEntries(found) as Described
}

const methods = new Set(['GET', 'HEAD', 'POST', 'DELETE', 'OPTIONS'])

/** Throws `verify.method` and `verify.path`. */
const headOf = (request: Request, fields: Described, { ip, requestId }: RequestContext): Head => {
  const { 'x-forwarded-method': method, 'x-forwarded-uri': target } = fields
  if (!methods.has(method)) throw new Refusal('verify.method', method.slice(0, 20))
  // As it was sent. Proxies route by what they made of it: only what nobody reads in two ways is judged.
  if (!isNormalPath(target.split('?', 1)[0] as string)) throw new Refusal('verify.path', target.slice(0, 200))
  const flat = flatOf(request.headers)
  const rawHeaders = flat.flatMap((name, i) =>
    i % 2 === 0 &&
    !isOneOf(['host', 'content-length', 'transfer-encoding'], name) &&
    !name.startsWith('x-forwarded-')
      ? [name, flat[i + 1] as string]
      : [],
  )
  return {
    // A server must not treat HEAD in another way than GET (RFC 9110 §9.3.2).
    method: method === 'HEAD' ? 'GET' : method,
    target,
    host: fields['x-forwarded-host'],
    rawHeaders,
    ip,
    requestId,
    plainHttp: fields['x-forwarded-proto'].toLowerCase() !== 'https',
  }
}

/** Whether the proxy handed the message on. Throws `verify.partial`. */
const hasBody = ({ method, headers }: Request): boolean => {
  if (headers.get('x-envoy-auth-partial-body') === 'true') throw new Refusal('verify.partial')
  return (
    method === 'POST' && (headers.has('transfer-encoding') || Number(headers.get('content-length') ?? 0) > 0)
  )
}

// The decision.

/** What is judged of the request itself, then of its caller, then of its message. */
const receiving = [checkHost, findService, checkPage, checkRevision, checkToken, takePermit] as const
const judging = [checkRates, checkAccess, identify] as const

type Run = (call: Call) => StepResult | Promise<StepResult>

interface DescribedRequest {
  readonly head: Head
  /** Undefined: the proxy did not hand the message on. */
  readonly readBody: ReadBody | undefined
}

/** Every field that a service may be told, so that the proxy can take away what the client sent under these names. */
const namesFor = ({ identity: { preset, headers, assertion } }: Service): readonly string[] => [
  ...(preset === 'context'
    ? ['X-User-Context']
    : preset === 'none'
      ? []
      : presets[preset].map(([name]) => name)),
  ...Object.keys(headers),
  ...(assertion ? ['X-MCP-Identity'] : []),
]

export type Verify = (asked: DescribedRequest, settings: ForwardAuthSettings) => Promise<readonly string[]>

/**
 * Resolves with the fields for the server, empty ones among them. Rejects with what the caller is refused, also where the
 * steps would answer by themselves.
 */
export const createVerify = (deps: AdmitDeps): Verify => {
  const { runtime, record, policy, rates, finish } = deps
  const first = receiving.map((step) => step.make(deps) as Run)
  const read = readMessage.make(deps) as Run
  const last = judging.map((step) => step.make(deps) as Run)
  const run = async (runs: readonly Run[], call: Call): Promise<void> => {
    for (const step of runs)
      if (await step(call)) throw new Refusal('verify.changed', 'the gateway would answer itself')
  }
  const judge = async (
    call: Call,
    { readBody }: DescribedRequest,
    settings: ForwardAuthSettings,
  ): Promise<void> => {
    const { service } = call.address
    // Its messages are judged one by one where the gateway carries them.
    if (call.address.transport === 'sse') throw new Refusal('verify.path', 'an address of HTTP+SSE')
    if (readBody) {
      await run([read], call)
      const { body } = call
      await run(last, call)
      if (call.body !== body) throw new Refusal('verify.changed', 'the rules take something out of it')
      return
    }
    await policy?.fresh()
    const ruled = policy?.services.ruled === true && policy.of(service) !== undefined
    const limited = rates?.services.limited === true && rates.of(service) !== undefined
    if (call.head.method === 'POST' && (ruled || limited) && settings.without_body === 'refuse')
      throw new Refusal('verify.needs-body', service.id)
    await run(last, call)
  }
  return async (asked, settings) => {
    const { head, readBody } = asked
    const none: ReadBody = () => Promise.resolve(new Uint8Array())
    const call = createCall(head, readBody ?? none, runtime.now())
    // A preflight carries no token: that it may pass is all that is said of it.
    if (head.method === 'OPTIONS') {
      await run(first.slice(0, 2), call)
      return namesFor(call.address.service).flatMap((name) => [name, ''])
    }
    await run(first.slice(0, -1), call)
    try {
      await run(first.slice(-1), call)
      await judge(call, asked, settings)
    } catch (error) {
      call.permit()
      call.holding?.release()
      // From here on the caller is known, so what they were refused belongs in the trail.
      throw refusedCall(call, error, { now: runtime.now(), record })
    }
    // What the server answers is not known here.
    finish(call, { result: 'answered', status: 200, bytesOut: 0, answeredAt: runtime.now() })
    const told = new Headers()
    for (const name of namesFor(call.address.service)) told.set(name, '')
    headersOf(call.identity ?? []).forEach((value, name) => told.set(name, value))
    return flatOf(told)
  }
}

// The endpoint.

export interface ForwardAuthDeps {
  /** Undefined: nobody may ask. */
  readonly settings: (ForwardAuthSettings & { readonly trusted: readonly string[] }) | undefined
  readonly verify: Verify
  readonly refuse: Refuse
}

const answer = ({ status, headers, body }: Answer): Response =>
  new Response(body, {
    // A proxy lets pass whatever is answered with 2xx. Some take 404 for a fault of theirs.
    status: status < 400 || status === 404 ? 403 : status,
    headers: headersOf(headers),
  })

export const createForwardAuth = ({ settings, verify, refuse }: ForwardAuthDeps): Handler | undefined => {
  if (!settings) return undefined
  const isTrusted = createRanges(settings.trusted)
  return async (request, context) => {
    let head: Head | undefined
    try {
      const { peer = '' } = context
      if (!isTrusted(peer)) throw new Refusal('verify.untrusted', peer)
      head = headOf(request, describedIn(request.headers), context)
      if (head.method === 'OPTIONS' && settings.preflight === 'refuse') throw new Refusal('verify.preflight')
      const readBody: ReadBody = (max, grow) => readWhole(request, max, grow)
      const told = await verify({ head, readBody: hasBody(request) ? readBody : undefined }, settings)
      return new Response(null, { status: 200, headers: headersOf(['Cache-Control', 'no-store', ...told]) })
    } catch (error) {
      const { method, url } = request
      const { ip, requestId } = context
      const asked = head ?? { method, target: new URL(url).pathname, ip, requestId, rawHeaders: [] }
      return answer(refuse(error, { ...asked, rpcId: null, admitted: undefined }))
    }
  }
}

export const forwardAuthRoute = (verify: Handler): Route => ({
  paths: ['/verify'],
  description:
    'For a proxy in front of MCP servers: whether the request that the X-Forwarded-* headers describe may pass, and what to tell the server of its caller. Only with `forward_auth`',
  surface: 'json',
  cors: false,
  methods: { GET: verify, POST: verify },
  hosts: 'any',
  maxBody: 16 * 1024 * 1024,
})
