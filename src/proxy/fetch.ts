// Carrying an admission out with fetch: Workers, tests in process, and services that live in this process on every runtime.
import { utf8 } from '../kit/bytes.ts'
import { fieldOf, readBounded } from '../kit/http.ts'
import { beginsAsJson, isRpcAnswer } from '../kit/json-rpc-answer.ts'
import { isLostConnection, networkReason } from '../kit/log.ts'
import { Refusal } from '../kit/refusal.ts'
import { isEventStream } from '../kit/sse.ts'
import type { Admission, Answer, AnswerHead, Fetch, Outcome } from '../ports/call.ts'
import type { Service } from '../ports/services.ts'
import type { PlainResponse, Sink, Source } from '../kit/plain-response.ts'
import { relayEvents } from './relay-stream.ts'
import { beginBody, relayed } from './streamed-body.ts'

// A bridge's answer as web standards.

/** Bytes that wait for the reader before the bridge is told that it is slow. */
const slowBytes = 65_536

export const stdioResponse = ({ status, headers, body }: PlainResponse): Response => {
  const fields = new Headers()
  for (let i = 0; i + 1 < headers.length; i += 2)
    fields.append(headers[i] as string, headers[i + 1] as string)
  if (typeof body === 'string')
    return new Response(status === 204 || body === '' ? null : body, { status, headers: fields })
  let source: Source | undefined
  let slow = false
  const stream = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        source = body({
          write(text) {
            controller.enqueue(utf8(text))
            slow = (controller.desiredSize ?? 0) <= 0
            return !slow
          },
          end: () => controller.close(),
          cut: () => controller.error(new Error('The answer was cut off.')),
        })
      },
      pull() {
        if (!slow) return
        slow = false
        source?.drained()
      },
      cancel: () => source?.gone(),
    },
    { highWaterMark: slowBytes, size: (chunk) => chunk?.byteLength ?? 0 },
  )
  return new Response(stream, { status, headers: fields })
}

/** A message as an event; the lines of one that has several are told apart (WHATWG HTML §9.2). */
const eventOf = (text: string): string =>
  `event: message\n${text
    .split(/\r\n|\r|\n/)
    .map((line) => `data: ${line}\n`)
    .join('')}\n`

const pipe = async (
  reader: ReadableStreamDefaultReader<Uint8Array>,
  sink: Sink,
  room: () => Promise<void>,
): Promise<void> => {
  const decoder = new TextDecoder()
  for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
    if (!sink.write(decoder.decode(piece.value, { stream: true }))) await room()
  }
  sink.end()
}

/** The other way round: web standards as what is left of a stream that has begun. */
export const deliverResponse = (response: Response, sink: Sink): Source => {
  const cut = (): void => sink.cut()
  if (!response.body || !isEventStream(response.headers.get('content-type') ?? undefined)) {
    response.text().then((text) => {
      if (text !== '') sink.write(eventOf(text))
      sink.end()
    }, cut)
    return { drained: () => undefined, gone: () => undefined }
  }
  const reader = response.body.getReader()
  let full = Promise.withResolvers<void>()
  let gone = false
  const room = (): Promise<void> => {
    full = Promise.withResolvers<void>()
    return full.promise
  }
  pipe(reader, sink, room).catch(() => {
    if (!gone) cut()
  })
  return {
    drained: () => full.resolve(),
    gone() {
      gone = true
      full.resolve()
      reader.cancel().catch(() => undefined)
    },
  }
}

// Header fields as web objects. On Workers making one is dearer than all the rest that is done for a call, so one is kept and only what differs is set anew.

export const headersOf = (flat: readonly string[]): Headers => {
  const headers = new Headers()
  for (let i = 0; i + 1 < flat.length; i += 2)
    if (flat[i]?.toLowerCase() !== 'connection') headers.append(flat[i] as string, flat[i + 1] as string)
  return headers
}

/**
 * The same fields, in an object that is good until the mold is asked again: for constructors that copy it before they return, as those of Request and
 * Response and fetch itself do (Fetch standard §5.4 to §5.6).
 */
export type HeaderPool = (flat: readonly string[]) => Headers

/** Whether each name stands there once, in any spelling; what is said of a name then replaces all that was said of it before. */
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
    // A value that cannot be sent throws, and then the half that was set must not pass for what was there before.
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

// How long a call waits for an upstream that says nothing.

export interface FirstByteTimeout {
  /** The work, or `upstream.timeout` once it takes too long. One after the other. */
  wait<T>(work: Promise<T>): Promise<T>
  /** Nothing is waited for any more. */
  stop(): void
}

const tooLong = (ms: number): Refusal => new Refusal('upstream.timeout', `nothing for ${ms} ms`)

