// The whole proxied call as web standards: for Workers, for tests in process, and for places where sessions
// stay.
import { type RequestUrl, fieldOf, readWhole } from '../kit/http.ts'
import type { Admission, Answer, Fetch, Head, ProxiedCalls, ReadBody, Refuse } from '../ports/call.ts'
import type { RequestContext, Runtime } from '../ports/runtime.ts'
import type { DispatchStdio, LocatedAddress, StdioCall } from '../ports/services.ts'
import {
  createDeadline,
  createFetchOutput,
  createHeaderPools,
  createSendByFetch,
  stdioResponse,
} from './fetch.ts'
import { flatOf, headersOf } from './response-sources.ts'

// A whole proxied call by fetch: the decision, and what it leads to.

export interface CallByFetch {
  readonly head: Head
  readonly readBody: ReadBody
  readonly fetchFor: (admission: Admission) => Fetch
  readonly signal: AbortSignal
}

/**
 * Rejects with what the decision refuses, and with `upstream.*`; `admitted` is then told of the call, where
 * it had been let in.
 */
export type MakeCall = (
  call: CallByFetch,
  admitted?: (call: Admission | undefined) => void,
) => Promise<Response>

export const createMakeCall = (
  { admit, respond }: ProxiedCalls,
  { now, timer }: Pick<Runtime, 'now' | 'timer'>,
): MakeCall => {
  const poolsOf = createHeaderPools()
  return async ({ head, readBody, fetchFor, signal }, told) => {
    const admitted = await admit(head, readBody)
    const output = createFetchOutput(poolsOf)
    const leave = (): void => output.leave(signal.reason)
    output.forget = () => signal.removeEventListener('abort', leave)
    signal.addEventListener('abort', leave, { once: true })
    if (signal.aborted) leave()
    respond(admitted, {
      output,
      sendHttp: createSendByFetch(poolsOf, fetchFor, signal),
      deadlines: createDeadline(now, timer),
    })
    try {
      return await output.response
    } finally {
      told?.(output.admitted)
    }
  }
}

export interface FetchProxyDeps {
  readonly makeCall: MakeCall
  readonly refuse: Refuse
  /**
   * The answer of somebody else who keeps the session of this request; undefined for a request that is ours.
   * Rejects with what the caller is refused.
   */
  readonly moved?: ((head: Head, request: Request) => Promise<Response | undefined> | undefined) | undefined
}

export const headOf = (
  { method, headers }: Request,
  { ip, requestId, plainHttp }: RequestContext,
  { target, host }: RequestUrl,
  located?: LocatedAddress,
): Head => {
  const rawHeaders = flatOf(headers)
  // Some runtimes keep the Host in the URL alone.
  const named = fieldOf(rawHeaders, 'host') ?? host
  return { method, target, host: named, rawHeaders, ip, requestId, plainHttp, located }
}

const answerResponse = ({ status, headers, body }: Answer): Response =>
  new Response(status === 204 ? null : body, { status, headers: headersOf(headers) })

/** Never rejects. */
export const createFetchProxy =
  ({ makeCall, refuse, moved }: FetchProxyDeps) =>
  async (request: Request, head: Head, fetch: Fetch): Promise<Response> => {
    let last: Admission | undefined
    try {
      const moving = moved?.(head, request)
      const elsewhere = moving && (await moving)
      return (
        elsewhere ??
        (await makeCall(
          {
            head,
            readBody: (max, grow) => readWhole(request, max, grow),
            fetchFor: () => fetch,
            signal: request.signal,
          },
          (admitted) => void (last = admitted),
        ))
      )
    } catch (error) {
      return answerResponse(
        refuse(error, { ...head, rpcId: last?.rpcId ?? null, admitted: last, gone: request.signal.aborted }),
      )
    }
  }

// A call that is carried to a server without HTTP, in web terms.

/** Whoever asks tells the caller that a process starts. */
export const callStdio = async (
  carry: DispatchStdio,
  request: Request,
  about: Pick<StdioCall, 'principal' | 'refused' | 'sessionId'>,
): Promise<Response> => {
  const body = request.method === 'POST' ? new Uint8Array(await request.arrayBuffer()) : undefined
  return stdioResponse(
    await carry({
      method: request.method,
      headers: [...request.headers].flat(),
      body,
      ...about,
      attended: true,
      signal: request.signal,
    }),
  )
}
