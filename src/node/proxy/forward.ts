// The fast way of a proxied call on Node: raw request in, decision, upstream, raw response out. No web objects where nobody needs them.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Refusal } from '../../kit/refusal.ts'
import type { Admission, Admit, Answer, Head, ReadBody, Refuse } from '../../ports/call.ts'
import type { RequestContext } from '../../ports/runtime.ts'
import type { LocatedAddress } from '../../ports/services.ts'
import type { ForwardProxies } from '../forward-proxy.ts'
import type { Lookup } from '../outbound.ts'
import { proceed } from '../server/request-guard.ts'
import { createUpstreams } from './http-exchange.ts'
import { createStdioCalls, createLocalServices, isStdio } from './stdio-response.ts'

export interface ForwardDeps {
  readonly admit: Admit
  readonly refuse: Refuse
  readonly now: () => number
  readonly lookup?: Lookup | undefined
  /** Forward proxies on the way out; default: none. */
  readonly proxies?: ForwardProxies | undefined
}

export interface Forward {
  /** Takes one proxied request all the way. Never throws. */
  serve(
    request: IncomingMessage,
    response: ServerResponse,
    visit: RequestContext,
    located: LocatedAddress,
  ): void
  /** Ends the streams that clients hold open with GET, and the idle upstream connections; calls that are going finish. */
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

const sendAnswer = (response: ServerResponse, { status, headers, body }: Answer): void => {
  if (response.headersSent || response.destroyed) return
  response.writeHead(
    status,
    (status === 204 ? headers : [...headers, 'Content-Length', String(Buffer.byteLength(body))]) as string[],
  )
  response.end(status === 204 ? undefined : body)
}

/** A try that another one follows: the caller heard nothing of it. */
const follow = (
  again: Promise<Admission | Answer>,
  carry: (next: Admission | Answer) => void,
  refused: (error: unknown) => void,
): void => {
  again.then(carry).catch(refused)
}

export const createForward = ({ admit, refuse, now, lookup, proxies }: ForwardDeps): Forward => {
  const upstreams = createUpstreams({ now, lookup, proxies })
  const locals = createLocalServices()
  const bridged = createStdioCalls({ now })
  const carry = (
    admitted: Admission | Answer,
    request: IncomingMessage,
    response: ServerResponse,
    visit: RequestContext,
  ): void => {
    if (admitted.kind === 'answer') {
      sendAnswer(response, admitted)
      return
    }
    if (response.destroyed) {
      admitted.end({ result: 'aborted', status: 0, bytesOut: 0 })
      return
    }
    const refused = (error: unknown): void =>
      sendAnswer(
        response,
        refuse(error, {
          ...headOf(request, visit),
          rpcId: admitted.rpcId,
          admitted,
          gone: response.destroyed,
        }),
      )
    const failed = (error: unknown): void => {
      const again = response.headersSent ? undefined : admitted.again()
      if (response.headersSent) response.destroy()
      else if (again) follow(again, (next) => carry(next, request, response, visit), refused)
      else refused(error)
    }
    if (admitted.upstream.kind === 'http') upstreams.send(admitted, response, failed)
    else if (isStdio(admitted)) bridged.serve(admitted, response, failed)
    else locals.serve(admitted, response).catch(failed)
  }
  return {
    serve(request, response, visit, located) {
      const head = headOf(request, visit, located)
      const read: ReadBody = (max, grow) => readBody(request, response, max, grow)
      admit(head, read)
        .then((admitted) => carry(admitted, request, response, visit))
        .catch((error: unknown) => sendAnswer(response, refuse(error, { ...head, gone: response.destroyed })))
    },
    close() {
      upstreams.close()
      locals.close()
      bridged.close()
    },
  }
}
