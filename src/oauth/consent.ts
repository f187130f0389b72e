// Consent: the page that asks the person, shown only in the browser that sent the authorization request, and
// what follows from the answer, which is given once and remembered only where nobody else can use it.
import type { Config } from '../config/schema.ts'
import { sameText } from '../kit/bytes.ts'
import { seeOther } from '../kit/http.ts'
import { Refusal } from '../kit/refusal.ts'
import type {
  Audit,
  Blocks,
  BrowserSession,
  ConnectStep,
  DescribeFlow,
  Handler,
  ServiceChoices,
  Sessions,
} from '../ports/modules.ts'
import type { Pages, PagesFor } from '../ports/pages.ts'

import type { Consented } from '../ports/people.ts'
import type { RequestContext, Runtime } from '../ports/runtime.ts'
import type { Directory, FindAddress } from '../ports/services.ts'
import type { PendingRequest, PendingRequests, StoredRequest } from './authorization-requests.ts'
import { mayRefresh } from './client.ts'
import type { Clients } from './clients.ts'
import { type ConsentAnswerDeps, codeOriginOf, decideDevice, respond } from './consent-answer.ts'
import {
  type ConfirmedRequest,
  type ConsentRequest,
  type RememberedConsents,
  confirmClient,
  consentRequestOf,
  consentView,
  createDescribeFlow,
  createRememberedConsents,
  loginPath,
  mayCopy,
} from './consent-request.ts'
import {
  consentedIn,
  isGiven,
  mostConsentBytes,
  mostConsentParameters,
  scopesWith,
  withinReach,
} from './consented.ts'
import type { Grants } from './grants.ts'
import { endpoints } from './metadata.ts'
import { fromOurPage, one, ownNavigation, readForm, readQuery, tellClient } from './parameters.ts'
import type { StepUps } from './step-up.ts'
import { type Tokens, subjectOf } from './tokens.ts'

export interface ConsentDeps extends ConsentAnswerDeps {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'keys' | 'log' | 'digest'>
  readonly config: Pick<Config, 'refresh_token_lifetime' | 'device' | 'copy_redirect_url'>
  readonly directory: Pick<Directory, 'issuer' | 'origins'>
  readonly find: FindAddress
  readonly blocks: Pick<Blocks, 'covers'>
  readonly choices: ServiceChoices
  readonly stepUps: Pick<StepUps, 'answered'>
  readonly clients: Clients
  readonly grants: Grants
  readonly tokens: Tokens
  readonly pendingRequests: PendingRequests
  readonly sessions: Sessions
  readonly pages: Pages
  readonly record: Audit
  /** The account that a person may have to connect before the service is of use. */
  readonly upstream: ConnectStep
}

export interface Consent {
  /** GET /oauth/consent?flow=ID */
  readonly page: Handler
  /** POST /oauth/consent with flow, csrf and decision=allow|deny */
  readonly decide: Handler
  readonly describeFlow: DescribeFlow
}

const pathOf = ({ id }: PendingRequest): string => `${endpoints.consent.path}?flow=${id}`

// What follows from a decision: a grant and its code, or a refusal, sent to the client once.

const factsOf = (
  { pending, person }: Pick<ConsentRequest, 'pending' | 'person'>,
  { ip, requestId }: RequestContext,
) => ({
  client: pending.clientId,
  person: subjectOf({ person }),
  resource: pending.resource,
  scopes: pending.scopes,
  ip,
  request_id: requestId,
})

interface Allowed {
  readonly how: 'asked' | 'remembered'
  /** What the person let the app do; undefined: there are no access rules. */
  readonly consented: Consented | undefined
  /** What else is written with it. */
  readonly keep?: Promise<unknown>
}

/**
 * The grant is made before the pending request is marked answered: what fails in between can be tried again,
 * and of two answers at once the loser's code never leaves this process. Throws `flow.used` when the request
 * was answered meanwhile.
 */
