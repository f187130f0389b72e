// The few rules of HTTP that more than one module needs: fields, bodies, origins, paths, media types, forms,
// redirects. Header lists are flat: name, value, name, value…, as Node hands them over.
import { sameText, utf8Text } from './bytes.ts'
import { type RefusalCode, Refusal } from './refusal.ts'

/** Without the spaces and tabs around a field value (RFC 9110 §5.5); linear in its length. */
export const trimWhitespace = (value: string): string => {
  let start = 0
  let end = value.length
  while (start < end && (value.charCodeAt(start) === 0x20 || value.charCodeAt(start) === 0x09)) start++
  while (end > start && (value.charCodeAt(end - 1) === 0x20 || value.charCodeAt(end - 1) === 0x09)) end--
  return start === 0 && end === value.length ? value : value.slice(start, end)
}

/**
 * RFC 6797 §6.1: for a year, browsers use https for this host, whatever a link says. Nothing for an issuer of
 * plain http, which is loopback.
 */
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

/** A flat list without the fields of these names, which are in lower case. */
export const fieldsWithout = (flat: readonly string[], names: ReadonlySet<string>): string[] =>
  flat.filter((_, i) => !names.has((flat[i - (i % 2)] as string).toLowerCase()))

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

/** The Host header as received. Some runtimes keep it only in the URL. */
export const hostOf = (request: Request): string => request.headers.get('host') ?? new URL(request.url).host

/**
 * uri-host [":" port] of RFC 9110 §7.2, without the forms that no server name takes (userinfo,
 * percent-encoding, IPvFuture).
 */
const hostForm =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,253}[A-Za-z0-9.])?|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?$/

export const isHost = (host: string): boolean => {
  const port = hostForm.exec(host)?.[1]
  return host.length <= 262 && hostForm.test(host) && (port === undefined || Number(port) <= 65_535)
}

/**
 * The whole body, or `request.too-large` as soon as it grows beyond `max` bytes. `grow` is told of its size
 * before a piece is kept.
 */
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
export const readWhole = async (
  request: Request,
  max: number,
  grow?: (bytes: number) => void,
): Promise<Uint8Array<ArrayBuffer>> => {
  const length = Number(request.headers.get('content-length') ?? Number.NaN)
  if (!(length <= max)) return readBounded(request.body, max, grow)
  grow?.(length)
  const whole = new Uint8Array(await request.arrayBuffer())
  if (whole.byteLength > max) throw new Refusal('request.too-large', `more than ${max} bytes`)
  return whole
}

// Origins that an operator wrote down, and which URL is at one of them.

const loopbackAnyPort = /^(https?:\/\/(?:localhost|127\.0\.0\.1|\[::1\])):\*$/i