/** One timer for all the waits of a call: on Workers each timer costs as much as a good part of the call. `expired` is called once, when a wait was too long. */
export const createFirstByteTimeout = (
  ms: number,
  now: () => number,
  expired: () => void,
): FirstByteTimeout => {
  let from = 0
  let fail: ((error: Refusal) => void) | undefined
  let timer: ReturnType<typeof setTimeout> | undefined
  const look = (): void => {
    timer = undefined
    if (!fail) return
    const left = from + ms - now()
    if (left > 0) timer = setTimeout(look, left)
    else {
      fail(tooLong(ms))
      expired()
    }
  }
  return {
    wait: (work) =>
      new Promise((resolve, reject) => {
        from = now()
        fail = reject
        timer ??= setTimeout(look, ms)
        const over = (): void => void (fail = undefined)
        work.then(
          (value) => {
            over()
            resolve(value)
          },
          (error: unknown) => {
            over()
            reject(error as Error)
          },
        )
      }),
    stop: () => clearTimeout(timer),
  }
}

/** For somebody who keeps the time itself. */
export const endless: FirstByteTimeout = { wait: (work) => work, stop: () => undefined }

export interface FetchDeps {
  /** For upstreams of kind `http`; a global fetch, never the guarded one: the operator configured the address. */
  readonly fetch: Fetch
  readonly now: () => number
  /** Aborts when the caller is gone. */
  readonly signal?: AbortSignal | undefined
}

type Carried = Omit<Admission, 'byFetch'>

/** For what is sent to upstreams, and for what callers are told. */
interface Molds {
  readonly sent: HeaderPool
  readonly told: HeaderPool
}

const bodiless = new Set([204, 205, 304])
/** An answer of known length up to here comes in one piece: a stream of our own would cost as much again, and nobody can use half a JSON message. */
const wholeBytes = 65_536

export const flatOf = (headers: Headers): string[] => {
  const flat: string[] = []
  for (const [name, value] of headers) flat.push(name, value)
  return flat
}

/** What fetch has undone behind our back is not said of what it handed over. */
const decoded = (flat: readonly string[]): readonly string[] =>
  fieldOf(flat, 'content-encoding') === undefined
    ? flat
    : flat.filter(
        (_, i) =>
          !['content-encoding', 'content-length'].includes((flat[i - (i % 2)] as string).toLowerCase()),
      )

/** The caller's Accept-Encoding was about the way to the caller; on the way to us fetch undoes any encoding. */
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

const ask = (
  admission: Carried,
  fetch: Fetch,
  molds: Molds,
  signal: AbortSignal | undefined,
): Promise<Response> => {
  const { upstream, method, headers, identity, body, json, principal } = admission
  if (upstream.kind === 'bridge')
    return upstream
      .carry({
        method,
        headers,
        body,
        json,
        principal,
        refused: admission.refused,
        signal: signal ?? new AbortController().signal,
      })
      .then(stdioResponse)
  const init: RequestInit = { method, redirect: 'manual' }
  if (signal) init.signal = signal
  if (body) init.body = body as Uint8Array<ArrayBuffer>
  if (upstream.kind === 'local') {
    const request = new Request(upstream.url, { ...init, headers: headersOf([...headers, ...identity]) })
    // Its signal follows ours only while somebody holds the Request, and a service that streams for hours may hold the signal alone.
    signal?.addEventListener('abort', () => void request, { once: true })
    return upstream.handle(request)
  }
  init.headers = molds.sent(plain(admission))
  return fetch(`${upstream.origin}${upstream.path}`, init)
}

const named = (error: Refusal, { fault }: Pick<Admission, 'fault'>): Refusal => {
  if (error.detail.say !== undefined) return error
  if (error.code === 'upstream.timeout') return fault('timeout', error.why)
  return error.code === 'upstream.unreachable' ? fault('unreachable', error.why) : error
}

interface Carrying extends FetchDeps {
  readonly admission: Carried
  readonly molds: Molds
  readonly leave: () => void
  readonly ended: (outcome: Outcome) => void
  readonly patience: FirstByteTimeout
  readonly silentMs: number | undefined
}

const headOf = async (response: Response, admission: Carried): Promise<AnswerHead> => {
  const flat = flatOf(response.headers)
  try {
    return await admission.answer(response.status, admission.upstream.kind === 'http' ? decoded(flat) : flat)
  } catch (error) {
    await response.body?.cancel().catch(() => undefined)
    throw error
  }
}

const notRpc = (admission: Carried): Refusal =>
  admission.fault('message', 'a body of JSON that is no JSON-RPC')

const unreadable =
  (admission: Carried, leave: () => void) =>
  (error: unknown): never => {
    leave()
    throw admission.fault(
      error instanceof Refusal && error.code === 'upstream.timeout' ? 'timeout' : 'answer',
      String(error),
    )
  }

