// The last step of every way in: a fresh session, a line in the trail, and on to where the person was going.
import { personKey } from '../kit/person-key.ts'
import type { Person } from '../ports/people.ts'
import type { Audit } from '../ports/rooms.ts'
import type { Visit } from '../ports/runtime.ts'
import { destination, type Aim } from './aim.ts'
import type { BrowserSessions } from './session.ts'

/** 303 (never 307: RFC 9700 §4.12) to a path of this gateway, with cookies. */
export const seeOther = (location: string, cookies: readonly string[] = []): Response => {
  const headers = new Headers({ location, 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' })
  for (const cookie of cookies) headers.append('set-cookie', cookie)
  return new Response(null, { status: 303, headers })
}

export interface Arriving {
  readonly person: Person
  readonly aim: Aim
  readonly request: Request
  readonly visit: Visit
  /** Further `Set-Cookie` values. */
  readonly cookies?: readonly string[]
}

export type Arrive = (arriving: Arriving) => Promise<Response>

export const createArrival =
  ({ sessions, record }: { readonly sessions: BrowserSessions; readonly record: Audit }): Arrive =>
  async ({ person, aim, request, visit, cookies = [] }) => {
    const session = await sessions.start(person, request)
    record({ event: 'sign-in', person: personKey(person), provider: person.provider, ip: visit.ip, request_id: visit.requestId })
    return seeOther(destination(aim), [session, ...cookies])
  }
