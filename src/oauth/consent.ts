// The question to the person, and its answer: shown only in the browser that began the flow, decided once, remembered only where nobody else can use the memory.
import type { Config } from '../config/schema.ts'
import { encodeBase64url, sameText } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import { judgeRedirectUri, redirectHost, redirectMatches } from '../kit/urls.ts'
import type { Pages } from '../ports/pages.ts'
import type { Audit, DescribeFlow, Handler, Session, Sessions } from '../ports/rooms.ts'
import type { Runtime, Visit } from '../ports/runtime.ts'
import type { Address, Directory } from '../ports/services.ts'
import { tellClient } from './authorize-checks.ts'
import { ownNavigation } from './authorize.ts'
import { clientView, mayRefresh } from './client.ts'
import type { Client } from './client.ts'
import type { Clients } from './clients.ts'
import type { Flow, Flows, ReadFlow } from './flows.ts'
import { one, readForm, readQuery } from './form.ts'
import type { Grants } from './grants.ts'
import { createRemembered } from './remembered.ts'
import { authorizationResponse, seeOther } from './respond.ts'
import { subjectOf } from './tokens.ts'
import type { Tokens } from './tokens.ts'

export interface ConsentDeps {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'keys'>
  readonly config: Pick<Config, 'refresh_token_lifetime'>
  readonly directory: Directory
  readonly clients: Clients
  readonly grants: Grants
  readonly tokens: Tokens
  readonly flows: Flows
  readonly sessions: Sessions
  readonly pages: Pages
  readonly record: Audit
}

export interface Consent {
  /** GET /oauth/consent?flow=ID */
  readonly page: Handler
  /** POST /oauth/consent with flow, csrf and decision=allow|deny */
  readonly decide: Handler
  readonly describeFlow: DescribeFlow
}

/** Everything a question consists of, established anew for the page and for its answer. */
interface Question {
  readonly read: ReadFlow
  readonly flow: Flow
  readonly client: Client
  readonly address: Address
  readonly session: Session
  readonly person: Session['person']
}

const loginPath = (flow: string, again: boolean): string => `/login?flow=${flow}${again ? '&again=1' : ''}`

