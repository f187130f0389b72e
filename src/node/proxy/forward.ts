// The fast way of a proxied call on Node: raw request in, decision, upstream, raw response out. No web
// objects where nobody needs them.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Refusal } from '../../kit/refusal.ts'
import type { Head, ProxiedCalls, ReadBody, Refuse } from '../../ports/call.ts'
import type { RequestContext, Timer } from '../../ports/runtime.ts'
import type { LocatedAddress } from '../../ports/services.ts'
import type { ForwardProxies } from '../forward-proxy.ts'
import type { Lookup } from '../outbound.ts'
import { proceed } from '../server/request-guard.ts'
import { createUpstreams } from './http-exchange.ts'
import { NodeOutput } from './node-output.ts'
import { createTimeoutWheel } from './timeout-wheel.ts'

export interface ForwardDeps extends ProxiedCalls {
  readonly refuse: Refuse
  readonly now: () => number
  readonly timer: Timer
  readonly lookup?: Lookup | undefined
  /** Forward proxies on the way out; default: none. */
  readonly proxies?: ForwardProxies | undefined
}

export interface Forward {
  /** Takes one proxied request all the way. Never throws. */
  serve(
    request: IncomingMessage,
    response: ServerResponse,
    context: RequestContext,
    located: LocatedAddress,
  ): void
  /**
   * Ends the streams that clients hold open with GET, and the idle upstream connections; calls that are going
   * finish.
   */
  close(): void
}

const hostOf = (rawHeaders: readonly string[]): string | undefined => {
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i] as string
    if (name.length === 4 && (name === 'Host' || name.toLowerCase() === 'host')) return rawHeaders[i + 1]
  }
  return undefined
}

const headOf = (
  { method = '', url = '/', rawHeaders }: IncomingMessage,
  { ip, requestId, plainHttp }: RequestContext,
  located?: LocatedAddress,
): Head => ({
  method,
  target: url,
  host: hostOf(rawHeaders),
  rawHeaders,
  ip,
  requestId,
  plainHttp,
  located,
})

/** Collects a body of at most `max` bytes; one chunk, the common case, is not copied. */
const readBody = (
  request: IncomingMessage,
  response: ServerResponse,
  max: number,
  grow: (bytes: number) => void,
): Promise<Uint8Array> =>
  new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    let whole = false
    let refused = false
    const refuse = (error: Error): void => {
      refused = true
      chunks.length = 0
      reject(error)
    }
    request.on('data', (chunk: Buffer) => {
      if (refused) return
      size += chunk.length
      if (size > max) return refuse(new Refusal('request.too-large', `more than ${max} bytes`))
      try {
        grow(size)
        chunks.push(chunk)
      } catch (error) {
        refuse(error as Error)
      }
    })
    request.on('end', () => {
      whole = true
      resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks))
    })
    // Without an end the body was cut off, and nothing of it may be acted on.
    request.on('close', () => {
      if (!whole) reject(new Refusal('request.malformed', 'request body ended early'))
    })
    proceed(request, response)
  })

export const createForward = ({
  admit,
  respond,
  refuse,
  now,
  timer,
  lookup,
  proxies,
}: ForwardDeps): Forward => {
  const upstreams = createUpstreams({ now, lookup, proxies })
  const deadlines = createTimeoutWheel(now, timer)
  const streams = new Set<{ conclude(): void }>()
  return {
    serve(request, response, context, located) {
      const head = headOf(request, context, located)
      const read: ReadBody = (max, grow) => readBody(request, response, max, grow)
      const output = new NodeOutput(response, (error, admitted, gone) =>
        refuse(error, { ...head, ...(admitted && { rpcId: admitted.rpcId, admitted }), gone }),
      )
      admit(head, read)
        .then((admitted) => respond(admitted, { output, sendHttp: upstreams.send, deadlines, streams }))
        .catch((error: unknown) => output.fail(error))
    },
    close() {
      for (const stream of streams) stream.conclude()
      upstreams.close()
    },
  }
}
