// What the body of an answer passes on its way through the gateway, where it does not pass as it came:
// codings undone, lists rewritten, lists heard.
import { utf8 } from '../kit/bytes.ts'
import { messageEvent } from '../kit/sse.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Admission, AnswerHead, ListAnswers, Piece } from '../ports/call.ts'
import type { Runtime } from '../ports/runtime.ts'
import {
  type ListReader,
  createEventReading,
  createWholeReading,
  mostRead,
  unreadable,
} from './answer-messages.ts'
import { isRewriting } from './lists.ts'

/** Longest answer that is kept to be learnt from, bytes. */
const mostLearnt = 1_048_576

// Codings of a body (RFC 9110 §8.4.1).

const codingOf = (headers: readonly string[]): string | undefined => {
  const codings: string[] = []
  for (let i = 0; i + 1 < headers.length; i += 2)
    if (headers[i]?.toLowerCase() === 'content-encoding')
      codings.push((headers[i + 1] as string).trim().toLowerCase())
  const coding = codings.join(', ')
  return coding === '' || coding === 'identity' ? undefined : coding
}

type Decompress = Runtime['decompress']
type Decompressor = ReturnType<NonNullable<Decompress>> & object

const decompressor = (coding: string, decompress: Decompress): Decompressor => {
  const own = decompress?.(coding)
  if (own) return own
  if (coding === 'gzip' || coding === 'x-gzip') return new DecompressionStream('gzip')
  if (coding === 'deflate') return new DecompressionStream('deflate')
  throw new Refusal('upstream.answer', `a body in the coding ${coding.slice(0, 40)}`)
}

// What a body passes on its way.

export interface BodyFilter {
  /** What comes out is another body than what went in. */
  readonly rewrites: boolean
  /** Nothing comes out before the end. */
  readonly whole: boolean
  /** The piece is kept. False when the source should pause. */
  piece(piece: Piece): boolean
  end(): void
  close(): void
}

export interface BodyFilterEvents {
  readonly decompress: Decompress
  emit(piece: Piece): boolean
  ended(): void
  failed(what: 'answer' | 'message', why: string): void
  /** The source should wait, or go on. */
  held(held: boolean): void
}

const bytesOf = (piece: Piece): Uint8Array => (typeof piece === 'string' ? utf8(piece) : piece)

const catching =
  (failed: BodyFilterEvents['failed']) =>
  <Value>(work: () => Value): Value | undefined => {
    try {
      return work()
    } catch (error) {
      if (error instanceof Refusal) failed(error.code === 'upstream.answer' ? 'answer' : 'message', error.why)
      else failed('answer', String(error))
      return undefined
    }
  }

const createRewriter = (
  reading: ListReader,
  whole: boolean,
  { emit, ended, failed }: BodyFilterEvents,
  notices?: ListAnswers['notices'],
): BodyFilter => {
  const guard = catching(failed)
  let over = false
  // What comes out are whole events: between them there is room for another one.
  const stop = notices?.((message) => void (over || emit(messageEvent(message))))
  return {
    rewrites: true,
    whole,
    piece(piece) {
      if (over) return true
      const text = guard(() => reading.feed(bytesOf(piece)))
      return text === undefined || text === '' || emit(text)
    },
    end() {
      const text = over ? undefined : guard(() => reading.end())
      if (text === undefined) return
      over = true
      stop?.()
      if (text !== '') emit(text)
      ended()
    },
    close() {
      over = true
      stop?.()
    },
  }
}

const createMessageRewriter = (
  lists: ListAnswers,
  head: AnswerHead,
  events: BodyFilterEvents,
): BodyFilter => {
  if (head.events) return createRewriter(createEventReading(lists), false, events, lists.notices)
  // Who asked for a list is told why there is none; whatever else failed failed as it says.
  return createRewriter(createWholeReading(lists, head.status >= 400 && !lists.expects), true, events)
}

/** Undoes the coding in front of what follows, no faster than that takes it. */
const createDecoding = (
  coding: string,
  next: BodyFilter,
  events: BodyFilterEvents,
): BodyFilter | undefined => {
  const { failed, held, decompress } = events
  const stream = catching(failed)(() => decompressor(coding, decompress))
  if (!stream) return undefined
  const [writer, reader] = [stream.writable.getWriter(), stream.readable.getReader()]
  let over = false
  const broken = (error: unknown): void => {
    if (!over) failed('answer', `a body that is not in its coding ${coding.slice(0, 40)}: ${String(error)}`)
  }
  const pump = async (): Promise<void> => {
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      if (over) return
      next.piece(read.value)
    }
    if (!over) next.end()
  }
  pump().catch(broken)
  return {
    rewrites: true,
    whole: next.whole,
    piece(piece) {
      const taken = writer.write(bytesOf(piece) as Uint8Array<ArrayBuffer>)
      taken.catch(broken)
      if ((writer.desiredSize ?? 1) > 0) return true
      held(true)
      taken.then(
        () => held(false),
        () => undefined,
      )
      return false
    },
    end: () => void writer.close().catch(broken),
    close() {
      over = true
      next.close()
      reader.cancel().catch(() => undefined)
    },
  }
}

