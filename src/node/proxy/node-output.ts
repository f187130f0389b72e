// Where an answer goes on Node: the response of the socket, as one write when it is there at once, unbuffered
// otherwise, with back-pressure and an honest end.
import type { ServerResponse } from 'node:http'
import { fieldOf } from '../../kit/http.ts'
import type { Admission, Answer, CallerHead, Piece, ResponseOutput } from '../../ports/call.ts'

/** Up to this size a piece is joined with its head. */
const smallPiece = 16_384

const bodiless = (status: number): boolean => status === 204 || status === 304

/**
 * Whoever takes nothing of an answer for this long (ms) gets no more of it. Streams of events are for those
 * who wait.
 */
const stalledMs = 29_000

/** What an error is drawn as. `admitted`: the call, where it had been let in. */
export type Draw = (error: unknown, admitted: Admission | undefined, gone: boolean) => Answer

export class NodeOutput implements ResponseOutput {
  bytes = 0
  admitted: Admission | undefined
  reader: { drained(): void; left(): void } | undefined
  readonly stallMs = stalledMs
  private over = false
  private draining = false
  private readonly response: ServerResponse
  private readonly draw: Draw

  constructor(response: ServerResponse, draw: Draw) {
    this.response = response
    this.draw = draw
    response.on('close', () => this.reader?.left())
  }

  get gone(): boolean {
    return this.response.destroyed
  }

  get ready(): boolean {
    return !this.response.writableNeedDrain
  }

  begin(head: CallerHead, piece: Piece | undefined): boolean {
    if (this.over) return true
    this.response.writeHead(head.status, head.headers as string[])
    if (piece !== undefined) return this.put(piece, true)
    this.response.flushHeaders()
    return true
  }

  write(piece: Piece): boolean {
    return this.over || this.put(piece, false)
  }

  /**
   * Pieces lie in memory that the next read overwrites; what Node may still have to send is a copy. As text a
   * small one travels in one write with its head.
   */
  private put(piece: Piece, withHead: boolean): boolean {
    const { response } = this
    let taken: boolean
    if (typeof piece === 'string') {
      this.bytes += Buffer.byteLength(piece)
      taken = response.write(piece)
    } else {
      this.bytes += piece.length
      taken =
        withHead && piece.length <= smallPiece
          ? response.write(latin1(piece), 'latin1')
          : response.write(Buffer.from(piece))
    }
    if (!taken && !this.draining) {
      this.draining = true
      response.once('drain', () => {
        this.draining = false
        this.reader?.drained()
      })
    }
    return taken
  }

  end(): void {
    if (this.over) return
    this.over = true
    this.response.end()
  }

  whole({ status, headers }: CallerHead, body: Piece | undefined): void {
    const { response } = this
    if (this.over) return
    this.over = true
    if (body !== undefined) this.bytes = typeof body === 'string' ? Buffer.byteLength(body) : body.length
    // Complete before its first byte was sent: the length is known, whatever the framing on the other side
    // was.
    const framed = bodiless(status) || fieldOf(headers, 'content-length') !== undefined
    response.writeHead(
      status,
      (framed ? headers : [...headers, 'Content-Length', String(this.bytes)]) as string[],
    )
    if (body === undefined || bodiless(status)) response.end()
    else if (typeof body === 'string') response.end(body)
    else if (body.length <= smallPiece) response.end(latin1(body), 'latin1')
    else response.end(Buffer.from(body))
  }

  abort(): void {
    if (this.over) return
    this.over = true
    this.response.destroy()
  }

  fail(error: unknown): void {
    const { response } = this
    const answer = this.draw(error, this.admitted, response.destroyed)
    if (!response.headersSent && !response.destroyed) this.whole(answer, answer.body)
  }
}

const latin1 = (piece: Uint8Array): string =>
  Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength).toString('latin1')
