// Services: their ids, where they are, who signs in to them, what they are told.
import { isLoopbackUrl } from '../../kit/addresses.ts'
import { commandKeys, currentPreset } from '../service-keys.ts'
import { didYouMean, shapeAt } from '../shape.ts'
import { type Path, printable } from '../tree.ts'
import type { RawConfig, Report, Rule } from './draft.ts'

/** First path segments that are the gateway's own, compared exactly. */
export const reservedIds: ReadonlySet<string> = new Set(
  'oauth connect authorize token register callback revoke introspect verify jwks services health healthz readyz login logout encode admin account storage docs success sse mcp metrics assets .well-known'.split(
    ' ',
  ),
)

const ids: Rule = (draft, report) => {
  for (const id of draft.keys('mcp_services'))
    if (reservedIds.has(id))
      report.key(['mcp_services', id], `cannot be named "${id}": /${id} is one of the gateway’s own paths`)
}

/**
 * Whether a call to that URL would come back to this gateway, by its public URL or by the port it listens on.
 */
const isSelf = (draft: RawConfig, url: URL): boolean => {
  const issuer = URL.parse(draft.text('issuer') ?? '')
  if (issuer && issuer.origin === url.origin) return true
  // A loopback issuer names the port in use; on Workers the key `port` says nothing.
  const port = issuer && isLoopbackUrl(issuer.href) ? Number(issuer.port || 80) : draft.number('port')
  return url.protocol === 'http:' && isLoopbackUrl(url.href) && Number(url.port || 80) === port
}

const serviceAddress = (draft: RawConfig, report: Report, id: string): void => {
  const path = ['mcp_services', id, 'url']
  const url = URL.parse(draft.text(...path) ?? '')
  if (!url) return
  if (url.username || url.password) report.fault(path, 'must not contain a username or password')
  if (url.hash) report.fault(path, 'must not have a fragment (#…)')
  if (isSelf(draft, url))
    report.fault(
      path,
      'points back to this gateway, so calls would loop: set the URL of the MCP server itself',
    )
}

const provider = (draft: RawConfig, report: Report, id: string): void => {
  const service = ['mcp_services', id]
  const known = draft.keys('oauth_providers')
  const there =
    known.length > 0 ? `configured: ${known.map((name) => printable(name)).join(', ')}` : 'none is configured'
  const check = (path: Path, wanted: string): void => {
    if (known.includes(wanted) || draft.misspelt('oauth_providers')) return
    report.fault(
      path,
      `${draft.said(...path)} is not in oauth_providers (${there})${didYouMean(wanted, known)}`,
    )
  }
  const one = draft.text(...service, 'oauth_provider')
  if (one !== undefined) check([...service, 'oauth_provider'], one)
  for (const { value, path } of draft.texts(...service, 'oauth_providers')) check(path, value)
  if (draft.has(...service, 'oauth_provider') && draft.has(...service, 'oauth_providers'))
    report.key(
      [...service, 'oauth_providers'],
      'cannot be combined with `oauth_provider`: keep one of the two',
    )
}

// Written by the gateway or the HTTP stack, or bearing a credential; mcp-* are the protocol's own.
export const ownHeaders =
  /^(host|connection|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|content-.*|accept|accept-.*|expect|authorization|cookie|set-cookie|dpop|origin|forwarded|x-forwarded-.*|via|mcp-.*|last-event-id|x-mcp-identity|x-request-id)$/i

/** Header names have no capitals, and servers in CGI's tradition read `_` for `-`. */
export const sameHeader = (name: string): string => name.toLowerCase().replaceAll('_', '-')

const headers = (draft: RawConfig, report: Report, id: string): void => {
  const path = ['mcp_services', id, 'identity', 'headers']
  const fixed = new Map(
    draft.keys('mcp_services', id, 'upstream_auth', 'headers').map((name) => [sameHeader(name), name]),
  )
  const seen = new Map<string, string>()
  for (const name of draft.keys(...path)) {
    const [same, before] = [sameHeader(name), seen.get(sameHeader(name))]
    if (ownHeaders.test(same))
      report.key([...path, name], 'cannot be set: the gateway or the protocol controls this header')
    if (before !== undefined)
      report.key(
        [...path, name],
        `is the same header as "${before}" above (header names are case-insensitive): keep one`,
      )
    if (fixed.has(same))
      report.key(
        [...path, name],
        `is also set in upstream_auth.headers ("${fixed.get(same) as string}"): keep one of the two`,
      )
    seen.set(same, name)
    if (/[\u0000-\u001f\u007f]/.test(draft.text(...path, name) ?? ''))
      report.fault([...path, name], 'must not contain line breaks or other control characters')
  }
}

const passedVariables = (draft: RawConfig, report: Report, id: string): void => {
  const path = ['mcp_services', id, 'pass_headers']
  const written = new Set(draft.keys('mcp_services', id, 'identity', 'headers').map(sameHeader))
  for (const index of draft.positions(...path)) {
    const name = sameHeader(draft.text(...path, index) ?? '')
    if (ownHeaders.test(name))
      report.fault([...path, index], 'cannot be set: the gateway or the protocol controls this header')
    if (written.has(name))
      report.fault(
        [...path, index],
        'is set by identity.headers, so it cannot be passed through: remove it from one of the two',
      )
  }
}

/** The presets had other names once. */
const preset = (draft: RawConfig, report: Report, id: string): void => {
  const path = ['mcp_services', id, 'identity', 'preset']
  const written = draft.text(...path)
  const current = currentPreset(written)
  if (current !== written)
    report.warn(path, `${draft.said(...path)} is an old name: write "${String(current)}" instead`)
}

