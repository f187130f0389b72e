// The page *Access* for administrators: what all users have allowed, by user, app and service, who is blocked, and
// the end of both. It does what the API beside it does, with forms instead of JSON.
import { readOwnForm, seeOther } from '../kit/http.ts'
import { personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { BrowserSession, Handler, Sessions } from '../ports/modules.ts'
import type { AccessView, PagesFor } from '../ports/pages.ts'
import type { GrantFilter, ListedGrant, Person } from '../ports/people.ts'
import type { Directory } from '../ports/services.ts'
import type { AccessAdmin } from './access-api.ts'
import { partyOf, requireOthers } from './blocks-api.ts'
import { type EndOptions, answerWithin } from './end-access.ts'

export interface AccessPage {
  /** GET /account/access?user=&client=&service=&page= */
  readonly page: Handler
  /**
   * POST /account/access?user=&client=&service= with csrf and action=end (and grant), end-all (what the query
   * names), block or unblock (and user, client), or sign-out (and user); revoke_upstream=1 for what ends access.
   */
  readonly act: Handler
}

export interface AccessPageDeps {
  readonly accessAdmin: AccessAdmin
  readonly sessions: Sessions
  readonly isAdmin: (person: Person) => boolean
  readonly directory: Pick<Directory, 'origins' | 'services'>
  readonly pages: PagesFor
}

const path = '/account/access'
const onePage = 50

const filterOf = ({ searchParams }: URL): GrantFilter => {
  const named = (name: string) => searchParams.get(name)?.trim().slice(0, 2048) || undefined
  return { user: named('user'), client: named('client'), service: named('service') }
}

const queryOf = (filter: GrantFilter): string => {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(filter)) if (value !== undefined) query.set(name, value)
  return query.size > 0 ? `?${query}` : ''
}

/** The newest use first, or the newest grant. */
const newestFirst = (grants: readonly ListedGrant[]): readonly ListedGrant[] => {
  const at = ({ last_used_at, created_at }: ListedGrant): string => last_used_at ?? created_at
  return grants.toSorted((a, b) => (at(a) < at(b) ? 1 : at(a) > at(b) ? -1 : 0))
}

/** What an administrator asks for on the page. */
type Action = (
  form: ReadonlyMap<string, string>,
  about: { readonly session: BrowserSession; readonly by: string; readonly filter: GrantFilter },
) => Promise<unknown>

/** What another administrator, or a second click, ended meanwhile has ended as it was asked for. */
const unlessGone = async (ended: Promise<unknown>): Promise<void> => {
  try {
    await ended
  } catch (error) {
    if (!(error instanceof Refusal) || !['grant.unknown', 'block.unknown'].includes(error.code)) throw error
  }
}

export const createAccessActions = (admin: AccessAdmin): Readonly<Record<string, Action>> => {
  const field = (form: ReadonlyMap<string, string>, name: string) => form.get(name) || undefined
  const party = (form: ReadonlyMap<string, string>) =>
    partyOf({ user: field(form, 'user'), client: field(form, 'client'), domain: field(form, 'domain') })
  const optionsIn = (form: ReadonlyMap<string, string>): EndOptions => ({
    upstreamWithin: form.has('revoke_upstream') ? answerWithin : undefined,
  })
  return {
    'end': (form, { by }) => unlessGone(admin.revoke(form.get('grant') ?? '', by, optionsIn(form))),
    'end-all': (form, { by, filter }) => admin.revokeAll(filter, by, optionsIn(form)),
    async 'block'(form, { session, by }) {
      const blocked = party(form)
      requireOthers(session.person, blocked)
      await admin.block(blocked, by, optionsIn(form))
    },
    'unblock': (form, { by }) => unlessGone(admin.unblock(party(form), by)),
    async 'sign-out'(form, { by }) {
      const { user } = partyOf({ user: field(form, 'user') })
      if (user !== undefined) await admin.signOut(user, by)
    },
  }
}

export const createAccessPage = (deps: AccessPageDeps): AccessPage => {
  const { accessAdmin: admin, sessions, isAdmin, directory, pages } = deps
  const actions = createAccessActions(admin)
  const requireAdmin = ({ person }: BrowserSession): void => {
    if (!isAdmin(person)) throw new Refusal('admin.required', `${personKey(person)} is not listed in admins`)
  }
  return {
    async page(request) {
      const url = new URL(request.url)
      const session = await sessions.of(request)
      if (!session) return seeOther(`/login?return_to=${encodeURIComponent(path + url.search)}`)
      requireAdmin(session)
      const filter = filterOf(url)
      const [{ grants, truncated }, blocks] = await Promise.all([admin.list(filter), admin.blocks()])
      const count = Math.max(1, Math.ceil(grants.length / onePage))
      const at = Math.min(count, Math.max(1, Math.trunc(Number(url.searchParams.get('page'))) || 1))
      const view: AccessView = {
        person: session.person,
        csrf: session.csrf,
        filter,
        services: directory.services.map(({ id, name }) => ({ id, name })),
        total: {
          grants: grants.length,
          users: new Set(grants.map(({ user }) => user)).size,
          clients: new Set(grants.map(({ client }) => client)).size,
          more: truncated,
        },
        grants: newestFirst(grants).slice((at - 1) * onePage, at * onePage),
        page: { at, count },
        blocks,
      }
      return pages(request).access(view)
    },
    async act(request) {
      const session = await sessions.of(request)
      if (!session)
        throw new Refusal('account.form', 'session cookie missing or expired', {
          page: { onward: { label: 'Sign in', href: `/login?return_to=${encodeURIComponent(path)}` } },
        })
      const form = await readOwnForm(request, session.csrf, directory.origins, 'account.form')
      requireAdmin(session)
      const name = form.get('action') ?? ''
      const action = Object.hasOwn(actions, name) ? actions[name] : undefined
      if (!action) throw new Refusal('request.malformed', 'action unknown')
      const filter = filterOf(new URL(request.url))
      await action(form, { session, by: personKey(session.person), filter })
      return seeOther(path + queryOf(filter))
    },
  }
}
