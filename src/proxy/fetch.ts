// The whole proxied call as web standards: for Workers, for tests in process, and for the sessions of clients
// on a connection.
import { utf8 } from '../kit/bytes.ts'
import { type RequestUrl, fieldOf, readWhole } from '../kit/http.ts'
import { isLostConnection } from '../kit/log.ts'
import { stdioResponse } from '../kit/plain-response.ts'
import type {
  Admission,
  Fetch,
  Answer,
  Head,
  ReadBody,
  Refuse,
  Deadlines,
  Piece,
  CallerHead,
  ResponseOutput,
  SendHttp,
  Timed,
  ProxiedCalls,
} from '../ports/call.ts'
import type { Timer, RequestContext, Runtime } from '../ports/runtime.ts'
import type { Service, LocatedAddress, StdioCall, DispatchStdio } from '../ports/services.ts'
import { headersOf, sendResponse, flatOf } from './response-sources.ts'

// Header fields as web objects. On Workers making one is dearer than all the rest that is done for a call, so
// one is kept and only what differs is set anew.

/**
 * The same fields, in an object that is good until the pool is asked again: for constructors that copy it
 * before they return, as those of Request and Response and fetch itself do (Fetch standard §5.4 to §5.6).
 */
type HeaderPool = (flat: readonly string[]) => Headers

/**
 * Whether each name stands there once, in any spelling; what is said of a name then replaces all that was
 * said of it before.
 */
const areSingle = (flat: readonly string[]): boolean => {
  const names = new Set<string>()
  for (let i = 0; i + 1 < flat.length; i += 2) names.add((flat[i] as string).toLowerCase())
  return names.size * 2 === flat.length && !names.has('connection')
}

const haveSameNames = (one: readonly string[], other: readonly string[]): boolean => {
  if (one.length !== other.length) return false
  for (let i = 0; i < one.length; i += 2) if (one[i] !== other[i]) return false
  return true
}

export const createHeaderPool = (): HeaderPool => {
  /** Exactly what `headers` holds; undefined while that is not known. */
  let held: readonly string[] | undefined
  let headers = new Headers()
  return (flat) => {
    const before = held
    // A value that cannot be sent throws, and then the half that was set must not pass for what was there
    // before.
    held = undefined
    if (before && haveSameNames(before, flat)) {
      for (let i = 1; i < flat.length; i += 2)
        if (flat[i] !== before[i]) headers.set(flat[i - 1] as string, flat[i] as string)
      held = flat
    } else {
      headers = headersOf(flat)
      if (areSingle(flat)) held = flat
    }
    return headers
  }
}

// The output of a sink as a Response.

const bodiless = new Set([204, 205, 304])

/**
 * Fields of what is sent to upstreams, and of what callers are told: they differ least among the calls to one
 * service.
 */
interface HeaderPools {
  readonly sent: HeaderPool
  readonly told: HeaderPool
}

const createHeaderPools = (): ((service: Service) => HeaderPools) => {
  const known = new WeakMap<Service, HeaderPools>()
  return (service) => {
    const pools = known.get(service) ?? { sent: createHeaderPool(), told: createHeaderPool() }
    known.set(service, pools)
    return pools
  }
}

interface FetchOutput extends ResponseOutput {
  bytes: number
  gone: boolean
  /** Rejects with what is to be drawn in place of a response. */
  readonly response: Promise<Response>
  /** The caller left. */
  leave(reason?: unknown): void
  /** Called when nothing more follows. */
  forget: (() => void) | undefined
}

/** Bytes that wait for the reader before the writer is told that it is slow. */
const slowBytes = 65_536

interface ByteStream {
  readonly body: ReadableStream<Uint8Array>
  readonly controller: ReadableStreamDefaultController<Uint8Array> | undefined
}

const createByteStream = (output: Pick<FetchOutput, 'reader' | 'leave'>): ByteStream => {
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined
  const body = new ReadableStream<Uint8Array>(
    {
      start: (made) => void (controller = made),
      pull: () => output.reader?.drained(),
      cancel: () => output.leave(),
    },
    { highWaterMark: slowBytes, size: (chunk) => chunk?.byteLength ?? 0 },
  )
  return { body, controller }
}

