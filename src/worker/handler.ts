// The Workers door: every request to its gateway, which sends it both ways.
import type { Gateway } from '../gateway.ts'
import { encodeBase64url } from '../kit/bytes.ts'
import { type RequestUrl, requestUrl } from '../kit/http.ts'
import { levelOf, refusedFields } from '../kit/log.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Fetch } from '../ports/call.ts'
import type { Log, RequestContext, Timer } from '../ports/runtime.ts'
import type { SessionLocation } from '../ports/transport.ts'
import { type Environment, type MissingSetting, isLoopback } from './configuration.ts'
import { createGateways, createReport, mostLoopback } from './gateways.ts'
import { createLog } from './log.ts'
import { upgrade } from './websocket.ts'

// What a Worker answers before there is a gateway to answer: why it cannot serve yet, for whoever has to set it up, and never a challenge or metadata that clients would keep (users.md 5.3).

const headers = {
  'cache-control': 'no-store',
  'retry-after': '60',
  'access-control-allow-origin': '*',
  'x-content-type-options': 'nosniff',
}

const rest =
  'There are more configuration errors. The operator can read them in the log of this Worker (npx wrangler tail).'

const saidOf = ({ row, say, code }: Refusal, requestId: string) => ({
  error: row.oauth,
  error_description: say,
  code,
  request_id: requestId,
})

interface Asked {
  readonly request: Request
  readonly requestId: string
  /** Whether the one who asks sits at the operator's own computer. */
  readonly loopback: boolean
}

/** A plain list for browsers, JSON for programs. */
export const answerUnready = (
  lacks: readonly MissingSetting[],
  { request, requestId, loopback }: Asked,
): Response => {
  const shown = lacks.filter(({ open }) => open || loopback).map(({ text }) => text)
  const faults = shown.length < lacks.length ? [...shown, rest] : shown
  const refusal = new Refusal('gateway.unconfigured')
  const init = { status: 503, headers: { ...headers, 'x-request-id': requestId } }
  if ((request.headers.get('accept') ?? '').includes('text/html'))
    return new Response(`${refusal.say}\n\n${faults.map((text) => `- ${text}\n`).join('')}`, {
      ...init,
      headers: { ...init.headers, 'content-type': 'text/plain; charset=utf-8' },
    })
  return Response.json({ ...saidOf(refusal, requestId), faults }, init)
}

/** Something else than the configuration failed; the next request tries again. */
export const answerFailed = (requestId: string): Response =>
  Response.json(saidOf(new Refusal('gateway.not-started'), requestId), {
    status: 503,
    headers: { ...headers, 'retry-after': '5', 'x-request-id': requestId },
  })

/** The answer to a URL that names no host: two Host fields, or one that is none, are written into it as they came. */
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
  return Response.json(saidOf(refusal, requestId), {
    status: refusal.row.status,
    headers: { 'cache-control': 'no-store', 'x-request-id': requestId },
  })
}

export interface WorkerHandlerOptions {
  /** Epoch ms; the machine's clock unless a test moves it. */
  readonly now: () => number
  /** The runtime's own unless a test moves the time. */
  readonly timer?: Timer
}

export interface WorkerHandler {
  fetch(request: Request, env: Environment): Promise<Response>
  /** For the object of a session with that id, at the gateway that a request to `url` reaches. Rejects where there is none. */
  berth(env: Environment, url: URL, id: string): Promise<SessionLocation>
}

const fetchUpstream: Fetch = Object.assign(
  (input: RequestInfo | URL, init?: RequestInit) => fetch(input, init),
  { endsWithRequest: true },
)

const [idBytes, idCharacters, drawn] = [12, 16, 256]

/** Ids of 96 random bits, drawn many at a time. */
const createIds = (): (() => string) => {
  let text = ''
  let at = 0
  return () => {
    if (at === text.length)
      [text, at] = [encodeBase64url(crypto.getRandomValues(new Uint8Array(idBytes * drawn))), 0]
    at += idCharacters
    return text.slice(at - idCharacters, at)
  }
}

/** A gateway, and what a URL says that it answers at. */
interface Known {
  readonly gateway: Gateway
  readonly at: RequestUrl
}

/** Clients call the same few URLs again and again; one that was met is neither read nor looked up a second time. */
const createMemory = () => {
  const [most, longest] = [500, 300]
  const known = new Map<string, Known>()
  const gateways = new Set<Gateway>()
  return {
    recall: (url: string) => known.get(url),
    keep(url: string, met: Known) {
      if (url.length > longest) return
      if (known.size >= most || (!gateways.has(met.gateway) && gateways.size >= mostLoopback)) {
        known.clear()
        gateways.clear()
      }
      known.set(url, met)
      gateways.add(met.gateway)
    },
  }
}

const pass = ({ gateway, at }: Known, request: Request, visit: RequestContext): Promise<Response> =>
  request.headers.get('upgrade')?.toLowerCase() === 'websocket'
    ? upgrade(gateway, request, visit)
    : gateway.handle(request, visit, fetchUpstream, at)

export const createWorkerHandler = ({ now, timer }: WorkerHandlerOptions): WorkerHandler => {
  const tell = createReport(now)
  const find = createGateways({ now, timer }, tell)
  const memory = createMemory()
  const nextId = createIds()

  const meet = async (request: Request, env: Environment, visit: RequestContext): Promise<Response> => {
    const malformed = refuseMalformed(request, visit, createLog('info', now))
    if (malformed) return malformed
    const url = new URL(request.url)
    const found = await find(env, url).catch((error: unknown) => {
      createLog('error', now)('error', 'start.failed', {
        why: error instanceof Error ? (error.stack ?? error.message) : String(error),
        request_id: visit.requestId,
      })
      return undefined
    })
    if (!found) return answerFailed(visit.requestId)
    if ('lacks' in found) {
      for (const lack of found.lacks) tell(lack)
      return answerUnready(found.lacks, { request, requestId: visit.requestId, loopback: isLoopback(url) })
    }
    const met = { gateway: found.gateway, at: requestUrl(request.url) }
    memory.keep(request.url, met)
    return pass(met, request, visit)
  }

  return {
    async berth(env, url, id) {
      const found = await find(env, url)
      if ('lacks' in found) throw new RangeError(found.lacks.map(({ text }) => text).join('\n'))
      return found.gateway.berth(id)
    },
    fetch(request, env) {
      const visit = {
        requestId: nextId(),
        ip: request.headers.get('cf-connecting-ip') ?? '127.0.0.1',
        plainHttp: request.url.startsWith('http:'),
      }
      const known = memory.recall(request.url)
      return known ? pass(known, request, visit) : meet(request, env, visit)
    },
  }
}
