// Where answers come from that do not come from a connection of the runtime's own: services in this process
// and fetch, which speak web standards, and servers that are commands, which speak plain data.
import type { AbortListener, PlainResponse } from '../kit/plain-response.ts'
import { fieldOf } from '../kit/http.ts'
import { isLostConnection, networkReason } from '../kit/log.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Admission, ResponseSink, ResponseSource, Upstream } from '../ports/call.ts'

/** Header fields as a flat list. */
export const flatOf = (headers: Headers): string[] => {
  const flat: string[] = []
  for (const [name, value] of headers) flat.push(name, value)
  return flat
}

export const headersOf = (flat: readonly string[]): Headers => {
  const headers = new Headers()
  for (let i = 0; i + 1 < flat.length; i += 2)
    if (flat[i]?.toLowerCase() !== 'connection') headers.append(flat[i] as string, flat[i + 1] as string)
  return headers
}

/**
 * An adapter knows better than the transport what went wrong; what is said of it names the server in the same
 * words everywhere.
 */
const named = (error: Refusal, call: Admission): Refusal => {
  if (error.detail.say !== undefined) return error
  if (error.code === 'upstream.timeout') return call.fault('timeout', error.why)
  return error.code === 'upstream.unreachable' ? call.fault('unreachable', error.why) : error
}

/** Why there is no answer. */
const noAnswer = (error: unknown, call: Admission): Refusal =>
  error instanceof Refusal
    ? named(error, call)
    : call.fault(isLostConnection(error) ? 'closed' : 'unreachable', networkReason(error))

// Answers as web standards.

/**
 * An answer of known length up to here comes in one piece: a stream costs as much again, and nobody can use
 * half a JSON message.
 */
const wholeBytes = 65_536

export interface SendResponse {
  /**
   * Asks for the answer. `signal`: the caller left, or nothing more is wanted; absent where the runtime ends
   * what is going by itself.
   */
  readonly ask: (signal: AbortSignal | undefined) => Promise<Response>
  readonly endsByItself?: boolean
  /**
   * Whether what failed did so because the caller left, which the output is then told. For callers who are not
   * listened to.
   */
  readonly callerLeft?: (() => boolean) | undefined
  readonly headers?: ((headers: readonly string[]) => readonly string[]) | undefined
}

const joined = async (pieces: readonly Uint8Array[]): Promise<Uint8Array> => {
  const [first] = pieces
  if (pieces.length === 1 && first) return first
  return new Uint8Array(await new Blob(pieces as Uint8Array<ArrayBuffer>[]).arrayBuffer())
}

/** A Response that is read into the sink, no faster than that takes it. */
interface ResponsePump extends ResponseSource {
  readonly left: AbortController | undefined
  readonly call: Admission
  readonly sink: ResponseSink
  readonly callerLeft: SendResponse['callerLeft']
  closed: boolean
  paused: PromiseWithResolvers<void> | undefined
  reader: ReadableStreamDefaultReader<Uint8Array> | undefined
}

const createPump = (
  call: Admission,
  sink: ResponseSink,
  { left, callerLeft }: Pick<ResponsePump, 'left' | 'callerLeft'>,
): ResponsePump => {
  const pump: ResponsePump = {
    left,
    call,
    sink,
    callerLeft,
    closed: false,
    paused: undefined,
    reader: undefined,
    pause() {
      pump.paused ??= Promise.withResolvers<void>()
    },
    resume() {
      pump.paused?.resolve()
      pump.paused = undefined
    },
    close(complete) {
      pump.closed = true
      pump.resume()
      if (complete) return
      left?.abort()
      pump.reader?.cancel().catch(() => undefined)
    },
  }
  sink.source = pump
  return pump
}

/** Whoever waits no longer for an answer hears nothing of it. */
const fail = ({ closed, callerLeft, sink }: ResponsePump, refusal: Refusal): void => {
  if (!closed && callerLeft?.() !== true) sink.fail(refusal)
}

const takeWhole = async (pump: ResponsePump, response: Response): Promise<void> => {
  const bytes = new Uint8Array(await response.arrayBuffer())
  if (pump.closed) return
  if (bytes.byteLength > 0) pump.sink.piece(bytes)
  pump.sink.end()
}

/** `gather`: what may turn out to be small is waited for, so that it is seen whether it is an answer. */
const takePieces = async (
  pump: ResponsePump,
  body: ReadableStream<Uint8Array>,
  length: number,
  gather: boolean,
): Promise<void> => {
  const { sink } = pump
  const reader = body.getReader()
  pump.reader = reader
  let size = 0
  let gathered: Uint8Array[] | undefined = gather ? [] : undefined
  if (!gathered) sink.turn()
  for (;;) {
    const { done, value } = await reader.read()
    if (pump.closed) return
    if (done) break
    size += value.byteLength
    if (gathered) {
      gathered.push(value)
      if (size <= wholeBytes) continue
      sink.piece(await joined(gathered))
      gathered = undefined
    } else sink.piece(value)
    if (size === length) break
    sink.turn()
    if (pump.paused) await pump.paused.promise
    if (pump.closed) return
  }
  if (gathered && size > 0) sink.piece(await joined(gathered))
  sink.end()
}

