// The question of one authorization flow: which client asks whom for what. Established anew for the page that shows it and for the answer to it.
import { Refusal } from '../kit/refusal.ts'
import { judgeRedirectUri, redirectHost, redirectMatches } from '../kit/urls.ts'
import type { UpstreamStep } from '../ports/connections.ts'
import type { ConsentView } from '../ports/pages.ts'
import type { Person } from '../ports/people.ts'
import type { DescribeFlow, Session } from '../ports/rooms.ts'
import type { Address, Directory, FindAddress } from '../ports/services.ts'
import { tellClient } from './authorize-checks.ts'
import { type Client, clientView, mayRefresh } from './client.ts'
import type { Clients } from './clients.ts'
import type { Flow, Flows, ReadFlow } from './flows.ts'
import type { Recollection } from './remembered.ts'

export interface Question {
  readonly read: ReadFlow
  readonly flow: Flow
  readonly client: Client
  readonly address: Address
  readonly session: Session
  readonly person: Person
}

export interface Questions {
  /** Throws `redirect.mismatch`, `resource.unknown` or `person.wrong-provider` when the flow makes no sense any more, or not for this person. */
  pose(read: ReadFlow, session: Session): Promise<Question>
  readonly describe: DescribeFlow
}

export interface QuestionsDeps {
  readonly directory: Directory
  readonly find: FindAddress
  readonly clients: Clients
  readonly flows: Flows
}

/** Signing in for a flow, and back to it; `again` asks although a session exists: for a fresh sign-in, or for another account. */
export const loginPath = (flow: string, again?: 'login' | 'switch'): string => `/login?flow=${flow}${again === 'switch' ? '&switch=1' : again === 'login' ? '&prompt=login' : ''}`

const wrongProvider = ({ id }: Flow, { service }: Address, person: Person): Refusal =>
  new Refusal('person.wrong-provider', `${person.provider} at ${service.id}`, {
    page: {
      facts: [{ name: 'Signed in as', value: person.email ?? person.login ?? person.subject }, { name: 'Service', value: service.name }],
      onward: { label: 'Use another account', href: loginPath(id, 'switch') },
    },
  })

/** What the person is shown. `known`: what they allowed before; `refreshMs`: how long the client stays signed in unused. */
export const consentView = ({ flow, client, address, person }: Question, known: Recollection, csrf: string, refreshMs: number, upstream?: UpstreamStep): ConsentView => {
  const { id, name, description } = address.service
  const kind = judgeRedirectUri(flow.redirectUri)
  return {
    client: clientView(client),
    redirect: { uri: flow.redirectUri, host: redirectHost(flow.redirectUri), loopback: kind === 'loopback', native: kind === 'native' },
    service: { id, name, description, resource: address.resource },
    person,
    scopes: flow.scopes.map((scope) => ({ name: scope, fresh: !known.scopes.includes(scope) })),
    ...(known.changed ? { again: 'changed' as const } : known.scopes.length > 0 && { again: 'same' as const }),
    ...(mayRefresh(client, flow.scopes) && { staysMs: refreshMs }),
    ...(upstream && { upstream }),
    flow: flow.id,
    csrf,
    switchAccount: loginPath(flow.id, 'switch'),
  }
}

export const createQuestions = ({ find, clients, flows }: QuestionsDeps): Questions => {
  const subject = async (flow: Flow): Promise<{ readonly client: Client; readonly address: Address }> => {
    const client = await clients.find(flow.clientId)
    // What the client says of itself may have changed since the request; its present word counts.
    if (!client.redirectUris.some((registered) => redirectMatches(registered, flow.redirectUri))) throw new Refusal('redirect.mismatch', `${client.id}: ${flow.redirectUri}`)
    const address = await find(flow.resource)
    if (!address) throw tellClient(flow, 'resource.unknown', flow.resource)
    return { client, address }
  }

  return {
    async pose(read, session) {
      const { flow } = read
      const { person } = session
      const { client, address } = await subject(flow)
      const { provider } = address.service
      if (provider !== undefined && provider !== person.provider) throw wrongProvider(flow, address, person)
      return { read, flow, client, address, session, person }
    },
    async describe(id, request) {
      const flow = await flows.peek(id, request)
      const found = flow && (await subject(flow))
      return found && { client: clientView(found.client), address: found.address }
    },
  }
}
