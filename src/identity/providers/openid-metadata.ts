// What an OpenID provider says of itself: read over the guarded outbound function, believed for an hour.
import * as oauth from 'oauth4webapi'
import { asFetch } from '../../kit/outbound-fetch.ts'
import { Refusal } from '../../kit/refusal.ts'
import type { Outbound } from '../../ports/runtime.ts'

const freshMs = 3_600_000
/** A person waits for all requests of one step together. */
const stepMs = 9_000
const requestMs = 5_000
const refetchMs = 30_000

interface Exchange {
  readonly method: string
  readonly headers: Record<string, string>
  readonly body?: URLSearchParams | undefined
}

export interface Through {
  readonly [oauth.customFetch]: (url: string, exchange: Exchange) => Promise<Response>
  readonly [oauth.allowInsecureRequests]: boolean
}

/** Library options for one step of a sign-in: every request is guarded, and all of them share nine seconds. */
export const throughGuard = (outbound: Outbound, now: () => number, issuer: string): Through => {
  const deadline = now() + stepMs
  const within: Outbound = (url, options) => {
    const left = deadline - now()
    if (left <= 0) throw new Refusal('outbound.failed', 'the identity provider took too long')
    // The operator wrote this provider's origin down: it may be anywhere, and nothing else may.
    return outbound(url, { ...options, timeoutMs: Math.min(requestMs, left), maxBytes: 262_144, origins: [new URL(issuer).origin] })
  }
  const fetch = asFetch(within)
  return {
    [oauth.customFetch]: (url, { method, headers, body }) => fetch(url, { method, headers, ...(body ? { body } : {}) }),
    [oauth.allowInsecureRequests]: issuer.startsWith('http:'),
  }
}

export interface Metadata {
  get(through: Through): Promise<oauth.AuthorizationServer>
  /** Checks the signature of the ID token in `response` with the provider's published keys. */
  verify(as: oauth.AuthorizationServer, response: Response, through: Through): Promise<void>
}

export const createMetadata = (issuer: string, now: () => number): Metadata => {
  let kept: { readonly as: oauth.AuthorizationServer; readonly at: number } | undefined
  let refetchedAt = -Infinity

  const read = async (through: Through): Promise<oauth.AuthorizationServer> => {
    const expected = new URL(issuer)
    const as = await oauth.processDiscoveryResponse(expected, await oauth.discoveryRequest(expected, { ...through, algorithm: 'oidc' }))
    kept = { as, at: now() }
    return as
  }

  // The library keeps keys per metadata object; a copy has none, so that a `kid` of a rotated key is looked up at once, but at most every 30 s.
  const withoutKeys = (as: oauth.AuthorizationServer): oauth.AuthorizationServer | undefined => {
    if (now() < refetchedAt + refetchMs) return undefined
    refetchedAt = now()
    const copy = { ...as }
    kept = { as: copy, at: kept?.at ?? now() }
    return copy
  }

  return {
    async get(through) {
      const former = kept
      if (former && now() < former.at + freshMs) return former.as
      return read(through).catch((failure: unknown) => {
        // A provider that is down for discovery may still sign people in.
        if (former) return former.as
        throw failure
      })
    },
    async verify(as, response, through) {
      try {
        await oauth.validateApplicationLevelSignature(as, response, through)
      } catch (failure) {
        const again = failure instanceof oauth.OperationProcessingError && failure.code === oauth.KEY_SELECTION ? withoutKeys(as) : undefined
        if (!again) throw failure
        await oauth.validateApplicationLevelSignature(again, response, through)
      }
    },
  }
}
