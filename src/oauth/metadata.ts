// What clients read first: authorization server metadata (RFC 8414), protected resource metadata (RFC 9728),
// public keys (RFC 7517). The endpoints are one table that both the metadata and the router use, so that what is
// advertised is what is served.
import type { Config } from '../config/schema.ts'
import { levelScopes } from '../kit/levels.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Handler, Signer } from '../ports/modules.ts'
import type { Policy } from '../ports/policy.ts'
import type { Address, Directory, Service, ServiceHost } from '../ports/services.ts'
import { apiName, apiScope, apiTarget } from './api-tokens.ts'
import { type GrantSettings, assertionAlgorithms, authMethods, grantTypesOf, isDpopOn } from './client.ts'
import { proofAlgorithms } from './dpop-proof.ts'
import type { Dpop } from './dpop.ts'

export interface OAuthEndpoint {
  /** Canonical path below the issuer; the one that metadata names. */
  readonly path: string
  /**
   * The same endpoint at the origin's root: clients of MCP 2025-03-26 go there when they find no metadata.
   */
  readonly alias?: string
  readonly methods: readonly ('GET' | 'POST' | 'PUT' | 'DELETE')[]
}

export const endpoints = {
  authorize: { path: '/oauth/authorize', alias: '/authorize', methods: ['GET', 'POST'] },
  consent: { path: '/oauth/consent', methods: ['GET', 'POST'] },
  token: { path: '/oauth/token', alias: '/token', methods: ['POST'] },
  register: { path: '/oauth/register', alias: '/register', methods: ['POST'] },
  /** RFC 7592; the client's id follows the path. */
  manage: { path: '/oauth/register/', alias: '/register/', methods: ['GET', 'PUT', 'DELETE'] },
  /** RFC 8628 §3.1. */
  device: { path: '/oauth/device_authorization', alias: '/oauth/device', methods: ['POST'] },
  revoke: { path: '/oauth/revoke', alias: '/revoke', methods: ['POST'] },
  introspect: { path: '/oauth/introspect', alias: '/introspect', methods: ['POST'] },
  jwks: { path: '/oauth/jwks', alias: '/jwks', methods: ['GET'] },
} as const satisfies Record<string, OAuthEndpoint>

export const wellKnown = {
  /** RFC 8414 §3. */
  authorizationServer: '/.well-known/oauth-authorization-server',
  /** OpenID Connect Discovery §4; the same document, for clients that look only there. */
  openid: '/.well-known/openid-configuration',
  /** RFC 9728 §3. */
  protectedResource: '/.well-known/oauth-protected-resource',
} as const

/** The metadata of one protected address (RFC 9728 §3.1: the path goes behind the well-known part). */
export const resourceMetadataUrl = (origin: string, path: string): string =>
  `${origin}${wellKnown.protectedResource}${path}`

export interface MetadataHandlers {
  /**
   * GET of both well-known names at the root, with the path of an address behind (RFC 8414 §3.1) or before
   * (OpenID Connect Discovery §4) them.
   */
  readonly authorizationServer: Handler
  /**
   * GET of the well-known name at the root, with `?service_id=`, and with the path of an address behind or
   * before it.
   */
  readonly protectedResource: Handler
  /** GET /oauth/jwks */
  readonly jwks: Handler
}

export interface MetadataDeps {
  readonly config: Pick<Config, 'dynamic_registration' | 'client_metadata_documents' | 'dpop'> & GrantSettings
  readonly directory: Directory
  readonly signer: Signer
  /** Access rules; their levels are scopes where there are any. */
  readonly policy: Pick<Policy, 'of'>
  /** Absent where tokens are bound to nothing. */
  readonly dpop?: Pick<Dpop, 'modeOf'> | undefined
}

type ResourceDeps = Pick<MetadataDeps, 'directory' | 'policy' | 'dpop'>

/** What may be asked for at a service: what it requires, and where access rules are the levels of access. */
const scopesOf = (service: Service, policy: MetadataDeps['policy']): readonly string[] =>
  policy.of(service)?.choices ? [...new Set([...service.scopes, ...levelScopes])] : service.scopes