const services: Rule = (draft, report) => {
  for (const id of draft.keys('mcp_services')) {
    serviceAddress(draft, report, id)
    provider(draft, report, id)
    headers(draft, report, id)
    passedVariables(draft, report, id)
    preset(draft, report, id)
  }
}

const defaultService: Rule = (draft, report) => {
  const wanted = draft.text('default_service')
  const known = draft.keys('mcp_services')
  if (wanted !== undefined && !known.includes(wanted) && !draft.misspelt('mcp_services'))
    report.fault(
      ['default_service'],
      `${draft.said('default_service')} is not in mcp_services${didYouMean(wanted, known)}`,
    )
}

export const serviceRules: readonly Rule[] = [ids, services, defaultService]

// Services that are commands: either a command or a URL, for people who are known, with keys that mean
// something.

const onlyWithCommand = Object.keys(commandKeys).filter((key) => key !== 'command')
/** What a URL has and a command has not. */
const onlyWithUrl = ['transport', 'pass_headers', 'health_interval']
/** Written by the gateway for every process. */
const ownNames = ['POSTERN_PROCESS']

/** Told at the start: otherwise people sign in and consent, and hear of it then. */
const startable = (draft: RawConfig, report: Report, id: string): void => {
  const path = ['mcp_services', id, 'command']
  if (draft.workers && draft.has(...path))
    report.key(
      path,
      'cannot be used on Workers, which cannot start programs: set `url` to a remote MCP server, or run the gateway on Node',
    )
}

/** A Worker runs only while it is called. */
const checkable = (draft: RawConfig, report: Report, id: string): void => {
  const path = ['mcp_services', id, 'health_interval']
  if (draft.workers && draft.has(...path))
    report.warn(path, 'has no effect on Workers, which run only while they are called')
}

const either = (draft: RawConfig, report: Report, id: string): void => {
  const path = ['mcp_services', id]
  const [url, command] = [draft.has(...path, 'url'), draft.has(...path, 'command')]
  if (url && command) report.key([...path, 'command'], "can't be combined with `url`: keep one of the two")
  // One of the two may be there under a wrong name, which was told.
  else if (!url && !command && draft.keys(...path).every((key) => shapeAt(path)?.names.includes(key)))
    report.key(
      [...path, 'url'],
      draft.workers ? 'is missing: set `url`' : 'is missing: set `url` or `command`',
    )
  if (!command)
    for (const key of onlyWithCommand)
      if (draft.has(...path, key)) report.key([...path, key], 'applies only to a service with `command`')
  if (command && !url)
    for (const key of onlyWithUrl)
      if (draft.has(...path, key)) report.key([...path, key], 'applies only to a service with `url`')
}

const people = (draft: RawConfig, report: Report, id: string): void => {
  const path = ['mcp_services', id]
  if (!draft.has(...path, 'command')) return
  if (
    draft.has(...path, 'auth_required') &&
    !draft.flag(...path, 'auth_required') &&
    !draft.flag(...path, 'shared')
  ) {
    report.fault(
      [...path, 'auth_required'],
      'needs `shared: true` here: without sign-in, all callers of a command share one process',
    )
  }
  if (draft.has(...path, 'identity'))
    report.warn([...path, 'identity'], 'has no effect: a stdio server receives no HTTP headers')
  for (const name of ownNames)
    if (draft.has(...path, 'env', name))
      report.key([...path, 'env', name], 'is reserved: the gateway sets this variable')
}

/** A shell would expand it, and no shell reads it. */
const homeFolders = (draft: RawConfig, report: Report, id: string): void => {
  for (const { value, path } of draft.texts('mcp_services', id, 'args'))
    if (/^~(?:\/|$)/.test(value))
      report.warn(path, 'starts with ~, which is not expanded: write the full path, or ${HOME}')
}

const isolation = (draft: RawConfig, report: Report, id: string): void => {
  const path = ['mcp_services', id]
  if (draft.text(...path, 'sandbox') !== 'none') return
  for (const key of ['sandbox_network', 'sandbox_read', 'sandbox_write'])
    if (draft.has(...path, key)) report.warn([...path, key], 'has no effect with `sandbox: none`')
}

const commands: Rule = (draft, report) => {
  for (const id of draft.keys('mcp_services')) {
    if (draft.lost('mcp_services', id)) continue
    startable(draft, report, id)
    checkable(draft, report, id)
    either(draft, report, id)
    people(draft, report, id)
    isolation(draft, report, id)
    homeFolders(draft, report, id)
  }
}

export const commandRules: readonly Rule[] = [commands]

// What the value of a configured header may hold, in words.

/**
 * What is wrong with a value that is sent as it stands; undefined when nothing is. It may be a secret, so the
 * character is counted and not shown. RFC 9110 §5.5 has no control characters in a field value, and no
 * runtime sends what Latin-1 (ISO 8859-1) cannot say.
 */
export const headerValueFault = (value: string): string | undefined => {
  const at = [...value].findIndex((char) => /[\u0000-\u001f\u007f]|[^\u0000-\u00ff]/.test(char))
  if (at < 0) return value.trim() === '' && value !== '' ? 'must not consist of spaces only' : undefined
  const where = `character ${at + 1} of the value`
  return /[\u0000-\u001f\u007f]/.test([...value][at] as string)
    ? `must not contain line breaks or other control characters (${where})`
    : `must not contain characters outside Latin-1 (${where}): HTTP headers cannot carry them`
}

/** RFC 6750 §2.1: what stands after `Bearer`. */
export const bearerFault = (token: string): string | undefined =>
  /^[\x21-\x7e]+$/.test(token)
    ? undefined
    : (headerValueFault(token) ??
      'must not contain spaces or non-ASCII characters: it is sent as Authorization: Bearer <token>')
