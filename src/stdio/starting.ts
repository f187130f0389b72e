// Calls that wait while a process starts: once that takes some seconds, the caller gets an event stream and
// reads on it what is going on (basic/utilities/progress). Until then nothing has been answered, so that
// whatever fails at once keeps its own status.
import { refusalOf } from '../kit/log.ts'
import type { PlainResponse, Sink, Source } from '../kit/plain-response.ts'
import { keepAliveComment } from '../kit/sse.ts'
import { type Rpc, isId, metaOf } from '../mcp/json-rpc.ts'
import { frame, streamHeaders } from '../mcp/response-writer.ts'
import type { AttendedCall, AttendedWork } from '../ports/services.ts'

/**
 * The caller hears of a start that takes longer than this, and again each time as much has passed,
 * milliseconds.
 */
const everyMs = 5000

type WaitingCall = Omit<AttendedCall, 'principal'>

export interface Starting {
  /** The reply of the work, or a stream that it is delivered on later. */
  watch<Reply>(owner: string, call: WaitingCall, work: AttendedWork<Reply>): Promise<Reply | PlainResponse>
  tick(): void
}

export interface StartingOptions {
  readonly now: () => number
  readonly startMs: number
  readonly keepAliveMs: number
  /**
   * What a process of this owner that has not answered yet is doing, for callers; undefined where there is
   * none.
   */
  readonly describe: (owner: string) => string | undefined
}

/** Commands that fetch a server before they start it, and who does the fetching. */
const fetchers: Readonly<Partial<Record<string, string>>> = {
  npx: 'npm',
  npm: 'npm',
  pnpx: 'pnpm',
  pnpm: 'pnpm',
  bunx: 'bun',
  uvx: 'uv',
  uv: 'uv',
  pipx: 'pip',
}

/**
 * What a caller reads of a start. Not what the process writes: that is for the operator alone, and may hold
 * paths and keys.
 */
export const describeStart = (
  name: string,
  command: string,
  waitsFor: 'start' | 'slot' | undefined,
): string | undefined => {
  if (waitsFor === 'slot') return `Waiting for a free process of ${name}`
  const fetcher = fetchers[(/[^\\/]*$/.exec(command)?.[0] ?? '').replace(/\.(?:cmd|exe)$/i, '')]
  return (
    waitsFor && `Starting ${name}${fetcher === undefined ? '' : `: ${fetcher} may be downloading packages`}`
  )
}

const nobody: Source = { drained: () => undefined, gone: () => undefined }

/** A reply of a bridge as what is left of a stream. */
export const deliverReply = ({ body }: PlainResponse, sink: Sink): Source => {
  if (typeof body === 'function') return body(sink)
  if (body !== '') sink.write(frame(body))
  sink.end()
  return nobody
}

/**
 * The stream of one call: what was written before somebody reads it, what follows, and who writes by then.
 */
const createStream = (left: () => void) => {
  let sink: Sink | undefined
  let early = ''
  let last: ((sink: Sink) => Source) | undefined
  let source: Source | undefined
  return {
    body(to: Sink): Source {
      sink = to
      if (early !== '') to.write(early)
      if (last) source = last(to)
      return { drained: () => source?.drained(), gone: () => (source ? source.gone() : left()) }
    },
    write(text: string): void {
      if (sink) sink.write(text)
      else early += text
    },
    finish(end: (sink: Sink) => Source): void {
      last = end
      if (sink) source = end(sink)
    },
  }
}

type Written = Pick<ReturnType<typeof createStream>, 'write'>

/**
 * Negative and growing, so that whatever a server reports of its own work is greater (progress, "MUST
 * increase"): the seconds left until the start is given up.
 */
const progressText = (token: unknown, leftMs: number, message: string): string =>
  JSON.stringify({
    jsonrpc: '2.0',
    method: 'notifications/progress',
    params: { progressToken: token, progress: -Math.ceil(leftMs / 1000), message },
  })

/** What the caller of one request has heard of a start, and hears next. */
const createNotice = (
  { now, startMs, keepAliveMs, describe }: StartingOptions,
  owner: string,
  message: Rpc,
  open: () => Written,
) => {
  const { progressToken: token } = metaOf(message)
  const since = now()
  let saidAt = since
  let stream: Written | undefined
  /** What is written at this moment; undefined: nothing yet. */
  const next = (time: number, what: string | undefined): string | undefined => {
    const leftMs = since + startMs - time
    if (isId(token) && what !== undefined && leftMs > 0) return frame(progressText(token, leftMs, what))
    return saidAt === since || time - saidAt >= keepAliveMs ? keepAliveComment : undefined
  }
  return (): void => {
    const time = now()
    if (time - saidAt < (stream && !isId(token) ? keepAliveMs : everyMs)) return
    const what = describe(owner)
    if (!stream && what === undefined) return
    stream ??= open()
    const text = next(time, what)
    if (text === undefined) return
    stream.write(text)
    saidAt = time
  }
}

const refusing =
  (text: string) =>
  (sink: Sink): Source => {
    sink.write(text)
    sink.end()
    return nobody
  }

const attendStart = <Reply>(
  options: StartingOptions,
  waiting: Set<() => void>,
  owner: string,
  { message, signal, refused }: WaitingCall,
  work: AttendedWork<Reply>,
): Promise<Reply | PlainResponse> => {
  const leaving = new AbortController()
  const leave = (): void => leaving.abort(signal.reason)
  if (signal.aborted) leave()
  signal.addEventListener('abort', leave, { once: true })
  const { promise, resolve, reject } = Promise.withResolvers<Reply | PlainResponse>()
  let sessionId: string | undefined
  let stream: ReturnType<typeof createStream> | undefined
  const notice = createNotice(options, owner, message, () => {
    stream = createStream(() => leaving.abort(new Error('The caller left.')))
    sessionId = work.nameSession?.()
    resolve({
      status: 200,
      headers: [...streamHeaders, ...(sessionId === undefined ? [] : ['Mcp-Session-Id', sessionId])],
      body: stream.body,
    })
    return stream
  })
  const over = (): void => {
    waiting.delete(notice)
    signal.removeEventListener('abort', leave)
  }
  waiting.add(notice)
  work.run({ signal: leaving.signal, sessionId: () => sessionId }).then(
    (reply) => {
      over()
      if (stream) stream.finish((sink) => work.deliver(reply, sink))
      else resolve(reply)
    },
    (error: unknown) => {
      over()
      if (!stream) reject(error as Error)
      else if (!leaving.signal.aborted)
        stream.finish(refusing(frame(refused(refusalOf(error), message['id']))))
    },
  )
  return promise
}

export const createStarting = (options: StartingOptions): Starting => {
  const waiting = new Set<() => void>()
  return {
    watch: (owner, call, work) => attendStart(options, waiting, owner, call, work),
    tick() {
      for (const look of waiting) look()
    },
  }
}