const issueCode = async (
  deps: ConsentDeps,
  confirmed: ConfirmedRequest,
  context: RequestContext,
  { how, consented, keep }: Allowed,
): Promise<Response> => {
  const { runtime, clients, grants, tokens, pendingRequests, record } = deps
  const { pending, client, session, person, read } = confirmed
  const { generation } = confirmed.address.service
  const { resource } = pending
  const scopes = scopesWith(pending.scopes, consented)
  // Three records that say nothing of one another until the request is answered: written at once, because
  // each may be far away.
  const [{ grant, secret }] = await Promise.all([
    grants.create({
      person,
      clientId: client.id,
      clientName: client.name,
      ...codeOriginOf(pending, { ip: context.ip, now: runtime.now() }),
      resource,
      ...(generation !== undefined && { serviceGeneration: generation }),
      scopes,
      ...(consented && { consented }),
      refreshable: mayRefresh(client, scopes),
      authTime: session.signedInAt,
      ...(session.providerSession !== undefined && { providerSession: session.providerSession }),
      ...(pending.flow !== undefined && { flow: pending.flow }),
    }),
    client.registered && clients.registrations.use(client.registered),
    keep,
  ])
  if (!(await pendingRequests.spend(read))) {
    await grants.discard(grant.id)
    throw new Refusal('flow.used', 'flow already answered')
  }
  const excluded = consented && consented.excluded.length > 0 ? consented.excluded : undefined
  const facts = { grant: grant.id, ...factsOf(confirmed, context), scopes }
  if (pending.device) await decideDevice(deps, pending.device, { grant, facts })
  record({ event: 'consent.allowed', how: pending.copied ? 'copied' : how, ...facts, excluded })
  if (!pending.device) record({ event: 'code.issued', ...facts })
  return respond(deps, pending, { code: tokens.code(grant, secret) })
}

/** Who asked for a level, and did not get it, asks no more for a while. */
const noteAnswer = async (
  { stepUps }: ConsentDeps,
  { pending, person, address, choices }: ConsentRequest,
  consented: Consented | undefined,
): Promise<void> => {
  if (!choices || pending.level === undefined) return
  const given = isGiven(consented, choices, pending)
  await stepUps.answered({ person, clientId: pending.clientId, service: address.service.id }, given)
}

/** Throws `flow.used` when the request was answered meanwhile. */
const deny = async (
  deps: ConsentDeps,
  consentRequest: ConsentRequest,
  context: RequestContext,
  reported = false,
): Promise<Response> => {
  if (!(await deps.pendingRequests.spend(consentRequest.read)))
    throw new Refusal('flow.used', 'flow already answered')
  await noteAnswer(deps, consentRequest, undefined)
  const facts = factsOf(consentRequest, context)
  const { device } = consentRequest.pending
  if (device) await decideDevice(deps, device, { reported, facts })
  deps.record({ event: 'consent.denied', ...facts })
  const { row, say } = new Refusal('consent.denied', 'denied on the consent page')
  return respond(deps, consentRequest.pending, { error: row.oauth, error_description: say })
}

/**
 * A person pressed Allow: it is written down, and the client gets its code, or first an account must be
 * connected.
 */
const allow = async (
  deps: ConsentDeps,
  consents: RememberedConsents,
  consentRequest: ConsentRequest,
  form: URLSearchParams,
  context: RequestContext,
): Promise<Response> => {
  const { clients, pendingRequests, upstream } = deps
  const { read, pending, address, session, choices } = consentRequest
  const [confirmed, remembered, ahead] = await Promise.all([
    confirmClient(consentRequest, deps),
    consents.recall(consentRequest),
    upstream.ahead(address, session.person),
  ])
  const consented = choices && consentedIn(form, choices, pending, remembered.before)
  const keep = Promise.all([
    consents.keep(consentRequest, remembered, consented),
    clients.approvals.keep(pending.client, pending.redirectUri),
    noteAnswer(deps, consentRequest, consented),
  ])
  if (!ahead) return issueCode(deps, confirmed, context, { how: 'asked', consented, keep })
  await keep
  // MCP Security Best Practices, Confused Deputy: nobody is sent to the upstream before they allowed this
  // client.
  const { generation } = address.service
  if (!(await pendingRequests.allow(read, { person: session.person, generation }, consented)))
    throw new Refusal('flow.used', 'flow already answered')
  return upstream.begin({ address, session, returnTo: pathOf(pending), context })
}

interface Read {
  readonly read: StoredRequest
  readonly session: BrowserSession | undefined
}

/** Both at once: each may be far away. What is wrong with the pending request is told first. */
const readBoth = async (
  { pendingRequests, sessions }: ConsentDeps,
  id: string | undefined,
  request: Request,
): Promise<Read> => {
  const session = sessions.of(request)
  session.catch(() => undefined)
  return { read: await pendingRequests.of(id ?? '', request), session: await session }
}

/**
 * Proves that the form came from the page that this browser's session was shown for this request, about this
 * generation of the service.
 */
const csrfOf = async (
  { find, runtime }: ConsentDeps,
  pending: PendingRequest,
  session: BrowserSession,
): Promise<string> => {
  const generation = (await find(pending.resource))?.service.generation ?? ''
  return runtime.digest(`consent.${pending.id}.${generation}.${session.csrf}`)
}

