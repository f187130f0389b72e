// Server-sent events as far as a relay needs them (WHATWG HTML §9.2): is it a stream, and where may a comment stand.
import { readMediaType } from './media-type.ts'

export const isEventStream = (contentType: string | undefined): boolean =>
  contentType === 'text/event-stream' ||
  (contentType !== undefined && readMediaType(contentType)?.essence === 'text/event-stream')

/**
 * Whether what has been sent so far ends with a line feed: a comment line may follow then, even inside an event. A carriage return is
 * not enough, because the line feed that completes it may be in the next piece.
 */
export const endsLine = (piece: Uint8Array): boolean => piece.length > 0 && piece[piece.length - 1] === 0x0a

/** A comment, ignored by every client, that keeps idle connections open and shows when a peer is gone. */
/** Comments on a stream that has been silent for a whole interval, and no sooner or later. */
export interface KeepAlive {
  /** Something else went out. */
  wrote(): void
  stop(): void
}

/** `comment` is called after `everyMs` of silence, and again after as much more. */
export const createKeepAlive = (everyMs: number, comment: () => void): KeepAlive => {
  const beat = (): void => {
    timer = setTimeout(beat, everyMs)
    comment()
  }
  let timer = setTimeout(beat, everyMs)
  return {
    wrote() {
      clearTimeout(timer)
      timer = setTimeout(beat, everyMs)
    },
    stop: () => clearTimeout(timer),
  }
}

export const keepAliveComment = ': keep-alive\n\n'
