// What an OpenID provider says of itself: read over the guarded outbound function, believed for an hour.
import * as oauth from 'oauth4webapi'
import { asFetch } from '../../kit/http.ts'
import { Refusal } from '../../kit/refusal.ts'
import { normalized } from '../../kit/token-response.ts'
import { sameIssuer } from '../../kit/urls.ts'
import type { Outbound } from '../../ports/runtime.ts'

const freshMs = 3_600_000
/** A person waits for all requests of one step together. */
const stepMs = 9_000
const requestMs = 5_000
const refetchMs = 30_000

interface LibraryRequest {
  readonly method: string
  readonly headers: Record<string, string>
  readonly body?: URLSearchParams | undefined
}

export interface ProviderRequestOptions {
  readonly [oauth.customFetch]: (url: string, request: LibraryRequest) => Promise<Response>
  readonly [oauth.allowInsecureRequests]: boolean
}

/**
 * Library options for one step of a sign-in: every request is guarded, and all of them share nine seconds.
 */
export const guardedFetch = (
  outbound: Outbound,
  now: () => number,
  issuer: string,
): ProviderRequestOptions => {
  const deadline = now() + stepMs
  const within: Outbound = (url, options) => {
    const left = deadline - now()
    if (left <= 0) throw new Refusal('outbound.failed', 'identity provider timed out')
    // The operator wrote this provider's origin down: it may be anywhere, and nothing else may.
    return outbound(url, {
      ...options,
      timeoutMs: Math.min(requestMs, left),
      maxBytes: 262_144,
      origins: [new URL(issuer).origin],
    })
  }
  const fetch = asFetch(within)
  return {
    // Only the token endpoint is POSTed to: its answers come in the same odd forms as those of upstreams.
    [oauth.customFetch]: async (url, { method, headers, body }) => {
      const response = await fetch(url, { method, headers, ...(body ? { body } : {}) })
      return method === 'POST' ? normalized(response, { keepIdToken: true }) : response
    },
    [oauth.allowInsecureRequests]: issuer.startsWith('http:'),
  }
}

export interface ProviderMetadata {
  get(guarded: ProviderRequestOptions): Promise<oauth.AuthorizationServer>
  /** Checks the signature of the ID token in `response` with the provider's published keys. */
  verify(as: oauth.AuthorizationServer, response: Response, guarded: ProviderRequestOptions): Promise<void>
}

/**
 * The issuer as the provider spells it, which is what its tokens say. Throws `provider.issuer` where that is
 * another one.
 */
const publishedIssuer = async (response: Response, issuer: string): Promise<URL> => {
  const document: unknown =
    response.status === 200
      ? await response
          .clone()
          .json()
          .catch(() => undefined)
      : undefined
  const published =
    typeof document === 'object' && document !== null && 'issuer' in document ? document.issuer : undefined
  // Whatever is no metadata at all is refused by the library, in its own words.
  if (typeof published !== 'string') return new URL(issuer)
  if (!sameIssuer(published, issuer))
    throw new Refusal(
      'provider.issuer',
      `issuer mismatch: metadata says ${published.slice(0, 300)}, configured is ${issuer}`,
    )
  return new URL(published)
}

export const createProviderMetadata = (issuer: string, now: () => number): ProviderMetadata => {
  let kept: { readonly as: oauth.AuthorizationServer; readonly at: number } | undefined
  let refetchedAt = -Infinity

  const read = async (guarded: ProviderRequestOptions): Promise<oauth.AuthorizationServer> => {
    const response = await oauth.discoveryRequest(new URL(issuer), { ...guarded, algorithm: 'oidc' })
    const as = await oauth.processDiscoveryResponse(await publishedIssuer(response, issuer), response)
    kept = { as, at: now() }
    return as
  }

  // The library keeps keys per metadata object; a copy has none, so that a `kid` of a rotated key is looked
  // up at once, but at most every 30 s.
  const withoutKeys = (as: oauth.AuthorizationServer): oauth.AuthorizationServer | undefined => {
    if (now() < refetchedAt + refetchMs) return undefined
    refetchedAt = now()
    const copy = { ...as }
    kept = { as: copy, at: kept?.at ?? now() }
    return copy
  }

  return {
    async get(guarded) {
      const former = kept
      if (former && now() < former.at + freshMs) return former.as
      return read(guarded).catch((failure: unknown) => {
        // A provider that is down for discovery may still sign people in.
        if (former) return former.as
        throw failure
      })
    },
    async verify(as, response, guarded) {
      try {
        await oauth.validateApplicationLevelSignature(as, response, guarded)
      } catch (failure) {
        const again =
          failure instanceof oauth.OperationProcessingError && failure.code === oauth.KEY_SELECTION
            ? withoutKeys(as)
            : undefined
        if (!again) throw failure
        await oauth.validateApplicationLevelSignature(again, response, guarded)
      }
    },
  }
}
