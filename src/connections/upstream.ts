// An upstream as this room knows it: where it is, what the operator wrote about its sign-in, and which origins that makes the operator's own.
import { Refusal } from '../kit/refusal.ts'
import type { UpstreamAuth } from '../ports/upstream-auth.ts'
import type { Service } from '../ports/services.ts'

export interface Upstream {
  /** Id of the service. */
  readonly id: string
  readonly name: string
  /** The MCP endpoint. */
  readonly url: URL
  /** The other place where it may be, for a URL that was written without a path. */
  readonly elsewhere?: URL | undefined
  /** Of the endpoint: what an account is for, whatever the service is called. */
  readonly origin: string
  readonly auth: UpstreamAuth
  /** Origins that may be private or plain http, because the operator wrote them for this upstream; what an upstream says of itself never joins them. */
  readonly origins: readonly string[]
}

/** Whom tokens come from, as far as asking goes: what was written about it, and where that makes requests legal. */
export type Partner = Pick<Upstream, 'auth' | 'origins'>

export const silent: UpstreamAuth = { type: 'auto', headers: {}, extra_params: {}, allow_origins: [] }

/** Undefined for a service that is not reached over HTTP: nobody signs in to it. */
export const upstreamOf = (service: Service): Upstream | undefined => {
  if (service.upstream.kind !== 'http') return undefined
  const { auth = silent } = service
  // A WebSocket server signs people in like any other: over HTTP, at the same place.
  const url = new URL(service.upstream.url.replace(/^ws/, 'http'))
  const written = [url.href, auth.issuer, auth.authorization_endpoint, auth.token_endpoint, auth.revocation_endpoint]
  // Who added it from elsewhere wrote for the people of the gateway, not for its network.
  const origins = service.upstream.publicOnly ? [] : [...written.flatMap((url) => (url !== undefined && URL.canParse(url) ? [new URL(url).origin] : [])), ...auth.allow_origins]
  const elsewhere = service.upstream.withoutPath ? { elsewhere: new URL(`/${url.search}`, url) } : {}
  return { id: service.id, name: service.name, url, ...elsewhere, origin: url.origin, auth, origins }
}

/** Whether people may have accounts there that calls are made with. */
export const isPersonal = ({ auth }: Upstream): boolean => auth.type === 'oauth' || auth.type === 'auto'

/** What the upstream, or the authorization server it names, says cannot be believed. Nothing is sent there. */
export const untrusted = ({ name }: Pick<Upstream, 'name'>, why: string): Refusal =>
  new Refusal('connection.untrusted', `${name}: ${why}`, { page: { facts: [{ name: 'MCP server', value: name }] } })

/** The upstream's authorization server does not answer as it should; it may later. */
export const unreachable = ({ name }: Pick<Upstream, 'name'>, why: string): Refusal =>
  new Refusal('connection.unreachable', `${name}: ${why}`, { headers: { 'retry-after': '5' }, page: { facts: [{ name: 'MCP server', value: name }] } })