const passing = ({ emit, ended }: BodyFilterEvents): BodyFilter => ({
  rewrites: true,
  whole: false,
  piece: emit,
  end: ended,
  close: () => undefined,
})

const decoded = async (
  bytes: Blob,
  coding: string | undefined,
  decompress: Decompress,
): Promise<Uint8Array> => {
  const stream = bytes.stream()
  const plain = coding === undefined ? stream : stream.pipeThrough(decompressor(coding, decompress))
  const pieces: Uint8Array<ArrayBuffer>[] = []
  let size = 0
  for await (const piece of plain) {
    size += piece.byteLength
    if (size > mostRead) throw unreadable('too much')
    pieces.push(piece as Uint8Array<ArrayBuffer>)
  }
  return new Uint8Array(await new Blob(pieces).arrayBuffer())
}

/** Lets the body pass as it comes, and reads what passed once it is complete. */
const createListener = (
  learn: NonNullable<ListAnswers['learn']>,
  head: AnswerHead,
  events: BodyFilterEvents,
): BodyFilter => {
  const pieces: Uint8Array<ArrayBuffer>[] = []
  let size = 0
  const read = async (): Promise<void> => {
    const reading = head.events ? createEventReading({ learn }) : createWholeReading({ learn })
    reading.feed(await decoded(new Blob(pieces), codingOf(head.headers), events.decompress))
    reading.end()
  }
  return {
    rewrites: false,
    whole: false,
    piece(piece) {
      const bytes = bytesOf(piece)
      size += bytes.byteLength
      if (size <= mostLearnt) pieces.push(bytes as Uint8Array<ArrayBuffer>)
      return events.emit(piece)
    },
    end() {
      // A list that cannot be read teaches nothing, and was its caller's to judge.
      if (size <= mostLearnt) read().catch(() => undefined)
      events.ended()
    },
    close: () => undefined,
  }
}

const latin1 = new TextDecoder('latin1')
/** Some servers write the slashes of `notifications/tools/list_changed` with a backslash before them. */
const changedWord = 'list_changed'

/** One object for a stream, and the functions are shared: thousands of streams are open at once. */
interface ChangeWatch extends BodyFilter, Pick<BodyFilterEvents, 'emit'> {
  readonly changed: () => void
  /** The end of what has passed. */
  before: string
}

function watchPiece(this: ChangeWatch, piece: Piece): boolean {
  const text = this.before + (typeof piece === 'string' ? piece : latin1.decode(piece))
  if (text.includes(changedWord)) this.changed()
  this.before = text.slice(1 - changedWord.length)
  return this.emit(piece)
}

const close = (): void => undefined

/** Lets a stream pass, and tells when it says that a list has changed. */
const createChangeWatch = (changed: () => void, { emit, ended }: BodyFilterEvents): ChangeWatch => ({
  rewrites: false,
  whole: false,
  changed,
  emit,
  before: '',
  piece: watchPiece,
  end: ended,
  close,
})

/** An error is about the whole batch, and no answer of any of its messages. */
const listsFor = ({ lists }: Admission, { status }: AnswerHead): Admission['lists'] =>
  lists?.denied && status >= 300 ? { ...lists, denied: undefined } : lists

/**
 * What the body of this answer passes; undefined where it goes as it came. `early`: onto a stream that was
 * opened before.
 */
export const createBodyFilter = (
  admission: Admission,
  head: AnswerHead,
  early: boolean,
  events: BodyFilterEvents,
): BodyFilter | undefined => {
  const coding = codingOf(head.headers)
  const lists = listsFor(admission, head)
  const rewriter = lists && isRewriting(lists) ? createMessageRewriter(lists, head, events) : undefined
  if (coding !== undefined && (rewriter || early))
    return createDecoding(coding, rewriter ?? passing(events), events)
  if (rewriter) return rewriter
  if (lists?.learn) return createListener(lists.learn, head, events)
  return lists?.changed && head.events ? createChangeWatch(lists.changed, events) : undefined
}

/**
 * Said of the body as the server sent it (RFC 9110 §8.3 to §8.8, RFC 9530), and not of what is made of it.
 */
const ofTheBody = new Set([
  'content-length',
  'content-encoding',
  'content-md5',
  'content-digest',
  'repr-digest',
  'digest',
  'etag',
  'last-modified',
  'accept-ranges',
  'content-range',
])

export const isRewritten = (head: AnswerHead): AnswerHead => ({
  ...head,
  headers: head.headers.filter((_, i) => !ofTheBody.has((head.headers[i - (i % 2)] as string).toLowerCase())),
})
