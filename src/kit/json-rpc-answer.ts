// Whether a whole body that calls itself JSON can be an answer in JSON-RPC (2.0 §5), as far as that is seen
// at little cost.

/** Beyond this only both ends of the text are looked at. */
const readWhole = 4096

const isSpace = (byte: number | undefined): boolean =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

const isMessage = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && ('result' in value || 'error' in value || 'method' in value)

/**
 * Whether the text begins as an object or an array does; a byte order mark is let through, as clients let it.
 */
export const beginsAsJson = (piece: Uint8Array): boolean => {
  let at = piece[0] === 0xef && piece[1] === 0xbb && piece[2] === 0xbf ? 3 : 0
  while (isSpace(piece[at])) at++
  return at >= piece.length || piece[at] === 0x7b || piece[at] === 0x5b
}

const endsAsJson = (body: Uint8Array): boolean => {
  let at = body.length - 1
  while (isSpace(body[at])) at--
  return body[at] === 0x7d || body[at] === 0x5d
}

/**
 * False for nothing, for a page, for JSON that is cut off or broken, and for a value that is no message and
 * no list of messages.
 */
export const isRpcAnswer = (body: Uint8Array): boolean => {
  if (body.length > readWhole) return beginsAsJson(body) && endsAsJson(body)
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(body))
    return Array.isArray(value) ? value.length > 0 && value.every(isMessage) : isMessage(value)
  } catch {
    return false
  }
}
