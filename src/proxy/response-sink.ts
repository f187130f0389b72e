// What carries an answer to its caller, whatever it comes from and wherever it goes: one state machine, with
// its limits of time, its end and its outcome.
import { utf8 } from '../kit/bytes.ts'
import { fieldOf } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type {
  Admission,
  Answer,
  AnswerHead,
  Outcome,
  Piece,
  Respond,
  Responding,
  ResponseSink,
  Timed,
} from '../ports/call.ts'
import type { Runtime } from '../ports/runtime.ts'
import {
  type AnswerWriter,
  copied,
  createAnswerWriter,
  drawError,
  dropHeld,
  finishAnswer,
  flushAnswer,
  giveAnswer,
  joined,
  keptOf,
  mayBeAnswer,
  mostAwaited,
  noAnswer,
  openStream,
  takeOver,
  writeComment,
  writePiece,
} from './client-response.ts'
import { type BodyFilter, createBodyFilter, isRewritten } from './body-filter.ts'
import { sendLocal, sendStdio } from './response-sources.ts'

/**
 * One object for a call: its functions are shared, and nothing else is made where an answer passes as it
 * came.
 */
interface CallResponse extends ResponseSink, Timed, Responding {
  readonly runtime: Pick<Runtime, 'now' | 'timer' | 'decompress'>
  /** The first try, or the one that follows. */
  carry(next: Admission | Answer): void
  drained(): void
  left(): void
  conclude(): void
  answer: AnswerHead | undefined
  /** The try that is going; undefined between two, and when all is over. */
  call: Admission | undefined
  answeredAt: number | undefined
  /** The answer is complete for its caller; the rest of the upstream's is let go by. */
  muted: boolean
  /** The reader is slower than the writer. */
  waiting: boolean
  /** What came while the head's consequences were being written down. */
  pending: Piece[] | undefined
  ended: boolean
  /** What came of a body that the head waits for. */
  judged: { readonly pieces: Uint8Array[]; size: number } | undefined
  filter: BodyFilter | undefined
  /** Ends the question whether the caller may still hear this stream. */
  unwatch: (() => void) | undefined
  readonly writer: AnswerWriter
}

/** The first try, or the one that follows. */
function carry(this: CallResponse, next: Admission | Answer): void {
  if (next.kind === 'answer') return giveAnswer(this.writer, next)
  if (this.output.gone) {
    next.end({ result: 'aborted', status: 0, bytesOut: 0 })
    return
  }
  this.output.admitted = next
  this.call = next
  this.ended = false
  if (next.upstream.kind !== 'bridge') {
    const time = this.runtime.now()
    this.deadline = time + next.timeoutMs
    this.comment = time + (this.writer.early ? next.keepAliveMs : (next.streamAfterMs ?? Infinity))
    this.deadlines.add(this)
  }
  if (this.writer.early) this.unwatch = next.watch?.(() => dismiss.call(this))
  if (next.method === 'GET') this.streams?.add(this)
  try {
    if (next.upstream.kind === 'http') this.sendHttp(next, this)
    else if (next.upstream.kind === 'bridge') sendStdio(next, next.upstream, this)
    else sendLocal(next, next.upstream, this)
  } catch (error) {
    // A fault of ours, and the call ends like any other.
    this.fail(error)
  }
}

function head(this: CallResponse, status: number, rawHeaders: readonly string[]): Promise<void> | undefined {
  const { call } = this
  if (!call) return undefined
  let ready: AnswerHead | Promise<AnswerHead>
  try {
    ready = call.answer(status, rawHeaders)
  } catch (error) {
    // A refusal of this answer, not of the connection's bytes.
    this.fail(error)
    return undefined
  }
  if (!(ready instanceof Promise)) {
    begin.call(this, call, ready)
    return undefined
  }
  this.pending = []
  this.source?.pause()
  return ready
    .then((head) => catchUp.call(this, call, head))
    .catch((error: unknown) => {
      if (this.call === call) this.fail(error)
    })
}

function catchUp(this: CallResponse, call: Admission, head: AnswerHead): void {
  if (this.call !== call) return
  const pieces = this.pending ?? []
  this.pending = undefined
  begin.call(this, call, head)
  for (const piece of pieces) this.piece(piece)
  if (this.ended) this.end()
  else {
    // A stream shows at once that it has begun; anything else may still come whole.
    if (head.events || pieces.length > 0) this.turn()
    this.source?.resume()
  }
}

