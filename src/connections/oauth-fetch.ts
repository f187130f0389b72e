// Guarded requests to an upstream's authorization server, with one deadline for all requests of a step.
import * as oauth from 'oauth4webapi'
import { utf8Text } from '../kit/bytes.ts'
import { asFetch } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import { normalized } from '../kit/token-response.ts'
import type { Runtime } from '../ports/runtime.ts'
import { type AuthorizedUpstream, endpointError } from './upstream.ts'

/** A person waits for all requests of one step together. */
const stepMs = 9_000
const requestMs = 5_000
const maxBytes = 262_144

export type FoundDocument =
  | { readonly kind: 'document'; readonly document: Readonly<Record<string, unknown>> }
  | { readonly kind: 'absent' | 'down'; readonly why: string }

interface Exchange {
  readonly method: string
  readonly headers: Record<string, string>
  readonly body?: URLSearchParams | string | undefined
}

/**
 * Options for the library: every request is guarded, and odd answers are made what the RFCs say before it
 * reads them.
 */
export interface FetchOptions {
  readonly [oauth.customFetch]: (url: string, exchange: Exchange) => Promise<Response>
  readonly [oauth.allowInsecureRequests]: true
}

export interface GuardedFetch {
  /**
   * A JSON object at a URL. `absent`: there is none (4xx, a redirect, or something that is not JSON); `down`:
   * nobody knows (5xx, 429, no connection). Throws `outbound.refused`.
   */
  document(url: string): Promise<FoundDocument>
  /** Status and WWW-Authenticate fields of a request's answer. */
  ask(
    url: string,
    request: {
      readonly method: 'GET' | 'POST'
      readonly headers: Readonly<Record<string, string>>
      readonly body?: string
    },
  ): Promise<{ readonly status: number; readonly authenticate: readonly string[] }>
  readonly through: FetchOptions
}

const objectOf = (text: string): Readonly<Record<string, unknown>> | undefined => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Readonly<Record<string, unknown>>)
      : undefined
  } catch {
    return undefined
  }
}

export const createGuardedFetch = (
  { now, outbound }: Pick<Runtime, 'now' | 'outbound'>,
  { origins }: Pick<AuthorizedUpstream, 'origins'>,
  allMs = stepMs,
): GuardedFetch => {
  const deadline = now() + allMs
  const within: Runtime['outbound'] = (url, options) => {
    const left = deadline - now()
    if (left <= 0) throw new Refusal('outbound.failed', 'authorization server timed out')
    return outbound(url, { ...options, origins, timeoutMs: Math.min(requestMs, left), maxBytes })
  }
  const fetch = asFetch((url, options) => within(url, options))
  return {
    async document(url) {
      const answer = await within(url, { headers: { accept: 'application/json' } }).catch(
        (error: unknown) => {
          if (error instanceof Refusal && error.code === 'outbound.failed') return error
          throw error
        },
      )
      if (answer instanceof Refusal) return { kind: 'down', why: answer.why }
      if (answer.status >= 500 || answer.status === 429)
        return { kind: 'down', why: `${url} answered ${answer.status}` }
      const document = answer.status === 200 ? objectOf(utf8Text(answer.body)) : undefined
      return document
        ? { kind: 'document', document }
        : {
            kind: 'absent',
            why: `${url} answered ${answer.status}${answer.status === 200 ? ' with something that is not JSON' : ''}`,
          }
    },
    async ask(url, { method, headers, body }) {
      const answer = await within(url, {
        method,
        headers,
        headOnly: true,
        ...(body !== undefined && { body }),
      })
      const field = answer.headers.get('www-authenticate')
      return { status: answer.status, authenticate: field === null ? [] : [field] }
    },
    through: {
      // The guard decides what may be plain http; the library's own rule knows nothing of the operator's
      // word.
      [oauth.allowInsecureRequests]: true,
      [oauth.customFetch]: async (url, { method, headers, body }) => {
        const answer = await normalized(
          await fetch(url, { method, headers, ...(body === undefined ? {} : { body }) }),
        )
        if (answer.status < 300) return answer
        throw endpointError(
          url,
          answer.status,
          await answer.text(),
          body instanceof URLSearchParams ? body : undefined,
        )
      },
    },
  }
}
