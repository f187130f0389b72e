// The few rules of HTTP fields that more than one room needs. Header lists are flat: name, value, name, value…, as Node hands them over.
import { Refusal } from './refusal.ts'

/** Without the spaces and tabs around a field value (RFC 9110 §5.5); linear in its length. */
export const trimWhitespace = (value: string): string => {
  let start = 0
  let end = value.length
  while (start < end && (value.charCodeAt(start) === 0x20 || value.charCodeAt(start) === 0x09)) start++
  while (end > start && (value.charCodeAt(end - 1) === 0x20 || value.charCodeAt(end - 1) === 0x09)) end--
  return start === 0 && end === value.length ? value : value.slice(start, end)
}

/** RFC 6797 §6.1: for a year, browsers use https for this host, whatever a link says. Nothing for an issuer of plain http, which is loopback. */
export const transportSecurity = (issuer: string): readonly string[] =>
  issuer.startsWith('https:') ? ['Strict-Transport-Security', 'max-age=31536000'] : []

/** The first value of a field in a flat list; the name in lower case. */
export const fieldOf = (headers: readonly string[], name: string): string | undefined => {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const candidate = headers[i] as string
    if (candidate.length === name.length && candidate.toLowerCase() === name) return headers[i + 1]
  }
  return undefined
}

/** Fields of one hop (RFC 9110 §7.6.1 and RFC 9112): never forwarded, in either direction. */
export const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
])

/** uri-host [":" port] of RFC 9110 §7.2, without the forms that no server name takes (userinfo, percent-encoding, IPvFuture). */
const hostForm = /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9.])?|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?$/

export const isHost = (host: string): boolean => {
  const port = hostForm.exec(host)?.[1]
  return host.length <= 262 && hostForm.test(host) && (port === undefined || Number(port) <= 65_535)
}

/** The whole body, or `request.too-large` as soon as it grows beyond `max` bytes. `grow` is told of its size before a piece is kept. */
export const readBounded = async (
  body: ReadableStream<Uint8Array> | null,
  max: number,
  grow?: (bytes: number) => void,
): Promise<Uint8Array<ArrayBuffer>> => {
  const chunks: Uint8Array[] = []
  let size = 0
  if (body) {
    for await (const chunk of body) {
      size += chunk.byteLength
      if (size > max) throw new Refusal('request.too-large', `more than ${max} bytes`)
      grow?.(size)
      chunks.push(chunk)
    }
  }
  const whole = new Uint8Array(size)
  let at = 0
  for (const chunk of chunks) {
    whole.set(chunk, at)
    at += chunk.byteLength
  }
  return whole
}

/** The same of a request. At one go where the length is said and fits: HTTP holds the caller to it. */
export const readWhole = async (request: Request, max: number, grow?: (bytes: number) => void): Promise<Uint8Array<ArrayBuffer>> => {
  const length = Number(request.headers.get('content-length') ?? Number.NaN)
  if (!(length <= max)) return readBounded(request.body, max, grow)
  grow?.(length)
  const whole = new Uint8Array(await request.arrayBuffer())
  if (whole.byteLength > max) throw new Refusal('request.too-large', `more than ${max} bytes`)
  return whole
}
