// Lines of a process's standard output, however the pipe cuts them: bounded, and only whole and well-formed ones.

/** Longest line, bytes: 10 MB of message and some room for what is around it. */
export const longestLine = 10_485_760

export interface Lines {
  /** Takes a piece. False when the line that has begun is longer than any may be; nothing more is to be given then. */
  push(piece: Buffer): boolean
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const textOf = (bytes: Uint8Array): string | undefined => {
  try {
    return strictUtf8.decode(bytes)
  } catch {
    return undefined
  }
}

export const createLines = (line: (text: string) => void, garbage: (bytes: number) => void, longest = longestLine): Lines => {
  let begun: Buffer[] = []
  let size = 0
  const whole = (last: Buffer): void => {
    const bytes = begun.length === 0 ? last : Buffer.concat([...begun, last])
    begun = []
    size = 0
    // Servers on Windows end lines with CR LF; an empty line is nothing.
    const end = bytes.length > 0 && bytes[bytes.length - 1] === 0x0d ? bytes.length - 1 : bytes.length
    if (end === 0) return
    const text = textOf(bytes.subarray(0, end))
    if (text === undefined) garbage(end)
    else line(text)
  }
  return {
    push(piece) {
      let from = 0
      for (;;) {
        const at = piece.indexOf(0x0a, from)
        if (at === -1) break
        if (size + at - from > longest) return false
        whole(piece.subarray(from, at))
        from = at + 1
      }
      if (from === piece.length) return true
      size += piece.length - from
      if (size > longest) {
        begun = []
        return false
      }
      begun.push(from === 0 ? piece : piece.subarray(from))
      return true
    },
  }
}
