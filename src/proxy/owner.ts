// Whose conversations they are: a person by one client, or everybody where a service asks for no login.
import { personKey } from '../kit/person-key.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Principal } from '../ports/people.ts'
import type { Audit } from '../ports/rooms.ts'

export const ownerOf = (principal: Principal | undefined): string => (principal ? JSON.stringify([personKey(principal.person), principal.clientId]) : '')

/** The refusal of a conversation that is somebody else's, which is written down. */
export const foreign = (record: Audit, service: string, principal: Principal | undefined): Refusal => {
  record({ event: 'session.foreign', service, person: principal && personKey(principal.person), client: principal?.clientId })
  return new Refusal('session.unknown', 'session belongs to another user')
}
