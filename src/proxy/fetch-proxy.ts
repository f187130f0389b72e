// The whole proxied call as web standards: for Workers, for tests in process, and for places where sessions stay.
import type { Arrived } from '../kit/arrived.ts'
import { fieldOf, readWhole } from '../kit/http.ts'
import type { Admission, Admit, Fetch, Head, Refuse } from '../ports/calls.ts'
import type { Visit } from '../ports/runtime.ts'
import { carryOut } from './carry-out.ts'
import { answerResponse, flatOf } from './http.ts'

export interface FetchProxyDeps {
  readonly admit: Admit
  readonly refuse: Refuse
  /** The answer of somebody else who keeps the session of this request; undefined for a request that is ours. Rejects with what the caller is refused. */
  readonly moved?: ((head: Head, request: Request) => Promise<Response | undefined> | undefined) | undefined
}

export const headOf = ({ method, headers }: Request, { ip, requestId, plainHttp }: Visit, { target, host }: Arrived): Head => {
  const rawHeaders = flatOf(headers)
  // Some runtimes keep the Host in the URL alone.
  return { method, target, host: fieldOf(rawHeaders, 'host') ?? host, rawHeaders, ip, requestId, plainHttp }
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
      return elsewhere ?? (await carryOut({ admit, head, readBody: (max, grow) => readWhole(request, max, grow), fetchFor: () => fetch, signal: request.signal, admitted }))
    } catch (error) {
      return answerResponse(refuse(error, { ...head, rpcId: last?.rpcId ?? null, admitted: last, gone: request.signal.aborted }))
    }
  }
