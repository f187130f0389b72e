// Bytes, and text in the few forms the wire uses. Base64 is written here because Node 24 has no
// Uint8Array.toBase64, and because the decoder takes one spelling only.

const encoder = new TextEncoder()
const decoder = new TextDecoder()

export const utf8 = (text: string): Uint8Array<ArrayBuffer> => encoder.encode(text) as Uint8Array<ArrayBuffer>
/** Lenient: malformed sequences become U+FFFD. */
export const utf8Text = (bytes: BufferSource): string => decoder.decode(bytes)

export const encodeBase64 = (bytes: Uint8Array): string => {
  let binary = ''
  for (let i = 0; i < bytes.length; i += 0x8000)
    binary += String.fromCharCode(...bytes.subarray(i, i + 0x8000))
  return btoa(binary)
}

const alphabet = encoder.encode('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_')

/** Without padding (RFC 4648 §5). */
export const encodeBase64url = (bytes: Uint8Array): string => {
  const { length } = bytes
  const text = new Uint8Array(Math.ceil((length * 4) / 3))
  for (let from = 0, to = 0; from < length; from += 3) {
    const three = ((bytes[from] as number) << 16) | ((bytes[from + 1] ?? 0) << 8) | (bytes[from + 2] ?? 0)
    // What stands behind the end is not written: the array has no place for it.
    text[to++] = alphabet[three >> 18] as number
    text[to++] = alphabet[(three >> 12) & 63] as number
    text[to++] = alphabet[(three >> 6) & 63] as number
    text[to++] = alphabet[three & 63] as number
  }
  return decoder.decode(text)
}

const bytesOf = (base64: string): Uint8Array<ArrayBuffer> | undefined => {
  try {
    const binary = atob(base64)
    const bytes = new Uint8Array(binary.length)
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i)
    return bytes
  } catch {
    return undefined
  }
}

// What the last character may be, by length modulo 4: only bits that belong to a byte. One value has one
// spelling (RFC 4648 §3.5), an altered one never decodes to the same bytes.
const lastCharacters = [/[A-Za-z0-9_-]?$/, /(?!)/, /[AQgw]$/, /[AEIMQUYcgkosw048]$/] as const

/** Undefined for anything that is not canonical unpadded base64url (RFC 4648 §5, RFC 7515 §2). */
export const decodeBase64url = (text: string): Uint8Array<ArrayBuffer> | undefined => {
  if (/[^A-Za-z0-9_-]/.test(text) || !lastCharacters[(text.length % 4) as 0 | 1 | 2 | 3].test(text.slice(-1)))
    return undefined
  return bytesOf(text.replaceAll('-', '+').replaceAll('_', '/'))
}

/** Undefined for anything that is not base64 (RFC 4648 §4), padded or not. */
export const decodeBase64 = (text: string): Uint8Array<ArrayBuffer> | undefined =>
  /[^A-Za-z0-9+/=]/.test(text) ? undefined : bytesOf(text)

export const encodeHex = (bytes: Uint8Array): string =>
  [...bytes].map((b) => b.toString(16).padStart(2, '0')).join('')

/** Equality in time that depends on the length alone. */
export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= (a[i] as number) ^ (b[i] as number)
  return difference === 0
}

/** Text equality in time that depends on the lengths alone. */
export const sameText = (a: string, b: string): boolean => sameBytes(utf8(a), utf8(b))

// The text of JSON that is the same for equal values (RFC 8785, JSON Canonicalization Scheme).

/** Undefined for what has no such text: a lone surrogate, or no JSON value. */
export const canonicalJson = (value: unknown): string | undefined => {
  if (typeof value === 'string') return value.isWellFormed() ? JSON.stringify(value) : undefined
  if (value === null || typeof value === 'boolean') return JSON.stringify(value)
  if (typeof value === 'number') return Number.isFinite(value) ? JSON.stringify(value) : undefined
  if (typeof value !== 'object') return undefined
  if (Array.isArray(value)) {
    const items = value.map((item) => canonicalJson(item))
    return items.includes(undefined) ? undefined : `[${items.join(',')}]`
  }
  const members: string[] = []
  // By UTF-16 code units, as sort does.
  for (const name of Object.keys(value).sort()) {
    const key = canonicalJson(name)
    const text = canonicalJson((value as Readonly<Record<string, unknown>>)[name])
    if (key === undefined || text === undefined) return undefined
    members.push(`${key}:${text}`)
  }
  return `{${members.join(',')}}`
}

// Ids of what one process keeps in its memory: they end in the name of that process, where there are several.

/** `n` random bytes, and whose it is. */
export const newId = (random: (n: number) => Uint8Array, n: number, node: string | undefined): string =>
  encodeBase64url(random(n)) + (node === undefined ? '' : `.${node}`)

/** The process that the id names; undefined where it names none. */
export const nodeOfId = (id: string): string | undefined => /[\w-]{32}\.([\w-]{16})$/.exec(id)?.[1]
