// Sign-in at an identity provider: it begins with a form of ours, and its callback counts only in the browser
// that sent the form.
import { encodeBase64url, sameText } from '../kit/bytes.ts'
import { seeOther } from '../kit/http.ts'
import { sealedRefusal } from '../kit/keyring.ts'
import { aboutRequest } from '../kit/log.ts'
import { keyMismatchOfRecord, personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type {
  Audit,
  DescribeFlow,
  Handler,
  Limit,
  ProvisionPerson,
  SaveProviderTokens,
} from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { RequestContext, Runtime } from '../ports/runtime.ts'
import type {
  AuthenticatedPerson,
  DeniedReason,
  IdentityProvider,
  RoundTripSecrets,
} from './providers/provider.ts'
import type { LoginCsrf } from './session.ts'
import {
  type CompleteSignIn,
  type FindSignInOptions,
  type ReturnTarget,
  loginPath,
  returnTargetOf,
} from './sign-in-request.ts'

// What is kept while a browser is away at an identity provider: `login-state:{digest of state}`, sealed, for
// ten minutes and one return.

const lifetimeMs = 600_000

export interface RoundTripRecord {
  readonly provider: string
  readonly secrets: RoundTripSecrets
  readonly target: ReturnTarget
  /** Digest of the binding of the browser that began. */
  readonly browser: string
}

export interface RoundTrips {
  /** 256 bits of chance, of which only a digest is kept. */
  newState(): string
  keep(state: string, record: RoundTripRecord): Promise<void>
  /** Undefined for a state that is unknown or expired. Throws `storage.sealed`. */
  read(state: string): Promise<RoundTripRecord | undefined>
  /** Single use: of two parallel callbacks one gets true. */
  take(state: string): Promise<boolean>
}

const keyOf = ({ digest }: Pick<Runtime, 'digest'>, state: string): string => `login-state:${digest(state)}`

export const createRoundTrips = (
  runtime: Pick<Runtime, 'random' | 'store' | 'keys' | 'log' | 'digest'>,
): RoundTrips => ({
  newState: () => encodeBase64url(runtime.random(32)),
  async keep(state, record) {
    const key = keyOf(runtime, state)
    await runtime.store.put(key, await runtime.keys.seal(JSON.stringify(record), key), {
      ttlMs: lifetimeMs,
      only: 'absent',
    })
  },
  async read(state) {
    const key = keyOf(runtime, state)
    const entry = await runtime.store.get(key)
    const text = entry && (await runtime.keys.open(entry.value, key))
    if (entry && text === undefined) {
      const misfit = await keyMismatchOfRecord(runtime, key, entry.value)
      if (misfit) throw sealedRefusal(misfit)
    }
    return text === undefined ? undefined : (JSON.parse(text) as RoundTripRecord)
  },
  take: async (state) => (await runtime.store.take(keyOf(runtime, state))) !== undefined,
})

/** A provider has just described the person, in that session of theirs (`sid`). Answers `BrowserSession.providerSession`. */
export type SignedIn = (person: Person, session: string | undefined) => Promise<string | undefined>

export interface ProviderSignInDeps {
  readonly runtime: Pick<Runtime, 'random' | 'store' | 'keys' | 'log' | 'digest'>
  readonly providers: ReadonlyMap<string, IdentityProvider>
  readonly optionsFor: FindSignInOptions
  readonly csrf: LoginCsrf
  readonly completeSignIn: CompleteSignIn
  readonly keepTokens: SaveProviderTokens
  readonly signedIn: SignedIn
  /** Absent where no provider pushes groups. */
  readonly provision?: ProvisionPerson | undefined
  readonly describeFlow: DescribeFlow
  readonly limit: Limit
  readonly record: Audit
}

const lastSegment = (request: Request): string => new URL(request.url).pathname.split('/').at(-1) ?? ''

const signInAgain = (target: ReturnTarget, label = 'Sign in again') => ({
  onward: { label, href: loginPath(target) },
})

/** Who is kept out on the way of a client can tell the client so (`access_denied`, RFC 6749 §4.1.2.1). */
const withReturn = async (
  { describeFlow }: ProviderSignInDeps,
  refusal: Refusal,
  flow: string | undefined,
  request: Request,
): Promise<Refusal> => {
  const asking = flow === undefined ? undefined : await describeFlow(flow, request).catch(() => undefined)
  if (!asking) return refusal
  // With a link and not a redirect: another account may do.
  if (!asking.redirect) return refusal
  const redirect = { ...asking.redirect, ask: asking.client.name }
  return new Refusal(refusal.code, refusal.why, { ...refusal.detail, redirect })
}

const notAllowed = (person: Person, { why, hint, forAdmin }: DeniedReason, target: ReturnTarget): Refusal =>
  new Refusal('person.not-allowed', why, {
    page: {
      ...(forAdmin && { who: 'admin' }),
      facts: [
        { name: 'Account', value: person.email ?? person.login ?? person.subject },
        { name: 'Allowed accounts', value: hint },
      ],
      onward: { label: 'Use another account', href: loginPath({ ...target, again: 'switch' }) },
    },
  })

const refuseOtherBrowser = (
  { record }: ProviderSignInDeps,
  browser: string | undefined,
  roundTrip: RoundTripRecord,
  { ip, requestId }: RequestContext,
): void => {
  if (browser !== undefined && sameText(browser, roundTrip.browser)) return
  record({
    event: 'callback.other-browser',
    reason: 'callback_browser_mismatch',
    provider: roundTrip.provider,
    ip,
    request_id: requestId,
  })
  throw new Refusal('login.other-browser', 'callback_browser_mismatch', {
    about: { provider: roundTrip.provider },
    page: signInAgain({}, 'Sign in with this browser'),
  })
}

/** The last step: whom the lists admit is signed in. */
const admit = async (
  deps: ProviderSignInDeps,
  provider: IdentityProvider,
  {
    person,
    session,
    denied: deniedAsTold,
    tokens,
  }: Omit<AuthenticatedPerson, 'tokens'> & Partial<AuthenticatedPerson>,
  way: { readonly target: ReturnTarget; readonly request: Request; readonly context: RequestContext },
): Promise<Response> => {
  const { target, request } = way
  const { id } = provider
  // The lists count the groups that the provider pushed too.
  const known = deniedAsTold && deps.provision ? await deps.provision(person) : person
  const denied = known === person ? deniedAsTold : provider.denied(known)
  if (denied) {
    const refusal = await withReturn(deps, notAllowed(person, denied, target), target.flow, request)
    throw aboutRequest(refusal, { provider: id, flow: target.flow, person: personKey(person) })
  }
  if (tokens) await deps.keepTokens({ ...tokens, person })
  const providerSession = await deps.signedIn(person, session)
  return deps.completeSignIn({ person, providerSession, ...way })
}

const createBegin =
  (deps: ProviderSignInDeps, roundTrips: RoundTrips): Handler =>
  async (request, context) => {
    const { optionsFor, csrf, limit } = deps
    const form = await csrf.ownForm(request)
    const target = returnTargetOf(form)
    await limit('sign-in-address', { ip: context.ip })
    const id = lastSegment(request)
    const { providers } = await optionsFor(target, request)
    const provider = providers.find((candidate) => candidate.id === id)
    if (!provider) throw new Refusal('provider.unknown', id, { page: signInAgain(target) })
    if (provider.direct) return admit(deps, provider, provider.direct(form), { target, request, context })
    await limit('kept-flows', { ip: context.ip })
    const state = roundTrips.newState()
    const { url, secrets } = await provider.begin({
      state,
      again: target.again,
      maxAge: target.maxAge,
      retry: loginPath(target),
    })
    const browser = await csrf.bind(request)
    await roundTrips.keep(state, { provider: id, secrets, target, browser: browser.id })
    return seeOther(url, [browser.cookie])
  }

const arrivesAt = ({ id, callback }: IdentityProvider, request: Request): boolean => {
  const named = lastSegment(request)
  return callback === undefined
    ? named === 'callback' || named === id
    : new URL(request.url).pathname === callback
}

const createCallback =
  (deps: ProviderSignInDeps, roundTrips: RoundTrips): Handler =>
  async (request, context) => {
    const params = new URL(request.url).searchParams
    const [state, second] = params.getAll('state')
    if (!state || second !== undefined)
      throw new Refusal('login.state-unknown', 'state missing or repeated', { page: signInAgain({}) })
    const kept = await roundTrips.read(state)
    const provider = kept && deps.providers.get(kept.provider)
    if (!provider || !arrivesAt(provider, request))
      throw new Refusal('login.state-unknown', 'state unknown or expired', { page: signInAgain({}) })
    refuseOtherBrowser(deps, await deps.csrf.id(request), kept, context)
    // Single use, whatever follows: of two parallel callbacks one goes on.
    if (!(await roundTrips.take(state)))
      throw new Refusal('login.state-unknown', 'state already used', { page: signInAgain({}) })
    const { target, secrets } = kept
    const about = { provider: provider.id, flow: target.flow }
    const authenticated = await provider
      .finish({ params, state, secrets, retry: loginPath(target) })
      .catch(async (error: unknown) => {
        const refusal = aboutRequest(error, about)
        throw refusal.code === 'provider.denied'
          ? await withReturn(deps, refusal, target.flow, request)
          : refusal
      })
    return admit(deps, provider, authenticated, { target, request, context })
  }

export const createProviderSignIn = (
  deps: ProviderSignInDeps,
): { readonly begin: Handler; readonly callback: Handler } => {
  const roundTrips = createRoundTrips(deps.runtime)
  return { begin: createBegin(deps, roundTrips), callback: createCallback(deps, roundTrips) }
}
