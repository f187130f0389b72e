// The question to the person, and its answer: shown only in the browser that began the flow, decided once, remembered only where nobody else can use the memory.
import type { Config } from '../config/schema.ts'
import { sameText } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import { judgeRedirectUri } from '../kit/urls.ts'
import type { Audit, ConnectStep, DescribeFlow, Handler, BrowserSession, Sessions } from '../ports/modules.ts'
import type { Pages } from '../ports/pages.ts'
import type { RequestContext } from '../ports/runtime.ts'
import type { PendingRequest, PendingRequests, StoredRequest } from './authorization-requests.ts'
import { authorizationResponse, seeOther } from './authorization-response.ts'
import { tellClient } from './authorize-checks.ts'
import { mayRefresh } from './client.ts'
import type { Clients } from './clients.ts'
import {
  type Confirmed,
  type ConsentRequest,
  type ConsentRequests,
  type ConsentRequestsDeps,
  consentView,
  createConsentRequests,
  loginPath,
  shownClient,
} from './consent-request.ts'
import type { Grants } from './grants.ts'
import { fromOurPage, one, ownNavigation, readForm, readQuery } from './parameters.ts'
import { type RememberedConsentsDeps, createRememberedConsents } from './remembered-consent.ts'
import { type Tokens, subjectOf } from './tokens.ts'

// What follows from a decision: a grant and its code, or a no, sent back to the client once.

export interface ConsentDecisionsDeps {
  readonly clients: Clients
  readonly grants: Grants
  readonly tokens: Tokens
  readonly flows: PendingRequests
  readonly pages: Pages
  readonly record: Audit
  readonly respond: (redirectUri: string, params: Readonly<Record<string, string | undefined>>) => string
}

export interface ConsentAnswer {
  readonly how: 'asked' | 'remembered'
  /** What else is written with it. */
  readonly keep?: Promise<unknown>
}

export interface ConsentDecisions {
  /** Both throw `flow.used` when the flow was answered meanwhile. */
  allow(question: Confirmed, visit: RequestContext, answer: ConsentAnswer): Promise<Response>
  deny(question: ConsentRequest, visit: RequestContext): Promise<Response>
}

export const createConsentDecisions = ({
  clients,
  grants,
  tokens,
  flows,
  pages,
  record,
  respond,
}: ConsentDecisionsDeps): ConsentDecisions => {
  /** An app with a scheme of its own gets a page with a button, because a browser may ignore such a redirect (RFC 8252 §8.1). */
  const send = ({ flow }: ConsentRequest, params: Readonly<Record<string, string>>): Response => {
    const href = respond(flow.redirectUri, { ...params, state: flow.state })
    if (judgeRedirectUri(flow.redirectUri) !== 'native') return seeOther(href, [flows.forget(flow.id)])
    const page = pages.goBack({ client: shownClient(flow), href })
    page.headers.append('set-cookie', flows.forget(flow.id))
    return page
  }

  const facts = ({ flow, person }: ConsentRequest, visit: RequestContext) => ({
    client: flow.clientId,
    person: subjectOf({ person }),
    resource: flow.resource,
    scopes: flow.scopes,
    ip: visit.ip,
    request_id: visit.requestId,
  })

  return {
    // The grant is made before the flow is spent: what fails in between can be tried again, and of two answers at once the loser's code never leaves this process.
    async allow(question, visit, { how, keep }) {
      const { flow, client, session, person, read } = question
      const { generation } = question.address.service
      const { redirectUri, redirectSent, resource, scopes, challenge } = flow
      const refreshable = mayRefresh(client, scopes)
      // Three records that say nothing of one another until the flow is spent: written at once, because each may be far away.
      const [{ grant, secret }] = await Promise.all([
        grants.create({
          person,
          clientId: client.id,
          clientName: client.name,
          redirectUri,
          redirectSent,
          resource,
          ...(generation !== undefined && { serviceGeneration: generation }),
          scopes,
          challenge,
          refreshable,
          authTime: session.signedInAt,
        }),
        client.registered && clients.registrations.use(client.registered),
        keep,
      ])
      if (!(await flows.spend(read))) {
        await grants.discard(grant.id)
        throw new Refusal('flow.used', 'flow already answered')
      }
      record({ event: 'consent.allowed', how, grant: grant.id, ...facts(question, visit) })
      return send(question, { code: tokens.code(grant, secret) })
    },
    async deny(question, visit) {
      if (!(await flows.spend(question.read))) throw new Refusal('flow.used', 'flow already answered')
      record({ event: 'consent.denied', ...facts(question, visit) })
      const { row, say } = new Refusal('consent.denied', 'denied on the consent page')
      return send(question, { error: row.oauth, error_description: say })
    },
  }
}

type ConsentContext = Parameters<Handler>[1]

