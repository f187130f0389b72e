// The pages of the console about who has access: users and clients, from the same grants, and one of them.
import type {
  ConsoleFrame,
  ConsolePages,
  HolderSummary,
  HoldersView,
  PersonService,
} from '../ports/console.ts'
import { isNamed, personKey, servesProvider } from '../kit/records.ts'
import type { GrantAdmin } from '../ports/modules.ts'
import type { Block, ListedGrant, Person } from '../ports/people.ts'
import type { Directory, Service } from '../ports/services.ts'
import type { AccessAdmin } from './access-api.ts'
import type { Outlook } from './console-services.ts'

export interface ConsolePeopleDeps {
  readonly accessAdmin: Pick<AccessAdmin, 'list' | 'blocks'>
  readonly grantAdmin: Pick<GrantAdmin, 'person'>
  readonly directory: Pick<Directory, 'services'>
  readonly outlook: Outlook
  readonly consolePages: Pick<ConsolePages, 'holders' | 'person' | 'client'>
}

type Side = HoldersView['side']

const distinct = (values: readonly string[]): readonly string[] => [...new Set(values)].toSorted()

const lastUsedOf = (grants: readonly ListedGrant[]): number | undefined => {
  const times = grants.flatMap(({ last_used_at: at }) => (at === undefined ? [] : [Date.parse(at)]))
  return times.length === 0 ? undefined : Math.max(...times)
}

/** Whether a user is blocked whatever the app is; by key or email address. */
const isUserBlocked = (
  blocks: readonly Block[],
  { user, email }: { readonly user: string; readonly email: string | undefined },
): boolean =>
  blocks.some(
    (block) =>
      block.client === undefined &&
      block.domain === undefined &&
      block.user !== undefined &&
      (block.user === user || block.user.toLowerCase() === email?.toLowerCase()),
  )

const clientBlock = (blocks: readonly Block[], client: string): Block | undefined =>
  blocks.find((block) => block.client === client && block.user === undefined)

/** Registrations of the same app have its name and where it sends users; a client ID document speaks for itself. */
const groupOf = ({
  client,
  client_name: name,
  client_kind: kind,
  redirect_host: host,
}: ListedGrant): string => (kind === 'dynamic' ? JSON.stringify([name, host]) : client)

const holderOf = (
  grants: readonly ListedGrant[],
  side: Side,
  { blocks, services }: { readonly blocks: readonly Block[]; readonly services: readonly Service[] },
): HolderSummary => {
  const [{ user, email, client, client_name: app, client_kind: kind, redirect_host: host }] = grants as [
    ListedGrant,
  ]
  const named = (id: string): string => services.find((one) => one.id === id)?.name ?? id
  const isPeople = side === 'people'
  return {
    id: isPeople ? user : client,
    name: isPeople ? (email ?? user.slice(user.indexOf(':') + 1)) : app,
    detail: isPeople ? user : host,
    ...(!isPeople && { kind }),
    ids: distinct(grants.map((grant) => grant.client)),
    others: new Set(grants.map((grant) => (isPeople ? groupOf(grant) : grant.user))).size,
    services: distinct(
      grants.map(({ service, resource }) => (service === undefined ? resource : named(service))),
    ),
    grants: grants.length,
    lastUsed: lastUsedOf(grants),
    blocked: isPeople ? isUserBlocked(blocks, { user, email }) : clientBlock(blocks, client) !== undefined,
  }
}

// The lists.

const onePage = 50

export const drawHolders = async (
  { accessAdmin, directory, consolePages }: ConsolePeopleDeps,
  frame: ConsoleFrame,
  { searchParams }: URL,
  side: Side,
): Promise<Response> => {
  const [{ grants, truncated }, blocks] = await Promise.all([accessAdmin.list({}), accessAdmin.blocks()])
  const by = Map.groupBy(grants, (grant) => (side === 'people' ? grant.user : groupOf(grant)))
  const asked = searchParams.get('q')?.trim().slice(0, 200) || undefined
  const word = asked?.toLowerCase() ?? ''
  const all = [...by.values()].map((own) => holderOf(own, side, { blocks, services: directory.services }))
  const found = all
    .filter(({ id, name, detail = '', ids }) =>
      [id, name, detail, ...ids].some((text) => text.toLowerCase().includes(word)),
    )
    .toSorted(
      (one, other) => (other.lastUsed ?? 0) - (one.lastUsed ?? 0) || one.name.localeCompare(other.name),
    )
  const count = Math.max(1, Math.ceil(found.length / onePage))
  const at = Math.min(count, Math.max(1, Math.trunc(Number(searchParams.get('page'))) || 1))
  return consolePages.holders(frame, {
    side,
    found: found.slice((at - 1) * onePage, at * onePage),
    asked,
    count: all.length,
    page: { at, count },
    more: truncated,
    blocks: blocks.filter((block) =>
      side === 'people' ? block.user !== undefined : block.user === undefined,
    ),
  })
}

// One user.

const serviceOf = (outlook: Outlook, service: Service, person: Person): PersonService => {
  const { id, name, authRequired } = service
  const tools = outlook.tools(service).length
  const about = { id, name, tools }
  if (!authRequired) return { ...about, allowed: tools, because: 'public' }
  if (!servesProvider(service, person.provider)) return { ...about, allowed: 0, because: 'provider' }
  const choices = outlook.ofPerson(service, person)
  if (choices === undefined) return { ...about, allowed: tools, because: 'open' }
  if ('allowed' in choices)
    return { ...about, allowed: 0, because: 'denied', rule: choices.rule ?? choices.code }
  const allowed = choices.tools.filter(({ locked }) => locked === undefined).length
  return { ...about, tools: Math.max(tools, choices.tools.length), allowed, because: 'rules' }
}

export const drawPerson = async (
  { accessAdmin, grantAdmin, directory, outlook, consolePages }: ConsolePeopleDeps,
  frame: ConsoleFrame,
  user: string,
): Promise<Response> => {
  // Both look through all grants; the second finds them open.
  const { grants } = await accessAdmin.list({ user })
  const [about, blocks] = await Promise.all([grantAdmin.person(user), accessAdmin.blocks(), outlook.fresh()])
  const key = about ? personKey(about) : user
  return consolePages.person(frame, {
    user: key,
    about,
    grants,
    services: about ? directory.services.map((service) => serviceOf(outlook, service, about)) : [],
    blocked: blocks.find(
      (block) =>
        block.client === undefined &&
        block.domain === undefined &&
        block.user !== undefined &&
        (block.user === key || (about !== undefined && isNamed(about, block.user))),
    ),
    self: isNamed(frame.person, key),
  })
}

// One client.

export const drawClient = async (
  { accessAdmin, consolePages }: ConsolePeopleDeps,
  frame: ConsoleFrame,
  client: string,
): Promise<Response> => {
  const [{ grants }, blocks] = await Promise.all([accessAdmin.list({ client }), accessAdmin.blocks()])
  return consolePages.client(frame, {
    client,
    grants,
    blocked: clientBlock(blocks, client),
  })
}
