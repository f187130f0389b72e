// Server-sent events as far as a relay needs them (WHATWG HTML §9.2): is it a stream, and where may a comment
// stand.
import { createParser } from 'eventsource-parser'
import { utf8 } from './bytes.ts'
import { readMediaType } from './http.ts'
import { Refusal } from './refusal.ts'

export const isEventStream = (contentType: string | undefined): boolean =>
  contentType === 'text/event-stream' ||
  (contentType !== undefined && readMediaType(contentType)?.essence === 'text/event-stream')

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

/**
 * A piece of JSON as part of one line: line ends stand between its tokens alone, where a space means the same
 * (RFC 8259 §2).
 */
export const onOneLine = (piece: Uint8Array | string): Uint8Array | string => {
  if (typeof piece === 'string') return piece.replaceAll(/[\r\n]/g, ' ')
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

// An event stream that the gateway itself writes (WHATWG HTML §9.2): held back when its reader is slow, kept
// open by comments, and told when the reader leaves.

export interface EventWriter {
  readonly body: ReadableStream<Uint8Array>
  write(data: string, about?: { readonly event?: string; readonly id?: string }): void
  /** A promise while the reader is behind: it resolves when there is room again, or when the reader left. */
  room(): Promise<void> | undefined
  /** The stream is complete. */
  end(): void
  readonly over: boolean
}

export interface EventWriterOptions {
  readonly timer: StartTimer
  readonly keepAliveMs: number
  /** The reader left, or the stream was ended; once. */
  readonly gone: () => void
}

/** What a reader may be behind, bytes, before its writer has to wait. */
const roomBytes = 262_144

const encoded = (
  data: string,
  { event, id }: { readonly event?: string; readonly id?: string },
): Uint8Array => {
  const head = `${event === undefined ? '' : `event: ${event}\n`}${id === undefined ? '' : `id: ${id}\n`}`
  return utf8(
    `${head}${data
      .split(/\r\n|\r|\n/)
      .map((line) => `data: ${line}\n`)
      .join('')}\n`,
  )
}

const comment = utf8(keepAliveComment)

export const createEventWriter = ({ timer, keepAliveMs, gone }: EventWriterOptions): EventWriter => {
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined
  let waiting: PromiseWithResolvers<void> | undefined
  let over = false
  const proceed = (): void => {
    waiting?.resolve()
    waiting = undefined
  }
  const finish = (): boolean => {
    if (over) return false
    over = true
    alive.stop()
    proceed()
    return true
  }
  const body = new ReadableStream<Uint8Array>(
    {
      start: (made) => void (controller = made),
      pull: proceed,
      cancel() {
        if (finish()) gone()
      },
    },
    { highWaterMark: roomBytes, size: (piece) => piece?.byteLength ?? 0 },
  )
  const alive = createKeepAlive(timer, keepAliveMs, () => {
    if ((controller?.desiredSize ?? 0) > 0) controller?.enqueue(comment)
  })
  return {
    body,
    write(data, about = {}) {
      if (over || !controller) return
      alive.wrote()
      controller.enqueue(encoded(data, about))
    },
    room() {
      if (over || (controller?.desiredSize ?? 0) > 0) return undefined
      waiting ??= Promise.withResolvers<void>()
      return waiting.promise
    },
    end() {
      if (!finish()) return
      controller?.close()
      gone()
    },
    get over() {
      return over
    },
  }
}