/** `https://host`, `http://host:port`, or a loopback host with `:*` for every port. */
export const isOriginPattern = (text: string): boolean =>
  loopbackAnyPort.test(text) || (/^https?:\/\/[^/?#@\\\s]+$/i.test(text) && URL.canParse(text))

/** Whether the URL's origin is one of those written. */
export const atOrigin = (url: URL, written: readonly string[]): boolean =>
  written.some((text) => {
    const any = loopbackAnyPort.exec(text)?.[1]
    if (any === undefined) return URL.canParse(text) && new URL(text).origin === url.origin
    return `${url.protocol}//${url.hostname}` === any.toLowerCase()
  })

// The one spelling of a path in which requests are routed: what a proxy in front of the gateway judged must
// be what the gateway answers.

/**
 * A path is routed, authorised and forwarded in one spelling only: ASCII segments without empty, dot or `;`
 * segments, and without percent-encodings that another parser could undo into structure (`%2f %5c %2e %25 %23
 * %3f %3b`, controls) or need not have been used (letters, digits, `-._~`; RFC 3986 §6.2.2.2). Dots with
 * spaces behind them are dots to parsers that trim. One slash may end it. Everything else is simply not
 * there.
 */
const normalForm =
  /^(?:\/(?!\.(?:\.|%20)*(?:\/|$))(?:[A-Za-z0-9\-._~!$&'()*+,=:@]|%(?:2[0-246-9A-Ca-c]|3[ACDEacde]|40|5[BbDdEe]|60|7[B-Db-d]|[89A-Fa-f][0-9A-Fa-f]))+)+\/?$/

const hasWholeCharacters = (path: string): boolean => {
  if (!path.includes('%')) return true
  try {
    decodeURIComponent(path)
    return true
  } catch {
    // Overlong or broken UTF-8 behind the percent signs.
    return false
  }
}

export const isNormalPath = (path: string): boolean =>
  path.length <= 4096 && normalForm.test(path) && hasWholeCharacters(path)

/**
 * Whether a request for this path may be routed at all, before any parser has removed dot segments or undone
 * encodings from it.
 */
export const isRoutablePath = (path: string): boolean => path === '/' || isNormalPath(path)

/**
 * The path of a URL as it was written, without the dot segments being removed as `new URL` does it. The text
 * is known to be an absolute URL.
 */
export const writtenPath = (url: string): string => {
  const start = url.indexOf('/', url.indexOf('//') + 2)
  if (start === -1) return '/'
  const end = url.slice(start).search(/[?#]/)
  return end === -1 ? url.slice(start) : url.slice(start, start + end)
}

// Where a request came to, by its URL.

export interface RequestUrl {
  readonly path: string
  /** Path and query. */
  readonly target: string
  readonly host: string
  /**
   * Whether the path was written as it is read here; some runtimes leave dot segments in a URL, and `new URL`
   * removes them.
   */
  readonly routable: boolean
}

/** Throws TypeError for what is no URL. */
export const requestUrl = (text: string): RequestUrl => {
  const { pathname, search, host } = new URL(text)
  return { path: pathname, target: `${pathname}${search}`, host, routable: isRoutablePath(writtenPath(text)) }
}

// The guarded outbound function in the shape of `fetch`, for libraries that ask for one.

// ports/runtime.ts `Outbound` fits.
type GuardedOutbound = (
  url: string,
  options: {
    readonly method: string
    readonly headers: Readonly<Record<string, string>>
    readonly body?: string
  },
) => Promise<{ readonly status: number; readonly headers: Headers; readonly body: Uint8Array<ArrayBuffer> }>

export type FetchFunction = (input: RequestInfo | URL, init?: RequestInit) => Promise<Response>

// Fetch standard: a Response with one of these has no body.
const withoutBody: readonly number[] = [204, 205, 304]

const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const end = (): void => reject(signal.reason as Error)
    if (signal.aborted) end()
    else signal.addEventListener('abort', end, { once: true })
  })

/**
 * `fetch` with text bodies through the guard: redirects come back as they are, whatever `redirect` says, and
 * bodies arrive whole. Rejects with the guard's `Refusal`, or with the reason of an aborted signal; the
 * exchange itself then still ends within the guard's own time limit.
 */
export const asFetch =
  (outbound: GuardedOutbound): FetchFunction =>
  async (input, init) => {
    const request = new Request(input, init)
    const text = await request.text()
    const exchange = outbound(request.url, {
      method: request.method,
      headers: Object.fromEntries(request.headers),
      ...(text === '' ? {} : { body: text }),
    })
    const { status, headers, body } = await Promise.race([exchange, aborted(request.signal)])
    return new Response(withoutBody.includes(status) ? null : body, { status, headers })
  }

// Requests that nobody made: browsers that fetch ahead of a click, and previews of links.

const marks = ['sec-purpose', 'purpose', 'x-purpose', 'x-moz']

/**
 * Whether a program asks before a person does (HTML, Sec-Purpose; what Chrome, Safari and Firefox sent before
 * it).
 */
export const isAskedAhead = ({ method, headers }: Request): boolean =>
  method === 'HEAD' || marks.some((name) => /prefetch|prerender|preview/i.test(headers.get(name) ?? ''))

// A media type, read whole: what two readers could take for two different types is none (RFC 9110 §8.3.1).
// Not a library: those at hand accept what this refuses, such as quoted text that readers end at different
// places.

export interface MediaType {
  /** Type and subtype in lower case: `application/json`. */
  readonly essence: string
  /** Parameters by name, both in lower case. */
  readonly parameters: ReadonlyMap<string, string>
}

const essenceForm = /^[!#$%&'*+\-.^_`|~0-9a-z]+\/[!#$%&'*+\-.^_`|~0-9a-z]+$/
const tokenForm = /^[!#$%&'*+\-.^_`|~0-9a-z]+$/
/** A token, or one in quotes with spaces and the marks of a URL. Readers disagree where any other quoted text ends. */
const valueForm = /^(?:[!#$%&'*+\-.^_`|~0-9a-z]+|"[!#$%&'*+\-.^_`|~0-9a-z /:=?]*")$/
const longest = 256

/** Undefined for what is not one media type: several with commas between, a parameter without value or sent twice. */
export const readMediaType = (value: string): MediaType | undefined => {
  if (value.length > longest) return undefined
  const [essence = '', ...parts] = value.toLowerCase().split(';').map(trimWhitespace)
  if (!essenceForm.test(essence)) return undefined
  const parameters = new Map<string, string>()
  for (const part of parts) {
    if (part === '') continue
    const equals = part.indexOf('=')
    const [name, text] = [part.slice(0, Math.max(0, equals)), part.slice(equals + 1)]
    if (!tokenForm.test(name) || !valueForm.test(text) || parameters.has(name)) return undefined
    parameters.set(name, text.startsWith('"') ? text.slice(1, -1) : text)
  }
  return { essence, parameters }
}

/** Whether it says UTF-8, in either spelling, or nothing: JSON has no other encoding (RFC 8259 §8.1). */
export const isUtf8 = ({ parameters }: MediaType): boolean => {
  const charset = parameters.get('charset')
  return charset === undefined || charset === 'utf-8' || charset === 'utf8'
}

/** `host` and `host:port` as a Host header may write them, for an origin. */
export const hostSpellings = (origin: string): readonly string[] => {
  const authority = origin.slice(origin.indexOf('://') + 3).toLowerCase()
  return /:\d+$/.test(authority)
    ? [authority]
    : [authority, `${authority}:${origin.startsWith('https:') ? 443 : 80}`]
}

// The small forms of our own pages.

/** Field name → its one value. */
export type FormFields = ReadonlyMap<string, string>

const largestForm = 16_384

/**
 * An `application/x-www-form-urlencoded` body of at most 16 KiB. Throws for another media type and for a
 * field sent twice (which one counts would be a guess).
 */
export const readForm = async (request: Request): Promise<FormFields> => {
  const type = request.headers.get('content-type') ?? ''
  if (readMediaType(type)?.essence !== 'application/x-www-form-urlencoded') {
    throw new Refusal('request.media-type', type.slice(0, 80))
  }
  const form = new Map<string, string>()
  for (const [name, value] of new URLSearchParams(utf8Text(await readWhole(request, largestForm)))) {
    if (form.has(name)) throw new Refusal('request.malformed', `field ${name.slice(0, 40)} sent twice`)
    form.set(name, value)
  }
  return form
}

// Who sent a request that changes something: a page of this gateway, or another site with somebody's cookies.

/** Whether the browser says that another site sent it (Fetch Metadata). Browsers that say nothing pass. */
export const isFromElsewhere = (headers: Headers): boolean => {
  const site = headers.get('sec-fetch-site')
  return site !== null && site !== 'same-origin' && site !== 'none'
}

/**
 * Why the sender is none of these origins (RFC 6454 §7.3: `null` is another site); undefined when it may be.
 */
export const foreignSender = ({ headers }: Request, origins: readonly string[]): string | undefined => {
  const origin = headers.get('origin')
  if (isFromElsewhere(headers)) return `Sec-Fetch-Site ${String(headers.get('sec-fetch-site')).slice(0, 40)}`
  return origin === null || origins.includes(origin) ? undefined : `Origin ${origin.slice(0, 200)}`
}

/**
 * The fields of a form of this gateway's own page, one value each. Throws `code` for a form of another site or
 * session (RFC 9700 §4.7). `csrf`: what forms of the session must carry.
 */
export const readOwnForm = async (
  request: Request,
  csrf: string,
  origins: readonly string[],
  code: RefusalCode,
): Promise<FormFields> => {
  const foreign = foreignSender(request, origins)
  if (foreign !== undefined) throw new Refusal(code, foreign)
  const form = await readForm(request)
  if (!sameText(form.get('csrf') ?? '', csrf)) throw new Refusal(code, 'csrf field missing or wrong')
  return form
}

/**
 * 303 (never 307, which would repeat a form with its credentials: RFC 9700 §4.12), kept by no cache, telling
 * the next site nothing.
 */
export const seeOther = (location: string, cookies: readonly string[] = []): Response => {
  const headers = new Headers({ location, 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' })
  for (const cookie of cookies) headers.append('set-cookie', cookie)
  return new Response(null, { status: 303, headers })
}
