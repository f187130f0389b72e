// A server itself, as Streamable HTTP in the words that it speaks, wherever it is: what the way between the eras stands on.
import type { Runtime } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import { carried } from './carried.ts'
import { type EraAsk, requestOf } from './era-exchange.ts'
import { type EndpointOf, fetchAt } from './endpoint.ts'
import { isRepeatableText } from './repeatable.ts'
import { ownerOf } from './owner.ts'
import type { Reach } from './reach.ts'

export interface StraightDeps {
  readonly runtime: Pick<Runtime, 'lines'>
  /** The way to a server that may speak on a line. */
  readonly reachOf: (service: Service) => Reach | undefined
  readonly endpointOf: EndpointOf
}

/** Undefined for a service in this process: it is made with the product, and speaks what its clients do. */
export const createStraight = (service: Service, { runtime, reachOf, endpointOf }: StraightDeps): EraAsk | undefined => {
  const { upstream } = service
  if (upstream.kind === 'local') return undefined
  if (upstream.kind === 'bridge') return (request, { principal, refused, sessionId }) => carried(upstream.carry, request, { principal, refused, sessionId })
  const { fetch } = upstream.publicOnly ? runtime.lines.publicOnly : runtime.lines
  return async (request, { principal, asked }) => {
    const body = request.method === 'POST' ? await request.text() : undefined
    const init = { method: request.method, signal: request.signal, ...(body === undefined ? {} : { body }) }
    const reach = reachOf(service)
    if (reach?.needed(request.headers.get('mcp-session-id') ?? undefined, body?.includes('"initialize"') === true)) {
      return reach.ask(requestOf('http://line.invalid/mcp', { ...init, headers: request.headers }), { owner: ownerOf(principal), asked })
    }
    const headers = new Headers(request.headers)
    // fetch undoes a Content-Encoding behind our back.
    headers.set('accept-encoding', 'identity')
    return fetchAt(fetch, endpointOf(service), request.url, { ...init, headers, redirect: 'manual' }, isRepeatableText(request.method, body))
  }
}
