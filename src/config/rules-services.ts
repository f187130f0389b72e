// Services: their ids, where they are, who signs in to them, what they are told.
import type { Draft, Report, Rule } from './draft.ts'
import { printable } from './fault.ts'
import { isLoopbackUrl, urlOf } from './hosts.ts'
import { didYouMean } from './suggest.ts'

/** First path segments that are the gateway's own (seed-promises section 2, row 3), compared exactly. */
export const reservedIds: ReadonlySet<string> = new Set(
  'oauth connect authorize token register callback revoke introspect verify jwks services health healthz readyz login logout encode admin account storage docs success sse mcp metrics assets .well-known'.split(' '),
)

const ids: Rule = (draft, report) => {
  for (const id of draft.keys('mcp_services')) if (reservedIds.has(id)) report.key(['mcp_services', id], `cannot be named "${id}": /${id} is one of the gateway’s own paths`)
}

/** Whether a call to that URL would come back to this gateway, by its public URL or by the port it listens on. */
const isSelf = (draft: Draft, url: URL): boolean => {
  const issuer = urlOf(draft.text('issuer') ?? '')
  if (issuer && issuer.origin === url.origin) return true
  // A loopback issuer names the port in use; on Workers the key `port` says nothing.
  const port = issuer && isLoopbackUrl(issuer.href) ? Number(issuer.port || 80) : draft.number('port')
  return url.protocol === 'http:' && isLoopbackUrl(url.href) && Number(url.port || 80) === port
}

const place = (draft: Draft, report: Report, id: string): void => {
  const path = ['mcp_services', id, 'url']
  const url = urlOf(draft.text(...path) ?? '')
  if (!url) return
  if (url.username || url.password) report.fault(path, 'must not contain a username or password')
  if (url.hash) report.fault(path, 'must not have a fragment (#…)')
  if (isSelf(draft, url)) report.fault(path, 'points back to this gateway, so calls would loop: set the URL of the MCP server itself')
}

const provider = (draft: Draft, report: Report, id: string): void => {
  const path = ['mcp_services', id, 'oauth_provider']
  const wanted = draft.text(...path)
  const known = draft.keys('oauth_providers')
  if (wanted === undefined || known.includes(wanted) || draft.misspelt('oauth_providers')) return
  const there = known.length > 0 ? `configured: ${known.map((name) => printable(name)).join(', ')}` : 'none is configured'
  report.fault(path, `${draft.said(...path)} is not in oauth_providers (${there})${didYouMean(wanted, known)}`)
}

// Written by the gateway or the HTTP stack, or bearing a credential; mcp-* are the protocol's own.
export const ownHeaders = /^(host|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|content-.*|accept|accept-.*|expect|authorization|cookie|set-cookie|origin|forwarded|x-forwarded-.*|via|mcp-.*|last-event-id|x-mcp-identity|x-request-id)$/i

/** Header names have no capitals, and servers in CGI's tradition read `_` for `-`. */
export const sameHeader = (name: string): string => name.toLowerCase().replaceAll('_', '-')

const headers = (draft: Draft, report: Report, id: string): void => {
  const path = ['mcp_services', id, 'identity', 'headers']
  const fixed = new Map(draft.keys('mcp_services', id, 'upstream_auth', 'headers').map((name) => [sameHeader(name), name]))
  const seen = new Map<string, string>()
  for (const name of draft.keys(...path)) {
    const [same, before] = [sameHeader(name), seen.get(sameHeader(name))]
    if (ownHeaders.test(same)) report.key([...path, name], 'cannot be set: the gateway or the protocol controls this header')
    if (before !== undefined) report.key([...path, name], `is the same header as "${before}" above (header names are case-insensitive): keep one`)
    if (fixed.has(same)) report.key([...path, name], `is also set in upstream_auth.headers ("${fixed.get(same) as string}"): keep one of the two`)
    seen.set(same, name)
    if (/[\u0000-\u001f\u007f]/.test(draft.text(...path, name) ?? '')) report.fault([...path, name], 'must not contain line breaks or other control characters')
  }
}

const passed = (draft: Draft, report: Report, id: string): void => {
  const path = ['mcp_services', id, 'pass_headers']
  const written = new Set(draft.keys('mcp_services', id, 'identity', 'headers').map(sameHeader))
  for (const index of draft.positions(...path)) {
    const name = sameHeader(draft.text(...path, index) ?? '')
    if (ownHeaders.test(name)) report.fault([...path, index], 'cannot be set: the gateway or the protocol controls this header')
    if (written.has(name)) report.fault([...path, index], 'is set by identity.headers, so it cannot be passed through: remove it from one of the two')
  }
}

const services: Rule = (draft, report) => {
  for (const id of draft.keys('mcp_services')) {
    place(draft, report, id)
    provider(draft, report, id)
    headers(draft, report, id)
    passed(draft, report, id)
  }
}

const defaultService: Rule = (draft, report) => {
  const wanted = draft.text('default_service')
  const known = draft.keys('mcp_services')
  if (wanted !== undefined && !known.includes(wanted) && !draft.misspelt('mcp_services')) report.fault(['default_service'], `${draft.said('default_service')} is not in mcp_services${didYouMean(wanted, known)}`)
}

export const serviceRules: readonly Rule[] = [ids, services, defaultService]
