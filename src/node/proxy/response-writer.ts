// Writing one answer to Node's response: as one piece when it is there at once, unbuffered otherwise, with back-pressure and an honest end.
import type { ServerResponse } from 'node:http'
import { fieldOf } from '../../kit/http.ts'
import { endsLine, keepAliveComment } from '../../kit/sse.ts'
import type { AnswerHead } from '../../ports/call.ts'

export interface NodeResponse {
  readonly response: ServerResponse
  /** Set by `start`; undefined again when the answer is over. */
  head: AnswerHead | undefined
  /** Written to the socket already. */
  begun: boolean
  over: boolean
  bytes: number
  /** Delivered together with the head, not yet written. */
  held: Buffer | undefined
  /** What was sent so far ends with a line, so that a comment may follow. */
  atLine: boolean
}

export const createNodeResponse = (response: ServerResponse): NodeResponse => ({
  response,
  head: undefined,
  begun: false,
  over: false,
  bytes: 0,
  held: undefined,
  atLine: true,
})

/** Up to this size a piece is joined with its head. */
const smallPiece = 16_384

const bodiless = (status: number): boolean => status === 204 || status === 304

/** Pieces lie in memory that the next read overwrites; what Node may still have to send is a copy. As text a small one travels in one write with its head. */
const put = (response: ServerResponse, piece: Buffer, joined: boolean): boolean =>
  joined && piece.length <= smallPiece
    ? response.write(piece.toString('latin1'), 'latin1')
    : response.write(Buffer.from(piece))

/** The head of the answer. It is written with what was delivered together with it, by `flush` or `finish`. */
export const start = (reply: NodeResponse, head: AnswerHead): void => {
  reply.head = head
}

/** Nothing more was delivered at once: what waits goes out. False when the source should pause until the response drains. */
export const flush = (reply: NodeResponse): boolean => {
  const { head, held, response } = reply
  if (reply.over || !head || (reply.begun && !held)) return true
  const joined = !reply.begun
  if (!reply.begun) {
    reply.begun = true
    response.writeHead(head.status, head.headers as string[])
  }
  reply.held = undefined
  if (held) return put(response, held, joined)
  response.flushHeaders()
  return true
}

/** False when the source should pause until the response drains. */
export const write = (reply: NodeResponse, piece: Buffer): boolean => {
  if (reply.over) return true
  reply.bytes += piece.length
  if (reply.head?.events) reply.atLine = endsLine(piece)
  if (!reply.begun && !reply.held) {
    reply.held = piece
    return true
  }
  flush(reply)
  return put(reply.response, piece, false)
}

/** A comment on an idle event stream, where one may stand. */
export const comment = (reply: NodeResponse): void => {
  if (reply.begun && !reply.over && reply.atLine && !reply.response.writableNeedDrain)
    reply.response.write(keepAliveComment)
}

/** The whole answer has been given. */
export const finish = (reply: NodeResponse): void => {
  const { head, held, response } = reply
  if (reply.over || !head) return
  reply.over = true
  if (!reply.begun) {
    // Complete before its first byte was sent: the length is known, whatever the framing on the other side was.
    const framed = bodiless(head.status) || fieldOf(head.headers, 'content-length') !== undefined
    reply.begun = true
    response.writeHead(
      head.status,
      (framed
        ? head.headers
        : [...head.headers, 'Content-Length', String(held ? held.length : 0)]) as string[],
    )
  }
  if (held && held.length <= smallPiece) response.end(held.toString('latin1'), 'latin1')
  else if (held) response.end(Buffer.from(held))
  else response.end()
  reply.held = undefined
  reply.head = undefined
}

/** Ends the connection without ending the answer: what was cut off must not look complete (RFC 9112 §8). */
export const abort = (reply: NodeResponse): void => {
  if (reply.over) return
  reply.over = true
  reply.held = undefined
  reply.head = undefined
  reply.response.destroy()
}
