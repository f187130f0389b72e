// Which web pages may call: the Origin check of the MCP endpoints and the CORS headers of everything browsers' clients reach (Fetch standard, MCP transports).
import type { Config } from '../config/schema.ts'

export interface Cors {
  /** Whether a request with this Origin may be served. `open`: the service asks for no token, so a page could use it unseen. */
  allows(origin: string, open?: boolean): boolean
  /** Flat header list for any answer to a request with that Origin. */
  answer(origin: string | undefined): readonly string[]
  /** Flat header list for the answer to a preflight. */
  preflight(asked: { readonly origin?: string | undefined; readonly method?: string | undefined; readonly headers?: string | undefined }): readonly string[]
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
  const exposed = cors.expose_headers.length > 0 ? ['Access-Control-Expose-Headers', cors.expose_headers.join(', ')] : []
  const credentials = cors.allow_credentials && !any ? ['Access-Control-Allow-Credentials', 'true'] : []
  const forAny: readonly string[] = ['Access-Control-Allow-Origin', '*', ...exposed]

  const allows = (origin: string, open = false): boolean => {
    if (listed.has(origin)) return true
    if (loopback && localOrigin.test(origin) && (debug || (any && open))) return true
    // A page from anywhere must not drive a local service that asks for nothing: DNS rebinding needs no token there (MCP security best practices).
    return any && !(loopback && open)
  }

  const origin = (from: string | undefined): readonly string[] => {
    if (any) return forAny
    if (from === undefined || !allows(from)) return ['Vary', 'Origin']
    return ['Access-Control-Allow-Origin', from, ...credentials, ...exposed, 'Vary', 'Origin']
  }

  return {
    allows,
    answer: origin,
    preflight(asked) {
      const base = origin(asked.origin)
      if (!base.includes('Access-Control-Allow-Origin')) return base
      const names = askedNames(asked.headers)
      const reflected = cors.allow_headers.includes('*') ? names : [...cors.allow_headers, ...names.filter((name) => /^mcp-param-/i.test(name))]
      return [
        ...base,
        'Access-Control-Allow-Methods',
        cors.allow_methods.join(', '),
        ...(reflected.length > 0 ? ['Access-Control-Allow-Headers', reflected.join(', ')] : nothing),
        'Access-Control-Max-Age',
        '600',
      ]
    },
  }
}
