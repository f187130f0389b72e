// Sections of the configuration that a few variables describe, without a file: identity providers, and the
// servers of MCP_SERVERS.
import type { Effective } from './environment-names.ts'
import { reservedIds } from './rules/services.ts'
import { idOf } from './service-keys.ts'
import { shapeAt } from './shape.ts'
import { type Branch, type Fault, type Origin, type Tree, isBranch } from './tree.ts'

/** What reading the variables needs and gathers. */
export interface SectionContext {
  readonly tree: Tree
  readonly values: Effective['values']
  readonly faults: Fault[]
  readonly warnings: Fault[]
}

// Google, GitHub, Okta, Cloudflare Access, and AUTH_TYPE, which chooses among them.

interface Found {
  readonly name: string
  readonly text: string
  readonly from: string
}

const about = (name: string, what: string): Fault => ({
  key: 'oauth_providers',
  origin: { from: 'environment', name },
  what,
})

const count = (n: number): string =>
  n === 2 ? 'both or neither' : `all ${n === 3 ? 'three' : String(n)} or none`

/**
 * The variables in order, when every one is set; a part of them is a fault. A file that uses them itself is
 * left to do so.
 */
const together = (
  { values, faults }: SectionContext,
  referenced: ReadonlySet<string>,
  names: readonly string[],
): readonly Found[] | undefined => {
  const found = names.flatMap((name): Found[] => {
    const value = values.get(name)
    return value?.text ? [{ name, text: value.text.trim(), from: value.from }] : []
  })
  const [first] = found
  if (!first || names.some((name) => referenced.has(name))) return undefined
  if (found.length === names.length) return found
  const missing = names.filter((name) => !found.some((one) => one.name === name))
  faults.push(about(first.from, `is set without ${missing.join(' and ')}: set ${count(names.length)}`))
  return undefined
}

interface Provider {
  readonly id: string
  readonly name: string
  readonly issuer?: { readonly text: string; readonly from: string }
  readonly client: Found
  readonly secret: Found
}

const set = ({ tree }: SectionContext, { id, name, issuer, client, secret }: Provider): void => {
  const path = ['oauth_providers', id]
  const by = (from: string) => ({ from: 'environment', name: from }) as const
  if (tree.get([...path, 'name']) === undefined) tree.set([...path, 'name'], name, by(client.from))
  if (issuer) tree.set([...path, 'issuer'], issuer.text, by(issuer.from))
  tree.set([...path, 'client_id'], client.text, by(client.from))
  tree.set([...path, 'client_secret'], secret.text, by(secret.from))
}

const google = (context: SectionContext, referenced: ReadonlySet<string>): void => {
  const [client, secret] = together(context, referenced, ['GOOGLE_CLIENT_ID', 'GOOGLE_CLIENT_SECRET']) ?? []
  if (client && secret) set(context, { id: 'google', name: 'Google', client, secret })
}

/** Usernames, separated by commas or spaces. Unlike most variables, an empty one counts: it lets nobody in. */
const github = (context: SectionContext, referenced: ReadonlySet<string>): void => {
  const [client, secret] = together(context, referenced, ['GITHUB_CLIENT_ID', 'GITHUB_CLIENT_SECRET']) ?? []
  if (client && secret) set(context, { id: 'github', name: 'GitHub', client, secret })
  const allowed = context.values.get('ALLOWED_GITHUB_USERS')
  if (!allowed || referenced.has('ALLOWED_GITHUB_USERS')) return
  const logins = allowed.text.split(/[\s,]+/).filter((login) => login !== '')
  if (context.tree.get(['oauth_providers', 'github']) === undefined) {
    if (logins.length > 0)
      context.faults.push(
        about(
          allowed.from,
          'restricts sign-in to GitHub accounts, but the provider `github` is not configured: set GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET, or remove this variable',
        ),
      )
    return
  }
  if (logins.length === 0)
    context.warnings.push(
      about(
        allowed.from,
        'is empty, so nobody can sign in with GitHub: list usernames, or write * for everyone',
      ),
    )
  context.tree.set(['oauth_providers', 'github', 'allowed_logins'], logins, {
    from: 'environment',
    name: allowed.from,
  })
}