const responseOf = (
  { status, headers }: CallerHead,
  body: BodyInit | null,
  pools: HeaderPools | undefined,
): Response =>
  new Response(bodiless.has(status) ? null : body, {
    status,
    headers: pools ? pools.told(headers) : headersOf(headers),
  })

const createFetchOutput = (poolsOf: (service: Service) => HeaderPools): FetchOutput => {
  const answered = Promise.withResolvers<Response>()
  let stream: ByteStream | undefined
  const over = (): boolean => {
    if (output.gone) return false
    output.gone = true
    output.forget?.()
    return true
  }
  const answer = (head: CallerHead, body: BodyInit | null): void =>
    answered.resolve(responseOf(head, body, output.admitted && poolsOf(output.admitted.address.service)))
  const write = (piece: Piece): boolean => {
    if (output.gone) return true
    const part = typeof piece === 'string' ? utf8(piece) : piece
    output.bytes += part.byteLength
    stream?.controller?.enqueue(part)
    return output.ready
  }
  const fail = (error: unknown): void => {
    answered.reject(error)
    stream?.controller?.error(error)
  }
  const output: FetchOutput = {
    response: answered.promise,
    bytes: 0,
    gone: false,
    admitted: undefined,
    reader: undefined,
    forget: undefined,
    stallMs: Infinity,
    get ready() {
      return (stream?.controller?.desiredSize ?? 0) > 0
    },
    leave(reason) {
      if (!over()) return
      output.reader?.left()
      fail(reason)
    },
    begin(head, piece) {
      stream = createByteStream(output)
      answer(head, stream.body)
      return piece === undefined || write(piece)
    },
    write,
    end: () => void (over() && stream?.controller?.close()),
    whole(head, body) {
      over()
      const bytes = typeof body === 'string' ? utf8(body) : body
      output.bytes = bytes?.byteLength ?? 0
      answer(head, output.bytes === 0 ? null : (bytes as Uint8Array<ArrayBuffer>))
    },
    abort: () => void (over() && fail(new Error('The answer was cut off.'))),
    fail(error) {
      over()
      fail(error)
    },
  }
  return output
}

// One timer for all the waits of a call: on Workers each timer costs as much as a good part of the call, and
// belongs to the request that started it.

export const createDeadline = (now: () => number, timer: Timer): Deadlines => {
  let stop: (() => void) | undefined
  let at = Infinity
  const look = (item: Timed): void => {
    stop = undefined
    at = Infinity
    const time = now()
    if (item.deadline <= time) item.late()
    else if (item.comment <= time) item.idle()
    arm(item)
  }
  const arm = (item: Timed): void => {
    const next = Math.min(item.deadline, item.comment)
    if (item.at < 0 || next >= at) return
    stop?.()
    at = next
    stop = timer(Math.max(0, next - now()), () => look(item))
  }
  return {
    add(item) {
      item.at = 0
      arm(item)
    },
    delete(item) {
      item.at = -1
      stop?.()
      stop = undefined
      at = Infinity
    },
    sooner: arm,
  }
}

// Calls by fetch.

/** What fetch has undone behind our back is not said of what it handed over. */
const decoded = (flat: readonly string[]): readonly string[] =>
  fieldOf(flat, 'content-encoding') === undefined
    ? flat
    : flat.filter(
        (_, i) =>
          !['content-encoding', 'content-length'].includes((flat[i - (i % 2)] as string).toLowerCase()),
      )

/**
 * The caller's Accept-Encoding was about the way to the caller; on the way to us fetch undoes any encoding.
 */
const plain = ({ headers, identity }: Pick<Admission, 'headers' | 'identity'>): string[] => {
  const flat: string[] = []
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] as string
    if (name.length !== 15 || name.toLowerCase() !== 'accept-encoding')
      flat.push(name, headers[i + 1] as string)
  }
  flat.push(...identity, 'accept-encoding', 'identity')
  return flat
}

