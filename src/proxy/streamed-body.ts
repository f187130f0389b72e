// The beginning of a body whose length nobody told: whole where it is small, and otherwise what came so far with the rest behind it.
import { Refusal } from '../kit/refusal.ts'
import type { Outcome } from '../ports/call.ts'

export interface BegunBody {
  readonly first: Uint8Array<ArrayBuffer>
  /** Undefined: `first` is all. */
  readonly all: ReadableStream<Uint8Array> | undefined
}

const joined = (pieces: readonly Uint8Array[], size: number): Uint8Array<ArrayBuffer> => {
  const whole = new Uint8Array(size)
  let at = 0
  for (const piece of pieces) {
    whole.set(piece, at)
    at += piece.byteLength
  }
  return whole
}

/** `wait`: for each piece; rejects when that takes too long. */
export const beginBody = async (
  body: ReadableStream<Uint8Array>,
  most: number,
  wait: <T>(work: Promise<T>) => Promise<T>,
): Promise<BegunBody> => {
  const reader = body.getReader()
  const pieces: Uint8Array[] = []
  let size = 0
  while (size <= most) {
    const { done, value } = await wait(reader.read())
    if (done) return { first: joined(pieces, size), all: undefined }
    pieces.push(value)
    size += value.byteLength
  }
  const first = joined(pieces, size)
  let begun = false
  const all = new ReadableStream<Uint8Array>({
    async pull(controller) {
      if (!begun) {
        begun = true
        controller.enqueue(first)
        return
      }
      const { done, value } = await reader.read()
      if (done) controller.close()
      else controller.enqueue(value)
    },
    cancel: (reason) => reader.cancel(reason),
  })
  return { first, all }
}

// A body on its way through web standards: as it comes, in time, and with an ending.

interface Relaying {
  readonly source: ReadableStream<Uint8Array>
  /** Number of bytes, where known. */
  readonly length: number
  readonly ended: (result: Outcome['result'], bytes: number) => void
  readonly leave: () => void
  /** Longest silence between two pieces, ms; absent where somebody else keeps the time. */
  readonly silentMs?: number | undefined
}

/** Waits for a piece no longer than that. A reader of ours that takes its time asks for none, so its slowness does not count. */
const inTime = async <T>(piece: Promise<T>, silentMs: number | undefined): Promise<T> => {
  if (silentMs === undefined) return piece
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(
    () => reject(new Refusal('upstream.timeout', `nothing for ${silentMs} ms`)),
    silentMs,
  )
  try {
    return await Promise.race([piece, late])
  } finally {
    clearTimeout(timer)
  }
}

/** The upstream's body with an ending: whichever comes first of its last byte, its failure, and the caller's leaving. */
export const relayed = ({ source, length, ended, leave, silentMs }: Relaying): ReadableStream<Uint8Array> => {
  const reader = source.getReader()
  let bytes = 0
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await inTime(reader.read(), silentMs)
        if (done) {
          ended('answered', bytes)
          controller.close()
          return
        }
        bytes += value.byteLength
        controller.enqueue(value)
        if (bytes !== length) return
        ended('answered', bytes)
        controller.close()
      } catch (error) {
        // Cut off, never closed: a truncated answer must not look complete.
        ended('failed', bytes)
        controller.error(error)
        leave()
        reader.cancel().catch(() => undefined)
      }
    },
    async cancel(reason) {
      ended('aborted', bytes)
      leave()
      await reader.cancel(reason).catch(() => undefined)
    },
  })
}
