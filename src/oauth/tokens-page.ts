// The page on which people create, see and end their personal access tokens.
import type { Config } from '../config/schema.ts'
import { seeOther } from '../kit/http.ts'
import { type Permission, higherOf, ladder } from '../kit/levels.ts'
import { personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { BrowserSession, Handler, Limit, Sessions } from '../ports/modules.ts'
import type { AccountTokensView, Pages, PagesFor, TokenForm } from '../ports/pages.ts'
import type { ListedToken, WantedToken } from '../ports/people.ts'
import type { RequestContext, Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import { apiName, apiTarget } from './api-tokens.ts'
import { readOwnAction } from './connected-apps.ts'
import { newTokenId } from './personal-token.ts'
import type { PersonalTokens } from './personal-tokens.ts'

export interface TokensPage {
  /** GET /account/tokens */
  readonly page: Handler
  /** POST /account/tokens with csrf and action=create (and the fields of the form) or end (and token) */
  readonly act: Handler
}

export interface TokensPageDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random'>
  readonly config: Pick<Config, 'personal_tokens'>
  readonly directory: Pick<Directory, 'origins' | 'services' | 'service' | 'addresses'>
  readonly personalTokens: PersonalTokens
  readonly sessions: Sessions
  readonly pages: PagesFor
  readonly limit: Limit
}

const path = '/account/tokens'
const signInPath = `/login?return_to=${encodeURIComponent(path)}`
const signInAgainPath = `/login?switch=1&return_to=${encodeURIComponent(path)}`

/** Whoever finds a browser open makes nothing that outlives it: the sign-in must be this recent. */
const recentMs = 600_000

const lifetimes = [3600, 86_400, 7 * 86_400, 30 * 86_400, 90 * 86_400, 365 * 86_400]

/** What was chosen in a form that could not be carried out. */
type Chosen = Pick<TokenForm, 'name' | 'chosen' | 'permission' | 'lifetime' | 'problem'>

const formOf = async (
  { runtime, config, directory, personalTokens }: TokensPageDeps,
  { person }: BrowserSession,
  chosen: Partial<Chosen>,
): Promise<TokenForm> => {
  const { max_lifetime: most, default_lifetime: usual } = config.personal_tokens
  const found = await Promise.all(
    [...directory.services, { id: apiTarget, name: apiName }].map(async ({ id, name }) => {
      const may = await personalTokens.grantable(person, id)
      return may ? [{ id, name, ...may }] : []
    }),
  )
  const services = found.flat()
  const ruled = services.filter((service) => service.ruled).map(({ level }) => level)
  return {
    id: newTokenId(runtime),
    services,
    permissions: ruled.length > 0 ? ladder.slice(0, ladder.indexOf(ruled.reduce(higherOf)) + 1) : [],
    lifetimes: [
      ...new Set([...lifetimes.filter((seconds) => seconds < most), Math.min(usual, most), most]),
    ].toSorted((one, other) => one - other),
    lifetime: Math.min(usual, most),
    permission: 'read',
    name: '',
    chosen: [],
    ...chosen,
  }
}

/** What the form says. A permission is for services whose rules can hold a token to it. */
const wantedIn = (
  form: ReadonlyMap<string, string>,
  isRuled: (service: string) => boolean,
): WantedToken & { readonly id: string } => {
  const services = [...form.keys()].flatMap((name) => (name.startsWith('service.') ? name.slice(8) : []))
  const permission = ladder.find((level) => level === form.get('permission'))
  return {
    id: form.get('id') ?? '',
    name: form.get('name') ?? '',
    services,
    permission: services.some(isRuled) ? (permission ?? 'read') : undefined,
    lifetimeMs: Number(form.get('lifetime')) * 1000,
  }
}

const createDraw =
  (deps: TokensPageDeps, pages: Pages) =>
  async (
    session: BrowserSession,
    more: {
      readonly made?: AccountTokensView['made']
      readonly note?: string
      readonly chosen?: Partial<Chosen>
    } = {},
  ): Promise<Response> => {
    const { runtime, config, directory, personalTokens } = deps
    const { self_service: open } = config.personal_tokens
    const now = runtime.now()
    const isRecent = now - session.signedInAt < recentMs
    const tokens = await personalTokens.ofPerson(personKey(session.person))
    const named = (id: string): string => directory.service(id)?.name ?? id
    return pages.accountTokens({
      person: session.person,
      csrf: session.csrf,
      switchAccount: signInAgainPath,
      now,
      tokens: tokens.map((token) => ({ ...token, services: token.services.map(named) })),
      made: more.made,
      note: more.note,
      ...(open && !isRecent && { signInAgain: signInAgainPath }),
      ...(open && isRecent && { form: await formOf(deps, session, more.chosen ?? {}) }),
    })
  }

const madeOf = (
  { directory }: TokensPageDeps,
  { token, listed }: { readonly token: string; readonly listed: ListedToken },
): AccountTokensView['made'] => {
  const [first] = listed.services
  const url = directory.addresses.find(({ service }) => service.id === first)?.resource
  return {
    token,
    name: listed.name,
    expiresAt: listed.expiresAt,
    ...(first && url && { service: first, url }),
  }
}

/** Refusals that the person can do something about in the form. */
const mendable = new Set([
  'request.malformed',
  'personal-token.scope',
  'personal-token.limit',
  'service.unknown',
])

type Act = (
  session: BrowserSession,
  form: ReadonlyMap<string, string>,
  context: RequestContext,
) => Promise<Response>

const createActions = (
  deps: TokensPageDeps,
  draw: ReturnType<typeof createDraw>,
): Readonly<Record<string, Act>> => {
  const { runtime, config, directory, personalTokens } = deps
  const create: Act = async (session, form, context) => {
    if (!config.personal_tokens.self_service)
      throw new Refusal('personal-token.scope', 'self_service is false', {
        say: 'On this gateway the administrator creates personal access tokens.',
      })
    if (runtime.now() - session.signedInAt >= recentMs) return seeOther(signInAgainPath)
    const ruled = new Set<string>([apiTarget])
    for (const service of directory.services)
      if ((await personalTokens.grantable(session.person, service.id))?.ruled) ruled.add(service.id)
    const wanted = wantedIn(form, (id) => ruled.has(id))
    try {
      const by = { by: personKey(session.person), context }
      const made = await personalTokens.create(session.person, wanted, by)
      return await draw(session, { made: madeOf(deps, made) })
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      if (error.code === 'personal-token.exists') return draw(session, { note: error.say })
      if (!mendable.has(error.code)) throw error
      const chosen = {
        name: wanted.name,
        chosen: wanted.services,
        permission: wanted.permission ?? ('read' as Permission),
        lifetime: (wanted.lifetimeMs ?? 0) / 1000,
        problem: error.say,
      }
      return draw(session, { chosen })
    }
  }
  return {
    create,
    async end(session, form, context) {
      const owner = personKey(session.person)
      await personalTokens.end(form.get('token') ?? '', { by: owner, context }, { owner })
      return seeOther(path)
    },
  }
}

export const createTokensPage = (deps: TokensPageDeps): TokensPage => {
  const { sessions, pages } = deps
  return {
    async page(request) {
      const session = await sessions.of(request)
      return session ? createDraw(deps, pages(request))(session) : seeOther(signInPath)
    },
    async act(request, context) {
      const actions = createActions(deps, createDraw(deps, pages(request)))
      const { session, form, action } = await readOwnAction(request, context, actions, deps, signInPath)
      return action(session, form, context)
    },
  }
}
