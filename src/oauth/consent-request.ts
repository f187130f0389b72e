// The question of one authorization flow: which client asks whom for what. Established anew for the page that shows it and for the answer to it.
import { Refusal } from '../kit/refusal.ts'
import { judgeRedirectUri, redirectHost, redirectMatches } from '../kit/urls.ts'
import type { DescribeFlow, BrowserSession, UpstreamStep } from '../ports/modules.ts'
import type { ClientView, ConsentView } from '../ports/pages.ts'
import type { Person } from '../ports/people.ts'
import type { Address, Directory, FindAddress } from '../ports/services.ts'
import type { PendingRequest, PendingRequests, StoredRequest } from './authorization-requests.ts'
import { tellClient } from './authorize-checks.ts'
import type { Clients, FoundClient } from './clients.ts'
import type { RememberedAnswer } from './remembered-consent.ts'

export interface ConsentRequest {
  readonly read: StoredRequest
  readonly flow: PendingRequest
  readonly address: Address
  readonly session: BrowserSession
  readonly person: Person
}

/** A question whose client was asked for anew: what it says of itself may have changed since the request, and its present word counts. */
export interface Confirmed extends ConsentRequest {
  readonly client: FoundClient
}

export interface ConsentRequests {
  /** Throws `resource.unknown` or `person.wrong-provider` when the flow makes no sense any more, or not for this person. */
  pose(read: StoredRequest, session: BrowserSession): Promise<ConsentRequest>
  /** Throws `client.unknown`, or `redirect.mismatch` when the client does not go by that redirect URI any more. */
  confirm(question: ConsentRequest): Promise<Confirmed>
  readonly describe: DescribeFlow
}

export interface ConsentRequestsDeps {
  readonly directory: Directory
  readonly find: FindAddress
  readonly clients: Clients
  readonly flows: PendingRequests
}

/** Signing in for a flow, and back to it; `again` asks although a session exists: for a fresh sign-in, or for another account. */
export const loginPath = (flow: string, again?: 'login' | 'switch'): string =>
  `/login?flow=${flow}${again === 'switch' ? '&switch=1' : again === 'login' ? '&prompt=login' : ''}`

const wrongProvider = ({ id }: PendingRequest, { service }: Address, person: Person): Refusal =>
  new Refusal('person.wrong-provider', `${person.provider} at ${service.id}`, {
    page: {
      facts: [
        { name: 'Signed in as', value: person.email ?? person.login ?? person.subject },
        { name: 'Service', value: service.name },
      ],
      onward: { label: 'Use another account', href: loginPath(id, 'switch') },
    },
  })

export const shownClient = ({ client: { id, name, kind, host } }: PendingRequest): ClientView => ({
  id,
  name,
  kind,
  ...(host === undefined ? {} : { host }),
})

/** What the person is shown. `known`: what they allowed before; `refreshMs`: how long the client stays signed in unused. */
export const consentView = (
  { flow, address, person }: ConsentRequest,
  known: RememberedAnswer,
  csrf: string,
  refreshMs: number,
  upstream?: UpstreamStep,
): ConsentView => {
  const { id, name, description } = address.service
  const kind = judgeRedirectUri(flow.redirectUri)
  return {
    client: shownClient(flow),
    redirect: {
      uri: flow.redirectUri,
      host: redirectHost(flow.redirectUri),
      loopback: kind === 'loopback',
      native: kind === 'native',
    },
    service: { id, name, description, resource: address.resource },
    person,
    scopes: flow.scopes.map((scope) => ({ name: scope, fresh: !known.scopes.includes(scope) })),
    ...(known.changed
      ? { again: 'changed' as const }
      : known.scopes.length > 0 && { again: 'same' as const }),
    ...(flow.client.refreshable && { staysMs: refreshMs }),
    ...(upstream && { upstream }),
    flow: flow.id,
    csrf,
    switchAccount: loginPath(flow.id, 'switch'),
  }
}

export const createConsentRequests = ({ find, clients, flows }: ConsentRequestsDeps): ConsentRequests => {
  const addressOf = async (flow: PendingRequest): Promise<Address> => {
    const address = await find(flow.resource)
    if (!address) throw tellClient(flow, 'resource.unknown', flow.resource)
    return address
  }

  return {
    async pose(read, session) {
      const { flow } = read
      const { person } = session
      const address = await addressOf(flow)
      const { provider } = address.service
      if (provider !== undefined && provider !== person.provider) throw wrongProvider(flow, address, person)
      return { read, flow, address, session, person }
    },
    async confirm(question) {
      const { flow } = question
      const client = await clients.find(flow.clientId)
      if (!client.redirectUris.some((registered) => redirectMatches(registered, flow.redirectUri)))
        throw new Refusal('redirect.mismatch', `${client.id}: ${flow.redirectUri}`)
      return { ...question, client }
    },
    async describe(id, request) {
      const flow = await flows.peek(id, request)
      if (!flow) return undefined
      const address = await clients.approvals.guard(
        () => addressOf(flow),
        () => flow.client,
      )
      return { client: shownClient(flow), address }
    },
  }
}