function begin(this: CallResponse, call: Admission, head: AnswerHead): void {
  const time = this.runtime.now()
  const timed = call.upstream.kind !== 'bridge'
  this.answeredAt = time
  this.answer = head
  if (timed) this.deadline = head.events ? Infinity : time + call.timeoutMs
  // What the gateway's own streams and commands say of themselves is not said again; a coded body takes no
  // plain text.
  const silent =
    head.events && call.upstream.kind === 'http' && fieldOf(head.headers, 'content-encoding') === undefined
  this.comment = silent || this.writer.early ? time + call.keepAliveMs : Infinity
  if (silent) this.deadlines.sooner(this)
  if (head.events) this.unwatch ??= call.watch?.(() => dismiss.call(this))
  if (call.lists || this.writer.early) filterBody.call(this, call, head)
  if (head.judge) this.judged = { pieces: [], size: 0 }
  if (head.bodiless === undefined) return
  this.muted = true
  finishAnswer(this.writer, head)
}

function filterBody(this: CallResponse, call: Admission, head: AnswerHead): void {
  this.filter = createBodyFilter(call, head, this.writer.early, {
    decompress: this.runtime.decompress,
    emit: (piece) => emit.call(this, piece),
    ended: () => complete.call(this),
    failed: (what, why) => unreadable.call(this, what, why),
    held: (held) => (held ? this.source?.pause() : this.source?.resume()),
  })
  if (this.filter?.rewrites) this.answer = isRewritten(head)
}

function piece(this: CallResponse, piece: Piece): boolean {
  const { call } = this
  if (!call || this.muted) return true
  if (this.pending) {
    this.pending.push(copied(piece))
    return false
  }
  if (this.comment !== Infinity) this.comment = this.runtime.now() + call.keepAliveMs
  else if (this.deadline !== Infinity) this.deadline = this.runtime.now() + call.timeoutMs
  if (this.judged) {
    const bytes = typeof piece === 'string' ? utf8(piece) : new Uint8Array(piece)
    this.judged.size += bytes.length
    this.judged.pieces.push(bytes)
    if (this.judged.size > mostAwaited) release.call(this, false)
    return true
  }
  return this.filter ? this.filter.piece(copied(piece)) : emit.call(this, piece)
}

/** The body is here, or too large to wait for: its head, and what came of it. */
function release(this: CallResponse, whole: boolean): void {
  const { judged, answer } = this
  if (!judged) return
  this.judged = undefined
  const body = joined(judged.pieces, judged.size)
  const seen = whole ? answer?.judge?.(body) : undefined
  if (seen) this.answer = this.filter?.rewrites ? isRewritten(seen) : seen
  if (body.length === 0) return
  if (this.filter) this.filter.piece(body)
  else emit.call(this, body)
}

function emit(this: CallResponse, piece: Piece): boolean {
  const { call, answer } = this
  if (!call || !answer) return true
  call.heard?.(piece)
  const taken = writePiece(this.writer, answer, piece)
  if (taken === undefined) this.fail(noAnswer(call, answer))
  else if (!taken) wait.call(this)
  return !this.waiting
}

function turn(this: CallResponse): void {
  const { answer, call } = this
  if (!call || !answer || this.pending || this.judged || this.filter?.whole) return
  if (!flushAnswer(this.writer, answer)) wait.call(this)
  if (this.call) this.answer = keptOf(this.writer, answer, call)
}

function end(this: CallResponse): void {
  if (this.pending) {
    this.ended = true
    return
  }
  if (!this.call) return
  this.ended = true
  release.call(this, true)
  if (this.filter) this.filter.end()
  else complete.call(this)
}

function complete(this: CallResponse): void {
  const { call, answer, writer } = this
  if (!call || !answer) return
  if (!mayBeAnswer(writer, answer)) {
    this.fail(noAnswer(call, answer))
    return
  }
  const status = writer.early && !this.muted ? 200 : answer.status
  if (!this.muted) finishAnswer(writer, answer)
  settle.call(this, 'answered', status)
}

function fail(this: CallResponse, reason: unknown): void {
  const { call, answer } = this
  if (!call) return
  const refusal = reason instanceof Refusal ? reason : undefined
  const { begun, early } = this.writer
  const seen = early ? 200 : begun ? (answer?.status ?? 0) : (refusal?.row.status ?? 500)
  settle.call(this, 'failed', seen, refusal)
  if (begun) {
    this.output.abort()
    return
  }
  const draw = (error: unknown): void => drawError(this.writer, error, call)
  const again = call.again()
  // Another try follows: the caller heard nothing of this one.
  if (again)
    again
      .then((next) => this.carry(next))
      .catch(draw)
      .catch(() => undefined)
  else draw(reason)
}

function cut(this: CallResponse): void {
  const { call, answer } = this
  if (!call) return
  if (answer) flushAnswer(this.writer, answer)
  settle.call(this, 'failed', answer?.status ?? 0)
  this.output.abort()
}

