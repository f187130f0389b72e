// Sessions that another process of this gateway keeps: their id names it, and what belongs to them goes there. The
// process that received a request says who the caller is; the one that keeps the session decides about the call.
import { nodeOfId } from '../kit/bytes.ts'
import { fieldOf, fieldsWithout, readWhole } from '../kit/http.ts'
import type { AnswerPeer, Head } from '../ports/call.ts'
import type { PeerCall, Peers, RuntimeTransports } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import { type AdmitDeps, type Call, checkToken, createCall, takePermit } from './admit.ts'
import { gatewaySessions } from './callers.ts'
import { type FetchProxyDeps, createFetchProxy } from './fetch.ts'
import { checkHost, checkPage, findService } from './resolve.ts'
import { createFetchFor } from './transports/client-messages.ts'
import { messagePath, sessionIn, until } from './transports/client-sse.ts'

export interface PeerRequestsDeps extends AdmitDeps {
  readonly peers: Peers
  readonly transports: RuntimeTransports
  /** The header in which personal access tokens may come besides. */
  readonly tokenHeader: string | undefined
}

/** What a caller is let in by stays here, and what described this connection. */
const kept = `authorization connection content-length cookie dpop expect host keep-alive proxy-authorization
  proxy-connection te trailer transfer-encoding upgrade`.split(/\s+/)

/** As long as the slowest server may take to start. */
const leastWaitMs = 60_000

/** The other process that the session of a request is kept by, as far as the session's id says. */
const nodeOf = ({ node }: Peers, { rawHeaders, target }: Pick<Head, 'rawHeaders' | 'target'>) => {
  const header = fieldOf(rawHeaders, 'mcp-session-id')
  const mark = header === undefined && target.includes('sessionId=') ? target.indexOf('?') : -1
  const found = nodeOfId(header ?? (mark === -1 ? '' : sessionIn(target.slice(mark + 1))))
  return found === node ? undefined : found
}

/** Whether the gateway keeps the sessions of this kind; a server may give out such ids too. */
const keeps = ({ upstream }: Service, { address, rest }: Call, session: string | undefined): boolean => {
  if (address.transport === 'sse') return rest === messagePath
  if (session === undefined) return false
  return upstream.kind === 'bridge' || Object.values(gatewaySessions).some((mark) => session.startsWith(mark))
}

const settledHead = ({ head, address, principal }: Call, hidden: ReadonlySet<string>, bytes: number) => ({
  method: head.method,
  target: head.target,
  host: head.host,
  rawHeaders: [
    ...fieldsWithout(head.rawHeaders, hidden),
    ...(head.method === 'POST' ? ['Content-Length', String(bytes)] : []),
  ],
  ip: head.ip,
  requestId: head.requestId,
  settled: { service: address.service.id, generation: address.service.generation, principal },
})

export interface PeerRequests {
  /** Whether a request may be about a session of another process. Asked for every call. */
  isAway(head: Pick<Head, 'rawHeaders' | 'target'>): boolean
  /**
   * The answer of the process that keeps the session; undefined where this one has to answer. Rejects as the decision
   * about a call does.
   */
  moved(head: Head, request: Request): Promise<Response | undefined> | undefined
  /** For calls that came from other processes, or that turn out to have nobody else to answer them. */
  readonly fetchFor: NonNullable<FetchProxyDeps['fetchFor']>
}

export const createPeerRequests = (deps: PeerRequestsDeps): PeerRequests => {
  const { peers, runtime, tokenHeader } = deps
  const resolving = [checkHost.make(deps), findService.make(deps), checkPage.make(deps)]
  const entering = [checkToken.make(deps), takePermit.make(deps)]
  const hidden = new Set([...kept, ...(tokenHeader === undefined ? [] : [tokenHeader.toLowerCase()])])
  const ask = async (
    call: Call,
    request: Request,
    send: (call: PeerCall) => Promise<Response>,
  ): Promise<Response> => {
    const over = (): void => {
      call.permit()
      call.holding?.release()
    }
    try {
      for (const run of entering) await run(call)
      const { maxBodyBytes, timeoutMs } = call.address.service
      const grow = (bytes: number): void => call.holding.grow(bytes)
      const body = call.head.method === 'POST' ? await readWhole(request, maxBodyBytes, grow) : undefined
      const head = settledHead(call, hidden, body?.byteLength ?? 0)
      const wait = Math.max(timeoutMs, leastWaitMs)
      return until(await send({ head, body, signal: request.signal, timeoutMs: wait }), over)
    } catch (error) {
      over()
      throw error
    }
  }
  const look = async (head: Head, request: Request, node: string): Promise<Response | undefined> => {
    const call = createCall(head, () => Promise.reject(new TypeError('read here')), runtime.now())
    for (const run of resolving) await run(call)
    if (!keeps(call.address.service, call, fieldOf(head.rawHeaders, 'mcp-session-id'))) return undefined
    const send = await peers.find(node)
    // Nobody keeps it any more: this process says so, or goes on with what the storage knows of it.
    return send && ask(call, request, send)
  }
  return {
    fetchFor: createFetchFor(deps.transports),
    isAway: (head) => nodeOf(peers, head) !== undefined,
    moved(head, request) {
      // What came from another process goes no further.
      const node = head.settled ? undefined : nodeOf(peers, head)
      return node === undefined ? undefined : look(head, request, node)
    },
  }
}

/** As the runtime uses it. */
export interface PeerSide extends Pick<PeerRequests, 'isAway'> {
  readonly answer: AnswerPeer
}

export const createPeerSide = (
  peers: PeerRequests,
  { fetch }: RuntimeTransports,
  deps: Pick<FetchProxyDeps, 'makeCall' | 'refuse'>,
): PeerSide => {
  const proxy = createFetchProxy({ ...deps, fetchFor: peers.fetchFor })
  return {
    isAway: peers.isAway,
    answer(head, body, signal) {
      // Its URL is of no account.
      const request = new Request('http://peer.invalid/', {
        method: head.method,
        signal,
        ...(body && { body: body as Uint8Array<ArrayBuffer> }),
      })
      return proxy(request, head, fetch)
    },
  }
}
