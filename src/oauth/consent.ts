// The question to the person, and its answer: shown only in the browser that began the flow, decided once, remembered only where nobody else can use the memory.
import type { Config } from '../config/schema.ts'
import { sameText } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { ConnectStep } from '../ports/connections.ts'
import type { DescribeFlow, Handler, Session, Sessions } from '../ports/rooms.ts'
import { tellClient } from './authorize-checks.ts'
import { type Decisions, type DecisionsDeps, createDecisions } from './decision.ts'
import type { Flow, ReadFlow } from './flows.ts'
import { fromOurPage, one, ownNavigation, readForm, readQuery } from './form.ts'
import { type Question, type Questions, type QuestionsDeps, consentView, createQuestions, loginPath } from './question.ts'
import { type RememberedDeps, createRemembered } from './remembered.ts'
import { authorizationResponse, seeOther } from './respond.ts'

type Visit = Parameters<Handler>[1]

export interface ConsentDeps extends QuestionsDeps, RememberedDeps, Omit<DecisionsDeps, 'respond'> {
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
  readonly read: ReadFlow
  readonly session: Session | undefined
}

/** Both at once: each may be far away. What is wrong with the flow is told first. */
const readBoth = async ({ flows, sessions }: ConsentDeps, id: string | undefined, request: Request): Promise<Read> => {
  const session = sessions.of(request)
  session.catch(() => undefined)
  return { read: await flows.of(id ?? '', request), session: await session }
}

/** Proves that the form came from the page that this browser's session was shown for this flow, about this generation of the service. */
const csrfOf = async ({ find, runtime }: ConsentDeps, flow: Flow, session: Session): Promise<string> => {
  const generation = (await find(flow.resource))?.service.generation ?? ''
  return runtime.digest(`consent.${flow.id}.${generation}.${session.csrf}`)
}

/** The yes of a person: written down, and answered, or first an account that must be connected. */
const createAllow = (deps: ConsentDeps, questions: Questions, decisions: Decisions) => {
  const { clients, flows, upstream } = deps
  const remembered = createRemembered(deps)
  return async (question: Question, visit: Visit): Promise<Response> => {
    const { read, flow, address, session } = question
    const [confirmed, known, ahead] = await Promise.all([
      questions.confirm(question),
      remembered.recall(question),
      upstream.ahead(address, session.person),
    ])
    const keep = Promise.all([remembered.keep(question, known), clients.approvals.keep(flow.client, flow.redirectUri)])
    if (!ahead) return decisions.allow(confirmed, visit, { how: 'asked', keep })
    await keep
    // MCP Security Best Practices, Confused Deputy: nobody is sent to the upstream before they said yes to this client.
    if (!(await flows.allow(read, session.person, address.service.generation))) throw new Refusal('flow.used', 'flow already answered')
    return upstream.begin({ address, session, returnTo: `/oauth/consent?flow=${flow.id}`, visit })
  }
}

export const createConsent = (deps: ConsentDeps): Consent => {
  const { clients, config, directory, pages, flows, upstream } = deps
  const remembered = createRemembered(deps)
  const questions = createQuestions(deps)
  const decisions = createDecisions({ ...deps, respond: authorizationResponse(directory.issuer) })
  const allow = createAllow(deps, questions, decisions)

  const answer = async ({ read, session }: Read, request: Request, visit: Visit): Promise<Response> => {
    const { flow } = read
    if (!session || session.signedInAt < (flow.signedInSince ?? 0)) {
      if (flow.silent) throw tellClient(flow, 'login.required', 'prompt=none without a fresh session')
      return seeOther(loginPath(flow.id, flow.signedInSince === undefined ? undefined : 'login'))
    }
    const question = await questions.pose(read, session)
    // Back from connecting an account: the answer was given, in this browser, by this person.
    if (flows.allowedBy(flow, session.person, question.address.service.generation)) return decisions.allow(await questions.confirm(question), visit, { how: 'asked' })
    const [known, ahead] = await Promise.all([remembered.recall(question), flow.silent ? undefined : upstream.ahead(question.address, session.person)])
    if (!ahead && !flow.ask && flow.ownNavigation && ownNavigation(request) && known.settles) {
      const confirmed = await questions.confirm(question)
      // It must still describe itself as it did when the answer was given.
      if (confirmed.client.digest() === flow.client.digest) return decisions.allow(confirmed, visit, { how: 'remembered' })
    }
    if (flow.silent) throw tellClient(flow, 'consent.required', 'prompt=none without a remembered answer')
    return pages.consent(consentView(question, known, await csrfOf(deps, flow, session), config.refresh_token_lifetime * 1000, ahead))
  }

  const page: Handler = async (request, visit) => {
    const both = await readBoth(deps, one(readQuery(request), 'flow'), request)
    return clients.approvals.guard(
      () => answer(both, request, visit),
      () => both.read.flow.client,
    )
  }

  const decided = async ({ read, session }: Read, form: URLSearchParams, visit: Visit): Promise<Response> => {
    const onward = { page: { onward: { label: 'Open the page again', href: `/oauth/consent?flow=${read.flow.id}` } } }
    if (!session) throw new Refusal('consent.form', 'session cookie missing or expired', onward)
    if (!sameText(one(form, 'csrf') ?? '', await csrfOf(deps, read.flow, session))) throw new Refusal('consent.form', 'csrf field missing or wrong', onward)
    const question = await questions.pose(read, session)
    const decision = one(form, 'decision')
    if (decision === 'deny') return decisions.deny(question, visit)
    if (decision !== 'allow') throw new Refusal('request.malformed', 'decision is neither allow nor deny', { say: 'decision must be allow or deny.' })
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