interface SendByFetchDeps {
  readonly poolsOf: (service: Service) => HeaderPools
  readonly fetchFor: (call: Admission) => Fetch
  /** The caller's own signal, by which the runtime may end what is going without our doing. */
  readonly signal: AbortSignal
  /** Called where the runtime has done so. */
  readonly leave: () => void
}

const createSendByFetch =
  ({ poolsOf, fetchFor, signal: caller, leave }: SendByFetchDeps): SendHttp =>
  (call, sink) => {
    const { upstream, method, body, repeatable } = call
    if (upstream.kind !== 'http') throw new TypeError('not an HTTP upstream')
    const fetch = fetchFor(call)
    sendResponse(call, sink, {
      endsByItself: fetch.endsWithRequest === true,
      callerLeft() {
        if (caller.aborted) leave()
        return caller.aborted
      },
      headers: decoded,
      ask(left) {
        const signal = left ?? caller
        const init: RequestInit = { method, redirect: 'manual', signal }
        if (body) init.body = body as Uint8Array<ArrayBuffer>
        const { sent } = poolsOf(call.address.service)
        const send = (): Promise<Response> => {
          init.headers = sent(plain(call))
          return fetch(`${upstream.origin}${upstream.path}`, init)
        }
        if (!repeatable) return send()
        // A connection that the server was just closing carries nothing; what may be sent twice is.
        return send().catch((error: unknown) => {
          if (!signal.aborted && isLostConnection(error)) return send()
          throw error
        })
      },
    })
  }

// A whole proxied call by fetch: the decision, and what it leads to.

interface CallByFetch {
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

/**
 * Whether fetch fails by itself when the caller leaves. A listener would tell it as well, but costs a twentieth of
 * a call on Workers.
 */
const endsWithCaller = (admitted: Admission | Answer, fetchFor: CallByFetch['fetchFor']): boolean =>
  admitted.kind === 'admission' &&
  admitted.upstream.kind === 'http' &&
  fetchFor(admitted).endsWithRequest === true

export const createMakeCall = (
  { admit, respond }: ProxiedCalls,
  { now, timer }: Pick<Runtime, 'now' | 'timer'>,
): MakeCall => {
  const poolsOf = createHeaderPools()
  return async ({ head, readBody, fetchFor, signal }, told) => {
    const admitted = await admit(head, readBody)
    const output = createFetchOutput(poolsOf)
    const leave = (): void => output.leave(signal.reason)
    if (!endsWithCaller(admitted, fetchFor)) {
      output.forget = () => signal.removeEventListener('abort', leave)
      signal.addEventListener('abort', leave, { once: true })
      if (signal.aborted) leave()
    }
    respond(admitted, {
      output,
      sendHttp: createSendByFetch({ poolsOf, fetchFor, signal, leave }),
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
  /** The fetch of a call, where it depends on the call. Absent: the one that comes with it. */
  readonly fetchFor?: CallByFetch['fetchFor'] | undefined
}

export const headOf = (
  { method, headers }: Request,
  { ip, peer, requestId, plainHttp }: RequestContext,
  { target, host }: RequestUrl,
  located?: LocatedAddress,
): Head => {
  const rawHeaders = flatOf(headers)
  // Some runtimes keep the Host in the URL alone.
  const named = fieldOf(rawHeaders, 'host') ?? host
  // Only the fields of a trusted proxy make them differ.
  const proxied = peer !== undefined && peer !== ip
  return { method, target, host: named, rawHeaders, ip, requestId, plainHttp, proxied, located }
}

const answerResponse = ({ status, headers, body }: Answer): Response =>
  new Response(status === 204 ? null : body, { status, headers: headersOf(headers) })

/** Never rejects. */
export const createFetchProxy =
  ({ makeCall, refuse, moved, fetchFor }: FetchProxyDeps) =>
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
            fetchFor: fetchFor ?? (() => fetch),
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
