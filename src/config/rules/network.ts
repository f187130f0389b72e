// Where the gateway is and who may speak to it from elsewhere: host, public URL, further names, proxies,
// origins.
import ipaddr from 'ipaddr.js'
import { type Encodable, encodedHosts, isDomain, mostDomainBytes } from '../../kit/encoded-hosts.ts'
import { isLoopbackHost, isLoopbackUrl } from '../../kit/addresses.ts'
import { didYouMean } from '../shape.ts'
import { printable } from '../tree.ts'
import type { RawConfig, Report, Rule } from './draft.ts'

const path = ['issuer']

/** One spelling only, because every token's `iss` and every client compare it as a string (RFC 8414 §3.3). */
const spelling = (issuer: string, url: URL): string | undefined => {
  if (url.username || url.password) return 'must not contain a username or password'
  if (/[?#]/.test(issuer)) return `must not have a query or a fragment: write "${url.origin}"`
  if (url.pathname !== '/')
    return `must not have a path, because the gateway uses the whole host: write "${url.origin}"`
  return issuer.replace(/\/$/, '') === url.origin
    ? undefined
    : `must be written in its canonical form: "${url.origin}"`
}

/** Without an issuer, only this computer may reach the gateway. */
const issuerAbsent = (draft: RawConfig, report: Report): void => {
  const host = draft.text('host')
  if (host !== undefined && !draft.workers && !isLoopbackHost(host))
    report.fault(
      ['host'],
      'makes the gateway reachable from other computers, so it needs a fixed public URL: set issuer (or --public-url), e.g. "https://mcp.example.com"',
    )
}

const issuerWritten = (report: Report, written: string, url: URL): void => {
  const wrong = spelling(written, url)
  if (wrong) report.fault(path, wrong)
  if (url.protocol === 'http:' && !isLoopbackHost(url.hostname))
    report.fault(
      path,
      `must use https to protect sign-ins and tokens: write "https://${url.host}" and put an HTTPS reverse proxy in front. On a home network, use a tunnel or a certificate from your own CA: see docs/guide/production.md#on-a-home-network`,
    )
  if (!wrong && written.endsWith('/'))
    report.warn(path, `has a trailing slash, which is ignored: write "${url.origin}"`)
}

/**
 * On localhost nothing stands between a client and the gateway, so the port must be the one it listens on.
 */
const issuerPort = (draft: RawConfig, report: Report, written: string, url: URL): void => {
  if (draft.workers) return
  const port = draft.number('port')
  const named = url.port === '' ? 80 : Number(url.port)
  if (
    url.protocol === 'http:' &&
    isLoopbackUrl(written) &&
    isLoopbackHost(draft.text('host') ?? '') &&
    port !== undefined &&
    port !== 0 &&
    port !== named
  ) {
    report.warn(
      path,
      `uses port ${named}, but the gateway listens on port ${port}, so clients cannot connect: set both to the same port`,
    )
  }
}

const issuer: Rule = (draft, report) => {
  if (!draft.has('issuer')) return issuerAbsent(draft, report)
  const written = draft.text('issuer')
  const url = written === undefined ? undefined : URL.parse(written)
  if (written === undefined || !url) return
  issuerWritten(report, written, url)
  issuerPort(draft, report, written, url)
}

const hosts: Rule = (draft, report) => {
  const host = draft.text('host')
  if (host !== undefined && !/^(\[?[\da-f:.]*:[\da-f:.]*\]?|[a-z\d]([a-z\d.-]*[a-z\d])?)$/i.test(host))
    report.fault(['host'], 'must be an IP address or a host name, without a scheme or port')
  for (const { value, path } of draft.texts('allowed_hosts')) {
    if (value.includes('*')) report.fault(path, 'must be an exact host: a wildcard would allow DNS rebinding')
    else if (!/^(\[[\da-f:.]+\]|[a-z\d]([a-z\d.-]*[a-z\d])?)(:\d{1,5})?$/i.test(value))
      report.fault(path, 'must be a host or host:port, without a scheme or path')
  }
}

const proxy = (value: string): string | undefined => {
  const [address = '', bits] = value.split('/')
  const valid =
    ipaddr.IPv4.isValidFourPartDecimal(address) || (address.includes(':') && ipaddr.IPv6.isValid(address))
  if (!valid || (bits !== undefined && !(bits === '' ? false : ipaddr.isValidCIDR(value))))
    return 'must be an IP address or a CIDR range, e.g. "10.0.0.0/8"'
  const parsed = ipaddr.parse(address)
  if (parsed.kind() === 'ipv6' && (parsed as ipaddr.IPv6).isIPv4MappedAddress())
    return 'must be written as an IPv4 address or range'
  const least = parsed.kind() === 'ipv4' ? 8 : 7
  if (bits !== undefined && Number(bits) < least)
    return `trusts too many addresses: list your proxies, in ranges no wider than /${least}`
  return undefined
}

const proxies: Rule = (draft, report) => {
  const all = [...draft.texts('trusted_proxies'), ...draft.texts('forward_auth', 'trusted')]
  for (const { value, path } of all) {
    const wrong = proxy(value)
    if (wrong) report.fault(path, wrong)
  }
}

const origin = (value: string): string | undefined => {
  if (value === '*') return undefined
  if (value === 'null') return 'must not be "null": sandboxed pages and local files share that origin'
  if (value.includes('*')) return 'must be an exact origin or "*": patterns are not supported'
  const url = URL.parse(value)
  if (!url || !/^[a-z][a-z\d+.-]*:\/\//i.test(value))
    return 'must be an origin with a scheme and host, e.g. "https://app.example.com"'
  if (!/^https?:$/.test(url.protocol))
    return /^[a-z][a-z\d+.-]*:\/\/[^/?#\s]+$/.test(value)
      ? undefined
      : 'must be an origin with a scheme and host, without a path'
  return url.origin === value
    ? undefined
    : `must match the Origin header of browsers: write "${printable(url.origin, 100)}"`
}

const token = /^[!#$%&'*+.^_`|~\dA-Za-z-]+$/

const tokens = (draft: RawConfig, report: Report, key: string, what: string): void => {
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
  for (const { value, path } of draft.texts('cors', 'allow_methods'))
    if (!/^[A-Z]+$/.test(value)) report.fault(path, 'must be an HTTP method in upper case, e.g. "POST"')
  tokens(draft, report, 'allow_headers', 'must be a header name, or "*"')
  tokens(draft, report, 'expose_headers', 'must be a header name')
}

const debug: Rule = (draft, report) => {
  if (draft.flag('debug') && !draft.loopback)
    report.warn(
      ['debug'],
      'is on for a public gateway, so logs may contain personal data: set `debug: false` in production',
    )
}

export const addressRules: readonly Rule[] = [issuer, hosts, proxies, cors, debug]

// Services at hosts of their own: no name may mean two of them, or one of them and the gateway.

/** Host names, without port, that are the gateway's own. */
const ownNames = (draft: RawConfig): ReadonlySet<string> => {
  const issuer = URL.parse(draft.text('issuer') ?? '')?.hostname
  return new Set([
    ...(issuer === undefined ? [] : [issuer]),
    ...draft.texts('allowed_hosts').map(({ value }) => value.toLowerCase().replace(/:\d+$/, '')),
  ])
}

/**
 * The Host as its origin has it: without the port that is the scheme's own, and with the issuer's where none
 * is written.
 */
const originOf = (draft: RawConfig, host: string): string | undefined => {
  const issuer = URL.parse(draft.text('issuer') ?? '')
  const port = issuer?.port ?? ''
  return URL.parse(
    `${issuer?.protocol ?? 'http:'}//${/:\d+$/.test(host) || port === '' ? host : `${host}:${port}`}`,
  )?.origin
}

const hostMap: Rule = (draft, report) => {
  const known = draft.keys('mcp_services')
  const own = ownNames(draft)
  const origins = new Map<string | undefined, string>()
  for (const host of draft.keys('hosts')) {
    const origin = originOf(draft, host)
    const before = origins.get(origin)
    if (origin === undefined) report.key(['hosts', host], 'has an invalid port: use 1 to 65535')
    else if (before !== undefined) report.key(['hosts', host], `is the same host as "${printable(before)}"`)
    else origins.set(origin, host)
    const wanted = draft.text('hosts', host)
    const name = host.replace(/:\d+$/, '')
    if (own.has(name) || name === 'localhost' || /^[\d.]+$/.test(name))
      report.key(
        ['hosts', host],
        'is the gateway’s own host: services are reached there by path, e.g. /jira/mcp',
      )
    if (wanted !== undefined && !known.includes(wanted) && !draft.misspelt('mcp_services'))
      report.fault(
        ['hosts', host],
        `${draft.said('hosts', host)} is not in mcp_services${didYouMean(wanted, known)}`,
      )
  }
}

const baseDomain: Rule = (draft, report) => {
  const base = draft.text('base_domain')
  if (base === undefined) return
  const own = ownNames(draft)
  const taken = new Map<string, string>()
  for (const id of draft.keys('mcp_services')) {
    const label = id.replaceAll('_', '-')
    const before = taken.get(label)
    if (own.has(`${label}.${base}`))
      report.key(['mcp_services', id], `cannot be named "${id}": ${label}.${base} is the gateway’s own host`)
    if (before !== undefined)
      report.key(
        ['mcp_services', id],
        `conflicts with "${printable(before)}": both would be served at ${label}.${base}`,
      )
    if (label.endsWith('-enc') && draft.text('domain_root') === base)
      report.key(
        ['mcp_services', id],
        'cannot end with "-enc": under `domain_root`, such hosts are encoded domains',
      )
    taken.set(label, id)
  }
}

/** A server as it will be reached, its endpoint's path included. */
const serverOf = (draft: RawConfig, id: string): Encodable => {
  const written = draft.text('mcp_services', id, 'url') ?? ''
  const url = URL.parse(written)
  if (
    url?.pathname === '/' &&
    !/^[a-z]+:\/\/[^/?#]+\//i.test(written) &&
    draft.text('mcp_services', id, 'transport') === 'sse'
  )
    url.pathname = '/sse'
  return { id, url: url ?? undefined, alias: draft.text('mcp_services', id, 'alias') }
}

const apart: Rule = (draft, report) => {
  const root = draft.text('domain_root')
  if (root === undefined) return
  for (const { id, label, path, by } of encodedHosts(
    draft.keys('mcp_services').map((each) => serverOf(draft, each)),
  ).clashes) {
    // Two of one alias are told as such.
    if (
      label === `${draft.text('mcp_services', id, 'alias') ?? ''}-enc` &&
      draft.text('mcp_services', by, 'alias') === draft.text('mcp_services', id, 'alias')
    )
      continue
    report.fault(
      ['mcp_services', id, 'url'],
      `conflicts with "${printable(by)}": both would be served at ${label}.${root}${path}. Set \`alias\` on one of them`,
    )
  }
}

const encoded: Rule = (draft, report) => {
  const root = draft.text('domain_root')
  const aliases = new Map<string, string>()
  for (const id of draft.keys('mcp_services')) {
    const path = ['mcp_services', id, 'alias']
    const alias = draft.text(...path)
    const before = alias === undefined ? undefined : aliases.get(alias)
    if (before !== undefined) report.fault(path, `is already the alias of "${printable(before)}"`)
    if (alias !== undefined) aliases.set(alias, id)
    if (alias !== undefined && root === undefined) report.warn(path, 'has no effect without `domain_root`')
    const domain = URL.parse(draft.text('mcp_services', id, 'url') ?? '')?.hostname ?? ''
    if (root === undefined || alias !== undefined || !isDomain(domain) || domain.length <= mostDomainBytes)
      continue
    report.warn(
      ['mcp_services', id, 'url'],
      `has a domain of ${domain.length} bytes, but at most ${mostDomainBytes} fit into a DNS label: set \`alias\` to serve it under ${root}`,
    )
  }
}

/** A server at a host that means one of the services would be asked by itself, for ever. */
const circle: Rule = (draft, report) => {
  const [root, base] = [draft.text('domain_root'), draft.text('base_domain')]
  const ids = draft.keys('mcp_services')
  const hosts = [
    ...draft.keys('hosts'),
    ...(base === undefined ? [] : ids.map((id) => `${id.replaceAll('_', '-')}.${base}`)),
  ]
  const own = new Set(hosts.map((host) => originOf(draft, host)))
  for (const id of ids) {
    const path = ['mcp_services', id, 'url']
    const url = URL.parse(draft.text(...path)?.replace(/^ws/i, 'http') ?? '')
    if (url && (own.has(url.origin) || (root !== undefined && url.hostname.endsWith(`-enc.${root}`))))
      report.fault(
        path,
        'points back to this gateway, so calls would loop: set the URL of the MCP server itself',
      )
  }
}

export const hostRules: readonly Rule[] = [hostMap, baseDomain, encoded, apart, circle]