/** A host name as people copy it, with or without the scheme; undefined for anything more. */
const domainOf = (text: string): string | undefined => {
  const domain = text.replace(/^https:\/\//, '').replace(/\/$/, '')
  return /^[a-z\d-]+(\.[a-z\d-]+)+$/i.test(domain) ? domain.toLowerCase() : undefined
}

/**
 * The issuer of the organization's own authorization server; one of a custom server is written in the file.
 */
const okta = (context: SectionContext, referenced: ReadonlySet<string>): void => {
  const [domain, client, secret] =
    together(context, referenced, ['OKTA_DOMAIN', 'OKTA_CLIENT_ID', 'OKTA_CLIENT_SECRET']) ?? []
  if (!domain || !client || !secret) return
  const host = domainOf(domain.text)
  if (host === undefined)
    context.faults.push(about(domain.from, 'must be your Okta domain, e.g. "example.okta.com"'))
  else
    set(context, {
      id: 'okta',
      name: 'Okta',
      issuer: { text: `https://${host}`, from: domain.from },
      client,
      secret,
    })
}

/** The application in Cloudflare Access; its issuer is its own, not the team's (Access for SaaS, OIDC). */
const cloudflareAccess = (context: SectionContext, referenced: ReadonlySet<string>): void => {
  const [team, client, secret] =
    together(context, referenced, [
      'CF_ACCESS_TEAM_DOMAIN',
      'CF_ACCESS_CLIENT_ID',
      'CF_ACCESS_CLIENT_SECRET',
    ]) ?? []
  if (!team || !client || !secret) return
  const domain = domainOf(team.text)
  if (domain === undefined) {
    context.faults.push(about(team.from, 'must be your team domain, e.g. "myteam.cloudflareaccess.com"'))
    return
  }
  const issuer = `https://${domain}/cdn-cgi/access/sso/oidc/${encodeURIComponent(client.text)}`
  set(context, {
    id: 'cloudflare-access',
    name: 'Cloudflare Access',
    issuer: { text: issuer, from: team.from },
    client,
    secret,
  })
}

/** The endpoints that Cloudflare shows for such an application all lie below its issuer. */
const issuerOf = (endpoint: string): string | undefined => {
  const url = URL.parse(endpoint)
  if (url?.protocol !== 'https:' || url.search || url.hash) return undefined
  const path = /^(\/cdn-cgi\/access\/sso\/oidc\/[^/]+)\/(?:authorization|token|jwks|userinfo)$/.exec(
    url.pathname,
  )?.[1]
  return path === undefined ? undefined : `${url.origin}${path}`
}

const accessUrls = ['ACCESS_AUTHORIZATION_URL', 'ACCESS_TOKEN_URL', 'ACCESS_JWKS_URL'] as const

/** The same application, described by its endpoints. */
const accessEndpoints = (context: SectionContext, referenced: ReadonlySet<string>): void => {
  const urls = accessUrls.flatMap((name) => (context.values.get(name)?.text ? [name] : []))
  const [client, secret, ...endpoints] =
    together(context, referenced, [
      'ACCESS_CLIENT_ID',
      'ACCESS_CLIENT_SECRET',
      ...(urls.length > 0 ? urls : [accessUrls[0]]),
    ]) ?? []
  const [first] = endpoints
  if (!client || !secret || !first) return
  const issuer = issuerOf(first.text)
  const odd = endpoints.find(({ text }) => issuerOf(text) === undefined || issuerOf(text) !== issuer)
  if (issuer === undefined || odd)
    context.faults.push(
      about(
        (odd ?? first).from,
        'must be an endpoint of the same Cloudflare Access application, https://<team>.cloudflareaccess.com/cdn-cgi/access/sso/oidc/<client id>/…; for any other provider set oauth_providers.<id>.issuer',
      ),
    )
  else if (context.values.get('CF_ACCESS_CLIENT_ID')?.text)
    context.faults.push(
      about(
        client.from,
        'cannot be combined with CF_ACCESS_CLIENT_ID: keep one of the two sets of variables',
      ),
    )
  else
    set(context, {
      id: 'cloudflare-access',
      name: 'Cloudflare Access',
      issuer: { text: issuer, from: first.from },
      client,
      secret,
    })
}

const size = (value: unknown): number =>
  Array.isArray(value) ? value.length : isBranch(value) ? Object.keys(value).length : 0

/** Values of AUTH_TYPE that are the ID of a provider, and the variables that configure it. */
const authTypes: Readonly<Record<string, string>> = {
  'cloudflare-access': 'CF_ACCESS_TEAM_DOMAIN, CF_ACCESS_CLIENT_ID and CF_ACCESS_CLIENT_SECRET',
  github: 'GITHUB_CLIENT_ID and GITHUB_CLIENT_SECRET',
}

/** AUTH_TYPE says who gets in, so a value that is not exactly what happens refuses the start. */
const authType = ({ tree, values, faults }: SectionContext): void => {
  const type = values.get('AUTH_TYPE')
  const wanted = type?.text.trim()
  if (!type || !wanted) return
  const fault = (what: string): void => void faults.push(about(type.from, what))
  const providers = Object.keys(
    isBranch(tree.get(['oauth_providers'])) ? (tree.get(['oauth_providers']) as object) : {},
  )
  const people = size(tree.get(['local_users']))
  const needed = Object.hasOwn(authTypes, wanted) ? authTypes[wanted] : undefined
  if (needed !== undefined) {
    if (!providers.includes(wanted)) fault(`is ${wanted}, but that provider is not configured: set ${needed}`)
    else if (providers.length > 1 || people > 0)
      fault(
        `is ${wanted}, but other sign-in methods are configured: remove the other oauth_providers and local_users, or this variable`,
      )
  } else if (wanted !== 'mock')
    fault(
      'has an unsupported value: configure oauth_providers or local_users instead, and remove this variable',
    )
  else if (providers.length > 0 || people > 0)
    fault('is mock, but oauth_providers or local_users are configured: remove this variable')
  else tree.set(['oauth_providers', 'mock', 'type'], 'mock', { from: 'environment', name: type.from })
}

/**
 * Lays the providers that the variables describe over the tree. `referenced`: names that the file uses
 * itself.
 */
export const overlayProviders = (context: SectionContext, referenced: ReadonlySet<string>): void => {
  google(context, referenced)
  github(context, referenced)
  okta(context, referenced)
  cloudflareAccess(context, referenced)
  accessEndpoints(context, referenced)
  if (!referenced.has('AUTH_TYPE')) authType(context)
}

// MCP_SERVERS, the JSON list of the first gateway of this kind: remote servers, each with the OAuth client
// that was registered for it. Each becomes a service.

/** Members of an entry, and the keys of `upstream_auth` that they set. */
const members: Readonly<Record<string, string>> = {
  authzEndpoint: 'authorization_endpoint',
  tokenEndpoint: 'token_endpoint',
  clientId: 'client_id',
  clientSecret: 'client_secret',
  redirectUri: 'redirect_uri',
}
const listKeys = ['domain', 'name', 'scopes', ...Object.keys(members)]

/** Passed over, one of these would restrict nobody. */
const ownKeys: ReadonlySet<string> = new Set(
  (shapeAt(['mcp_services', 'id'])?.names ?? []).filter(
    (key) => !listKeys.includes(key) && key !== 'description' && key !== 'url',
  ),
)

const scopesOf = (value: unknown): unknown => {
  const words = typeof value === 'string' ? value.split(/[\s,]+/).filter(Boolean) : value
  return Array.isArray(words) && words.length === 0 ? undefined : words
}

/** `mcp.atlassian.com`, with a port or not; never a path, a user name, or an address in disguise. */
const urlOf = (domain: unknown): string | undefined => {
  if (typeof domain !== 'string' || !/^[a-z\d.-]+(:\d{1,5})?$/i.test(domain)) return undefined
  // Codes and tokens travel in the open on this computer alone.
  const url = `${/^(localhost|127\.0\.0\.1)(:|$)/i.test(domain) ? 'http' : 'https'}://${domain.toLowerCase()}`
  return URL.canParse(url) ? url : undefined
}

const listOf = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

/** Writes one listed server into the tree, as the service of that ID. */
const setListed = (tree: Tree, origin: Origin, id: string, entry: Branch): void => {
  const set = (path: readonly string[], value: unknown): void => {
    if (value !== undefined && value !== null && value !== '')
      tree.set(['mcp_services', id, ...path], value, origin)
  }
  set(['url'], entry['url'])
  set(['name'], entry['name'])
  set(['upstream_auth', 'type'], 'oauth')
  for (const [member, name] of Object.entries(members)) set(['upstream_auth', name], entry[member])
  set(['upstream_auth', 'scopes'], scopesOf(entry['scopes']))
}

/** Says what members of a listed server have no effect there. */
const tellMembers = (
  { faults, warnings }: SectionContext,
  at: Pick<Fault, 'key' | 'origin'>,
  id: string,
  entry: Branch,
): void => {
  for (const name of Object.keys(entry)) {
    if (ownKeys.has(name))
      faults.push({
        ...at,
        what: `contains ${name}, a gateway setting that has no effect here: write it as mcp_services.${id}.${name}`,
      })
    else if (!listKeys.includes(name))
      warnings.push({ ...at, what: `contains an unknown member; known members: ${listKeys.join(', ')}` })
  }
}

/**
 * Lays the servers of the variable over the tree; what is wrong is told of the variable, and never repeats
 * it: it holds secrets. `referenced`: names that the file uses itself.
 */
export const overlayServerList = (context: SectionContext, referenced: ReadonlySet<string>): void => {
  const { tree, values, faults, warnings } = context
  const variable = values.get('MCP_SERVERS')
  if (!variable?.text || referenced.has('MCP_SERVERS')) return
  const origin = { from: 'environment', name: variable.from } as const
  const fault = (at: string, what: string): void =>
    void faults.push({ key: `mcp_services${at}`, origin, what })
  const list = listOf(variable.text)
  if (!Array.isArray(list)) {
    fault('', 'must be a JSON list of servers: [{"domain": "mcp.example.com", "name": "Example", …}]')
    return
  }
  const seen = new Set<string>()
  const adopt = (entry: Branch, at: string): void => {
    const url = urlOf(entry['domain'])
    const id = idOf(
      typeof entry['name'] === 'string' && entry['name'] !== '' ? entry['name'] : String(entry['domain']),
    )
    if (url === undefined)
      return fault(
        at,
        'needs `domain`, a host name such as "mcp.example.com", without https:// and without a path',
      )
    if (id === '' || seen.has(id))
      return fault(
        at,
        id === ''
          ? 'needs a name with letters or digits: its URL is derived from it'
          : `conflicts with another entry: both would be served at /${id}/mcp`,
      )
    seen.add(id)
    const key = reservedIds.has(id) ? `${id}-server` : id
    if (key !== id)
      warnings.push({
        key: `mcp_services${at}`,
        origin,
        what: `is served at /${key}/mcp, because /${id} is one of the gateway’s own paths`,
      })
    setListed(tree, origin, key, { ...entry, url })
    tellMembers(context, { key: `mcp_services${at}`, origin }, key, entry)
  }
  list.forEach((entry: unknown, i) =>
    isBranch(entry)
      ? adopt(entry, `[${i}]`)
      : fault(`[${i}]`, 'must be an object, e.g. {"domain": "mcp.example.com", "name": "Example"}'),
  )
}
