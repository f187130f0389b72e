// How the gateway becomes a client of an upstream's authorization server: as the operator registered it, by
// its own metadata document, or by registering itself.
import * as oauth from 'oauth4webapi'
import { createRecords } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import { createSingleFlight } from '../kit/single-flight.ts'
import {
  callbackId,
  callbackPathOf,
  callbackRoot,
  isCallbackId,
  sameIssuer,
  shareCallback,
} from '../kit/urls.ts'
import type { Handler } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { ClientAuthMethod, Directory, UpstreamAuth } from '../ports/services.ts'
import { type AuthorizedUpstream, type GuardedFetch, registrationRefusal, signInRefusal } from './upstream.ts'

// The redirect URI of the gateway at an authorization server: one for that server alone, or the one that the
// operator configured.

export interface RedirectUris {
  /** Throws `connection.registration` when another authorization server has it already. */
  of(as: Pick<oauth.AuthorizationServer, 'issuer'>, upstream: AuthorizedUpstream): Promise<string>
  /** The gateway's own there, whatever the operator wrote. */
  own(as: Pick<oauth.AuthorizationServer, 'issuer'>): Promise<string>
}

/** The authorization server that the operator wrote down; undefined where the upstream names one. */
export const writtenIssuer = ({
  issuer,
  token_endpoint: token,
}: Pick<UpstreamAuth, 'issuer' | 'token_endpoint'>): string | undefined =>
  issuer ?? (token === undefined ? undefined : new URL(token).origin)

export const createRedirectUris = ({
  issuer,
  services,
}: {
  readonly issuer: string
  readonly services: () => Directory['services']
}): RedirectUris => {
  const own: RedirectUris['own'] = async (as) => `${issuer}${await callbackPathOf(as.issuer)}`

  /** The first service that has it, where that is for another authorization server. */
  const taken = (uri: string, as: Pick<oauth.AuthorizationServer, 'issuer'>): string | undefined => {
    const first = services().find(
      ({ auth }) =>
        auth?.redirect_uri !== undefined &&
        writtenIssuer(auth) !== undefined &&
        shareCallback(auth.redirect_uri, uri),
    )
    const written = first?.auth && writtenIssuer(first.auth)
    return written === undefined || sameIssuer(written, as.issuer)
      ? undefined
      : `${written} (mcp_services.${first?.id})`
  }

  return {
    own,
    async of(as, upstream) {
      const { redirect_uri: written } = upstream.auth
      // Without a configured issuer the server may change, so nothing is shared with it.
      if (written === undefined || writtenIssuer(upstream.auth) === undefined) return own(as)
      const other = taken(written, as)
      if (other === undefined) return written
      const key = `mcp_services.${upstream.id}.upstream_auth.redirect_uri`
      const ours = await own(as)
      throw registrationRefusal(
        upstream,
        `${written} serves ${other} already; register ${ours} with ${as.issuer} and set it as ${key}`,
        [
          { name: 'Authorization server', value: as.issuer },
          { name: 'Redirect URI', value: ours },
        ],
      )
    },
  }
}

/** The gateway as a client of one authorization server. */
export interface ClientRegistration {
  readonly clientId: string
  readonly method: ClientAuthMethod
  readonly secret?: string
  readonly redirectUri: string
  readonly how: 'configured' | 'document' | 'registered'
}

interface Registration {
  readonly clientId: string
  readonly method: ClientAuthMethod
  readonly secret?: string
  readonly redirectUri: string
  /** Epoch ms; absent: the secret does not expire. */
  readonly until?: number
}

export interface ClientRegistrations {
  /**
   * `anew`: ignores a saved registration. Throws `connection.registration` if the server accepts no client,
   * `connection.untrusted` and `connection.unreachable`.
   */
  at(
    as: oauth.AuthorizationServer,
    upstream: AuthorizedUpstream,
    scopes: readonly string[] | undefined,
    guardedFetch: GuardedFetch,
    anew?: boolean,
  ): Promise<ClientRegistration>
  /** The authorization server no longer knows this client: the next one to ask registers anew. */
  forget(issuer: string, service: string, clientId: string): Promise<void>
}