/** What cannot be read must not reach the caller; on a stream, who waits for it hears why. */
function unreadable(this: CallResponse, what: 'answer' | 'message', why: string): void {
  const { call, answer, writer } = this
  if (!call) return
  if (writer.begun && answer?.events && writer.atLine) takeOver(writer)
  this.fail(call.fault(what, why))
}

/**
 * Over, in whichever way came first. Every reference is cut, so that nothing of a finished call lives on in
 * older garbage.
 */
function settle(this: CallResponse, result: Outcome['result'], status: number, refusal?: Refusal): void {
  const { call, source, answeredAt } = this
  if (!call) return
  const { bytes: bytesOut } = this.output
  const ending =
    answeredAt === undefined ? { result, status, bytesOut } : { result, status, bytesOut, answeredAt }
  this.call = undefined
  this.unwatch?.()
  this.unwatch = undefined
  this.source = undefined
  this.answer = undefined
  dropHeld(this.writer)
  this.pending = undefined
  this.judged = undefined
  this.filter?.close()
  this.filter = undefined
  if (call.upstream.kind !== 'bridge') this.deadlines.delete(this)
  if (call.method === 'GET') this.streams?.delete(this)
  call.end(refusal ? { ...ending, code: refusal.code, why: refusal.why } : ending)
  source?.close(this.ended)
}

/** Nothing was heard of the upstream for as long as it may be silent, or the reader takes nothing. */
function late(this: CallResponse): void {
  if (this.waiting) {
    this.output.abort()
    this.left()
  } else if (this.call) this.fail(this.call.fault('timeout', `nothing for ${this.call.timeoutMs} ms`))
}

/** The stream was silent for a while, or there is none yet. */
function idle(this: CallResponse): void {
  const { call, writer } = this
  if (!call) return
  this.comment = this.runtime.now() + call.keepAliveMs
  if (this.answer !== undefined || writer.early) {
    writeComment(writer)
    return
  }
  // While the consequences of a head are written down, an answer is on its way already.
  if (this.pending) return
  // What stands between here and the caller ends connections that are silent, most of it after a minute.
  this.unwatch = call.watch?.(() => dismiss.call(this))
  if (!openStream(writer, call.streamHeaders())) wait.call(this)
}

/** A slow reader is no fault of the upstream's: its time stands still meanwhile. */
function wait(this: CallResponse): void {
  if (this.waiting) return
  this.waiting = true
  if (this.deadline !== Infinity) {
    this.deadline = this.runtime.now() + this.output.stallMs
    this.deadlines.sooner(this)
  }
  this.source?.pause()
}

function drained(this: CallResponse): void {
  if (!this.waiting) return
  this.waiting = false
  const { call } = this
  if (!call) return
  if (this.deadline !== Infinity) this.deadline = this.runtime.now() + call.timeoutMs
  this.source?.resume()
}

/**
 * The caller closed the connection: the upstream hears of it at once (2026-07-28 transports: closing the
 * stream is cancelling).
 */
function left(this: CallResponse): void {
  if (!this.call || this.muted) return
  const status = this.writer.early ? 200 : this.writer.begun ? (this.answer?.status ?? 0) : 0
  settle.call(this, 'aborted', status)
}

/**
 * Its caller may not hear it any more. A stream that is listened to may end at any time; an answer that lacks
 * its rest must not look whole.
 */
function dismiss(this: CallResponse): void {
  if (this.call?.method === 'GET') this.conclude()
  else this.fail(new Refusal('token.revoked', 'access revoked or service removed'))
}

/**
 * Ends an event stream between two events, as a server that goes away does; its client opens it again
 * elsewhere.
 */
function conclude(this: CallResponse): void {
  const { answer, call } = this
  if (!call || !answer?.events) return
  finishAnswer(this.writer, answer)
  settle.call(this, 'answered', answer.status)
}

export const createRespond =
  ({ runtime }: Pick<CallResponse, 'runtime'>): Respond =>
  (admitted, { output, sendHttp, deadlines, streams }) => {
    const response: CallResponse = {
      deadline: Infinity,
      comment: Infinity,
      at: -1,
      source: undefined,
      answer: undefined,
      call: undefined,
      answeredAt: undefined,
      muted: false,
      waiting: false,
      pending: undefined,
      ended: false,
      judged: undefined,
      filter: undefined,
      unwatch: undefined,
      runtime,
      output,
      writer: createAnswerWriter(output),
      sendHttp,
      deadlines,
      streams,
      carry,
      head,
      piece,
      turn,
      end,
      fail,
      cut,
      late,
      idle,
      drained,
      left,
      conclude,
    }
    output.reader = response
    response.carry(admitted)
  }
