// Client ID Metadata Documents (draft-ietf-oauth-client-id-metadata-document): the client id is the https URL of a document in which the client describes itself.
import { networkCause } from '../kit/network-reason.ts'
import { Refusal } from '../kit/refusal.ts'
import { parseStrictJson } from '../kit/strict-json.ts'
import { metadataDocumentUrl } from '../kit/urls.ts'
import type { Client, Leg } from './client.ts'
import { judgeClientMetadata } from './client-metadata.ts'
import type { ClientMetadata } from './client-metadata.ts'
import { createRemoteJson } from './remote-json.ts'
import type { Remote, RemoteJsonDeps } from './remote-json.ts'

export interface ClientDocuments {
  /**
   * The client that the document at this URL describes. On the token leg a copy that was good is used while its server is down.
   * Throws `client.document` (authorize leg), `client.auth` (token leg), or `client.document-unreachable`.
   */
  resolve(url: string, leg: Leg): Promise<Client>
}

const maxBytes = 5 * 1024

const parse = (text: string): Record<string, unknown> | undefined => {
  try {
    const value: unknown = parseStrictJson(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined
  } catch {
    // Not JSON, or JSON that parsers read differently (Refusal).
    return undefined
  }
}

/**
 * The method an authorization server picks among those a client offers (OpenID RP Metadata Choices): the one it prefers when we have it.
 * Hosted clients publish both `none` and `private_key_jwt`, for servers without the latter.
 */
const preferredMethod = (document: Readonly<Record<string, unknown>>): unknown => {
  const named = document['token_endpoint_auth_method'] ?? undefined
  const offered = document['token_endpoint_auth_methods_supported']
  if (named !== undefined || !Array.isArray(offered) || offered.includes('none')) return named ?? 'none'
  return offered.includes('private_key_jwt') ? 'private_key_jwt' : 'none'
}

const judge = (text: string, url: string): { readonly metadata: ClientMetadata; readonly why?: never } | { readonly why: string; readonly metadata?: never } => {
  const document = parse(text)
  if (!document) return { why: 'the document is not a JSON object' }
  // Simple string comparison (RFC 3986 §6.2.1): no normal form, or two URLs could claim one client.
  if (document['client_id'] !== url) return { why: 'client_id in the document differs from its URL' }
  if (typeof document['client_name'] !== 'string' || !document['client_name'].trim()) return { why: 'client_name is missing' }
  if ('client_secret' in document || 'client_secret_expires_at' in document) return { why: 'a document everybody reads holds a client_secret' }
  const method = preferredMethod(document)
  if (method !== 'none' && method !== 'private_key_jwt') return { why: 'token_endpoint_auth_method must be none or private_key_jwt' }
  const judged = judgeClientMetadata({ ...document, token_endpoint_auth_method: method }, 'none')
  return judged.fault ? { why: judged.fault.say } : judged
}

const say = {
  bad: "The client metadata document of the app is invalid. The app's developer must fix it.",
  gone: "The client metadata document of the app was not found. The app's developer must fix it.",
} as const

/** What the gateway could not reach, and why, as far as a stranger may know: no address, no software. */
const sayUnreachable = (url: string, why: string): string => {
  const { host } = new URL(url)
  const status = /\bstatus (\d{3})$/.exec(why)?.[1]
  const cause = status === undefined ? networkCause(why) : `it responded with status ${status}`
  return `The client metadata document of the app at ${host} could not be fetched${cause === undefined ? '' : `: ${cause}`}.`
}

const refuse = (url: string, leg: Leg, { kind, why }: NonNullable<Remote['failure']>): Refusal => {
  const reason = `${url}: ${why}`
  const page = { facts: [{ name: 'Client', value: url }] }
  if (kind === 'down') return new Refusal('client.document-unreachable', reason, { say: sayUnreachable(url, why), headers: { 'retry-after': '5' }, ...(leg === 'authorize' && { page }) })
  return leg === 'authorize' ? new Refusal('client.document', reason, { say: say[kind], page }) : new Refusal('client.auth', reason)
}

export const createClientDocuments = (deps: RemoteJsonDeps): ClientDocuments => {
  const remote = createRemoteJson(deps)
  const resolve: ClientDocuments['resolve'] = async (url, leg) => {
    if (!metadataDocumentUrl(url)) throw refuse(url, leg, { kind: 'bad', why: 'not a URL that may name a client' })
    const { text, failure } = await remote(url, { maxBytes, staleIfDown: leg === 'token', fault: (candidate) => judge(candidate, url).why })
    if (failure) throw refuse(url, leg, failure)
    const { metadata, why } = judge(text, url)
    if (!metadata) throw refuse(url, leg, { kind: 'bad', why })
    return {
      id: url,
      name: metadata.client_name ?? new URL(url).host,
      kind: 'document',
      host: new URL(url).host,
      redirectUris: metadata.redirect_uris,
      authMethod: metadata.token_endpoint_auth_method,
      grantTypes: metadata.grant_types,
      ...(metadata.jwks && { jwks: metadata.jwks }),
      ...(metadata.jwks_uri && { jwksUri: metadata.jwks_uri }),
      digest: () => deps.runtime.digest(text),
    }
  }
  return { resolve }
}
