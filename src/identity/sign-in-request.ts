// What a sign-in is asked for: where it leads (back to the authorization request that needed it, to a page of this
// gateway, or home), which ways to sign in are offered for that, and its last step.
import { seeOther } from '../kit/http.ts'
import { personKey, servesProvider } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import { sameOriginPath } from '../kit/urls.ts'
import type { Audit, Blocks, DescribeFlow } from '../ports/modules.ts'
import type { LoginView } from '../ports/pages.ts'
import type { Person } from '../ports/people.ts'
import type { RequestContext } from '../ports/runtime.ts'
import type { LocalPeople, LoginLinks } from './local-users.ts'
import type { IdentityProvider } from './providers/provider.ts'
import { type BrowserSessions, setCookie } from './session.ts'

export interface ReturnTarget {
  /** Id of the pending authorization request. */
  readonly flow?: string
  /** A path of this gateway. */
  readonly returnTo?: string
  /**
   * Why a live session is not enough: the client asked for a fresh sign-in, or the person wants another
   * account.
   */
  readonly again?: 'login' | 'switch'
  /** How old a sign-in at the provider may be at most, seconds (OpenID Connect Core §3.1.2.1). */
  readonly maxAge?: number
}

/**
 * Paths that no sign-in returns to: an authorization that another site's link began would follow our own form
 * and so look like the person's own wish (Sec-Fetch-Site), and the others have no page to return to. A
 * pending authorization request has its own field.
 */
const notAPage = /^\/(?:(?:oauth|authorize|callback|login|logout)(?:[/?]|$)|\?|[^?]*%)/

const pageOf = (raw: string): string | undefined => {
  const path = sameOriginPath(raw)
  return path === undefined || notAPage.test(path) ? undefined : path
}

/** Reads the return target from a query or a form; whatever is not one is dropped. */
export const returnTargetOf = (fields: { get(name: string): string | null | undefined }): ReturnTarget => {
  const flow = fields.get('flow')
  const returnTo = pageOf(fields.get('return_to') ?? '')
  const again =
    fields.get('switch') === '1' ? 'switch' : fields.get('prompt') === 'login' ? 'login' : undefined
  const maxAge = fields.get('max_age') ?? ''
  return {
    ...(flow && /^[A-Za-z0-9_-]{1,128}$/.test(flow) ? { flow } : {}),
    ...(returnTo ? { returnTo } : {}),
    ...(again ? { again } : {}),
    ...(/^\d{1,9}$/.test(maxAge) ? { maxAge: Number(maxAge) } : {}),
  }
}

/** The return target as form fields or query parameters. */
export const returnTargetFields = ({
  flow,
  returnTo,
  again,
  maxAge,
}: ReturnTarget): Record<string, string> => ({
  ...(flow ? { flow } : {}),
  ...(returnTo ? { return_to: returnTo } : {}),
  ...(again === 'switch' ? { switch: '1' } : {}),
  ...(again === 'login' ? { prompt: 'login' } : {}),
  ...(maxAge === undefined ? {} : { max_age: String(maxAge) }),
})

/** The sign-in page with this return target. */
export const loginPath = (target: ReturnTarget): string => {
  const query = new URLSearchParams(returnTargetFields(target)).toString()
  return query ? `/login?${query}` : '/login'
}

/** Where the person goes once signed in. */
export const destination = ({ flow, returnTo }: ReturnTarget): string =>
  flow ? `/oauth/consent?flow=${flow}` : (returnTo ?? '/')

// Which ways to sign in a person is offered: all of them, or the one that the requested service insists on.

export interface SignInOptions {
  readonly asking?: NonNullable<LoginView['asking']>
  /** Whether the service takes people who sign in that way: all do, but those with a list of providers. */
  readonly allowed: (provider: string) => boolean
  readonly providers: readonly IdentityProvider[]
  readonly password: boolean
  readonly link: boolean
}

export interface SignInOptionsDeps {
  readonly providers: ReadonlyMap<string, IdentityProvider>
  readonly people: LocalPeople
  readonly links: LoginLinks
  readonly describeFlow: DescribeFlow
}

export type FindSignInOptions = (target: ReturnTarget, request: Request) => Promise<SignInOptions>

export const createSignInOptions =
  ({ providers, people, links, describeFlow }: SignInOptionsDeps): FindSignInOptions =>
  async (target, request) => {
    const asking = target.flow ? await describeFlow(target.flow, request) : undefined
    const service = asking?.address.service
    const allowed = (id: string): boolean => service === undefined || servesProvider(service, id)
    return {
      ...(asking ? { asking: { client: asking.client, service: asking.address.service.name } } : {}),
      allowed,
      providers: [...providers.values()].filter((provider) => allowed(provider.id)),
      password: people.any && allowed('local'),
      link: links.enabled && allowed('local'),
    }
  }

// The last step of every sign-in: a fresh session, an audit event, and on to where the person was going.

export interface SignedInPerson {
  readonly person: Person
  readonly target: ReturnTarget
  readonly request: Request
  readonly context: RequestContext
  /** Further `Set-Cookie` values. */
  readonly cookies?: readonly string[]
  /** `BrowserSession.providerSession`. */
  readonly providerSession?: string | undefined
}

export interface CompleteSignInDeps {
  readonly sessions: BrowserSessions
  readonly blocks: Pick<Blocks, 'covers'>
  readonly record: Audit
}

/** How this browser signed in last, so that the sign-in page offers that first. It proves nothing. */
export const wayCookie = '__Host-postern-way'
const wayMs = 400 * 86_400_000

export type CompleteSignIn = (signedIn: SignedInPerson) => Promise<Response>

export const createCompleteSignIn =
  ({ sessions, blocks, record }: CompleteSignInDeps): CompleteSignIn =>
  async ({ person, target, request, context, cookies = [], providerSession }) => {
    const refuseBlocked = async (): Promise<void> => {
      const out = await blocks.covers(person)
      if (out) throw new Refusal(`person.${out}`, personKey(person))
    }
    await refuseBlocked()
    const session = await sessions.start(person, request, providerSession)
    // Whoever has kept them out meanwhile ended the sessions that there were, of which this one may be none.
    await refuseBlocked().catch(async (error: unknown) => {
      await sessions.endOf((other) => personKey(other) === personKey(person))
      throw error
    })
    record({
      event: 'sign-in',
      person: personKey(person),
      provider: person.provider,
      ip: context.ip,
      request_id: context.requestId,
    })
    const way = setCookie(wayCookie, encodeURIComponent(person.provider), wayMs)
    return seeOther(destination(target), [session, way, ...cookies])
  }
