// Ends a browser's session. Grants of clients live on: they have their own way to end.
import { personKey } from '../kit/person-key.ts'
import { sameText } from '../kit/bytes.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, Handler } from '../ports/rooms.ts'
import { seeOther } from './arrival.ts'
import { refuseForeign } from './browser.ts'
import { readForm } from '../kit/form.ts'
import type { BrowserSessions } from './session.ts'

export interface SignOutDeps {
  readonly sessions: BrowserSessions
  readonly record: Audit
  readonly origins: readonly string[]
}

export const createSignOut =
  ({ sessions, record, origins }: SignOutDeps): Handler =>
  async (request, visit) => {
    refuseForeign(request, origins)
    const form = await readForm(request)
    const session = await sessions.of(request)
    if (session && !sameText(form.get('csrf') ?? '', session.csrf)) throw new Refusal('login.form', 'csrf field missing or wrong')
    const cookie = await sessions.end(request)
    if (session) record({ event: 'sign-out', person: personKey(session.person), ip: visit.ip, request_id: visit.requestId })
    return seeOther('/login', [cookie])
  }