/** The page, or what makes it needless: an answer given before, or one that only waited for an account. */
const askOrAnswer = async (
  deps: ConsentDeps,
  consents: RememberedConsents,
  consentRequest: ConsentRequest,
  request: Request,
  context: RequestContext,
): Promise<Response> => {
  const { config, pages, pendingRequests, upstream } = deps
  const { pending, session, address } = consentRequest
  // Back from connecting an account: the answer was given, in this browser, by this person.
  if (pendingRequests.allowedBy(pending, session.person, address.service.generation))
    return issueCode(deps, await confirmClient(consentRequest, deps), context, {
      how: 'asked',
      consented: pending.consented,
    })
  const [remembered, ahead] = await Promise.all([
    consents.recall(consentRequest),
    pending.promptNone ? undefined : upstream.ahead(address, session.person),
  ])
  const ownWish = pending.ownNavigation && ownNavigation(request)
  if (!ahead && !pending.promptConsent && ownWish && remembered.settles) {
    const confirmed = await confirmClient(consentRequest, deps)
    // It must still describe itself as it did when the answer was given.
    if (confirmed.client.digest() === pending.client.digest)
      return issueCode(deps, confirmed, context, {
        how: 'remembered',
        consented: withinReach(remembered.consented, consentRequest),
      })
  }
  if (pending.promptNone)
    throw tellClient(pending, 'consent.required', 'prompt=none without a remembered answer')
  const csrf = await csrfOf(deps, pending, session)
  return pages.consent(consentView(consentRequest, remembered, csrf, config, ahead))
}

/** The session, when it is fresh enough for the request. */
const sessionFor = (
  { signedInSince = 0, earlierSession }: PendingRequest,
  session: BrowserSession | undefined,
): BrowserSession | undefined =>
  session && session.id !== earlierSession && session.signedInAt >= signedInSince ? session : undefined

const decided = async (
  deps: ConsentDeps,
  consents: RememberedConsents,
  { read, session }: Read,
  form: URLSearchParams,
  context: RequestContext,
): Promise<Response> => {
  const { pending } = read
  const onward = { page: { onward: { label: 'Open the page again', href: pathOf(pending) } } }
  if (!session) throw new Refusal('consent.form', 'session cookie missing or expired', onward)
  if (!sameText(one(form, 'csrf') ?? '', await csrfOf(deps, pending, session)))
    throw new Refusal('consent.form', 'csrf field missing or wrong', onward)
  const consentRequest = await consentRequestOf(read, session, deps)
  const decision = one(form, 'decision')
  if (decision === 'copy' && mayCopy(pending, deps.config)) {
    const copied = { ...pending, copied: true }
    return allow(
      deps,
      consents,
      { ...consentRequest, pending: copied, read: { ...read, pending: copied } },
      form,
      context,
    )
  }
  if (decision === 'deny') return deny(deps, consentRequest, context)
  if (decision === 'report' && pending.device) return deny(deps, consentRequest, context, true)
  if (decision !== 'allow')
    throw new Refusal('request.malformed', 'decision is neither allow nor deny', {
      say: 'decision must be allow or deny.',
    })
  return allow(deps, consents, consentRequest, form, context)
}

export const createConsent = (given: Omit<ConsentDeps, 'pages'> & { readonly pages: PagesFor }): Consent => {
  const { clients, directory } = given
  const consents = createRememberedConsents(given)
  const depsFor = (request: Request): ConsentDeps => ({ ...given, pages: given.pages(request) })

  const page: Handler = async (request, context) => {
    const deps = depsFor(request)
    const { read, session } = await readBoth(deps, one(readQuery(request), 'flow'), request)
    const { pending } = read
    return clients.approvals.guard(async () => {
      const fresh = sessionFor(pending, session)
      if (fresh)
        return askOrAnswer(deps, consents, await consentRequestOf(read, fresh, deps), request, context)
      if (pending.promptNone)
        throw tellClient(pending, 'login.required', 'prompt=none without a fresh session')
      return seeOther(loginPath(pending.id, pending.signedInSince === undefined ? undefined : 'login'))
    }, pending.client)
  }

  const decide: Handler = async (request, context) => {
    const deps = depsFor(request)
    fromOurPage(request, directory.origins)
    const form = await readForm(request, mostConsentBytes, mostConsentParameters)
    const both = await readBoth(deps, one(form, 'flow'), request)
    return clients.approvals.guard(
      () => decided(deps, consents, both, form, context),
      both.read.pending.client,
    )
  }

  return { page, decide, describeFlow: createDescribeFlow(given) }
}
