// Server-sent events as far as a relay needs them (WHATWG HTML §9.2): is it a stream, and where may a comment
// stand.
import { createParser } from 'eventsource-parser'
import { readMediaType } from './http.ts'
import { Refusal } from './refusal.ts'

export const isEventStream = (contentType: string | undefined): boolean =>
  contentType === 'text/event-stream' ||
  (contentType !== undefined && readMediaType(contentType)?.essence === 'text/event-stream')

export const isStream = (
  response: Response,
): response is Response & { readonly body: ReadableStream<Uint8Array> } =>
  response.body !== null && isEventStream(response.headers.get('content-type') ?? undefined)

/**
 * Whether what has been sent so far ends with a line feed: a comment line may follow then, even inside an
 * event. A carriage return is not enough, because the line feed that completes it may be in the next piece.
 */
export const endsLine = (piece: Uint8Array | string): boolean =>
  typeof piece === 'string' ? piece.endsWith('\n') : piece[piece.length - 1] === 0x0a

/** As `Runtime.timer`. */
type StartTimer = (ms: number, run: () => void) => () => void

/** Comments on a stream that has been silent for a whole interval, and no sooner or later. */
export interface KeepAlive {
  /** Something else went out. */
  wrote(): void
  stop(): void
}

/** `comment` is called after `everyMs` of silence, and again after as much more. */
export const createKeepAlive = (timer: StartTimer, everyMs: number, comment: () => void): KeepAlive => {
  const beat = (): void => {
    cancel = timer(everyMs, beat)
    comment()
  }
  let cancel = timer(everyMs, beat)
  return {
    wrote() {
      cancel()
      cancel = timer(everyMs, beat)
    },
    stop: () => cancel(),
  }
}

/** A comment, ignored by every client, that keeps idle connections open and shows when a peer is gone. */
export const keepAliveComment = ': keep-alive\n\n'

/** A message as an event; the lines of one that has several are told apart (WHATWG HTML §9.2). */
export const messageEvent = (text: string): string =>
  `event: message\n${text
    .split(/\r\n|\r|\n/)
    .map((line) => `data: ${line}\n`)
    .join('')}\n`

const isLineEnd = (byte: number): boolean => byte === 0x0a || byte === 0x0d

/** JSON on one line: line ends stand between its tokens alone, where a space means the same (RFC 8259 §2). */
export const textOnOneLine = (text: string): string => text.replaceAll(/[\r\n]/g, ' ')

/** A piece of JSON as part of one line. */
export const onOneLine = (piece: Uint8Array | string): Uint8Array | string => {
  if (typeof piece === 'string') return textOnOneLine(piece)
  if (!piece.some(isLineEnd)) return piece
  return piece.map((byte) => (isLineEnd(byte) ? 0x20 : byte))
}

// Reads an event stream to its end (WHATWG HTML §9.2), no faster than its events are dealt with.

export interface HeardEvent {
  /** `message` where the stream names none. */
  readonly event: string
  readonly id: string | undefined
  readonly data: string
}

/** When a stream has been read far enough, and the timer for the wait for its end. */
export interface ReadUntil {
  readonly done: () => boolean
  readonly timer: StartTimer
}

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

const isSilence = (error: unknown): boolean => error instanceof Refusal && error.code === 'upstream.timeout'

/** Longest wait for the end of a stream that has said all it had to say, milliseconds. */
const lingerMs = 1000

/**
 * Reads on to the end, so that the connection can be used again; a server that leaves its stream open loses
 * it.
 */
const drain = async (reader: ReadableStreamDefaultReader<Uint8Array>, timer: StartTimer): Promise<void> => {
  const cancel = timer(lingerMs, () => void reader.cancel().catch(() => undefined))
  try {
    while (!(await reader.read()).done);
  } finally {
    cancel()
  }
}

/**
 * Resolves at the end of the stream. Rejects with `upstream.answer` for an event larger than `maxBytes` or
 * text that is not UTF-8, and with what the stream failed with; an event that was cut off is not told.
 * `until`: asked after each event; once it is `done`, nothing else is told.
 */
export const readEvents = async (
  body: ReadableStream<Uint8Array>,
  maxBytes: number,
  deal: (event: HeardEvent) => void | Promise<void>,
  until?: ReadUntil,
): Promise<void> => {
  const heard: HeardEvent[] = []
  let pending = 0
  const parser = createParser({
    onEvent({ event = 'message', id, data }) {
      pending = 0
      heard.push({ event, id, data })
    },
  })
  const decoder = new TextDecoder('utf-8', { fatal: true })
  const reader = body.getReader()
  /**
   * Some servers leave out the blank line behind their last event, and some of them the end of the stream
   * too; what was cut off is no JSON, and not told.
   */
  const rest = async (): Promise<void> => {
    parser.feed('\n\n')
    for (const event of heard.splice(0)) if (isJson(event.data)) await deal(event)
  }
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      pending += piece.value.byteLength
      parser.feed(decoder.decode(piece.value, { stream: true }))
      for (const event of heard.splice(0)) await deal(event)
      if (until?.done()) {
        drain(reader, until.timer).catch(() => undefined)
        return
      }
      if (pending > maxBytes) throw new Refusal('upstream.answer', `an event of more than ${maxBytes} bytes`)
    }
    await rest()
  } catch (error) {
    await reader.cancel().catch(() => undefined)
    if (isSilence(error) && until) await rest()
    if (!(isSilence(error) && until?.done())) throw error
  }
}

// A stream that is to be there all the time.

/** Waits, or until the signal aborts. */
export const pause = (timer: StartTimer, ms: number, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const cancel = timer(ms, done)
    signal.addEventListener('abort', done, { once: true })
    if (signal.aborted) done()
  })

const reopenMs = [1000, 2000, 5000, 15_000, 30_000] as const

/**
 * Reads again whenever `read` ends, until it resolves to true (there is no stream), fails too often without
 * `heard` being called, or the signal aborts. Resolves to whether there is no stream.
 */
export const keepReading = async (
  timer: StartTimer,
  signal: AbortSignal,
  read: (heard: () => void) => Promise<boolean>,
): Promise<boolean> => {
  let failures = 0
  const heard = (): void => void (failures = 0)
  while (!signal.aborted) {
    if (await read(heard).catch(() => false)) return true
    const ms = reopenMs[failures++]
    if (ms === undefined) return false
    await pause(timer, ms, signal)
  }
  return false
}
