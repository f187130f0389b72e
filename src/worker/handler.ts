// The Worker's fetch handler: finds or makes the gateway of a request and passes the request to it.
import type { Gateway, GatewayOptions } from '../gateway.ts'
import { encodeBase64url } from '../kit/bytes.ts'
import { type RequestUrl, requestUrl } from '../kit/http.ts'
import { levelOf, refusedFields } from '../kit/log.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Fetch } from '../ports/call.ts'
import type { Log, RequestContext, Timer } from '../ports/runtime.ts'
import { type WorkerEnvironment, type MissingSetting, isLoopback } from './configuration.ts'
import { createGateways, createReport, mostLoopback } from './gateways.ts'
import { createLog } from './log.ts'
import type { FindSession } from './sessions.ts'
import { upgrade } from './websocket.ts'

// Responses while there is no gateway yet. They tell the operator what is missing, and contain no challenge
// or metadata that a client would cache.

const headers = {
  'cache-control': 'no-store',
  'retry-after': '60',
  'access-control-allow-origin': '*',
  'x-content-type-options': 'nosniff',
}

const hiddenFaults =
  'There are more configuration errors. The operator can read them in the log of this Worker (npx wrangler tail).'

const bodyOf = ({ row, say, code }: Refusal, requestId: string) => ({
  error: row.oauth,
  error_description: say,
  code,
  request_id: requestId,
})

interface UnansweredRequest {
  readonly request: Request
  readonly requestId: string
  /** Whether the request comes from the operator's own computer. */
  readonly loopback: boolean
}

/** Plain text for browsers, JSON for programs. */
export const notConfiguredResponse = (
  lacks: readonly MissingSetting[],
  { request, requestId, loopback }: UnansweredRequest,
): Response => {
  const shown = lacks.filter(({ open }) => open || loopback).map(({ text }) => text)
  const faults = shown.length < lacks.length ? [...shown, hiddenFaults] : shown
  const refusal = new Refusal('gateway.unconfigured')
  const init = { status: 503, headers: { ...headers, 'x-request-id': requestId } }
  if ((request.headers.get('accept') ?? '').includes('text/html'))
    return new Response(`${refusal.say}\n\n${faults.map((text) => `- ${text}\n`).join('')}`, {
      ...init,
      headers: { ...init.headers, 'content-type': 'text/plain; charset=utf-8' },
    })
  return Response.json({ ...bodyOf(refusal, requestId), faults }, init)
}

/** Something other than the configuration failed. The next request tries again. */
export const notStartedResponse = (requestId: string): Response =>
  Response.json(bodyOf(new Refusal('gateway.not-started'), requestId), {
    status: 503,
    headers: { ...headers, 'retry-after': '5', 'x-request-id': requestId },
  })

/**
 * Refuses a URL without a valid host: the platform writes duplicate or malformed Host fields into the URL as
 * received.
 */
export const refuseMalformed = (
  { method, url }: Request,
  { requestId, ip }: RequestContext,
  log: Log,
): Response | undefined => {
  if (URL.canParse(url)) return undefined
  const refusal = new Refusal('request.host', url.slice(0, 200))
  log(
    levelOf(refusal),
    'refused',
    refusedFields(refusal, { method, path: url.split('?', 1)[0], ip, requestId }),
  )
  return Response.json(bodyOf(refusal, requestId), {
    status: refusal.row.status,
    headers: { 'cache-control': 'no-store', 'x-request-id': requestId },
  })
}

export interface WorkerHandlerOptions {
  /** Epoch ms; the machine's clock unless a test moves it. */
  readonly now: () => number
  /** The runtime's own unless a test moves the time. */
  readonly timer?: Timer
  readonly trim?: GatewayOptions['trim']
}

export interface WorkerHandler {
  fetch(request: Request, env: WorkerEnvironment): Promise<Response>
  /** For the Durable Objects of sessions. */
  readonly session: FindSession
  /** For the Durable Objects of the store: deadlines of flows of this gateway are over. */
  tellOf(env: WorkerEnvironment, issuer: string, deadlines: readonly string[]): Promise<void>
}

