// The head of a request to an upstream, as text (RFC 9112 §2.1, §3).
import type { Admission, Upstream } from '../ports/calls.ts'

/** Nothing that reaches this place may hold a line end; if something ever does, no request is sent. */
const checked = (value: string): string => {
  if (value.includes('\n') || value.includes('\r')) throw new TypeError('a header value with a line end')
  return value
}

const fields = (flat: readonly string[]): string => {
  let text = ''
  for (let i = 0; i + 1 < flat.length; i += 2) text += `${flat[i]}: ${checked(flat[i + 1] as string)}\r\n`
  return text
}

/** Identity fields as text, made once for each list and forgotten with it. */
const createIdentityText = (): ((identity: readonly string[]) => string) => {
  const known = new WeakMap<readonly string[], string>()
  return (identity) => {
    const before = known.get(identity)
    if (before !== undefined) return before
    // A round trip through bytes leaves one flat piece where the pieces it was put together from would stay otherwise.
    const text = Buffer.from(fields(identity), 'latin1').toString('latin1')
    known.set(identity, text)
    return text
  }
}

export const createRequestHead = (): ((call: Pick<Admission, 'method' | 'headers' | 'identity' | 'body'>, upstream: Extract<Upstream, { kind: 'http' }>) => string) => {
  const identityText = createIdentityText()
  return ({ method, headers, identity, body }, { path, host }) =>
    // A POST always says how long it is (RFC 9110 §8.6).
    `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n${fields(headers)}${identityText(identity)}${body === undefined ? '' : `Content-Length: ${body.byteLength}\r\n`}\r\n`
}

/** The same head for a forward proxy that is asked for an http URL (RFC 9112 §3.2.2). */
export const absoluteHead = (text: string, origin: string, authorization: string | undefined): string => {
  const [target, end] = [text.indexOf(' ') + 1, text.indexOf('\r\n') + 2]
  return `${text.slice(0, target)}${origin}${text.slice(target, end)}${authorization === undefined ? '' : `Proxy-Authorization: ${authorization}\r\n`}${text.slice(end)}`
}
