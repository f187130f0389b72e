// The beginning of a body whose length nobody told: whole where it is small, and otherwise what came so far with the rest behind it.

export interface Begun {
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
export const beginBody = async (body: ReadableStream<Uint8Array>, most: number, wait: <T>(work: Promise<T>) => Promise<T>): Promise<Begun> => {
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