const fetchUpstream: Fetch = Object.assign(
  (input: RequestInfo | URL, init?: RequestInit) => fetch(input, init),
  { endsWithRequest: true },
)

const [idBytes, idCharacters, idsPerBatch] = [12, 16, 256]

/** Request ids of 96 random bits, generated in batches. */
const createIds = (): (() => string) => {
  let text = ''
  let at = 0
  return () => {
    if (at === text.length)
      [text, at] = [encodeBase64url(crypto.getRandomValues(new Uint8Array(idBytes * idsPerBatch))), 0]
    at += idCharacters
    return text.slice(at - idCharacters, at)
  }
}

/** A gateway, and the parsed URL of a request to it. */
interface KnownUrl {
  readonly gateway: Gateway
  readonly at: RequestUrl
}

/** Clients call the same few URLs again and again, so each is parsed and resolved once. */
const createUrlCache = () => {
  const [most, longest] = [500, 300]
  const known = new Map<string, KnownUrl>()
  const gateways = new Set<Gateway>()
  return {
    get: (url: string) => known.get(url),
    set(url: string, found: KnownUrl) {
      if (url.length > longest) return
      if (known.size >= most || (!gateways.has(found.gateway) && gateways.size >= mostLoopback)) {
        known.clear()
        gateways.clear()
      }
      known.set(url, found)
      gateways.add(found.gateway)
    },
  }
}

const dispatch = ({ gateway, at }: KnownUrl, request: Request, context: RequestContext): Promise<Response> =>
  request.headers.get('upgrade')?.toLowerCase() === 'websocket'
    ? upgrade(gateway, request, context)
    : gateway.handle(request, context, fetchUpstream, at)

export const createWorkerHandler = ({ now, timer, trim }: WorkerHandlerOptions): WorkerHandler => {
  const report = createReport(now)
  const findGateway = createGateways({ now, timer, trim }, report)
  const urls = createUrlCache()
  const nextId = createIds()

  const firstRequest = async (
    request: Request,
    env: WorkerEnvironment,
    context: RequestContext,
  ): Promise<Response> => {
    const malformed = refuseMalformed(request, context, createLog('info', now))
    if (malformed) return malformed
    const url = new URL(request.url)
    const found = await findGateway(env, url).catch((error: unknown) => {
      createLog('error', now)('error', 'start.failed', {
        why: error instanceof Error ? (error.stack ?? error.message) : String(error),
        request_id: context.requestId,
      })
      return undefined
    })
    if (!found) return notStartedResponse(context.requestId)
    if ('lacks' in found) {
      for (const lack of found.lacks) report(lack)
      return notConfiguredResponse(found.lacks, {
        request,
        requestId: context.requestId,
        loopback: isLoopback(url),
      })
    }
    const known = { gateway: found.gateway, at: requestUrl(request.url) }
    urls.set(request.url, known)
    return dispatch(known, request, context)
  }

  const gatewayAt = async (env: WorkerEnvironment, url: URL): Promise<Gateway> => {
    const found = await findGateway(env, url)
    if ('lacks' in found) throw new RangeError(found.lacks.map(({ text }) => text).join('\n'))
    return found.gateway
  }

  return {
    session: async (env, url, id) => (await gatewayAt(env, url)).session(id),
    tellOf: async (env, issuer, deadlines) =>
      (await gatewayAt(env, new URL(issuer))).flows?.tellOf(deadlines),
    fetch(request, env) {
      const context = {
        requestId: nextId(),
        ip: request.headers.get('cf-connecting-ip') ?? '127.0.0.1',
        plainHttp: request.url.startsWith('http:'),
      }
      const known = urls.get(request.url)
      return known ? dispatch(known, request, context) : firstRequest(request, env, context)
    },
  }
}
