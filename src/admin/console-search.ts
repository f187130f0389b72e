// The search of the console: one box for what has a page there. Names are compared by their parts, without a language.
import { Refusal } from '../kit/refusal.ts'
import type { ConsoleFrame, ConsolePages, SearchHit } from '../ports/console.ts'
import type { FlowAdmin } from '../ports/flow-record.ts'
import type { ListedGrant } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import type { AccessAdmin } from './access-api.ts'

export interface SearchDeps {
  readonly runtime: Pick<Runtime, 'trail'>
  readonly accessAdmin: Pick<AccessAdmin, 'list'>
  readonly directory: Pick<Directory, 'services' | 'addresses'>
  readonly flowAdmin: FlowAdmin | undefined
  readonly consolePages: Pick<ConsolePages, 'search'>
}

/** Of each kind. */
const mostShown = 10

/** Pages, by words that somebody may look for them with. */
const pages: readonly (readonly [path: string, name: string, words: string])[] = [
  ['/console', 'Overview', 'home status attention'],
  ['/console/services', 'Services', 'servers mcp upstream tools'],
  ['/console/access', 'Access', 'rules policy groups permissions definitions approve'],
  ['/console/people', 'People', 'users accounts block'],
  ['/console/clients', 'Clients', 'apps registrations block'],
  ['/console/sessions', 'Sessions', 'browsers signed in'],
  ['/console/connections', 'Connections', 'upstream accounts oauth reconnect'],
  ['/console/tokens', 'Tokens', 'personal access api'],
  ['/console/accounts', 'Service accounts', 'programs issuers assertions workload id-jag'],
  ['/console/activity', 'Activity', 'audit trail events calls'],
  ['/console/flows', 'Flows', 'logins sign-ins'],
  ['/console/settings', 'Settings', 'configuration keys providers storage'],
]

const linkTo = (path: string, name: string, value: string): string =>
  `${path}?${new URLSearchParams({ [name]: value }).toString()}`

/** One hit for each value of the grants that matches, the first of its name. */
const holdersIn = (
  grants: readonly ListedGrant[],
  matches: (...texts: readonly (string | undefined)[]) => boolean,
): readonly SearchHit[] => {
  const hits = new Map<string, SearchHit>()
  for (const { user, email, client, client_name: app, redirect_host: host } of grants) {
    const [people, clients] = [
      linkTo('/console/people', 'user', user),
      linkTo('/console/clients', 'client', client),
    ]
    if (!hits.has(people) && matches(user, email))
      hits.set(people, { kind: 'user', name: email ?? user, detail: user, href: people })
    if (!hits.has(clients) && matches(client, app, host))
      hits.set(clients, { kind: 'client', name: app, detail: client, href: clients })
  }
  return [...hits.values()]
}

const flowsOf = async (flowAdmin: FlowAdmin | undefined, word: string): Promise<readonly SearchHit[]> => {
  if (!flowAdmin || !/^[\w-]{8,80}$/.test(word)) return []
  const flow = await flowAdmin.show(word).catch((error: unknown) => {
    if (error instanceof Refusal && error.code === 'flow.unknown') return undefined
    throw error
  })
  return flow
    ? [
        {
          kind: 'flow',
          name: flow.client_name ?? flow.client ?? flow.id,
          detail: flow.id,
          href: `/console/flows/${flow.id}`,
        },
      ]
    : []
}

export const createSearch =
  ({ runtime, accessAdmin, directory, flowAdmin, consolePages }: SearchDeps) =>
  async (frame: ConsoleFrame, { searchParams }: URL): Promise<Response> => {
    const asked = searchParams.get('q')?.trim().slice(0, 200) ?? ''
    if (asked === '') return consolePages.search(frame, { asked, found: [], more: false })
    const word = asked.toLowerCase()
    const matches = (...texts: readonly (string | undefined)[]): boolean =>
      texts.some((text) => text?.toLowerCase().includes(word))
    const [{ grants }, flows] = await Promise.all([accessAdmin.list({}), flowsOf(flowAdmin, asked)])
    const urls = Map.groupBy(directory.addresses, ({ service }) => service.id)
    const all: readonly SearchHit[] = [
      ...pages.flatMap(([href, name, words]): readonly SearchHit[] =>
        matches(name, words) ? [{ kind: 'page', name, href }] : [],
      ),
      ...directory.services.flatMap(({ id, name }): readonly SearchHit[] =>
        matches(id, name, ...(urls.get(id) ?? []).map(({ resource }) => resource))
          ? [{ kind: 'service', name, detail: id, href: `/console/services/${id}` }]
          : [],
      ),
      ...holdersIn(grants, matches),
      ...flows,
    ]
    const shown = [...Map.groupBy(all, ({ kind }) => kind).values()].flatMap((some) =>
      some.slice(0, mostShown),
    )
    // The trail knows what is gone: it is searched on its own page, because that takes longer.
    const events: readonly SearchHit[] = runtime.trail
      ? [{ kind: 'events', name: asked, href: linkTo('/console/activity', 'q', asked) }]
      : []
    return consolePages.search(frame, {
      asked,
      found: [...shown, ...events],
      more: shown.length < all.length,
    })
  }
