// Any service as Streamable HTTP, for clients on a line: whatever it speaks itself, one request and one answer.
import { readBounded } from '../kit/http.ts'
import type { Dial, Lines } from '../ports/lines.ts'
import type { Principal } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import { createLegacyDial } from './legacy-sse-dial.ts'
import { createLineServer } from './line-server.ts'
import type { LineServer } from './line-server.ts'
import { carried } from './carried.ts'
import { ownerOf } from './owner.ts'
import { createSocketDial } from './websocket-dial.ts'

export interface Reach {
  /** One request of Streamable HTTP; its URL is of no account. Rejects with `upstream.*` and `session.*`. */
  ask(request: Request, principal: Principal | undefined): Promise<Response>
  /** Whether calls of Streamable clients must go this way; with `opening`, whether this one must, which opens a session. */
  needed(opening: boolean): boolean
}

export interface ReachDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'lines'>
  readonly most: number
  readonly keepAliveMs: number
}

/** Largest message of a server on a line, bytes. */
export const mostMessageBytes = 67_108_864

const overFetch = async (fetch: Lines['fetch'], url: string, request: Request, body: string | undefined): Promise<Response> => {
  const headers = new Headers(request.headers)
  headers.set('accept-encoding', 'identity')
  return fetch(url, { method: request.method, headers, redirect: 'manual', signal: request.signal, ...(body === undefined ? {} : { body }) })
}

/** Errors by which a server of 2026-07-28 shows that it is one: it heard us, and another transport would not help (SH Backward Compatibility). */
const modernCodes = new Set([-32_020, -32_021, -32_022, -32_602])

const isModernError = (text: string): boolean => {
  try {
    const { error } = JSON.parse(text) as { error?: { code?: number } }
    return modernCodes.has(error?.code ?? 0)
  } catch {
    return false
  }
}

const mayBeLegacy = new Set([400, 404, 405])

export const createReach = (service: Service, { runtime, most, keepAliveMs }: ReachDeps): Reach => {
  const { upstream } = service
  if (upstream.kind === 'local') return { ask: (request) => upstream.handle(request), needed: () => false }
  if (upstream.kind === 'bridge') return { ask: (request, principal) => carried(upstream.carry, request, principal), needed: () => false }
  const { url } = upstream
  const { fetch, socket } = upstream.publicOnly ? runtime.lines.publicOnly : runtime.lines
  const over = (dial: Dial): LineServer => createLineServer({ runtime, dial, timeoutMs: service.timeoutMs, keepAliveMs, most })
  if (/^wss?:/.test(url)) {
    const server = over(createSocketDial({ socket, url, service: service.id, maxBytes: mostMessageBytes, heartbeatMs: keepAliveMs }))
    return { ask: (request, principal) => server(request, ownerOf(principal)), needed: () => true }
  }
  const legacy = over(createLegacyDial({ fetch, url, service: service.id, maxBytes: mostMessageBytes }))
  let transport = upstream.transport ?? 'auto'

  /** POST first; what a server without Streamable HTTP answers to it is followed by GET (MCP 2025-11-25 transports, Backwards Compatibility). */
  const find = async (request: Request, principal: Principal | undefined): Promise<Response> => {
    const body = await request.text()
    const answer = await overFetch(fetch, url, request, body)
    if (!mayBeLegacy.has(answer.status)) {
      if (answer.ok) transport = 'streamable'
      return answer
    }
    const said = await readBounded(answer.body, 65_536).catch(() => new Uint8Array())
    const again = (): Response => new Response(said, { status: answer.status, headers: answer.headers })
    if (isModernError(new TextDecoder().decode(said))) return again()
    try {
      const opened = await legacy(new Request(request.url, { method: 'POST', headers: request.headers, body, signal: request.signal }), ownerOf(principal))
      transport = 'sse'
      return opened
    } catch {
      // No server of 2024-11-05 either: its first answer stands.
      return again()
    }
  }

  return {
    needed: (opening) => transport === 'sse' || (transport === 'auto' && opening),
    async ask(request, principal) {
      if (transport === 'sse') return legacy(request, ownerOf(principal))
      const body = request.method === 'POST' ? await request.text() : undefined
      const opening = transport === 'auto' && body !== undefined && body.includes('"initialize"')
      return opening ? find(new Request(request.url, { method: 'POST', headers: request.headers, body, signal: request.signal }), principal) : overFetch(fetch, url, request, body)
    },
  }
}
