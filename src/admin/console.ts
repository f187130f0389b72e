// The console, for administrators: reads what its pages show, and does what their forms ask for.
import { readOwnForm, seeOther } from '../kit/http.ts'
import { personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { ConsoleFrame, ConsolePages, HeldDefinition } from '../ports/console.ts'
import type { BrowserSession, Handler, Sessions } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { ListedPin, PinAdmin } from '../ports/policy.ts'
import type { Directory, Service } from '../ports/services.ts'
import type { AccessAdmin } from './access-api.ts'
import {
  type AttentionDeps,
  type Overview,
  funnelOf,
  isHeld,
  isWaiting,
  pinningOf,
  readOverview,
  stoppedAt,
} from './console-attention.ts'
import { type ActivityDeps, callsOfADay, createActivity } from './console-activity.ts'
import { type ConsoleServicesDeps, drawService, drawServices, readMatrix } from './console-services.ts'
import { type ConsolePeopleDeps, drawClient, drawHolders, drawPerson } from './console-people.ts'
import { type ConsoleSettingsDeps, createConsoleSettings } from './console-settings.ts'
import { createAccessActions } from './access-page.ts'
import { requireWritable } from './services-api.ts'

export interface Console {
  /** GET /console, /console/services, /console/services/:id, /console/access, /console/activity, /console/flows … */
  readonly page: Handler
  /** POST /console, /console/services/:id, /console/access with csrf and action */
  readonly act: Handler
}

export interface ConsoleDeps
  extends AttentionDeps, ActivityDeps, ConsoleServicesDeps, ConsolePeopleDeps, ConsoleSettingsDeps {
  readonly runtime: ActivityDeps['runtime'] & ConsoleSettingsDeps['runtime']
  readonly directory: Pick<Directory, 'issuer' | 'origins' | 'services' | 'service' | 'addresses'>
  readonly registry: ConsoleServicesDeps['registry']
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

const recentFlows = 6

const createOverview =
  ({ accessAdmin, directory, stateOf, runtime, signsIn, reachable, consolePages }: ConsoleDeps): Draw =>
  async (frame, _, { logins }) => {
    const [{ grants, truncated }, calls] = await Promise.all([
      accessAdmin.list({}),
      callsOfADay({ runtime }, frame.now),
    ])
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

/** Definitions on one page; each is compared word by word. */
const mostHeld = 12

const heldDefinition = async (
  { accessAdmin }: ConsoleDeps,
  service: Service,
  { pin, held }: { readonly pin: ListedPin; readonly held: boolean },
): Promise<HeldDefinition | undefined> => {
  const { kind, name, account, state, digest, seenAt, approved, blocked } = pin
  const shown = await accessAdmin.tools.show({ service: service.id, kind, name })
  const last = approved.at(-1)
  return {
    service: nameOf(service),
    kind,
    name,
    account,
    state,
    digest,
    at: seenAt,
    held,
    ...(last && { approved: { by: last.by, at: last.at } }),
    ...(blocked && { blocked: { by: blocked.by, at: blocked.at } }),
    changes: shown.find((one) => one.account === account)?.changes ?? [],
  }
}

const createChanges =
  (deps: ConsoleDeps): Draw =>
  async (frame, asked) => {
    const { directory, registry, policy, consolePages } = deps
    const config = registry.config()
    const service = named(asked, 'service')
    const chosen = service === undefined ? undefined : directory.service(service)
    const pinned = directory.services.filter((one) => pinningOf(config, one))
    const looked = pinned.filter(({ id }) => service === undefined || id === service)
    const found = await Promise.all(
      looked.map(async (one) => (await policy.pins.list(one)).map((pin) => ({ one, pin }))),
    )
    const all = found.flat()
    const open = [
      ...all.filter(({ pin }) => isWaiting(pin)),
      ...all.filter(({ pin }) => pin.state === 'blocked'),
    ]
    const held = await Promise.all(
      open.slice(0, mostHeld).map(({ one, pin }) => {
        const pinning = pinningOf(config, one)
        return heldDefinition(deps, one, { pin, held: pinning !== undefined && isHeld(pinning, pin) })
      }),
    )
    return consolePages.changes(frame, {
      pinned: pinned.map(nameOf),
      service,
      held: held.filter((one) => one !== undefined),
      more: open.slice(mostHeld).filter(({ pin }) => isWaiting(pin)).length,
      known: all.length,
      ...(chosen && { access: await readMatrix(deps, chosen) }),
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

type SettingsPart = ReturnType<typeof createConsoleSettings>

const createPages = (deps: ConsoleDeps, settings: SettingsPart): Readonly<Record<string, Draw>> => ({
  '/console': createOverview(deps),
  '/console/services': async (frame, asked) =>
    drawServices(deps, frame, asked, await callsOfADay(deps, frame.now)),
  '/console/services/': async (frame, asked) =>
    drawService(deps, frame, asked, await callsOfADay(deps, frame.now)),
  '/console/access': createChanges(deps),
  '/console/people'(frame, asked) {
    const user = named(asked, 'user')
    return user === undefined ? drawHolders(deps, frame, asked, 'people') : drawPerson(deps, frame, user)
  },
  '/console/clients'(frame, asked) {
    const client = named(asked, 'client')
    return client === undefined ? drawHolders(deps, frame, asked, 'clients') : drawClient(deps, frame, client)
  },
  '/console/activity': createActivity(deps),
  '/console/flows': createFlowList(deps),
  '/console/flows/': createFlow(deps),
  '/console/settings': settings.draw,
})

// What forms ask for.

type Form = ReadonlyMap<string, string>

/** What a form asks for, on which page. */
type Act = (form: Form, about: { readonly session: BrowserSession; readonly asked: URL }) => Promise<unknown>

const serviceIn = ({ pathname }: URL): string => /^\/console\/services\/([^/]+)$/.exec(pathname)?.[1] ?? ''

/** By the path of the page, and the name of the action. */
const createActions = (
  { accessAdmin }: ConsoleDeps,
  settings: SettingsPart,
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
    },
    '/console/access': {
      approve: (form, { session }) =>
        accessAdmin.tools.approve(tool(form), form.get('digest') ?? '', by(session)),
      block: (form, { session }) => accessAdmin.tools.block(tool(form), by(session)),
    },
    '/console/people': access,
    '/console/clients': access,
    '/console/settings': { test: (form, { session }) => settings.test(form.get('key') ?? '', by(session)) },
  }
}

/** The page that a path is of; of one thing, the path before its ID. */
const pageOf = ({ pathname }: URL): string => pathname.replace(/^(\/console\/[a-z]+\/).+$/, '$1')

/** How long what every page says about the whole is remembered, ms: pages that are opened one after another. */
const rememberedMs = 2_000

export const createConsole = (deps: ConsoleDeps): Console => {
  const { sessions, isAdmin, directory, runtime } = deps
  const settings = createConsoleSettings(deps)
  const draws = createPages(deps, settings)
  const actions = createActions(deps, settings)
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
  return {
    async page(request) {
      const asked = new URL(request.url)
      const session = await sessions.of(request)
      if (!session) return seeOther(`/login?return_to=${encodeURIComponent(asked.pathname + asked.search)}`)
      requireAdmin(session)
      const draw = draws[pageOf(asked)]
      if (!draw) throw new Refusal('route.unknown', asked.pathname)
      const overview = await overviewNow()
      const { person, csrf } = session
      const { attention } = overview
      const services = directory.services.map(nameOf)
      return draw({ person, csrf, now: runtime.now(), attention, services }, asked, overview)
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
      await action(form, { session, asked })
      last = undefined
      return seeOther(asked.pathname + asked.search)
    },
  }
}