const publish = (document: unknown): Response =>
  new Response(JSON.stringify(document), {
    headers: { 'content-type': 'application/json', 'cache-control': 'public, max-age=60' },
  })

/**
 * The path that is asked about, without a final slash: what follows the well-known name, or what stands
 * before it.
 */
const subjectPath = (pathname: string, names: readonly string[]): string | undefined => {
  for (const name of names) {
    if (pathname === name || pathname.startsWith(`${name}/`))
      return pathname.slice(name.length).replace(/\/$/, '')
    if (pathname.endsWith(name)) return pathname.slice(0, -name.length)
  }
  return undefined
}

/** The Host header as it came; some runtimes keep it in the URL alone. */
const hostOf = (request: Request): string => request.headers.get('host') ?? new URL(request.url).host

const byName = (a: string, b: string): number => (a < b ? -1 : Number(a > b))

/** One document for every URL at which clients look for it. Every endpoint, grant and method in it exists. */
export const authorizationServerMetadata = ({
  config,
  directory,
  policy,
}: Pick<MetadataDeps, 'config' | 'directory' | 'policy'>): Readonly<Record<string, unknown>> => {
  const { issuer } = directory
  const scopes = new Set(
    directory.services
      .filter(({ authRequired }) => authRequired)
      .flatMap((service) => scopesOf(service, policy)),
  )
  return {
    issuer,
    authorization_endpoint: issuer + endpoints.authorize.path,
    token_endpoint: issuer + endpoints.token.path,
    ...(config.dynamic_registration && { registration_endpoint: issuer + endpoints.register.path }),
    ...(config.device?.enabled && { device_authorization_endpoint: issuer + endpoints.device.path }),
    revocation_endpoint: issuer + endpoints.revoke.path,
    introspection_endpoint: issuer + endpoints.introspect.path,
    jwks_uri: issuer + endpoints.jwks.path,
    // Here and nowhere else: a resource must not ask for it, but clients look for it before they ask (MCP
    // authorization, "Refresh Tokens").
    scopes_supported: [...[...scopes].toSorted(byName), 'offline_access'],
    response_types_supported: ['code'],
    response_modes_supported: ['query'],
    grant_types_supported: grantTypesOf(config),
    // Clients of a company look for it before they ask its identity provider. Whose word counts is nobody's business.
    ...(Object.values(config.assertion_issuers).some(({ type }) => type === 'id_jag') && {
      authorization_grant_profiles_supported: ['urn:ietf:params:oauth:grant-profile:id-jag'],
    }),
    token_endpoint_auth_methods_supported: authMethods,
    token_endpoint_auth_signing_alg_values_supported: assertionAlgorithms,
    revocation_endpoint_auth_methods_supported: authMethods,
    revocation_endpoint_auth_signing_alg_values_supported: assertionAlgorithms,
    introspection_endpoint_auth_methods_supported: authMethods,
    introspection_endpoint_auth_signing_alg_values_supported: assertionAlgorithms,
    ...(isDpopOn(config) && { dpop_signing_alg_values_supported: proofAlgorithms }),
    code_challenge_methods_supported: ['S256'],
    authorization_response_iss_parameter_supported: true,
    ...(config.client_metadata_documents && { client_id_metadata_document_supported: true }),
    resource_parameter_supported: true,
  }
}

interface DescribedResource {
  readonly resource: string
  readonly scopes: readonly string[]
  /** Those behind it. */
  readonly services: readonly Pick<Service, 'dpop'>[]
  readonly name?: string
}

const resourceMetadata = (
  { directory, dpop }: ResourceDeps,
  { resource, scopes, services, name }: DescribedResource,
) => {
  const modes = services.map((service) => dpop?.modeOf(undefined, service) ?? 'off')
  return {
    resource,
    ...(name !== undefined && { resource_name: name }),
    authorization_servers: [directory.issuer],
    scopes_supported: scopes,
    bearer_methods_supported: ['header'],
    ...(modes.some((mode) => mode !== 'off') && { dpop_signing_alg_values_supported: proofAlgorithms }),
    ...(modes.length > 0 &&
      modes.every((mode) => mode === 'required') && { dpop_bound_access_tokens_required: true }),
    resource_documentation: `${directory.issuer}/services`,
  }
}