interface ClientRegistrationsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'keys' | 'log' | 'defer' | 'digest'>
  readonly issuer: string
  readonly services: Parameters<typeof createRedirectUris>[0]['services']
}

/**
 * The document of a client that version 0.1.0 made known. Each authorization server now reads one of its
 * own.
 */
export const documentPath = '/oauth/client-metadata.json'
export const documentRoot = '/oauth/client-metadata'

const isHttps = (url: string): boolean => url.startsWith('https://')

/** What we say of ourselves, in a registration and in our document. */
export const clientMetadata = (issuer: string, redirectUri: string) => {
  const { host } = new URL(issuer)
  return {
    client_name: `Postern at ${host}`,
    client_uri: issuer,
    redirect_uris: [redirectUri],
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    // SEP-837: a redirect to this computer is a native client's, everything else a web client's.
    application_type: isHttps(issuer) ? 'web' : 'native',
  }
}

const known: readonly ClientAuthMethod[] = ['client_secret_basic', 'client_secret_post', 'none']
const isMethod = (value: unknown): value is ClientAuthMethod => known.some((method) => method === value)

/**
 * The strongest method that both sides have; RFC 8414 §2: a server that lists none means client_secret_basic.
 */
const methodFor = (as: oauth.AuthorizationServer, secret: boolean): ClientAuthMethod => {
  const offered = as.token_endpoint_auth_methods_supported ?? ['client_secret_basic', 'none']
  return (
    known.find((method) => offered.includes(method) && (secret ? method !== 'none' : true)) ??
    (secret ? 'client_secret_basic' : 'none')
  )
}

const partiesOf = (as: oauth.AuthorizationServer, redirectUri: string) => [
  { name: 'Authorization server', value: as.issuer },
  { name: 'Redirect URI', value: redirectUri },
]

const noRegistration = (
  upstream: AuthorizedUpstream,
  as: oauth.AuthorizationServer,
  redirectUri: string,
): Refusal =>
  registrationRefusal(
    upstream,
    `${as.issuer} neither reads client metadata documents nor registers clients`,
    partiesOf(as, redirectUri),
  )

interface Applicant {
  readonly as: oauth.AuthorizationServer
  readonly upstream: AuthorizedUpstream
  readonly scopes: readonly string[] | undefined
  readonly guardedFetch: GuardedFetch
  readonly redirectUri: string
}

/** RFC 7591. `issuer`: ours. */
const register = async (
  issuer: string,
  { as, upstream, scopes, guardedFetch, redirectUri }: Applicant,
): Promise<Registration> => {
  const wanted = methodFor(as, false)
  const metadata = {
    ...clientMetadata(issuer, redirectUri),
    token_endpoint_auth_method: wanted,
    ...(scopes && { scope: scopes.join(' ') }),
  }
  const answer = await oauth
    .dynamicClientRegistrationRequest(as, metadata, guardedFetch.through)
    .then((response) => oauth.processDynamicClientRegistrationResponse(response))
    .catch((error: unknown) => {
      throw signInRefusal(error, upstream, 'registration', partiesOf(as, redirectUri))
    })
  const { client_id: clientId, client_secret: secret, client_secret_expires_at: expires } = answer
  const said: unknown = answer.token_endpoint_auth_method
  // RFC 7591 §3.2.1: the answer holds what was registered; one that is silent took what was asked, and a
  // client without a secret is a public one, whatever it repeats.
  const method = typeof secret !== 'string' || secret === '' ? 'none' : isMethod(said) ? said : wanted
  return {
    clientId,
    method,
    redirectUri,
    ...(method !== 'none' && typeof secret === 'string' && { secret }),
    ...(typeof expires === 'number' && expires > 0 && { until: expires * 1000 }),
  }
}

/** As the operator registered it. */
const configured = (
  clientId: string,
  redirectUri: string,
  as: oauth.AuthorizationServer,
  { auth }: AuthorizedUpstream,
): ClientRegistration => {
  const { client_secret: secret, private_key: key, token_endpoint_auth_method: written } = auth
  const method = written ?? (key === undefined ? methodFor(as, secret !== undefined) : 'private_key_jwt')
  const effective = secret === undefined && method !== 'private_key_jwt' ? 'none' : method
  return {
    clientId,
    method: effective,
    redirectUri,
    how: 'configured',
    ...(secret !== undefined && { secret }),
  }
}

