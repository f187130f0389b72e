// How a client finds the authorization server of an MCP server: the challenge, and where the metadata may be (RFC 9728,
// RFC 8414, MCP Authorization Server Discovery).

// The Bearer or DPoP challenge of a WWW-Authenticate field (RFC 9110 §11.6.1): the URL of the metadata (RFC 9728
// §5.1) and the scopes (RFC 6750 §3, RFC 9449 §7.1).

export interface Challenge {
  /** URL of the protected resource metadata, as sent. */
  readonly metadata: string | undefined
  /** Undefined where the challenge names none. */
  readonly scopes: readonly string[] | undefined
  readonly error: string | undefined
  /** It takes tokens that are bound to a key. */
  readonly dpop?: true
}

const longest = 8192
const piece = /[\s,=]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+)))?/y

/** Words of a scope value, each of the characters that RFC 6749 §3.3 allows. */
export const scopeWords = (text: string): readonly string[] =>
  [...new Set(text.split(' '))].filter((word) => /^[\x21\x23-\x5B\x5D-\x7E]+$/.test(word)).slice(0, 100)

/** The parameters of the first challenge of that scheme in one field; undefined when there is none. */
const parametersOf = (field: string, wanted: 'bearer' | 'dpop'): ReadonlyMap<string, string> | undefined => {
  let scheme = ''
  let found: Map<string, string> | undefined
  piece.lastIndex = 0
  for (let match = piece.exec(field); match && match[0] !== ''; match = piece.exec(field)) {
    const [, name = '', quoted, plain] = match
    const value = quoted?.replaceAll(/\\(.)/g, '$1') ?? plain
    if (value === undefined) {
      if (found) break
      scheme = name.toLowerCase()
      if (scheme === wanted) found = new Map()
    } else if (scheme === wanted && found && !found.has(name.toLowerCase()))
      found.set(name.toLowerCase(), value)
  }
  return found
}

const firstOf = (
  fields: readonly string[],
  scheme: 'bearer' | 'dpop',
): ReadonlyMap<string, string> | undefined => {
  for (const field of fields) {
    const parameters = field.length > longest ? undefined : parametersOf(field, scheme)
    if (parameters) return parameters
  }
  return undefined
}

/**
 * The Bearer challenge among the fields of an answer, or the DPoP challenge where there is no other; undefined when the
 * server asks for something else, or for nothing.
 */
export const readChallenge = (fields: readonly string[]): Challenge | undefined => {
  const dpop = firstOf(fields, 'dpop')
  const parameters = firstOf(fields, 'bearer') ?? dpop
  if (!parameters) return undefined
  const scopes = scopeWords(parameters.get('scope') ?? '')
  return {
    metadata: parameters.get('resource_metadata'),
    scopes: scopes.length > 0 ? scopes : undefined,
    error: parameters.get('error'),
    ...(dpop && { dpop: true }),
  }
}

// Where metadata is.

const wellKnown = '/.well-known/oauth-protected-resource'

/**
 * Where the document may be: the URL that the challenge names, or else behind the endpoint's path, then at
 * the root (MCP Authorization Server Discovery).
 */
export const metadataUrls = ({ url }: { readonly url: URL }, challenge?: Challenge): readonly string[] => {
  const named = challenge?.metadata
  if (named !== undefined) return URL.canParse(named) ? [named] : []
  const path = url.pathname.replace(/\/$/, '')
  return [...new Set([`${url.origin}${wellKnown}${path}${url.search}`, `${url.origin}${wellKnown}`])]
}

/**
 * Whether metadata that calls itself `resource` is about this endpoint: same origin, and the endpoint's path
 * lies at or below its path. A server that names another resource would have us fetch a token that is good
 * elsewhere (RFC 9728 §3.3, §7.3).
 */
export const coversEndpoint = (resource: string, url: URL): boolean => {
  if (!URL.canParse(resource)) return false
  const named = new URL(resource)
  if (named.origin !== url.origin || named.hash !== '' || named.username !== '' || named.password !== '')
    return false
  const above = named.pathname.endsWith('/') ? named.pathname : `${named.pathname}/`
  return url.pathname === named.pathname || `${url.pathname}/`.startsWith(above)
}

/** Where the metadata of an issuer may be, in the order of MCP Authorization Server Discovery. */
export const authorizationServerUrls = (issuer: URL): readonly string[] => {
  const path = issuer.pathname.replace(/\/$/, '')
  const oauthUrl = `${issuer.origin}/.well-known/oauth-authorization-server${path}`
  if (path === '') return [oauthUrl, `${issuer.origin}/.well-known/openid-configuration`]
  return [
    oauthUrl,
    `${issuer.origin}/.well-known/openid-configuration${path}`,
    `${issuer.origin}${path}/.well-known/openid-configuration`,
  ]
}