export const createConsent = (deps: ConsentDeps): Consent => {
  const { runtime, config, directory, clients, grants, tokens, flows, sessions, pages, record } = deps
  const remembered = createRemembered({ runtime })
  const respond = authorizationResponse(directory.issuer)

  const subject = async (flow: Flow): Promise<{ readonly client: Client; readonly address: Address }> => {
    const client = await clients.find(flow.clientId, 'authorize')
    // What the client says of itself may have changed since the request; its present word counts.
    if (!client.redirectUris.some((registered) => redirectMatches(registered, flow.redirectUri))) throw new Refusal('redirect.mismatch', `${client.id}: ${flow.redirectUri}`)
    const address = directory.resolve(flow.resource)
    if (!address) throw tellClient(flow, 'resource.unknown', flow.resource)
    return { client, address }
  }

  const ask = async (read: ReadFlow, session: Session): Promise<Question> => {
    const { flow } = read
    const { person } = session
    const { client, address } = await subject(flow)
    if (address.service.provider !== undefined && address.service.provider !== person.provider)
      throw new Refusal('person.wrong-provider', `${person.provider} at ${address.service.id}`, {
        page: { facts: [{ name: 'Signed in as', value: person.email ?? person.login ?? person.subject }], onward: { label: 'Use another account', href: loginPath(flow.id, true) } },
      })
    return { read, flow, client, address, session, person }
  }

  /** Proves that the form came from the page that this browser's session was shown for this flow. */
  const csrfOf = async (flow: Flow, session: Session): Promise<string> => encodeBase64url((await runtime.keys.mac('consent', `${flow.id}.${session.id}`)) ?? new Uint8Array())

  const show = async (question: Question, known: readonly string[], visit: Visit): Promise<Response> => {
    const { flow, client, address, session } = question
    const { service } = address
    const kind = judgeRedirectUri(flow.redirectUri)
    return pages.consent(
      {
        client: clientView(client),
        redirect: { uri: flow.redirectUri, host: redirectHost(flow.redirectUri), loopback: kind === 'loopback', native: kind === 'native' },
        service: { id: service.id, name: service.name, description: service.description, resource: address.resource },
        person: session.person,
        scopes: flow.scopes.map((name) => ({ name, fresh: !known.includes(name) })),
        ...(mayRefresh(client, flow.scopes) && { staysMs: config.refresh_token_lifetime * 1000 }),
        flow: flow.id,
        csrf: await csrfOf(flow, session),
        switchAccount: loginPath(flow.id, true),
      },
      visit.requestId,
    )
  }

  /** Sends the answer back. An app with a scheme of its own gets a page with a button, because a browser may ignore the redirect (RFC 8252 §8.1). */
  const answer = (flow: Flow, client: Client, params: Readonly<Record<string, string>>, visit: Visit): Response => {
    const href = respond(flow.redirectUri, { ...params, state: flow.state })
    if (judgeRedirectUri(flow.redirectUri) !== 'native') return seeOther(href, [flows.forget(flow.id)])
    const page = pages.goBack({ client: clientView(client), href }, visit.requestId)
    page.headers.append('set-cookie', flows.forget(flow.id))
    return page
  }

  const facts = ({ flow, client, person }: Question, visit: Visit) => ({ client: client.id, person: subjectOf({ person }), resource: flow.resource, scopes: flow.scopes, ip: visit.ip, request_id: visit.requestId })

  // The grant is made before the flow is spent: what fails in between can be tried again, and of two answers at once the loser's code never leaves this process.
  const allow = async (question: Question, visit: Visit, how: 'asked' | 'remembered'): Promise<Response> => {
    const { flow, client, session, person, read } = question
    if (how === 'asked') await remembered.keep(question)
    const { grant, secret } = await grants.create({
      person,
      clientId: client.id,
      clientName: client.name,
      redirectUri: flow.redirectUri,
      redirectSent: flow.redirectSent,
      resource: flow.resource,
      scopes: flow.scopes,
      challenge: flow.challenge,
      refreshable: mayRefresh(client, flow.scopes),
      authTime: session.signedInAt,
    })
    if (!(await flows.spend(read))) {
      await grants.discard(grant.id)
      throw new Refusal('flow.used')
    }
    if (client.kind === 'dynamic') await clients.registrations.renew(client.id)
    record({ event: 'consent.allowed', how, grant: grant.id, ...facts(question, visit) })
    return answer(flow, client, { code: tokens.code(grant, secret) }, visit)
  }

  const deny = async (question: Question, visit: Visit): Promise<Response> => {
    if (!(await flows.spend(question.read))) throw new Refusal('flow.used')
    record({ event: 'consent.denied', ...facts(question, visit) })
    const { row, say } = new Refusal('consent.denied')
    return answer(question.flow, question.client, { error: row.oauth, error_description: say }, visit)
  }

  const page: Handler = async (request, visit) => {
    const read = await flows.of(one(readQuery(request), 'flow') ?? '', request)
    const { flow } = read
    const session = await sessions.of(request)
    if (!session || session.signedInAt < (flow.signedInSince ?? 0)) {
      if (flow.silent) throw tellClient(flow, 'login.required', 'prompt=none without a fresh session')
      return seeOther(loginPath(flow.id, session !== undefined))
    }
    const question = await ask(read, session)
    const known = await remembered.scopes(question)
    const settled = !flow.ask && flow.ownNavigation && ownNavigation(request) && flow.scopes.every((scope) => known.includes(scope))
    if (settled) return allow(question, visit, 'remembered')
    if (flow.silent) throw tellClient(flow, 'consent.required', 'prompt=none without a remembered answer')
    return show(question, known, visit)
  }

  // RFC 9700 §4.7: a page of another site can send this form, but neither from here nor with the flow's cookie, the session's and their common token.
  const fromOurPage = (request: Request): void => {
    const origin = request.headers.get('origin')
    const site = request.headers.get('sec-fetch-site')
    if (origin !== null && !directory.origins.includes(origin)) throw new Refusal('consent.form', `Origin ${origin}`)
    if (site !== null && site !== 'same-origin' && site !== 'none') throw new Refusal('consent.form', `Sec-Fetch-Site ${site}`)
  }

  const decide: Handler = async (request, visit) => {
    fromOurPage(request)
    const form = await readForm(request)
    const read = await flows.of(one(form, 'flow') ?? '', request)
    const session = await sessions.of(request)
    const onward = { page: { onward: { label: 'Open the page again', href: `/oauth/consent?flow=${read.flow.id}` } } }
    if (!session) throw new Refusal('consent.form', 'no session', onward)
    if (!sameText(one(form, 'csrf') ?? '', await csrfOf(read.flow, session))) throw new Refusal('consent.form', 'csrf', onward)
    const question = await ask(read, session)
    const decision = one(form, 'decision')
    if (decision === 'allow') return allow(question, visit, 'asked')
    if (decision === 'deny') return deny(question, visit)
    throw new Refusal('request.malformed', 'decision', { say: 'The answer must be allow or deny.' })
  }

  const describeFlow: DescribeFlow = async (id, request) => {
    const flow = await flows.peek(id, request)
    const found = flow && (await subject(flow))
    return found && { client: clientView(found.client), address: found.address }
  }

  return { page, decide, describeFlow }
}