/** Gives up the body, which nobody is sent. */
const discard = async ({ left }: ResponsePump, { body }: Response): Promise<void> => {
  left?.abort()
  await body?.cancel().catch(() => undefined)
}

const take = async (pump: ResponsePump, response: Response, headers: readonly string[]): Promise<void> => {
  const { sink, call } = pump
  const { body } = response
  const waiting = pump.closed ? undefined : sink.head(response.status, headers)
  if (waiting) await waiting
  const head = sink.answer
  if (pump.closed || !head) return discard(pump, response)
  if (head.bodiless) {
    await discard(pump, response)
    if (!pump.closed) sink.end()
    return
  }
  if (!body) return sink.end()
  try {
    const length = Number(fieldOf(head.headers, 'content-length') ?? Number.NaN)
    if (length <= wholeBytes && !head.events) await takeWhole(pump, response)
    else await takePieces(pump, body, length, head.rpc === true && Number.isNaN(length))
  } catch (error) {
    fail(pump, call.fault('answer', String(error)))
  }
}

/** Asks for a Response, and takes it into the sink. */
export const sendResponse = (
  call: Admission,
  sink: ResponseSink,
  { ask, endsByItself = false, callerLeft, headers = (flat) => flat }: SendResponse,
): void => {
  const left = endsByItself ? undefined : new AbortController()
  const pump = createPump(call, sink, { left, callerLeft })
  ask(left?.signal).then(
    (response) => take(pump, response, headers(flatOf(response.headers))),
    (error: unknown) => fail(pump, noAnswer(error, call)),
  )
}

/** A service in this process. */
export const sendLocal = (
  call: Admission,
  { handle, url }: Extract<Upstream, { kind: 'local' }>,
  sink: ResponseSink,
): void => {
  const { method, headers, identity, body } = call
  sendResponse(call, sink, {
    ask(signal) {
      const init: RequestInit = { method, redirect: 'manual', signal: signal ?? null }
      if (body) init.body = body as Uint8Array<ArrayBuffer>
      const request = new Request(url, { ...init, headers: headersOf([...headers, ...identity]) })
      // Its signal follows ours only while somebody holds the Request, and a service that streams for hours
      // may hold the signal alone.
      signal?.addEventListener('abort', () => void request, { once: true })
      return handle(request)
    },
  })
}

// Answers of servers that are commands.

/** An AbortSignal is an EventTarget, and would cost as much as the rest of what is done for a call here. */
interface CallerLeft extends AbortListener {
  aborted: boolean
  reason: Error | undefined
  listeners: (() => void)[]
}

function throwIfAborted(this: CallerLeft): void {
  if (this.reason) throw this.reason
}

function addEventListener(this: CallerLeft, _: 'abort', leave: () => void): void {
  this.listeners.push(leave)
}

function removeEventListener(this: CallerLeft, _: 'abort', leave: () => void): void {
  const at = this.listeners.indexOf(leave)
  if (at !== -1) this.listeners.splice(at, 1)
}

const createCallerLeft = (): CallerLeft => ({
  aborted: false,
  reason: undefined,
  listeners: [],
  throwIfAborted,
  addEventListener,
  removeEventListener,
})

const leave = (left: CallerLeft): void => {
  left.aborted = true
  left.reason = new Error('The caller left.')
  for (const listener of left.listeners.splice(0)) listener()
}

const nowhere = { write: () => true, end: () => undefined, cut: () => undefined }

const takePlain = async (
  { status, headers, body }: PlainResponse,
  sink: ResponseSink,
  streaming: (source: { drained(): void; gone(): void }) => void,
): Promise<void> => {
  const waiting = sink.head(status, headers)
  if (waiting) await waiting
  if (!sink.answer) {
    // The caller left while the head's consequences were written down.
    if (typeof body !== 'string') body(nowhere).gone()
  } else if (typeof body === 'string') {
    if (body !== '') sink.piece(body)
    sink.end()
  } else {
    const source = body({ write: (text) => sink.piece(text), end: () => sink.end(), cut: () => sink.cut() })
    streaming(source)
    // What the server has said already goes out with the head; where it has said nothing, the head alone
    // tells the caller that it is heard.
    sink.turn()
  }
}

export const sendStdio = (
  call: Admission,
  { carry }: Extract<Upstream, { kind: 'bridge' }>,
  sink: ResponseSink,
): void => {
  const { method, headers, body, json, principal } = call
  const left = createCallerLeft()
  let source: { drained(): void; gone(): void } | undefined
  sink.source = {
    pause: () => undefined,
    resume: () => source?.drained(),
    close(complete) {
      if (complete) return
      if (source) source.gone()
      else leave(left)
    },
  }
  const refused: Admission['refused'] = (refusal, id) => call.refused(refusal, id)
  carry({ method, headers, body, json, principal, refused, signal: left })
    .then((response) => takePlain(response, sink, (begun) => void (source = begun)))
    .catch((error: unknown) => sink.fail(error instanceof Refusal ? named(error, call) : error))
}
