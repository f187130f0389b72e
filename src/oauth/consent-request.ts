// The consent request: which client asks which person for what. It is established anew for the page and for
// the answer.
import { Refusal } from '../kit/refusal.ts'
import { judgeRedirectUri, redirectHost, redirectMatches } from '../kit/urls.ts'
import type { DescribeFlow, BrowserSession, UpstreamStep } from '../ports/modules.ts'
import type { ClientView, ConsentView } from '../ports/pages.ts'
import type { Person } from '../ports/people.ts'
import type { Address, FindAddress } from '../ports/services.ts'
import type { PendingRequest, PendingRequests, StoredRequest } from './authorization-requests.ts'
import { tellClient } from './authorization-response.ts'
import type { Clients, FoundClient } from './clients.ts'
import type { RememberedConsent } from './remembered-consent.ts'

export interface ConsentRequest {
  readonly read: StoredRequest
  readonly pending: PendingRequest
  readonly address: Address
  readonly session: BrowserSession
  readonly person: Person
}

/**
 * A consent request whose client was looked up again: what it says of itself may have changed since the
 * authorization request, and what it says now counts.
 */
export interface ConfirmedRequest extends ConsentRequest {
  readonly client: FoundClient
}

/**
 * Signing in for a pending request, and back to it; `again` asks although a session exists: for a fresh
 * sign-in, or for another account.
 */
export const loginPath = (id: string, again?: 'login' | 'switch'): string =>
  `/login?flow=${id}${again === 'switch' ? '&switch=1' : again === 'login' ? '&prompt=login' : ''}`

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

export const clientOf = ({ client: { id, name, kind, host } }: PendingRequest): ClientView => ({
  id,
  name,
  kind,
  ...(host === undefined ? {} : { host }),
})

/**
 * What the person is shown. `remembered`: what they allowed before; `refreshMs`: how long the client stays
 * signed in unused.
 */
export const consentView = (
  { pending, address, person }: ConsentRequest,
  remembered: RememberedConsent,
  csrf: string,
  refreshMs: number,
  upstream?: UpstreamStep,
): ConsentView => {
  const { id, name, description } = address.service
  const kind = judgeRedirectUri(pending.redirectUri)
  return {
    client: clientOf(pending),
    redirect: {
      uri: pending.redirectUri,
      host: redirectHost(pending.redirectUri),
      loopback: kind === 'loopback',
      native: kind === 'native',
    },
    service: { id, name, description, resource: address.resource },
    person,
    scopes: pending.scopes.map((scope) => ({ name: scope, fresh: !remembered.scopes.includes(scope) })),
    ...(remembered.changed
      ? { again: 'changed' as const }
      : remembered.scopes.length > 0 && { again: 'same' as const }),
    ...(pending.client.refreshable && { staysMs: refreshMs }),
    ...(upstream && { upstream }),
    flow: pending.id,
    csrf,
    switchAccount: loginPath(pending.id, 'switch'),
  }
}

const addressOf = async (pending: PendingRequest, find: FindAddress): Promise<Address> => {
  const address = await find(pending.resource)
  if (!address) throw tellClient(pending, 'resource.unknown', pending.resource)
  return address
}

/**
 * Throws `resource.unknown` or `person.wrong-provider` when the request makes no sense any more, or not for
 * this person.
 */
export const consentRequestOf = async (
  read: StoredRequest,
  session: BrowserSession,
  find: FindAddress,
): Promise<ConsentRequest> => {
  const { pending } = read
  const { person } = session
  const address = await addressOf(pending, find)
  const { provider } = address.service
  if (provider !== undefined && provider !== person.provider) throw wrongProvider(pending, address, person)
  return { read, pending, address, session, person }
}

/**
 * Throws `client.unknown`, or `redirect.mismatch` when the client does not go by that redirect URI any more.
 */
export const confirmClient = async (
  consentRequest: ConsentRequest,
  clients: Clients,
): Promise<ConfirmedRequest> => {
  const { pending } = consentRequest
  const client = await clients.find(pending.clientId)
  if (!client.redirectUris.some((registered) => redirectMatches(registered, pending.redirectUri)))
    throw new Refusal('redirect.mismatch', `${client.id}: ${pending.redirectUri}`)
  return { ...consentRequest, client }
}

export interface DescribeDeps {
  readonly find: FindAddress
  readonly clients: Clients
  readonly pendingRequests: PendingRequests
}

export const createDescribeFlow =
  ({ find, clients, pendingRequests }: DescribeDeps): DescribeFlow =>
  async (id, request) => {
    const pending = await pendingRequests.peek(id, request)
    if (!pending) return undefined
    const address = await clients.approvals.guard(() => addressOf(pending, find), pending.client)
    return { client: clientOf(pending), address }
  }
