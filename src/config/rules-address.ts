// Where the gateway is and who may speak to it from elsewhere: host, public URL, further names, proxies, origins.
import ipaddr from 'ipaddr.js'
import type { Draft, Report, Rule } from './draft.ts'
import { printable } from './fault.ts'
import { isLoopbackHost, isLoopbackUrl, urlOf } from './hosts.ts'

const path = ['issuer']

/** One spelling only, because every token's `iss` and every client compare it as a string (RFC 8414 §3.3). */
const spelling = (issuer: string, url: URL): string | undefined => {
  if (url.username || url.password) return 'must not contain a username or password'
  if (/[?#]/.test(issuer)) return `must not have a query or a fragment: write "${url.origin}"`
  if (url.pathname !== '/') return `must not have a path, because the gateway uses the whole host: write "${url.origin}"`
  return issuer.replace(/\/$/, '') === url.origin ? undefined : `must be written in its canonical form: "${url.origin}"`
}

const issuer: Rule = (draft, report) => {
  const host = draft.text('host')
  if (!draft.has('issuer')) {
    if (host !== undefined && !draft.workers && !isLoopbackHost(host)) report.fault(['host'], 'makes the gateway reachable from other computers, so it needs a fixed public URL: set issuer (or --public-url), e.g. "https://mcp.example.com"')
    return
  }
  const written = draft.text('issuer')
  const url = written === undefined ? undefined : urlOf(written)
  if (written === undefined || !url) return
  const wrong = spelling(written, url)
  if (wrong) report.fault(path, wrong)
  if (url.protocol === 'http:' && !isLoopbackHost(url.hostname)) report.fault(path, `must use https to protect sign-ins and tokens: write "https://${url.host}" and put an HTTPS reverse proxy in front. On a home network, use a tunnel or a certificate from your own CA: see docs/guide/production.md#on-a-home-network`)
  if (!wrong && written.endsWith('/')) report.warn(path, `has a trailing slash, which is ignored: write "${url.origin}"`)
  if (draft.workers) return
  const port = draft.number('port')
  const named = url.port === '' ? 80 : Number(url.port)
  if (url.protocol === 'http:' && isLoopbackUrl(written) && isLoopbackHost(host ?? '') && port !== undefined && port !== 0 && port !== named) {
    report.warn(path, `uses port ${named}, but the gateway listens on port ${port}, so clients cannot connect: set both to the same port`)
  }
}

const hosts: Rule = (draft, report) => {
  const host = draft.text('host')
  if (host !== undefined && !/^(\[?[\da-f:.]*:[\da-f:.]*\]?|[a-z\d]([a-z\d.-]*[a-z\d])?)$/i.test(host)) report.fault(['host'], 'must be an IP address or a host name, without a scheme or port')
  for (const { value, path } of draft.texts('allowed_hosts')) {
    if (value.includes('*')) report.fault(path, 'must be an exact host: a wildcard would allow DNS rebinding')
    else if (!/^(\[[\da-f:.]+\]|[a-z\d]([a-z\d.-]*[a-z\d])?)(:\d{1,5})?$/i.test(value)) report.fault(path, 'must be a host or host:port, without a scheme or path')
  }
}

const proxy = (value: string): string | undefined => {
  const [address = '', bits] = value.split('/')
  const valid = ipaddr.IPv4.isValidFourPartDecimal(address) || (address.includes(':') && ipaddr.IPv6.isValid(address))
  if (!valid || (bits !== undefined && !(bits === '' ? false : ipaddr.isValidCIDR(value)))) return 'must be an IP address or a CIDR range, e.g. "10.0.0.0/8"'
  const parsed = ipaddr.parse(address)
  if (parsed.kind() === 'ipv6' && (parsed as ipaddr.IPv6).isIPv4MappedAddress()) return 'must be written as an IPv4 address or range'
  const least = parsed.kind() === 'ipv4' ? 8 : 7
  if (bits !== undefined && Number(bits) < least) return `trusts too many addresses: list your proxies, in ranges no wider than /${least}`
  return undefined
}

const proxies: Rule = (draft, report) => {
  for (const { value, path } of draft.texts('trusted_proxies')) {
    const wrong = proxy(value)
    if (wrong) report.fault(path, wrong)
  }
}

const origin = (value: string): string | undefined => {
  if (value === '*') return undefined
  if (value === 'null') return 'must not be "null": sandboxed pages and local files share that origin'
  if (value.includes('*')) return 'must be an exact origin or "*": patterns are not supported'
  const url = urlOf(value)
  if (!url || !/^[a-z][a-z\d+.-]*:\/\//i.test(value)) return 'must be an origin with a scheme and host, e.g. "https://app.example.com"'
  if (!/^https?:$/.test(url.protocol)) return /^[a-z][a-z\d+.-]*:\/\/[^/?#\s]+$/.test(value) ? undefined : 'must be an origin with a scheme and host, without a path'
  return url.origin === value ? undefined : `must match the Origin header of browsers: write "${printable(url.origin, 100)}"`
}

const token = /^[!#$%&'*+.^_`|~\dA-Za-z-]+$/

const tokens = (draft: Draft, report: Report, key: string, what: string): void => {
  for (const { value, path } of draft.texts('cors', key)) if (!token.test(value)) report.fault(path, what)
}

const cors: Rule = (draft, report) => {
  const origins = draft.texts('cors', 'allow_origins')
  for (const { value, path } of origins) {
    const wrong = origin(value)
    if (wrong) report.fault(path, wrong)
  }
  const any = origins.find(({ value }) => value === '*')
  if (draft.flag('cors', 'allow_credentials') && any) {
    const written = draft.has('cors', 'allow_origins')
    report.fault(
      written ? any.path : ['cors', 'allow_credentials'],
      `"*" with allow_credentials: true would let any website act as the signed-in user: ${written ? 'list the origins' : 'list the origins in cors.allow_origins'}, or set allow_credentials: false`,
    )
  }
  for (const { value, path } of draft.texts('cors', 'allow_methods')) if (!/^[A-Z]+$/.test(value)) report.fault(path, 'must be an HTTP method in upper case, e.g. "POST"')
  tokens(draft, report, 'allow_headers', 'must be a header name, or "*"')
  tokens(draft, report, 'expose_headers', 'must be a header name')
}

const debug: Rule = (draft, report) => {
  if (draft.flag('debug') && !draft.loopback) report.warn(['debug'], 'is on for a public gateway, so logs may contain personal data: set `debug: false` in production')
}

export const addressRules: readonly Rule[] = [issuer, hosts, proxies, cors, debug]
