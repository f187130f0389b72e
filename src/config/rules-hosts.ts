// Services at hosts of their own: no name may mean two of them, or one of them and the gateway.
import { isDomain, mostDomainBytes } from '../kit/encoded-host.ts'
import { type Encodable, encodedPlaces } from '../kit/encoded-places.ts'
import type { Draft, Rule } from './draft.ts'
import { printable } from './fault.ts'
import { urlOf } from './hosts.ts'
import { didYouMean } from './suggest.ts'

/** Host names, without port, that are the gateway's own. */
const ownNames = (draft: Draft): ReadonlySet<string> => {
  const issuer = urlOf(draft.text('issuer') ?? '')?.hostname
  return new Set([...(issuer === undefined ? [] : [issuer]), ...draft.texts('allowed_hosts').map(({ value }) => value.toLowerCase().replace(/:\d+$/, ''))])
}

/** The Host as its origin has it: without the port that is the scheme's own, and with the issuer's where none is written. */
const originOf = (draft: Draft, host: string): string | undefined => {
  const issuer = urlOf(draft.text('issuer') ?? '')
  const port = issuer?.port ?? ''
  return urlOf(`${issuer?.protocol ?? 'http:'}//${/:\d+$/.test(host) || port === '' ? host : `${host}:${port}`}`)?.origin
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
    if (own.has(name) || name === 'localhost' || /^[\d.]+$/.test(name)) report.key(['hosts', host], 'is the gateway’s own host: services are reached there by path, e.g. /jira/mcp')
    if (wanted !== undefined && !known.includes(wanted) && !draft.misspelt('mcp_services')) report.fault(['hosts', host], `${draft.said('hosts', host)} is not in mcp_services${didYouMean(wanted, known)}`)
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
    if (own.has(`${label}.${base}`)) report.key(['mcp_services', id], `cannot be named "${id}": ${label}.${base} is the gateway’s own host`)
    if (before !== undefined) report.key(['mcp_services', id], `conflicts with "${printable(before)}": both would be served at ${label}.${base}`)
    if (label.endsWith('-enc') && draft.text('domain_root') === base) report.key(['mcp_services', id], 'cannot end with "-enc": under `domain_root`, such hosts are encoded domains')
    taken.set(label, id)
  }
}

/** A server as it will be reached, its endpoint's path included. */
const serverOf = (draft: Draft, id: string): Encodable => {
  const written = draft.text('mcp_services', id, 'url') ?? ''
  const url = urlOf(written)
  if (url?.pathname === '/' && !/^[a-z]+:\/\/[^/?#]+\//i.test(written) && draft.text('mcp_services', id, 'transport') === 'sse') url.pathname = '/sse'
  return { id, url, alias: draft.text('mcp_services', id, 'alias') }
}

const apart: Rule = (draft, report) => {
  const root = draft.text('domain_root')
  if (root === undefined) return
  for (const { id, label, path, by } of encodedPlaces(draft.keys('mcp_services').map((each) => serverOf(draft, each))).clashes) {
    // Two of one alias are told as such.
    if (label === `${draft.text('mcp_services', id, 'alias') ?? ''}-enc` && draft.text('mcp_services', by, 'alias') === draft.text('mcp_services', id, 'alias')) continue
    report.fault(['mcp_services', id, 'url'], `conflicts with "${printable(by)}": both would be served at ${label}.${root}${path}. Set \`alias\` on one of them`)
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
    const domain = urlOf(draft.text('mcp_services', id, 'url') ?? '')?.hostname ?? ''
    if (root === undefined || alias !== undefined || !isDomain(domain) || domain.length <= mostDomainBytes) continue
    report.warn(['mcp_services', id, 'url'], `has a domain of ${domain.length} bytes, but at most ${mostDomainBytes} fit into a DNS label: set \`alias\` to serve it under ${root}`)
  }
}

/** A server at a host that means one of the services would be asked by itself, for ever. */
const circle: Rule = (draft, report) => {
  const [root, base] = [draft.text('domain_root'), draft.text('base_domain')]
  const ids = draft.keys('mcp_services')
  const hosts = [...draft.keys('hosts'), ...(base === undefined ? [] : ids.map((id) => `${id.replaceAll('_', '-')}.${base}`))]
  const own = new Set(hosts.map((host) => originOf(draft, host)))
  for (const id of ids) {
    const path = ['mcp_services', id, 'url']
    const url = urlOf(draft.text(...path)?.replace(/^ws/i, 'http') ?? '')
    if (url && (own.has(url.origin) || (root !== undefined && url.hostname.endsWith(`-enc.${root}`)))) report.fault(path, 'points back to this gateway, so calls would loop: set the URL of the MCP server itself')
  }
}

export const hostRules: readonly Rule[] = [hostMap, baseDomain, encoded, apart, circle]
