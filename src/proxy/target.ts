// Where a call goes: the configured endpoint, what follows it in the request, and a query that carries no token.
import type { Upstream } from '../ports/calls.ts'
import type { Service } from '../ports/services.ts'
import type { Endpoint, EndpointPath } from './endpoint.ts'

/** The same name however it is encoded; undefined when it cannot be read. */
const nameOf = (pair: string): string | undefined => {
  const end = pair.indexOf('=')
  try {
    return decodeURIComponent((end === -1 ? pair : pair.slice(0, end)).replaceAll('+', ' '))
  } catch {
    return undefined
  }
}

/** The caller's query without parameters that are not theirs to send: `access_token` (RFC 6750 §2.3) and those the operator configured. */
const cleaned = (query: string, reserved: ReadonlySet<string>): string =>
  query
    .split('&')
    .filter((pair) => {
      const name = nameOf(pair)
      return pair !== '' && name !== undefined && name !== 'access_token' && !reserved.has(name)
    })
    .join('&')

/** A query that may be sent on: visible ASCII without a fragment or a backslash. */
export const isNormalQuery = (query: string): boolean => query.length <= 8192 && /^[\x21\x22\x24-\x5b\x5d-\x7e]*$/.test(query)

export interface Target {
  /** The endpoint as an operator would recognise it: no userinfo, no query. */
  readonly shown: string
  upstream(rest: string, query: string): Upstream
}

/** `endpoint`: where the server's endpoint is found; absent: where the URL says. */
export const createTarget = (service: Service, endpoint?: Endpoint): Target => {
  if (service.upstream.kind === 'local') {
    const { handle } = service.upstream
    const base = 'http://local.invalid/mcp'
    return { shown: 'this process', upstream: (rest, query) => ({ kind: 'local', handle, url: `${base}${rest}${query === '' ? '' : `?${cleaned(query, new Set())}`}` }) }
  }
  if (service.upstream.kind === 'bridge') {
    const bridge: Upstream = { kind: 'bridge', carry: service.upstream.carry }
    return { shown: 'its command', upstream: () => bridge }
  }
  const url = new URL(service.upstream.url)
  const place = { kind: 'http', origin: url.origin, host: url.host, ...(service.upstream.publicOnly ? { publicOnly: true as const } : {}) } as const
  const at = (path: EndpointPath) => {
    const own = path.search.slice(1)
    return {
      path,
      own,
      reserved: new Set(own.split('&').map((pair) => nameOf(pair) ?? '')),
      trimmed: path.pathname.endsWith('/') ? path.pathname.slice(0, -1) : path.pathname,
      plain: { ...place, path: `${path.pathname}${path.search}` } as Upstream,
    }
  }
  let found = at({ pathname: url.pathname, search: url.search })
  return {
    shown: `${url.origin}${url.pathname}`,
    upstream(rest, query) {
      const path = endpoint?.current()
      if (path && path !== found.path) found = at(path)
      if (rest === '' && query === '') return found.plain
      const { own, reserved, trimmed } = found
      const whole = [own, cleaned(query, reserved)].filter(Boolean).join('&')
      return { ...place, path: `${rest === '' ? found.path.pathname : trimmed + rest}${whole === '' ? '' : `?${whole}`}` }
    },
  }
}
