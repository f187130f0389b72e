// An authorization request between its arrival and its answer: a sealed record, used once, tied by a cookie
// to the browser that sent it. And which clients may be sent its errors.
import { encodeBase64url, sameText } from '../kit/bytes.ts'
import { createRecords, personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import { withoutLoopbackPort } from '../kit/urls.ts'
import type { ClientView } from '../ports/pages.ts'
import type { Consented, Person } from '../ports/people.ts'
import type { Permission } from '../ports/policy.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { ClientSnapshot } from './client.ts'

/** What a browser is asked about where another device asks (RFC 8628). */
export interface DeviceOrigin {
  /** Of the record (device-codes.ts). */
  readonly id: string
  /** Epoch ms. */
  readonly askedAt: number
  readonly expiresAt: number
  /** The network that the device asked from, and whether that is another than the browser’s. */
  readonly from: string
  readonly elsewhere: boolean
}

/** A validated authorization request. */
export interface AuthorizationRequest {
  readonly clientId: string
  /**
   * The pages are drawn from it, so that one record is all they read; before anything is issued the client is
   * looked up again.
   */
  readonly client: ClientSnapshot
  /** Absent where nothing is sent back: the client polls (`device`). */
  readonly redirectUri?: string
  /** Whether the request named the redirect URI (RFC 6749 §4.1.3). */
  readonly redirectSent?: boolean
  readonly state?: string
  /** PKCE S256 challenge. */
  readonly challenge?: string
  /** Thumbprint of the key that the code is bound to (RFC 9449 §10). */
  readonly jkt?: string
  /** Canonical resource URL. */
  readonly resource: string
  readonly scopes: readonly string[]
  /** The highest level that the client asked for; absent: it named none, and the person chooses. */
  readonly level?: Permission
  /** prompt=consent: a remembered consent does not count. */
  readonly promptConsent: boolean
  /** prompt=none: nothing may be shown. */
  readonly promptNone: boolean
  /** A sign-in before this time does not count (prompt=login, max_age), epoch ms. */
  readonly signedInSince?: number
  /** The session that was there when a new sign-in was asked for: it does not count, whatever the clock says. */
  readonly earlierSession?: string
  /**
   * The person came here of their own accord or from a page of ours (Sec-Fetch-Site); another site must not
   * obtain an answer without a question.
   */
  readonly ownNavigation: boolean
  /** ID of its flow (ports/flow-record.ts), where flows are recorded. */
  readonly flow?: string
  readonly device?: DeviceOrigin
}

export interface PendingRequest extends AuthorizationRequest {
  readonly id: string
  readonly createdAt: number
  /** Digest of the cookie's secret. */
  readonly browser: string
  readonly answered: boolean
  /**
   * Who allowed it already, for which generation of the service, and is away to connect an upstream account;
   * they are not asked twice.
   */
  readonly allowed?: string
  /** What they let the client do. */
  readonly consented?: Consented
  /** Its app runs on another computer: the redirect URL is shown, for the person to copy. */
  readonly copied?: boolean
}

/** A pending request as it was read, with the version that a change must find. */
export interface StoredRequest {
  readonly pending: PendingRequest
  readonly mark: string
}

export interface PendingRequests {
  /** Keeps a request; returns its id and the `Set-Cookie` values. */
  open(
    request: AuthorizationRequest,
    browser: Request,
  ): Promise<{ readonly id: string; readonly cookies: readonly string[] }>
  /** The request, for the browser that sent it. Throws `flow.expired`, `flow.other-browser`, `flow.used`. */
  of(id: string, browser: Request): Promise<StoredRequest>
  /** The same without a refusal: undefined where `of` throws. */
  peek(id: string, browser: Request): Promise<PendingRequest | undefined>
  /**
   * Notes the consent of a person who has to connect an account before it counts; false when the request
   * changed since it was read.
   */
  allow(
    read: StoredRequest,
    by: { readonly person: Person; readonly generation: string | undefined },
    consented?: Consented,
  ): Promise<boolean>
  /** Whether this person allowed it, for this generation of the service. */
  allowedBy(pending: PendingRequest, person: Person, generation?: string): boolean
  /** Marks the request answered; false when it changed since it was read. */
  spend(read: StoredRequest): Promise<boolean>
  /** `Set-Cookie` value that removes the request's cookie. */
  forget(id: string): string
}

const lifetimeMs = 600_000
/** Together under 2 kB of Cookie header; a browser with more pending requests loses the oldest. */
const maxCookies = 20
const prefix = '__Host-postern-flow-'
const attributes = 'Path=/; Secure; HttpOnly; SameSite=Lax'
const idShape = /^[\w-]{32}$/

const allowedText = (person: Person, generation = ''): string => `${personKey(person)}\n${generation}`

const cookieName = (id: string): string => prefix + id.slice(0, 8)
const dropCookie = (name: string): string => `${name}=; Max-Age=0; ${attributes}`

interface RequestCookie {
  readonly name: string
  readonly secret: string
  /** Epoch seconds. */
  readonly at: number
}

/**
 * The cookies of pending requests that a browser sent, newest first. The time in them only decides which is
 * dropped. Around them spaces and tabs alone: see identity/session.ts.
 */
const requestCookies = (browser: Request): readonly RequestCookie[] =>
  (browser.headers.get('cookie') ?? '')
    .split(';')
    .map((pair) => /^[ \t]*(__Host-postern-flow-[\w-]{8})=([0-9a-z]{0,10})\.([\w-]*)[ \t]*$/.exec(pair))
    .filter((found) => found !== null)
    .map(([, name = '', at = '', secret = '']) => ({ name, secret, at: Number.parseInt(at, 36) || 0 }))
    .toSorted((a, b) => b.at - a.at)

const newCookies = (id: string, secret: string, browser: Request, now: number): readonly string[] => {
  const at = Math.floor(now / 1000).toString(36)
  const tooMany = requestCookies(browser)
    .slice(maxCookies - 1)
    .map(({ name }) => dropCookie(name))
  return [...tooMany, `${cookieName(id)}=${at}.${secret}; Max-Age=${lifetimeMs / 1000}; ${attributes}`]
}

/** Why this browser is not the one that sent the request; undefined where it is. */
const otherBrowser = (
  pending: PendingRequest,
  browser: Request,
  digest: Runtime['digest'],
): Refusal | undefined => {
  // A cookie sent twice was planted by somebody (RFC 6265 §8.6): neither counts.
  const sent = requestCookies(browser).filter(({ name }) => name === cookieName(pending.id))
  if (sent.length === 0) return new Refusal('flow.other-browser', 'flow cookie missing')
  if (sent.length > 1) return new Refusal('flow.other-browser', `${sent.length} flow cookies, expected 1`)
  return sameText(digest(sent[0]?.secret ?? ''), pending.browser)
    ? undefined
    : new Refusal('flow.other-browser', 'flow cookie of another flow')
}

export const createPendingRequests = ({
  runtime,
}: {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'digest'>
}): PendingRequests => {
  const records = createRecords<PendingRequest>(runtime, 'authorization-request:', { remembered: 256 })

  const judge = async (id: string, browser: Request): Promise<StoredRequest | Refusal> => {
    const kept = idShape.test(id) ? await records.get(id) : undefined
    if (!kept) return new Refusal('flow.expired', 'flow unknown or expired')
    // Before the cookie, which is gone once the answer was given: a second click or the back button should
    // hear what happened, not of another browser.
    if (kept.value.answered) return new Refusal('flow.used', 'flow already answered')
    return otherBrowser(kept.value, browser, runtime.digest) ?? { pending: kept.value, mark: kept.mark }
  }

  const replace = async (pending: PendingRequest, mark: string): Promise<boolean> => {
    const left = Math.max(1, pending.createdAt + lifetimeMs - runtime.now())
    return (await records.put(pending.id, pending, { ttlMs: left, only: mark })) !== undefined
  }

  return {
    async open(request, browser) {
      const id = encodeBase64url(runtime.random(24))
      const secret = encodeBase64url(runtime.random(24))
      const createdAt = runtime.now()
      const pending: PendingRequest = {
        ...request,
        id,
        createdAt,
        browser: runtime.digest(secret),
        answered: false,
      }
      await records.put(id, pending, { ttlMs: lifetimeMs, only: 'absent' })
      return { id, cookies: newCookies(id, secret, browser, createdAt) }
    },
    async of(id, browser) {
      const found = await judge(id, browser)
      if (found instanceof Refusal) throw found
      return found
    },
    async peek(id, browser) {
      const found = await judge(id, browser)
      return found instanceof Refusal ? undefined : found.pending
    },
    allow: ({ pending, mark }, { person, generation }, consented) =>
      replace(
        { ...pending, allowed: allowedText(person, generation), ...(consented && { consented }) },
        mark,
      ),
    allowedBy: ({ allowed }, person, generation) => allowed === allowedText(person, generation),
    spend: ({ pending, mark }) => replace({ ...pending, answered: true }, mark),
    forget: (id) => dropCookie(cookieName(id)),
  }
}

// Which clients a person has approved, and for which redirect URI. Anybody may register a client or publish a
// metadata document. Until a person has allowed it something, no error sends a browser to its address (RFC
// 9700 §4.11.2).

export type ApprovedClient = Pick<ClientView, 'id' | 'name' | 'kind'>

export interface Approvals {
  /** A person allowed the client something at this redirect URI. */
  keep(client: ApprovedClient, redirectUri: string | undefined): Promise<void>
  /**
   * Runs the work. An error for the redirect URI of a client that no person approved is shown to the person
   * instead, with a link to the client.
   */
  guard<T>(work: () => Promise<T>, client: ApprovedClient): Promise<T>
}

export interface ApprovalsDeps {
  readonly runtime: Pick<Runtime, 'store' | 'keys' | 'log' | 'digest'>
}

const approvedMs = 365 * 86_400_000

export const createApprovals = ({ runtime }: ApprovalsDeps): Approvals => {
  const records = createRecords<true>(runtime, 'approved:')
  const idOf = ({ id }: ApprovedClient, redirectUri: string): string =>
    runtime.digest(JSON.stringify([id, withoutLoopbackPort(redirectUri)]))
  /** The operator approved a client by writing it into the configuration. */
  const isApproved = async (client: ApprovedClient, redirectUri: string): Promise<boolean> =>
    client.kind === 'registered' || (await records.get(idOf(client, redirectUri))) !== undefined

  return {
    async keep(client, redirectUri) {
      if (client.kind === 'registered' || redirectUri === undefined) return
      await records.put(idOf(client, redirectUri), true, { ttlMs: approvedMs })
    },
    async guard(work, client) {
      try {
        return await work()
      } catch (thrown) {
        const redirect = thrown instanceof Refusal ? thrown.detail.redirect : undefined
        if (!(thrown instanceof Refusal) || !redirect) throw thrown
        if (await isApproved(client, redirect.uri)) throw thrown
        throw new Refusal(thrown.code, thrown.why, {
          ...thrown.detail,
          redirect: { ...redirect, ask: client.name },
        })
      }
    },
  }
}
