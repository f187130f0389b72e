// An authorization request between its arrival and its answer: a sealed record, spent once, tied by a cookie to the browser that began it.
import { encodeBase64url, sameText } from '../kit/bytes.ts'
import { personKey } from '../kit/person-key.ts'
import { createRecords } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { ClientSnapshot } from './client.ts'

/** A validated authorization request. */
export interface AuthorizationRequest {
  readonly clientId: string
  /** The pages are drawn from it, so that one record is all they read; before anything is issued the client is asked for anew. */
  readonly client: ClientSnapshot
  readonly redirectUri: string
  readonly redirectSent: boolean
  readonly state?: string
  readonly challenge: string
  /** Canonical resource URL. */
  readonly resource: string
  readonly scopes: readonly string[]
  /** prompt=consent: a remembered answer does not count. */
  readonly ask: boolean
  /** prompt=none: nothing may be shown. */
  readonly silent: boolean
  /** A sign-in before this time does not count (prompt=login, max_age), epoch ms. */
  readonly signedInSince?: number
  /** The person came here of their own accord or from a page of ours (Sec-Fetch-Site); another site must not obtain a silent answer. */
  readonly ownNavigation: boolean
}

export interface PendingRequest extends AuthorizationRequest {
  readonly id: string
  readonly createdAt: number
  /** Digest of the cookie's secret. */
  readonly browser: string
  readonly answered: boolean
  /** Who said yes already, to which generation of the service, and is away to connect an upstream account; their answer is not asked for twice. */
  readonly allowed?: string
}

export interface StoredRequest {
  readonly flow: PendingRequest
  readonly mark: string
}

export interface PendingRequests {
  /** Keeps a request; answers its id and the `Set-Cookie` values. */
  open(
    request: AuthorizationRequest,
    browser: Request,
  ): Promise<{ readonly id: string; readonly cookies: readonly string[] }>
  /** The flow, for the browser that began it. Throws `flow.expired`, `flow.other-browser`, `flow.used`. */
  of(id: string, browser: Request): Promise<StoredRequest>
  /** The same for who only wants to know: undefined where `of` refuses. */
  peek(id: string, browser: Request): Promise<PendingRequest | undefined>
  /** Notes the yes of a person who has a step to take before it counts; false when the flow was changed meanwhile. */
  allow(read: StoredRequest, person: Person, generation?: string): Promise<boolean>
  /** Whether this person said yes so, to this generation of the service. */
  allowedBy(flow: PendingRequest, person: Person, generation?: string): boolean
  /** Marks the flow answered; false when somebody else did so first. */
  spend(read: StoredRequest): Promise<boolean>
  /** `Set-Cookie` value that removes the flow's cookie. */
  forget(id: string): string
}

const flowMs = 600_000
/** Together under 2 kB of Cookie header; a browser with more half-finished flows loses the oldest. */
const maxCookies = 20
const prefix = '__Host-postern-flow-'
const attributes = 'Path=/; Secure; HttpOnly; SameSite=Lax'
const idShape = /^[\w-]{32}$/

const answerOf = (person: Person, generation = ''): string => `${personKey(person)}\n${generation}`

const cookieName = (id: string): string => prefix + id.slice(0, 8)
const dropCookie = (name: string): string => `${name}=; Max-Age=0; ${attributes}`

interface FlowCookie {
  readonly name: string
  readonly secret: string
  /** Epoch seconds. */
  readonly at: number
}

/** The flow cookies a browser sent, newest first. The time in them only decides which is dropped. Around them spaces and tabs alone: see identity/login-csrf.ts. */
const flowCookies = (browser: Request): readonly FlowCookie[] =>
  (browser.headers.get('cookie') ?? '')
    .split(';')
    .map((pair) => /^[ \t]*(__Host-postern-flow-[\w-]{8})=([0-9a-z]{0,10})\.([\w-]*)[ \t]*$/.exec(pair))
    .filter((found) => found !== null)
    .map(([, name = '', at = '', secret = '']) => ({ name, secret, at: Number.parseInt(at, 36) || 0 }))
    .toSorted((a, b) => b.at - a.at)

export const createPendingRequests = ({
  runtime,
}: {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'digest'>
}): PendingRequests => {
  const records = createRecords<PendingRequest>(runtime, 'flow:')
  const cookiesFor = (id: string, secret: string, browser: Request): readonly string[] => {
    const at = Math.floor(runtime.now() / 1000).toString(36)
    const tooMany = flowCookies(browser)
      .slice(maxCookies - 1)
      .map(({ name }) => dropCookie(name))
    return [...tooMany, `${cookieName(id)}=${at}.${secret}; Max-Age=${flowMs / 1000}; ${attributes}`]
  }

  const judge = async (id: string, browser: Request): Promise<StoredRequest | Refusal> => {
    const kept = idShape.test(id) ? await records.get(id) : undefined
    if (!kept) return new Refusal('flow.expired', 'flow unknown or expired')
    // Begun under a version that kept no client with it.
    if ((kept.value.client as ClientSnapshot | undefined) === undefined)
      return new Refusal('flow.expired', 'flow stored by an earlier version')
    // Before the cookie, which is gone once the answer was given: a second click or the back button should hear what happened, not of another browser.
    if (kept.value.answered) return new Refusal('flow.used', 'flow already answered')
    const found = { flow: kept.value, mark: kept.mark }
    // A cookie sent twice was planted by somebody (RFC 6265 §8.6): neither counts.
    const sent = flowCookies(browser).filter(({ name }) => name === cookieName(id))
    if (sent.length !== 1 || !sameText(runtime.digest(sent[0]?.secret ?? ''), found.flow.browser))
      return new Refusal(
        'flow.other-browser',
        sent.length === 0
          ? 'flow cookie missing'
          : sent.length > 1
            ? `${sent.length} flow cookies, expected 1`
            : 'flow cookie of another flow',
      )
    return found
  }

  const replace = async (flow: PendingRequest, mark: string): Promise<boolean> => {
    const left = Math.max(1, flow.createdAt + flowMs - runtime.now())
    return (await records.put(flow.id, flow, { ttlMs: left, only: mark })) !== undefined
  }

  return {
    async open(request, browser) {
      const id = encodeBase64url(runtime.random(24))
      const secret = encodeBase64url(runtime.random(24))
      const flow: PendingRequest = {
        ...request,
        id,
        createdAt: runtime.now(),
        browser: runtime.digest(secret),
        answered: false,
      }
      await records.put(id, flow, { ttlMs: flowMs, only: 'absent' })
      return { id, cookies: cookiesFor(id, secret, browser) }
    },
    async of(id, browser) {
      const found = await judge(id, browser)
      if (found instanceof Refusal) throw found
      return found
    },
    async peek(id, browser) {
      const found = await judge(id, browser)
      return found instanceof Refusal ? undefined : found.flow
    },
    allow: ({ flow, mark }, person, generation) =>
      replace({ ...flow, allowed: answerOf(person, generation) }, mark),
    allowedBy: ({ allowed }, person, generation) => allowed === answerOf(person, generation),
    spend: ({ flow, mark }) => replace({ ...flow, answered: true }, mark),
    forget: (id) => dropCookie(cookieName(id)),
  }
}