export const createClientRegistrations = ({
  runtime,
  issuer,
  services,
}: ClientRegistrationsDeps): ClientRegistrations => {
  const redirectUris = createRedirectUris({ issuer, services })
  const records = createRecords<Registration>(runtime, 'upstream-client:')
  const once = createSingleFlight(runtime)
  const idOf = (as: string, service: string): string => runtime.digest(JSON.stringify([as, service]))

  /**
   * One registration for all people of a service, kept until the server forgets it or its secret runs out.
   */
  const registered = async (applicant: Applicant, anew: boolean): Promise<Registration> => {
    const id = idOf(applicant.as.issuer, applicant.upstream.id)
    const kept = await records.get(id)
    const inTime = kept?.value.until === undefined || kept.value.until > runtime.now() + 600_000
    // A registration with another redirect URI is from version 0.1.0, or from a gateway with another URL. Its
    // accounts remain valid.
    if (kept && !anew && inTime && kept.value.redirectUri === applicant.redirectUri) return kept.value
    return once(id, async () => {
      const fresh = await register(issuer, applicant)
      const mark = await records.put(id, fresh, { only: kept?.mark ?? 'absent' })
      // Another process registered first; one client is enough.
      return mark === undefined ? ((await records.get(id))?.value ?? fresh) : fresh
    })
  }

  return {
    async at(as, upstream, scopes, guardedFetch, anew = false) {
      const { auth } = upstream
      if (auth.client_id !== undefined)
        return configured(auth.client_id, await redirectUris.of(as, upstream), as, upstream)
      // A document of its own for each: one that listed every redirect URI would let any server have people
      // sent to all.
      const ownDocument = `${issuer}${documentRoot}/${await callbackId(as.issuer)}.json`
      const clientId = auth.client_metadata_url ?? ownDocument
      if (as.client_id_metadata_document_supported === true && isHttps(clientId))
        return {
          clientId,
          method: 'none',
          redirectUri: await (clientId === ownDocument
            ? redirectUris.own(as)
            : redirectUris.of(as, upstream)),
          how: 'document',
        }
      const redirectUri = await redirectUris.own(as)
      if (as.registration_endpoint === undefined) throw noRegistration(upstream, as, redirectUri)
      return {
        ...(await registered({ as, upstream, scopes, guardedFetch, redirectUri }, anew)),
        how: 'registered',
      }
    },
    async forget(as, service, clientId) {
      const id = idOf(as, service)
      const kept = await records.get(id)
      if (kept?.value.clientId === clientId) await records.take(id)
    },
  }
}

// What the gateway says of itself as a client (draft-ietf-oauth-client-id-metadata-document): authorization
// servers of upstreams read it at its own URL, which is our client id there.

/**
 * GET /oauth/client-metadata/:id.json, one for each authorization server, and /oauth/client-metadata.json,
 * the client id of version 0.1.0.
 */
export const createClientMetadataDocument = (issuer: string): Handler => {
  const draw = (path: string, redirectPath: string): Response => {
    const body = {
      client_id: `${issuer}${path}`,
      ...clientMetadata(issuer, `${issuer}${redirectPath}`),
      token_endpoint_auth_method: 'none',
    }
    return new Response(JSON.stringify(body), {
      headers: { 'content-type': 'application/json', 'cache-control': 'public, max-age=3600' },
    })
  }
  return (request) => {
    const path = new URL(request.url).pathname
    if (path === documentPath) return Promise.resolve(draw(documentPath, callbackRoot))
    const id = path.slice(documentRoot.length + 1).replace(/\.json$/, '')
    if (!isCallbackId(id) || path !== `${documentRoot}/${id}.json`)
      return Promise.reject(new Refusal('route.unknown', path.slice(0, 200)))
    return Promise.resolve(draw(path, `${callbackRoot}/${id}`))
  }
}
