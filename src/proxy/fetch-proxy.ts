// The whole proxied call as web standards: for Workers, for tests in process, and for places where sessions stay.
import { readWhole } from '../kit/http.ts'
import type { Admission, Admit, Fetch, Head, Refuse } from '../ports/calls.ts'
import type { Visit } from '../ports/runtime.ts'
import { carryOut } from './carry-out.ts'
import { answerResponse, flatOf } from './http.ts'

export interface FetchProxyDeps {
  readonly admit: Admit
  readonly refuse: Refuse
  readonly fetch: Fetch
  /** The answer of somebody else who keeps the session of this request; undefined for a request that is ours. Rejects with what the caller is refused. */
  readonly moved?: ((head: Head, request: Request) => Promise<Response | undefined>) | undefined
}

/** `rawTarget`: path and query as sent, where the runtime still has them. Never rejects. */
export const createFetchProxy =
  ({ admit, refuse, fetch, moved }: FetchProxyDeps) =>
  async (request: Request, visit: Visit, rawTarget?: string): Promise<Response> => {
    const url = new URL(request.url)
    const rawHeaders = flatOf(request.headers)
    const head: Head = {
      method: request.method,
      target: rawTarget ?? `${url.pathname}${url.search}`,
      host: request.headers.get('host') ?? url.host,
      rawHeaders,
      ip: visit.ip,
      requestId: visit.requestId,
    }
    let rpcId: Admission['rpcId'] = null
    const admitted = (admission: Admission): void => void (rpcId = admission.rpcId)
    try {
      const elsewhere = await moved?.(head, request)
      return elsewhere ?? (await carryOut({ admit, head, readBody: (max) => readWhole(request, max), fetchFor: () => fetch, signal: request.signal, admitted }))
    } catch (error) {
      return answerResponse(refuse(error, { rawHeaders, requestId: visit.requestId, rpcId }))
    }
  }