export interface ConsentDeps
  extends ConsentRequestsDeps, RememberedConsentsDeps, Omit<ConsentDecisionsDeps, 'respond'> {
  readonly config: Pick<Config, 'refresh_token_lifetime'>
  readonly sessions: Sessions
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

interface Read {
  readonly read: StoredRequest
  readonly session: BrowserSession | undefined
}

/** Both at once: each may be far away. What is wrong with the flow is told first. */
const readBoth = async (
  { flows, sessions }: ConsentDeps,
  id: string | undefined,
  request: Request,
): Promise<Read> => {
  const session = sessions.of(request)
  session.catch(() => undefined)
  return { read: await flows.of(id ?? '', request), session: await session }
}

/** Proves that the form came from the page that this browser's session was shown for this flow, about this generation of the service. */
const csrfOf = async (
  { find, runtime }: ConsentDeps,
  flow: PendingRequest,
  session: BrowserSession,
): Promise<string> => {
  const generation = (await find(flow.resource))?.service.generation ?? ''
  return runtime.digest(`consent.${flow.id}.${generation}.${session.csrf}`)
}

/** The yes of a person: written down, and answered, or first an account that must be connected. */
const createAllow = (deps: ConsentDeps, questions: ConsentRequests, decisions: ConsentDecisions) => {
  const { clients, flows, upstream } = deps
  const remembered = createRememberedConsents(deps)
  return async (question: ConsentRequest, visit: ConsentContext): Promise<Response> => {
    const { read, flow, address, session } = question
    const [confirmed, known, ahead] = await Promise.all([
      questions.confirm(question),
      remembered.recall(question),
      upstream.ahead(address, session.person),
    ])
    const keep = Promise.all([
      remembered.keep(question, known),
      clients.approvals.keep(flow.client, flow.redirectUri),
    ])
    if (!ahead) return decisions.allow(confirmed, visit, { how: 'asked', keep })
    await keep
    // MCP Security Best Practices, Confused Deputy: nobody is sent to the upstream before they said yes to this client.
    if (!(await flows.allow(read, session.person, address.service.generation)))
      throw new Refusal('flow.used', 'flow already answered')
    return upstream.begin({ address, session, returnTo: `/oauth/consent?flow=${flow.id}`, visit })
  }
}

export const createConsent = (deps: ConsentDeps): Consent => {
  const { clients, config, directory, pages, flows, upstream } = deps
  const remembered = createRememberedConsents(deps)
  const questions = createConsentRequests(deps)
  const decisions = createConsentDecisions({ ...deps, respond: authorizationResponse(directory.issuer) })
  const allow = createAllow(deps, questions, decisions)

  const answer = async (
    { read, session }: Read,
    request: Request,
    visit: ConsentContext,
  ): Promise<Response> => {
    const { flow } = read
    if (!session || session.signedInAt < (flow.signedInSince ?? 0)) {
      if (flow.silent) throw tellClient(flow, 'login.required', 'prompt=none without a fresh session')
      return seeOther(loginPath(flow.id, flow.signedInSince === undefined ? undefined : 'login'))
    }
    const question = await questions.pose(read, session)
    // Back from connecting an account: the answer was given, in this browser, by this person.
    if (flows.allowedBy(flow, session.person, question.address.service.generation))
      return decisions.allow(await questions.confirm(question), visit, { how: 'asked' })
    const [known, ahead] = await Promise.all([
      remembered.recall(question),
      flow.silent ? undefined : upstream.ahead(question.address, session.person),
    ])
    if (!ahead && !flow.ask && flow.ownNavigation && ownNavigation(request) && known.settles) {
      const confirmed = await questions.confirm(question)
      // It must still describe itself as it did when the answer was given.
      if (confirmed.client.digest() === flow.client.digest)
        return decisions.allow(confirmed, visit, { how: 'remembered' })
    }
    if (flow.silent) throw tellClient(flow, 'consent.required', 'prompt=none without a remembered answer')
    return pages.consent(
      consentView(
        question,
        known,
        await csrfOf(deps, flow, session),
        config.refresh_token_lifetime * 1000,
        ahead,
      ),
    )
  }

  const page: Handler = async (request, visit) => {
    const both = await readBoth(deps, one(readQuery(request), 'flow'), request)
    return clients.approvals.guard(
      () => answer(both, request, visit),
      () => both.read.flow.client,
    )
  }

  const decided = async (
    { read, session }: Read,
    form: URLSearchParams,
    visit: ConsentContext,
  ): Promise<Response> => {
    const onward = {
      page: { onward: { label: 'Open the page again', href: `/oauth/consent?flow=${read.flow.id}` } },
    }
    if (!session) throw new Refusal('consent.form', 'session cookie missing or expired', onward)
    if (!sameText(one(form, 'csrf') ?? '', await csrfOf(deps, read.flow, session)))
      throw new Refusal('consent.form', 'csrf field missing or wrong', onward)
    const question = await questions.pose(read, session)
    const decision = one(form, 'decision')
    if (decision === 'deny') return decisions.deny(question, visit)
    if (decision !== 'allow')
      throw new Refusal('request.malformed', 'decision is neither allow nor deny', {
        say: 'decision must be allow or deny.',
      })
    return allow(question, visit)
  }

  const decide: Handler = async (request, visit) => {
    fromOurPage(request, directory.origins)
    const form = await readForm(request)
    const both = await readBoth(deps, one(form, 'flow'), request)
    return clients.approvals.guard(
      () => decided(both, form, visit),
      () => both.read.flow.client,
    )
  }

  return { page, decide, describeFlow: questions.describe }
}
