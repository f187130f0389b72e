// The whole proxied call as web standards: for Workers, for tests in process, and for places where sessions stay.
import { type RequestUrl, fieldOf, readWhole } from '../kit/http.ts'
import type { Admission, Admit, Answer, Fetch, Head, ReadBody, Refuse } from '../ports/call.ts'
import type { RequestContext } from '../ports/runtime.ts'
import type { LocatedAddress } from '../ports/services.ts'
import type { StdioCall, DispatchStdio } from '../ports/stdio-call.ts'
import { answerResponse, stdioResponse, flatOf } from './fetch.ts'

// A whole proxied call by fetch: the decision, the carrying, and the second try where there is one.

export interface CarryAdmission {
  readonly admit: Admit
  readonly head: Head
  readonly readBody: ReadBody
  readonly fetchFor: (admission: Admission) => Fetch
  readonly signal: AbortSignal
  /** Told of each try, before it goes. */
  readonly admitted?: (admission: Admission) => void
}

/** What follows a try that failed: another one, an answer, or its error. */
const another =
  (admitted: Admission) =>
  async (error: unknown): Promise<{ readonly next: Admission | Answer }> => {
    const again = admitted.again()
    if (again) return { next: await again }
    throw error
  }

/** Rejects with what the decision refuses, and with `upstream.*`. */
export const carryAdmission = async ({
  admit,
  head,
  readBody,
  fetchFor,
  signal,
  admitted: told,
}: CarryAdmission): Promise<Response> => {
  for (let admitted = await admit(head, readBody); ;) {
    if (admitted.kind === 'answer') return answerResponse(admitted)
    told?.(admitted)
    const tried: Response | { readonly next: Admission | Answer } = await admitted
      .byFetch(fetchFor(admitted), signal)
      .catch(another(admitted))
    if (tried instanceof Response) return tried
    admitted = tried.next
  }
}

export interface FetchProxyDeps {
  readonly admit: Admit
  readonly refuse: Refuse
  /** The answer of somebody else who keeps the session of this request; undefined for a request that is ours. Rejects with what the caller is refused. */
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

/** Never rejects. */
export const createFetchProxy =
  ({ admit, refuse, moved }: FetchProxyDeps) =>
  async (request: Request, head: Head, fetch: Fetch): Promise<Response> => {
    let last: Admission | undefined
    const admitted = (admission: Admission): void => void (last = admission)
    try {
      const moving = moved?.(head, request)
      const elsewhere = moving && (await moving)
      return (
        elsewhere ??
        (await carryAdmission({
          admit,
          head,
          readBody: (max, grow) => readWhole(request, max, grow),
          fetchFor: () => fetch,
          signal: request.signal,
          admitted,
        }))
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
