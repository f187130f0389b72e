// Which web pages may call: the Origin check of the MCP endpoints and the CORS headers of everything
// browsers' clients reach (Fetch standard, MCP transports).
import type { Config } from '../config/schema.ts'

export interface Preflight {
  readonly origin?: string | undefined
  /** `Access-Control-Request-Headers`. */
  readonly headers?: string | undefined
  /** The methods that exist at this address. */
  readonly methods: readonly string[]
  readonly open?: boolean | undefined
}

/** `open` says everywhere: the service asks for no token, so a page could use it unseen. */
export interface Cors {
  /** Whether a request with this Origin may be served. */
  allows(origin: string, open?: boolean): boolean
  /** Flat header list for any answer to a request with that Origin. */
  answer(origin: string | undefined, open?: boolean): readonly string[]
  /** Flat header list for the answer to a preflight, `answer` included. */
  preflight(asked: Preflight): readonly string[]
}

export interface CorsOptions {
  readonly cors: Config['cors']
  /** The gateway's own origins; always allowed. */
  readonly origins: readonly string[]
  readonly debug: boolean
}

const localOrigin = /^https?:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?$/
const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}$/
const nothing: readonly string[] = []
/** What the answer says depends on the Origin (Fetch, CORS protocol and HTTP caches). */
const vary: readonly string[] = ['Vary', 'Origin']

/** Headers a preflight asks for, as names; malformed and surplus ones are left out. */
const askedNames = (headers: string | undefined): readonly string[] =>
  (headers ?? '')
    .split(',', 64)
    .map((name) => name.trim())
    .filter((name) => token.test(name))

export const createCors = ({ cors, origins, debug }: CorsOptions): Cors => {
  const any = cors.allow_origins.includes('*')
  const listed = new Set([...cors.allow_origins.filter((origin) => origin !== '*'), ...origins])
  const loopback = localOrigin.test(origins[0] ?? '')
  const exposed =
    cors.expose_headers.length > 0 ? ['Access-Control-Expose-Headers', cors.expose_headers.join(', ')] : []
  const credentials = cors.allow_credentials && !any ? ['Access-Control-Allow-Credentials', 'true'] : []
  const forAny: readonly string[] = ['Access-Control-Allow-Origin', '*', ...exposed]

  const allows = (origin: string, open = false): boolean => {
    if (listed.has(origin)) return true
    if (loopback && localOrigin.test(origin) && (debug || (any && open))) return true
    // A page from anywhere must not drive a service that asks for nothing: whoever opens the page may reach
    // networks that its author does not (MCP security best practices).
    return any && !open
  }

  const answer = (from: string | undefined, open = false): readonly string[] => {
    if (any && !open) return forAny
    if (from === undefined || !allows(from, open)) return vary
    return ['Access-Control-Allow-Origin', from, ...credentials, ...exposed, ...vary]
  }

  return {
    allows,
    answer,
    preflight({ origin, headers, methods, open }) {
      const base = answer(origin, open)
      if (!base.includes('Access-Control-Allow-Origin')) return base
      const names = askedNames(headers)
      const reflected = cors.allow_headers.includes('*')
        ? names
        : [...cors.allow_headers, ...names.filter((name) => /^mcp-param-/i.test(name))]
      return [
        ...base,
        'Access-Control-Allow-Methods',
        cors.allow_methods.filter((method) => methods.includes(method)).join(', '),
        ...(reflected.length > 0 ? ['Access-Control-Allow-Headers', reflected.join(', ')] : nothing),
        'Access-Control-Max-Age',
        '600',
      ]
    },
  }
}
