// The question to the person, and its answer: shown only in the browser that began the flow, decided once, remembered only where nobody else can use the memory.
import type { Config } from '../config/schema.ts'
import { digest, sameText } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { ConnectStep } from '../ports/connections.ts'
import type { DescribeFlow, Handler, Session, Sessions } from '../ports/rooms.ts'
import { tellClient } from './authorize-checks.ts'
import { type DecisionsDeps, createDecisions } from './decision.ts'
import type { Flow } from './flows.ts'
import { fromOurPage, one, ownNavigation, readForm, readQuery } from './form.ts'
import { type QuestionsDeps, consentView, createQuestions, loginPath } from './question.ts'
import { type RememberedDeps, createRemembered } from './remembered.ts'
import { authorizationResponse, seeOther } from './respond.ts'

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

export const createConsent = (deps: ConsentDeps): Consent => {
  const { config, directory, find, sessions, pages, flows, upstream } = deps
  const remembered = createRemembered(deps)
  const questions = createQuestions(deps)
  const decisions = createDecisions({ ...deps, respond: authorizationResponse(directory.issuer) })

  /** Proves that the form came from the page that this browser's session was shown for this flow, about this generation of the service. */
  const csrfOf = async (flow: Flow, session: Session): Promise<string> => {
    const generation = (await find(flow.resource))?.service.generation ?? ''
    return digest(`consent.${flow.id}.${generation}.${session.csrf}`)
  }

  const page: Handler = async (request, visit) => {
    const read = await flows.of(one(readQuery(request), 'flow') ?? '', request)
    const { flow } = read
    const session = await sessions.of(request)
    if (!session || session.signedInAt < (flow.signedInSince ?? 0)) {
      if (flow.silent) throw tellClient(flow, 'login.required', 'prompt=none without a fresh session')
      return seeOther(loginPath(flow.id, flow.signedInSince === undefined ? undefined : 'login'))
    }
    const question = await questions.pose(read, session)
    // Back from connecting an account: the answer was given, in this browser, by this person.
    if (flows.allowedBy(flow, session.person, question.address.service.generation)) return decisions.allow(question, visit, 'asked')
    const known = await remembered.recall(question)
    const ahead = flow.silent ? undefined : await upstream.ahead(question.address, session.person)
    const settled = !ahead && !flow.ask && flow.ownNavigation && ownNavigation(request) && known.settles
    if (settled) return decisions.allow(question, visit, 'remembered')
    if (flow.silent) throw tellClient(flow, 'consent.required', 'prompt=none without a remembered answer')
    return pages.consent(consentView(question, known, await csrfOf(flow, session), config.refresh_token_lifetime * 1000, ahead), visit.requestId)
  }

  const decide: Handler = async (request, visit) => {
    fromOurPage(request, directory.origins)
    const form = await readForm(request)
    const read = await flows.of(one(form, 'flow') ?? '', request)
    const session = await sessions.of(request)
    const onward = { page: { onward: { label: 'Open the page again', href: `/oauth/consent?flow=${read.flow.id}` } } }
    if (!session) throw new Refusal('consent.form', 'no session', onward)
    if (!sameText(one(form, 'csrf') ?? '', await csrfOf(read.flow, session))) throw new Refusal('consent.form', 'csrf', onward)
    const question = await questions.pose(read, session)
    const decision = one(form, 'decision')
    if (decision === 'deny') return decisions.deny(question, visit)
    if (decision !== 'allow') throw new Refusal('request.malformed', 'decision', { say: 'The answer must be allow or deny.' })
    await remembered.keep(question)
    if (!(await upstream.ahead(question.address, session.person))) return decisions.allow(question, visit, 'asked')
    // MCP Security Best Practices, Confused Deputy: nobody is sent to the upstream before they said yes to this client.
    if (!(await flows.allow(read, session.person, question.address.service.generation))) throw new Refusal('flow.used')
    return upstream.begin({ address: question.address, session, returnTo: `/oauth/consent?flow=${read.flow.id}`, visit })
  }

  return { page, decide, describeFlow: questions.describe }
}
