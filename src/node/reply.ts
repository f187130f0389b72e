// Writing one answer to Node's response: as one piece when it is there at once, unbuffered otherwise, with back-pressure and an honest end.
import type { ServerResponse } from 'node:http'
import { endsLine, keepAliveComment } from '../kit/events.ts'
import type { AnswerHead } from '../ports/calls.ts'

export interface Reply {
  readonly response: ServerResponse
  /** Set by `start`; undefined again when the answer is over. */
  head: AnswerHead | undefined
  /** Written to the socket already. */
  begun: boolean
  over: boolean
  bytes: number
  /** Arrived in this turn of the event loop, not yet written. */
  held: Buffer | undefined
  scheduled: boolean
  /** What was sent so far ends with a line, so that a comment may follow. */
  atLine: boolean
}

export const createReply = (response: ServerResponse): Reply => ({ response, head: undefined, begun: false, over: false, bytes: 0, held: undefined, scheduled: false, atLine: true })

/** Up to this size an answer is joined with its head. */
const smallBody = 16_384

const bodiless = (status: number): boolean => status === 204 || status === 304

const begin = (reply: Reply, head: AnswerHead): void => {
  reply.begun = true
  reply.response.writeHead(head.status, head.headers as string[])
}

/** Writes what is held; false when the client reads more slowly than the upstream speaks. */
const flush = (reply: Reply): boolean => {
  const { head, held, response } = reply
  if (reply.over || !head) return true
  if (!reply.begun) {
    begin(reply, head)
    if (!held) response.flushHeaders()
  }
  if (!held) return true
  reply.held = undefined
  return response.write(held)
}

const flushLater = (reply: Reply): void => {
  reply.scheduled = false
  flush(reply)
}

const schedule = (reply: Reply): void => {
  if (reply.scheduled) return
  reply.scheduled = true
  // The parser hands over head, body and end of a small answer in one go, before the next tick comes.
  process.nextTick(flushLater, reply)
}

export const start = (reply: Reply, head: AnswerHead): void => {
  reply.head = head
  schedule(reply)
}

/** False when the source should pause until the response drains. */
export const write = (reply: Reply, chunk: Buffer): boolean => {
  if (reply.over) return true
  reply.bytes += chunk.length
  if (reply.head?.events) reply.atLine = endsLine(chunk)
  if (!reply.begun && !reply.held) {
    reply.held = chunk
    schedule(reply)
    return true
  }
  if (reply.held) flush(reply)
  return reply.response.write(chunk)
}

/** A comment on an idle event stream, where one may stand. */
export const comment = (reply: Reply): void => {
  if (reply.begun && !reply.over && reply.atLine && !reply.response.writableNeedDrain) reply.response.write(keepAliveComment)
}

/** The whole answer has been given. */
export const finish = (reply: Reply): void => {
  const { head, held, response } = reply
  if (reply.over || !head) return
  reply.over = true
  if (!reply.begun) {
    const length = held ? held.length : 0
    // Complete before its first byte was sent: the length is known, whatever the framing on the other side was.
    const framed = bodiless(head.status) || head.headers.some((name, i) => i % 2 === 0 && name.length === 14 && name.toLowerCase() === 'content-length')
    reply.begun = true
    response.writeHead(head.status, (framed ? head.headers : [...head.headers, 'Content-Length', String(length)]) as string[])
  }
  // As text it travels in one write with the head; latin1 keeps every byte.
  if (held && held.length <= smallBody) response.end(held.toString('latin1'), 'latin1')
  else if (held) response.end(held)
  else response.end()
  reply.held = undefined
  reply.head = undefined
}

/** Ends the connection without ending the answer: what was cut off must not look complete (RFC 9112 §8). */
export const cut = (reply: Reply): void => {
  if (reply.over) return
  reply.over = true
  reply.held = undefined
  reply.head = undefined
  reply.response.destroy()
}
