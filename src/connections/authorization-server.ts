// The metadata of an authorization server (RFC 8414, OpenID Connect Discovery): read where MCP says, and believed only as far as it speaks of itself.
import type * as oauth from 'oauth4webapi'
import { atOrigin, sameSite } from '../kit/origins.ts'
import { sameIssuer } from '../kit/urls.ts'
import type { Upstream } from './upstream.ts'
import { unreachable, untrusted } from './upstream.ts'
import type { Web } from './web.ts'

/** Where the metadata of an issuer may be, in the order of MCP Authorization Server Discovery. */
export const metadataPlaces = (issuer: URL): readonly string[] => {
  const path = issuer.pathname.replace(/\/$/, '')
  const oauthPlace = `${issuer.origin}/.well-known/oauth-authorization-server${path}`
  if (path === '') return [oauthPlace, `${issuer.origin}/.well-known/openid-configuration`]
  return [oauthPlace, `${issuer.origin}/.well-known/openid-configuration${path}`, `${issuer.origin}${path}/.well-known/openid-configuration`]
}

/** RFC 8414 §2: an https URL without query and fragment; plain http only where the operator wrote that origin. */
export const issuerUrl = (upstream: Upstream, issuer: string): URL => {
  const url = URL.canParse(issuer) ? new URL(issuer) : undefined
  const secure = url?.protocol === 'https:' || (url?.protocol === 'http:' && atOrigin(url, upstream.origins))
  if (!url || !secure || url.search !== '' || url.hash !== '' || url.username !== '' || url.password !== '') throw untrusted(upstream, `${issuer.slice(0, 200)} is no issuer`)
  return url
}

/**
 * An endpoint that the metadata names. A server that sends people or codes to somebody else's endpoints takes part in a mix-up (RFC 9700 §4.4): they must be on the
 * issuer's site, or on an origin that the operator wrote.
 */
const endpoint = (upstream: Upstream, issuer: URL, name: string, value: unknown): string | undefined => {
  if (value === undefined || value === null) return undefined
  const url = typeof value === 'string' && value.length <= 2048 && URL.canParse(value) ? new URL(value) : undefined
  const written = url !== undefined && atOrigin(url, upstream.origins)
  if (!url || !(url.protocol === 'https:' || (url.protocol === 'http:' && written)) || url.username !== '' || url.password !== '' || url.hash !== '')
    throw untrusted(upstream, `its ${name} is no address for a browser: ${JSON.stringify(value).slice(0, 200)}`)
  if (!written && url.host !== issuer.host && !sameSite(url.hostname, issuer.hostname))
    throw untrusted(upstream, `${issuer.origin} names ${url.origin} as its ${name}; if that is right, write it into upstream_auth.allow_origins`)
  // The text itself: some servers compare their own endpoint as the audience of assertions.
  return value as string
}

const texts = (value: unknown): string[] | undefined => (Array.isArray(value) ? value.filter((entry): entry is string => typeof entry === 'string') : undefined)

const judge = (upstream: Upstream, issuer: string, document: Readonly<Record<string, unknown>>): oauth.AuthorizationServer => {
  const named = document['issuer']
  // RFC 8414 §3.3: identical, as far as two texts can be. The metadata's own form is what `iss` is compared with.
  if (typeof named !== 'string' || !sameIssuer(named, issuer)) throw untrusted(upstream, `the authorization server at ${issuer.slice(0, 200)} calls itself ${JSON.stringify(named)?.slice(0, 200)}`)
  const at = issuerUrl(upstream, named)
  const methods = texts(document['code_challenge_methods_supported'])
  // MCP Security Considerations, Authorization Code Protection: without the member there is no PKCE, and a client must refuse.
  if (!methods?.includes('S256') && upstream.auth.type !== 'client_credentials') throw untrusted(upstream, `${named} does not say that it supports PKCE with S256`)
  const authorization = endpoint(upstream, at, 'authorization_endpoint', document['authorization_endpoint'])
  const token = endpoint(upstream, at, 'token_endpoint', document['token_endpoint'])
  if (token === undefined) throw untrusted(upstream, `${named} has no token endpoint`)
  const registration = endpoint(upstream, at, 'registration_endpoint', document['registration_endpoint'])
  const revocation = endpoint(upstream, at, 'revocation_endpoint', document['revocation_endpoint'])
  const authMethods = texts(document['token_endpoint_auth_methods_supported'])
  const scopes = texts(document['scopes_supported'])
  const grants = texts(document['grant_types_supported'])
  return {
    issuer: named,
    token_endpoint: token,
    ...(methods && { code_challenge_methods_supported: methods }),
    ...(authorization !== undefined && { authorization_endpoint: authorization }),
    ...(registration !== undefined && { registration_endpoint: registration }),
    ...(revocation !== undefined && { revocation_endpoint: revocation }),
    ...(authMethods && { token_endpoint_auth_methods_supported: authMethods }),
    ...(scopes && { scopes_supported: scopes }),
    ...(grants && { grant_types_supported: grants }),
    ...(document['authorization_response_iss_parameter_supported'] === true && { authorization_response_iss_parameter_supported: true }),
    ...(document['client_id_metadata_document_supported'] === true && { client_id_metadata_document_supported: true }),
  }
}

/** Undefined when there is no metadata at any of its places. Throws `connection.untrusted` and, when nobody knows, `connection.unreachable`. */
export const readAuthorizationServer = async (upstream: Upstream, issuer: string, web: Web): Promise<oauth.AuthorizationServer | undefined> => {
  let down: string | undefined
  for (const place of metadataPlaces(issuerUrl(upstream, issuer))) {
    const found = await web.document(place)
    if (found.kind === 'document') return judge(upstream, issuer, found.document)
    if (found.kind === 'down') down ??= found.why
  }
  if (down !== undefined) throw unreachable(upstream, down)
  return undefined
}