const isProtected = ({ service }: Address): boolean => service.authRequired

/** Everything unknown is refused alike, so that names cannot be guessed. */
const notFound = (directory: Directory): Refusal => {
  directory.assertComplete()
  return new Refusal('route.unknown', 'no metadata under that name')
}

const addressAt = (directory: Directory, path: string, host: string): Address => {
  const found = directory.locate(path, host)
  if (!found || found.rest !== '' || !isProtected(found.address)) throw notFound(directory)
  return found.address
}

const addressOfHost = (directory: Directory, { addresses }: ServiceHost): Address => {
  const found = addresses.find(isProtected)
  if (!found) throw notFound(directory)
  return found
}

const addressOfService = (directory: Directory, id: string): Address => {
  const found = directory.addresses.find(
    (address) => address.service.id === id && address.path === `/${id}/mcp` && isProtected(address),
  )
  if (!found) throw notFound(directory)
  return found
}

const ofService = ({ policy }: ResourceDeps, resource: string, service: Service): DescribedResource => ({
  resource,
  scopes: scopesOf(service, policy),
  services: [service],
  name: service.name,
})

const createProtectedResource =
  (deps: ResourceDeps): Handler =>
  async (request) => {
    const { directory, policy } = deps
    const url = new URL(request.url)
    // Clients compare `resource` with the URL they were given, so it is on the origin they used, when that is
    // one of ours.
    const origin = directory.origins.find((known) => known === url.origin) ?? directory.issuer
    const path = subjectPath(url.pathname, [wellKnown.protectedResource])
    if (path === undefined) throw notFound(directory)
    const host = hostOf(request)
    const serviceHost = directory.host(host)
    if (serviceHost) {
      const { resource, service } =
        path === '' ? addressOfHost(directory, serviceHost) : addressAt(directory, path, host)
      return publish(resourceMetadata(deps, ofService(deps, resource, service)))
    }
    if (path === apiTarget)
      return publish({
        ...resourceMetadata(deps, {
          resource: origin + apiTarget,
          scopes: [apiScope],
          services: [{}],
          name: apiName,
        }),
        resource_documentation: `${directory.issuer}${apiTarget}/openapi.json`,
      })
    const id = url.searchParams.get('service_id')
    const named = (): Address | undefined => (id === null ? directory.only : addressOfService(directory, id))
    const address = path === '' ? named() : addressAt(directory, path, host)
    if (address && isProtected(address)) {
      const { service } = address
      return publish(resourceMetadata(deps, ofService(deps, origin + address.path, service)))
    }
    if (address) throw notFound(directory)
    const services = directory.addresses.filter(isProtected).map(({ service }) => service)
    const scopes = new Set(services.flatMap((service) => scopesOf(service, policy)))
    return publish(
      resourceMetadata(deps, { resource: origin, scopes: [...scopes].toSorted(byName), services }),
    )
  }

export const createMetadata = ({
  config,
  directory,
  signer,
  policy,
  dpop,
}: MetadataDeps): MetadataHandlers => ({
  async authorizationServer(request) {
    const { pathname } = new URL(request.url)
    const host = hostOf(request)
    const path = subjectPath(pathname, [wellKnown.authorizationServer, wellKnown.openid])
    if (path === undefined) throw notFound(directory)
    if (path !== '') addressAt(directory, path, host)
    const document = authorizationServerMetadata({ config, directory, policy })
    const serviceHost = directory.host(host)
    // Only clients of MCP 2025-03-26 look for it at the host of a service; they know no `resource`, and this
    // endpoint adds it.
    return publish(
      serviceHost
        ? { ...document, authorization_endpoint: serviceHost.origin + endpoints.authorize.alias }
        : document,
    )
  },
  protectedResource: createProtectedResource({ directory, policy, dpop }),
  jwks: async () => publish(await signer.jwks()),
})
