// The console, for administrators: reads what its pages show, and does what their forms ask for.
import { readOwnForm, seeOther } from '../kit/http.ts'
import { personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { ConsoleFrame, ConsolePages } from '../ports/console.ts'
import type { BrowserSession, Handler, Sessions } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { PinAdmin } from '../ports/policy.ts'
import type { Directory, Service } from '../ports/services.ts'
import type { AccessAdmin } from './access-api.ts'
import { type AttentionDeps, type Overview, funnelOf, readOverview, stoppedAt } from './console-attention.ts'
import { type ActivityDeps, createActivity, createCallsOfADay } from './console-activity.ts'
import { type ConsoleServicesDeps, drawService, drawServices } from './console-services.ts'
import { type ConsolePeopleDeps, drawClient, drawHolders, drawPerson } from './console-people.ts'
import { type ConsoleSettingsDeps, createConsoleSettings } from './console-settings.ts'
import { type ConsoleAccessDeps, createConsoleAccess } from './console-access.ts'
import { type ConsoleAddDeps, createConsoleAdd } from './console-add.ts'
import { createSearch } from './console-search.ts'
import { type ConsoleSessionsDeps, createConsoleSessions } from './console-sessions.ts'
import { createAccessActions } from './access-page.ts'
import { requireWritable } from './services-api.ts'

export interface Console {
  /** GET /console, /console/services, /console/services/:id, /console/access, /console/activity, /console/flows … */
  readonly page: Handler
  /** POST /console, /console/services/:id, /console/access with csrf and action */
  readonly act: Handler
}

export interface ConsoleDeps
  extends
    AttentionDeps,
    ActivityDeps,
    ConsoleServicesDeps,
    ConsolePeopleDeps,
    ConsoleSettingsDeps,
    ConsoleAccessDeps,
    ConsoleAddDeps,
    ConsoleSessionsDeps {
  readonly runtime: ActivityDeps['runtime'] &
    ConsoleSettingsDeps['runtime'] &
    ConsoleAddDeps['runtime'] &
    ConsoleSessionsDeps['runtime']
  readonly directory: Pick<Directory, 'issuer' | 'origins' | 'services' | 'service' | 'addresses'>
  readonly registry: ConsoleServicesDeps['registry'] & ConsoleAddDeps['registry']
  readonly policy: { readonly pins: PinAdmin }
  readonly accessAdmin: AccessAdmin
  readonly sessions: Sessions
  readonly isAdmin: (person: Person) => boolean
  readonly consolePages: ConsolePages
  /** Whether a method to sign in with is configured. */
  readonly signsIn: boolean
  /** Whether clients on the internet can reach the gateway. */
  readonly reachable: boolean
}

/** One page of the console: what it says, to whom, about what was asked for. */
type Draw = (frame: ConsoleFrame, asked: URL, overview: Overview) => Promise<Response>

const named = ({ searchParams }: URL, name: string): string | undefined =>
  searchParams.get(name)?.trim().slice(0, 2048) || undefined

const nameOf = ({ id, name }: Service) => ({ id, name })

// The pages.

interface Parts {
  readonly callsOfADay: ReturnType<typeof createCallsOfADay>
  readonly settings: ReturnType<typeof createConsoleSettings>
  readonly access: ReturnType<typeof createConsoleAccess>
  readonly signedIn: ReturnType<typeof createConsoleSessions>
  readonly adding: ReturnType<typeof createConsoleAdd>
}

const recentFlows = 6

const createOverview =
  (
    { accessAdmin, directory, stateOf, runtime, signsIn, reachable, consolePages }: ConsoleDeps,
    callsOfADay: Parts['callsOfADay'],
  ): Draw =>
  async (frame, _, { logins }) => {
    const [{ grants, truncated }, calls] = await Promise.all([accessAdmin.list({}), callsOfADay(frame.now)])
    const { services } = directory
    const states = services.map(stateOf)
    const trail = runtime.trail ? (runtime.trail.available() ? 'written' : 'failing') : 'off'
    return consolePages.overview(frame, {
      people: new Set(grants.map(({ user }) => user)).size,
      clients: new Set(grants.map(({ client }) => client)).size,
      services: services.length,
      more: truncated,
      up: states.filter((state) => state === 'healthy').length,
      down: states.filter((state) => state === 'degraded').length,
      trail,
      calls,
      signIn: signsIn,
      reachable,
      ...(logins && {
        logins: {
          funnel: funnelOf(logins.flows, logins.truncated),
          flows: logins.flows.slice(0, recentFlows),
        },
      }),
    })
  }

const flowsOnAPage = 50

const createFlowList =
  ({ flowAdmin, consolePages }: ConsoleDeps): Draw =>
  async (frame, asked, { logins }) => {
    const stopped = named(asked, 'stopped')
    const filter = {
      state: named(asked, 'state'),
      service: named(asked, 'service'),
      user: named(asked, 'user'),
      client: named(asked, 'client'),
    }
    const found =
      stopped === undefined
        ? await flowAdmin?.list(filter, flowsOnAPage)
        : logins && {
            flows: stoppedAt(logins.flows, stopped).slice(0, flowsOnAPage),
            truncated: logins.truncated,
          }
    return consolePages.flowList(frame, {
      filter: { ...filter, stopped },
      ...(found && { found }),
    })
  }

const createFlow =
  ({ flowAdmin, consolePages }: ConsoleDeps): Draw =>
  async (frame, { pathname }) => {
    const id = pathname.slice('/console/flows/'.length)
    const flow = await flowAdmin?.show(id)
    if (!flowAdmin || !flow) throw new Refusal('flow.unknown', id.slice(0, 80))
    const client = flow.client_name ?? flow.client
    const alike =
      flow.state === 'completed' || client === undefined
        ? undefined
        : await flowAdmin.list({ client, service: flow.service, state: 'completed' }, 1)
    return consolePages.flow(frame, { flow, report: await flowAdmin.report(flow.id), good: alike?.flows[0] })
  }

const createParts = (deps: ConsoleDeps): Parts => ({
  settings: createConsoleSettings(deps),
  access: createConsoleAccess(deps),
  signedIn: createConsoleSessions(deps),
  adding: createConsoleAdd(deps),
  callsOfADay: createCallsOfADay(deps),
})

const createPages = (
  deps: ConsoleDeps,
  { settings, access, signedIn, adding, callsOfADay }: Parts,
): Readonly<Record<string, Draw>> => ({
  '/console': createOverview(deps, callsOfADay),
  '/console/services': async (frame, asked) => drawServices(deps, frame, asked, await callsOfADay(frame.now)),
  '/console/services/': async (frame, asked) => drawService(deps, frame, asked, await callsOfADay(frame.now)),
  '/console/add': adding.draw,
  '/console/access': access.draw,
  '/console/people'(frame, asked) {
    const user = named(asked, 'user')
    return user === undefined ? drawHolders(deps, frame, asked, 'people') : drawPerson(deps, frame, user)
  },
  '/console/clients'(frame, asked) {
    const client = named(asked, 'client')
    return client === undefined ? drawHolders(deps, frame, asked, 'clients') : drawClient(deps, frame, client)
  },
  '/console/sessions': (frame, asked) => signedIn.sessions(frame, asked, frame.session),
  '/console/connections': signedIn.connections,
  '/console/search': createSearch(deps),
  '/console/tokens': signedIn.tokens,
  '/console/accounts': (frame) => signedIn.accounts.draw(frame),
  '/console/activity': createActivity(deps, access.today),
  '/console/flows': createFlowList(deps),
  '/console/flows/': createFlow(deps),
  '/console/settings': settings.draw,
})

// What forms ask for.

type Form = ReadonlyMap<string, string>

/** What a form asks for, on which page; a text is where the browser goes on, a response what it is shown. */
type Act = (
  form: Form,
  about: {
    readonly session: BrowserSession
    readonly asked: URL
    readonly frame: () => Promise<ConsoleFrame>
  },
) => Promise<unknown>

const serviceIn = ({ pathname }: URL): string => /^\/console\/services\/([^/]+)$/.exec(pathname)?.[1] ?? ''

/** By the path of the page, and the name of the action. */
const createActions = (
  { accessAdmin }: ConsoleDeps,
  { settings, access: editing, signedIn, adding }: Parts,
): Readonly<Record<string, Readonly<Record<string, Act>>>> => {
  const tool = (form: Form) => ({
    service: form.get('service') ?? '',
    kind: form.get('kind') === 'prompt' ? ('prompt' as const) : ('tool' as const),
    name: form.get('name') ?? '',
  })
  const by = ({ person }: BrowserSession): string => personKey(person)
  const access = Object.fromEntries(
    Object.entries(createAccessActions(accessAdmin)).map(([name, action]): [string, Act] => [
      name,
      (form, { session, asked }) =>
        action(form, {
          session,
          by: by(session),
          filter: { user: named(asked, 'user'), client: named(asked, 'client') },
        }),
    ]),
  )
  return {
    '/console': { unlock: (_, { session }) => accessAdmin.open(undefined, by(session)) },
    '/console/services/': {
      disable: (_, { session, asked }) => accessAdmin.close(serviceIn(asked), by(session)),
      enable: (_, { session, asked }) => accessAdmin.open(serviceIn(asked), by(session)),
      remove: (_, { session, asked }) => adding.remove(serviceIn(asked), by(session)),
    },
    '/console/add': { add: async (form, { session, frame }) => adding.add(await frame(), form, by(session)) },
    '/console/access': {
      approve: (form, { session }) =>
        accessAdmin.tools.approve(tool(form), form.get('digest') ?? '', by(session)),
      block: (form, { session }) => accessAdmin.tools.block(tool(form), by(session)),
      review: (form, { asked }) => editing.review(form, asked),
      save: (form, { session, asked }) => editing.save(form, asked, by(session)),
    },
    '/console/people': access,
    '/console/clients': access,
    '/console/sessions': {
      end: (form, { session }) => signedIn.endSession(form.get('session') ?? '', by(session)),
    },
    '/console/connections': {
      end: (form, { session }) =>
        signedIn.endConnection(form.get('connection') ?? '', form.get('account') ?? '', by(session)),
    },
    '/console/tokens': {
      end: (form, { session }) =>
        signedIn.endToken(form.get('token') ?? '', by(session), form.get('leaked') === 'yes'),
    },
    '/console/accounts': {
      test: async (form, { frame }) => signedIn.accounts.test(await frame(), form),
      bind: async (form, { session }) => void (await signedIn.accounts.bind(form, by(session))),
      unbind: async (form, { session }) => void (await signedIn.accounts.unbind(form, by(session))),
    },
    '/console/settings': {
      test: (form, { session }) => settings.test(form.get('key') ?? '', by(session)),
      rotate: (_, { session }) => settings.rotate(by(session)),
    },
  }
}

/** The page that a path is of; of one thing, the path before its ID. */
const pageOf = ({ pathname }: URL): string => pathname.replace(/^(\/console\/[a-z]+\/).+$/, '$1')

/** How long what every page says about the whole is remembered, ms: pages that are opened one after another. */
const rememberedMs = 2_000

export const createConsole = (deps: ConsoleDeps): Console => {
  const { sessions, isAdmin, directory, runtime } = deps
  const parts = createParts(deps)
  const draws = createPages(deps, parts)
  const actions = createActions(deps, parts)
  let last: { readonly at: number; readonly overview: Promise<Overview> } | undefined

  const overviewNow = (): Promise<Overview> => {
    const now = runtime.now()
    if (last && now - last.at <= rememberedMs && now >= last.at) return last.overview
    const overview = readOverview(deps)
    last = { at: now, overview }
    overview.catch(() => (last = undefined))
    return overview
  }
  const requireAdmin = ({ person }: BrowserSession): void => {
    if (!isAdmin(person)) throw new Refusal('admin.required', `${personKey(person)} is not listed in admins`)
  }
  const frameOf = ({ person, csrf, id }: BrowserSession, { attention }: Overview): ConsoleFrame => {
    const services = directory.services.map(nameOf)
    return { person, csrf, session: id, now: runtime.now(), attention, services }
  }
  return {
    async page(request) {
      const asked = new URL(request.url)
      const session = await sessions.of(request)
      if (!session) return seeOther(`/login?return_to=${encodeURIComponent(asked.pathname + asked.search)}`)
      requireAdmin(session)
      const draw = draws[pageOf(asked)]
      if (!draw) throw new Refusal('route.unknown', asked.pathname)
      const overview = await overviewNow()
      return draw(frameOf(session, overview), asked, overview)
    },
    async act(request) {
      const asked = new URL(request.url)
      const session = await sessions.of(request)
      if (!session)
        throw new Refusal('account.form', 'session cookie missing or expired', {
          page: {
            onward: { label: 'Sign in', href: `/login?return_to=${encodeURIComponent(asked.pathname)}` },
          },
        })
      const form = await readOwnForm(request, session.csrf, directory.origins, 'account.form')
      requireAdmin(session)
      requireWritable(runtime)
      const name = form.get('action') ?? ''
      const known = actions[pageOf(asked)] ?? {}
      const action = Object.hasOwn(known, name) ? known[name] : undefined
      if (!action) throw new Refusal('request.malformed', 'action unknown')
      const frame = async (): Promise<ConsoleFrame> => frameOf(session, await overviewNow())
      const next = await action(form, { session, asked, frame })
      last = undefined
      if (next instanceof Response) return next
      return seeOther(typeof next === 'string' ? next : asked.pathname + asked.search)
    },
  }
}
