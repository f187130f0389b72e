// How one answer is written: in one write when it is there at once, piece by piece otherwise, or as what is
// left of an event stream that was opened before it came.
import { utf8 } from '../kit/bytes.ts'
import { beginsAsJson, isRpcAnswer } from '../kit/json-rpc-answer.ts'
import { endsLine, keepAliveComment, messageEvent, onOneLine } from '../kit/sse.ts'
import { refusalOf } from '../kit/log.ts'
import type { Refusal } from '../kit/refusal.ts'
import type { Admission, Answer, AnswerHead, Piece, ResponseOutput } from '../ports/call.ts'

/** A body on which something depends is waited for up to this size, bytes. */
export const mostAwaited = 65_536

const nothing = new Uint8Array()

export const joined = (pieces: readonly Uint8Array[], size: number): Uint8Array => {
  const whole = new Uint8Array(size)
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.byteLength
  }
  return whole
}

/** Without a byte order mark, which means nothing in the middle of a stream. */
const withoutMark = (piece: Piece): Piece =>
  typeof piece !== 'string' && piece[0] === 0xef && piece[1] === 0xbb && piece[2] === 0xbf
    ? piece.subarray(3)
    : piece

/** Pieces lie in memory that the next read overwrites. */
export const copied = (piece: Piece): Piece => (typeof piece === 'string' ? piece : new Uint8Array(piece))

export interface AnswerWriter {
  readonly output: ResponseOutput
  /** Something of the answer itself is written. */
  begun: boolean
  /** An event stream was opened before there was an answer. */
  early: boolean
  /** What was sent so far ends with a line feed, so that a comment may follow. */
  atLine: boolean
  /** Delivered together with the head, not yet written. */
  held: Piece | undefined
}

export const createAnswerWriter = (output: ResponseOutput): AnswerWriter => ({
  output,
  begun: false,
  early: false,
  atLine: true,
  held: undefined,
})

/** What waits is not sent any more. */
export const dropHeld = (writer: AnswerWriter): void => {
  writer.held = undefined
}

const needsRpc = (writer: AnswerWriter, answer: AnswerHead): boolean => {
  return answer.rpc === true || (writer.early && !answer.events)
}

const beginEvent = (writer: AnswerWriter): boolean => {
  const { held, output } = writer
  writer.begun = true
  writer.held = undefined
  writer.atLine = false
  output.write('event: message\ndata: ')
  return held === undefined || output.write(onOneLine(withoutMark(held)))
}

/**
 * On a stream that was opened before, JSON is the data of one event. What may turn out to be small is waited
 * for, so that it is seen whether it is an answer.
 */
const gather = (writer: AnswerWriter, piece: Piece): boolean | undefined => {
  const bytes = typeof piece === 'string' ? utf8(piece) : piece
  const before = writer.held instanceof Uint8Array ? writer.held : nothing
  const held = joined([before, bytes], before.length + bytes.length)
  writer.held = held
  if (held.length <= mostAwaited) return true
  return beginsAsJson(held) ? beginEvent(writer) : undefined
}

/** Nothing more was delivered at once: what waits goes out. False when the source should pause. */
export const flushAnswer = (writer: AnswerWriter, answer: AnswerHead): boolean => {
  const { held, output } = writer
  if (writer.begun && held === undefined) return true
  if (writer.early && (held === undefined || !answer.events)) return true
  writer.held = undefined
  writer.begun = true
  return writer.early && held !== undefined ? output.write(held) : output.begin(answer, held)
}

/** False when the source should pause; undefined for what is seen not to be an answer. */
export const writePiece = (writer: AnswerWriter, answer: AnswerHead, piece: Piece): boolean | undefined => {
  if (writer.early && !writer.begun && !answer.events) return gather(writer, piece)
  if (!writer.begun && writer.held === undefined) {
    if (needsRpc(writer, answer) && typeof piece !== 'string' && !beginsAsJson(piece)) return undefined
    if (answer.events) writer.atLine = endsLine(piece)
    writer.held = piece
    return true
  }
  flushAnswer(writer, answer)
  if (answer.events) writer.atLine = endsLine(piece)
  return writer.output.write(writer.early && !answer.events ? onOneLine(piece) : piece)
}

/**
 * Whether the body, now that it is complete, may be an answer; text has been read already, and what is
 * written cannot be taken back.
 */
export const mayBeAnswer = (writer: AnswerWriter, answer: AnswerHead): boolean => {
  const { held } = writer
  return writer.begun || !needsRpc(writer, answer) || typeof held === 'string' || isRpcAnswer(held ?? nothing)
}

/** The whole answer has been given. */
export const finishAnswer = (writer: AnswerWriter, answer: AnswerHead): void => {
  const { held, output } = writer
  if (output.gone) return
  if (writer.early) {
    if (answer.events) flushAnswer(writer, answer)
    else if (!writer.begun) beginEvent(writer)
    if (!answer.events) output.write('\n\n')
    output.end()
  } else if (writer.begun) output.end()
  else output.whole(answer, held)
  writer.begun = true
  writer.held = undefined
}

/** An event stream in place of an answer that is still to come. False when the reader is slow already. */
export const openStream = (writer: AnswerWriter, headers: readonly string[]): boolean => {
  writer.early = true
  return writer.output.begin({ status: 200, headers }, keepAliveComment)
}

/** From here on the stream is the gateway's, which says itself how it ends. */
export const takeOver = (writer: AnswerWriter): void => {
  writer.early = true
  writer.begun = false
  writer.held = undefined
}

export const writeComment = (writer: AnswerWriter): void => {
  if ((writer.begun || writer.early) && writer.atLine && writer.output.ready)
    writer.output.write(keepAliveComment)
}

/** The last event of such a stream. */
export const tellLast = (writer: AnswerWriter, message: string): void => {
  if (writer.output.gone) return
  writer.output.write(messageEvent(message))
  writer.output.end()
}

/** Said to the caller in place of an answer. */
export const drawError = (writer: AnswerWriter, error: unknown, call: Admission): void => {
  if (writer.early) tellLast(writer, call.refused(refusalOf(error), call.rpcId))
  else writer.output.fail(error)
}

/** An answer of the gateway's own. */
export const giveAnswer = (writer: AnswerWriter, { status, headers, body }: Answer): void => {
  if (writer.early) tellLast(writer, body)
  else if (!writer.output.gone) writer.output.whole({ status, headers }, body)
}

/** Who failed is said in place of what is seen not to be an answer. */
export const noAnswer = (call: Admission, { status }: AnswerHead): Refusal =>
  status === 200
    ? call.fault('message', 'a body of JSON that is no JSON-RPC')
    : call.fault('answer', `answered ${status}`)