const relay = async (
  response: Response,
  { admission, molds, leave, ended, patience, silentMs, now }: Carrying,
): Promise<Response> => {
  const first = await headOf(response, admission)
  const body =
    first.judge && response.body
      ? await patience.wait(readBounded(response.body, wholeBytes)).catch(unreadable(admission, leave))
      : undefined
  const head = body && first.judge ? first.judge(body) : first
  const { status } = head
  const answeredAt = now()
  const answer = (body: ArrayBuffer | ReadableStream<Uint8Array> | null): Response =>
    new Response(body, { status, headers: molds.told(head.headers) })
  if (body) {
    ended({ result: 'answered', status, bytesOut: body.byteLength, answeredAt })
    return answer(body.buffer)
  }
  if (head.bodiless) {
    leave()
    await response.body?.cancel().catch(() => undefined)
  }
  if (!response.body || head.bodiless || bodiless.has(status)) {
    if (head.rpc) throw notRpc(admission)
    ended({ result: 'answered', status, bytesOut: 0, answeredAt })
    return answer(null)
  }
  const length = Number(fieldOf(head.headers, 'content-length') ?? Number.NaN)
  if (length <= wholeBytes && !head.events) {
    const whole = await patience.wait(response.arrayBuffer()).catch(unreadable(admission, leave))
    if (head.rpc && !isRpcAnswer(new Uint8Array(whole))) throw notRpc(admission)
    ended({ result: 'answered', status, bytesOut: whole.byteLength, answeredAt })
    return answer(whole)
  }
  const begun =
    head.rpc && Number.isNaN(length)
      ? await beginBody(response.body, wholeBytes, patience.wait).catch(unreadable(admission, leave))
      : undefined
  if (begun && !(begun.all ? beginsAsJson : isRpcAnswer)(begun.first)) {
    leave()
    throw notRpc(admission)
  }
  if (begun && !begun.all) {
    ended({ result: 'answered', status, bytesOut: begun.first.byteLength, answeredAt })
    return answer(begun.first.buffer)
  }
  patience.stop()
  const relaying = {
    source: begun?.all ?? response.body,
    length,
    ended: (result: Outcome['result'], bytesOut: number) => ended({ result, status, bytesOut, answeredAt }),
    leave,
    silentMs,
  }
  return answer(head.events ? relayEvents(relaying, admission, head) : relayed(relaying))
}

/** A bridge and a line know better than the transport what went wrong; what is said of it names the server in the same words everywhere. */
const noAnswer =
  (admission: Carried) =>
  (error: unknown): never => {
    if (error instanceof Refusal) throw named(error, admission)
    throw admission.fault(isLostConnection(error) ? 'closed' : 'unreachable', networkReason(error))
  }

/** A connection that the server was just closing carries nothing; what may be sent twice is. */
const onceMore =
  (signal: AbortSignal | undefined, send: () => Promise<Response>) =>
  (error: unknown): Promise<Response> => {
    if (signal?.aborted !== true && isLostConnection(error)) return send()
    throw error
  }

/** The signal that a call ends by, and how to end it. Where the runtime ends it by itself, the caller's own signal says all. */
const leaving = (
  admission: Carried,
  { fetch, signal }: FetchDeps,
): { readonly signal: AbortSignal | undefined; readonly leave: () => void; readonly forget: () => void } => {
  if (fetch.endsWithRequest && admission.upstream.kind === 'http')
    return { signal, leave: () => undefined, forget: () => undefined }
  const left = new AbortController()
  const leave = (): void => left.abort()
  signal?.addEventListener('abort', leave, { once: true })
  if (signal?.aborted) leave()
  return { signal: left.signal, leave, forget: () => signal?.removeEventListener('abort', leave) }
}

/**
 * Sends an admitted call and relays the answer as it comes. Rejects with `upstream.*` when there is none; ends the admission in every case.
 */
export const createForward = (): ((admission: Carried, deps: FetchDeps) => Promise<Response>) => {
  // Fields differ least among the calls to one service.
  const known = new WeakMap<Service, Molds>()
  const moldsOf = (service: Service): Molds => {
    const molds = known.get(service) ?? { sent: createHeaderPool(), told: createHeaderPool() }
    known.set(service, molds)
    return molds
  }
  return async (admission, deps) => {
    const molds = moldsOf(admission.address.service)
    const { signal, leave, forget } = leaving(admission, deps)
    let over = false
    const ended = (outcome: Outcome): void => {
      if (over) return
      over = true
      forget()
      admission.end(outcome)
    }
    // A bridge tells a slow start and a server that waits for its client from silence; it keeps the time itself.
    const silentMs = admission.upstream.kind === 'bridge' ? undefined : admission.timeoutMs
    const patience = silentMs === undefined ? endless : createFirstByteTimeout(silentMs, deps.now, leave)
    try {
      const send = (): Promise<Response> => ask(admission, deps.fetch, molds, signal)
      const sent =
        admission.repeatable && admission.upstream.kind === 'http'
          ? send().catch(onceMore(signal, send))
          : send()
      const response = await patience.wait(sent).catch(noAnswer(admission))
      return await relay(response, { ...deps, admission, molds, leave, ended, patience, silentMs })
    } catch (error) {
      const gone = deps.signal?.aborted === true
      const refusal = error instanceof Refusal ? error : undefined
      ended({
        result: gone ? 'aborted' : 'failed',
        status: gone ? 0 : (refusal?.row.status ?? 500),
        ...(refusal && !gone ? { code: refusal.code, why: refusal.why } : {}),
        bytesOut: 0,
      })
      throw error
    } finally {
      patience.stop()
    }
  }
}

export const answerResponse = (answer: Answer): Response =>
  new Response(bodiless.has(answer.status) ? null : answer.body, {
    status: answer.status,
    headers: headersOf(answer.headers),
  })
