// What follows from a decision: a grant and its code, or a no, sent back to the client once.
import { Refusal } from '../kit/refusal.ts'
import { judgeRedirectUri } from '../kit/urls.ts'
import type { Pages } from '../ports/pages.ts'
import type { Audit } from '../ports/rooms.ts'
import type { Visit } from '../ports/runtime.ts'
import { mayRefresh } from './client.ts'
import type { Clients } from './clients.ts'
import type { Flows } from './flows.ts'
import type { Grants } from './grants.ts'
import { type Confirmed, type Question, shownClient } from './question.ts'
import { seeOther } from './respond.ts'
import { subjectOf } from './tokens.ts'
import type { Tokens } from './tokens.ts'

export interface DecisionsDeps {
  readonly clients: Clients
  readonly grants: Grants
  readonly tokens: Tokens
  readonly flows: Flows
  readonly pages: Pages
  readonly record: Audit
  readonly respond: (redirectUri: string, params: Readonly<Record<string, string | undefined>>) => string
}

export interface Answered {
  readonly how: 'asked' | 'remembered'
  /** What else is written with it. */
  readonly keep?: Promise<unknown>
}

export interface Decisions {
  /** Both throw `flow.used` when the flow was answered meanwhile. */
  allow(question: Confirmed, visit: Visit, answer: Answered): Promise<Response>
  deny(question: Question, visit: Visit): Promise<Response>
}

export const createDecisions = ({ clients, grants, tokens, flows, pages, record, respond }: DecisionsDeps): Decisions => {
  /** An app with a scheme of its own gets a page with a button, because a browser may ignore such a redirect (RFC 8252 §8.1). */
  const send = ({ flow }: Question, params: Readonly<Record<string, string>>): Response => {
    const href = respond(flow.redirectUri, { ...params, state: flow.state })
    if (judgeRedirectUri(flow.redirectUri) !== 'native') return seeOther(href, [flows.forget(flow.id)])
    const page = pages.goBack({ client: shownClient(flow), href })
    page.headers.append('set-cookie', flows.forget(flow.id))
    return page
  }

  const facts = ({ flow, person }: Question, visit: Visit) => ({ client: flow.clientId, person: subjectOf({ person }), resource: flow.resource, scopes: flow.scopes, ip: visit.ip, request_id: visit.requestId })

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
