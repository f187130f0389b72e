// What people have allowed apps: the page *Connected apps*, on which everybody sees and ends what is theirs, and
// the same for administrators by user, client and service.
import type { Config } from '../config/schema.ts'
import { readOwnForm, seeOther } from '../kit/http.ts'
import { isNamed, personKey, personalClients } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import { isClientOfDomain, redirectHost } from '../kit/urls.ts'
import type {
  Audit,
  Blocks,
  EndAccounts,
  EndedBy,
  GrantAdmin,
  Handler,
  Limit,
  Sessions,
} from '../ports/modules.ts'
import type { GrantFilter, ListedGrant } from '../ports/people.ts'
import type { ClientView, ConnectedAppsView, PagesFor } from '../ports/pages.ts'
import type { Person } from '../ports/people.ts'
import type { RequestContext, Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import { consentKeysOf } from './consent-request.ts'
import type { Grant } from './grant.ts'
import { type Grants, isOver } from './grants.ts'

// Which grants there are, and their end.

export interface AppAccess {
  /** What this person has allowed, by the list of theirs (`Grants.ofPerson`). */
  ofPerson(key: string): Promise<readonly Grant[]>
  byId(id: string): Promise<Grant | undefined>
  /** Every grant that fits; all grants of the client, or of the gateway, are read for it. */
  find(filter: GrantFilter): AsyncIterable<readonly Grant[]>
  /**
   * Ends them, and forgets the consents, so that no client comes back without asking. Resolves with how many
   * there were.
   */
  end(grants: readonly Grant[], why: EndedBy): Promise<number>
  /** Writes what the provider says of the person by now into every grant of theirs. */
  describe(person: Person): Promise<void>
  /** Id of the service that a grant is for; undefined when it is gone. */
  serviceOf(grant: Grant): string | undefined
  viewOf(grant: Grant): ClientView
}

export interface AppAccessDeps {
  readonly runtime: Pick<Runtime, 'store' | 'digest' | 'now'>
  readonly config: Pick<Config, 'clients'>
  readonly directory: Pick<Directory, 'resolve'>
  readonly grants: Pick<Grants, 'read' | 'ofPerson' | 'pages' | 'withLiveParent' | 'end' | 'amend'>
  readonly record: Audit
}

/** Each lost compare-and-set means that the grant was used meanwhile. */
const maxAttempts = 10

const idShape = /^[\w-]{32}$/

/** A grant keeps no kind: the id says it, as it does when the client is looked up. */
const clientViewOf = ({ clientId, clientName }: Grant, { clients }: AppAccessDeps['config']): ClientView => {
  const about = { id: clientId, name: clientName }
  if (clientId.startsWith(personalClients)) return { ...about, kind: 'personal' }
  // Named for an issuer that the operator has listed (workload.ts).
  if (Object.hasOwn(clients, clientId) || clientId.startsWith('workload:'))
    return { ...about, kind: 'registered' }
  const host = /^https?:/i.test(clientId) ? URL.parse(clientId)?.host : undefined
  return host === undefined ? { ...about, kind: 'dynamic' } : { ...about, kind: 'document', host }
}

export const createAppAccess = ({ runtime, config, directory, grants, record }: AppAccessDeps): AppAccess => {
  const serviceOf: AppAccess['serviceOf'] = ({ resource }) => directory.resolve(resource)?.service.id
  const forgetConsents = async (ended: readonly Grant[]): Promise<void> => {
    const keys = [...new Set(ended.flatMap((grant) => consentKeysOf(runtime, grant)))]
    if (runtime.store.takeMany) await runtime.store.takeMany(keys)
    else for (const key of keys) await runtime.store.take(key)
  }
  return {
    serviceOf,
    viewOf: (grant) => clientViewOf(grant, config),
    ofPerson: (key) => grants.ofPerson(key),
    async byId(id) {
      const grant = idShape.test(id) ? (await grants.read(id))?.grant : undefined
      return grant?.state === 'revoked' ? undefined : grant
    },
    async *find({ user, client, domain, service, tokens }) {
      for await (const page of grants.pages(client))
        yield grants.withLiveParent(
          page.filter(
            (grant) =>
              grant.state !== 'revoked' &&
              !isOver(grant, runtime.now()) &&
              (user === undefined || isNamed(grant.person, user)) &&
              (domain === undefined || isClientOfDomain(grant.clientId, domain)) &&
              (service === undefined || serviceOf(grant) === service) &&
              (tokens === undefined || grant.token !== undefined),
          ),
        )
    },
    async describe(person) {
      for (const { id } of await grants.ofPerson(personKey(person)))
        for (let attempt = 0; attempt < maxAttempts; attempt++) {
          const found = await grants.read(id)
          if (!found || found.grant.state === 'revoked' || (await grants.amend(found, { person }))) break
        }
    },
    async end(ended, { reason, by }) {
      if (ended.length === 0) return 0
      // The consents first: a client that loses its grant asks for another at once.
      await forgetConsents(ended)
      const count = await grants.end(ended, reason)
      record({ event: 'access.ended', grants: count, reason, by })
      return count
    },
  }
}

// The same for administrators.

const timeOf = (ms: number): string => new Date(ms).toISOString()

const listedOf = (grant: Grant, access: AppAccess): ListedGrant => {
  const { person, lastUse } = grant
  const service = access.serviceOf(grant)
  return {
    id: grant.id,
    user: personKey(person),
    ...(person.email !== undefined && { email: person.email }),
    client: grant.clientId,
    client_name: grant.clientName,
    client_kind: access.viewOf(grant).kind,
    ...(service !== undefined && { service }),
    resource: grant.resource,
    scopes: grant.scopes,
    kind: grant.kind ?? 'code',
    ...(grant.actor && { actor: grant.actor }),
    redirect_host: grant.redirectUri === undefined ? '' : redirectHost(grant.redirectUri),
    created_at: timeOf(grant.createdAt),
    ...(lastUse && { last_used_at: timeOf(lastUse.at) }),
    ...(lastUse?.from !== undefined && { last_used_from: lastUse.from }),
  }
}

export const createGrantAdmin = (access: AppAccess): GrantAdmin => ({
  async *list(filter) {
    for await (const found of access.find(filter)) yield found.map((grant) => listedOf(grant, access))
  },
  async byId(id) {
    const grant = await access.byId(id)
    return grant && listedOf(grant, access)
  },
  async person(user) {
    for await (const [grant] of access.find({ user })) if (grant) return grant.person
    return undefined
  },
  async endOne(id, why) {
    const grant = await access.byId(id)
    return grant !== undefined && (await access.end([grant], why)) > 0
  },
  async end(filter, why, dryRun, each) {
    let grants = 0
    const [users, clients] = [new Set<string>(), new Set<string>()]
    for await (const found of access.find(filter)) {
      grants += dryRun ? found.length : await access.end(found, why)
      for (const grant of found) {
        const user = personKey(grant.person)
        const service = access.serviceOf(grant)
        users.add(user)
        clients.add(grant.clientId)
        each?.({ user, ...(service !== undefined && { service }) })
      }
    }
    return { grants, users: users.size, clients: clients.size }
  },
})

// The page.

export interface ConnectedApps {
  /** GET /account/apps */
  readonly page: Handler
  /** POST /account/apps with csrf and action=end or block (and client), end-all (revoke_upstream=1 for both) or sign-out */
  readonly act: Handler
}

export interface ConnectedAppsDeps {
  readonly connections: { readonly endAccounts: EndAccounts }
  readonly access: AppAccess
  readonly runtime: Pick<Runtime, 'now'>
  readonly blocks: Pick<Blocks, 'add'>
  readonly directory: Pick<Directory, 'origins' | 'service'>
  readonly sessions: Sessions & { endOfPerson(key: string): Promise<number> }
  readonly pages: PagesFor
  readonly limit: Limit
  readonly record: Audit
}

const path = '/account/apps'
const signInPath = `/login?return_to=${encodeURIComponent(path)}`

const latest = (times: readonly (number | undefined)[]): number | undefined => {
  const known = times.filter((time) => time !== undefined)
  return known.length > 0 ? Math.max(...known) : undefined
}

type App = ConnectedAppsView['apps'][number]

const isByCompany = ({ kind }: Grant): boolean => kind === 'id_jag'
const isExchanged = ({ kind }: Grant): boolean => kind === 'exchange'

/** All grants of one client, newest first, as one app. */
const appOf = (grants: readonly Grant[], { access, directory }: ConnectedAppsDeps): App => {
  const [newest] = grants as readonly [Grant, ...Grant[]]
  const lastUsed = latest(grants.map(({ lastUse }) => lastUse?.at))
  const nameOf = (grant: Grant): string => {
    const id = access.serviceOf(grant)
    return (id !== undefined && directory.service(id)?.name) || grant.resource
  }
  return {
    client: access.viewOf(newest),
    redirects: [
      ...new Set(
        grants.flatMap(({ redirectUri }) => (redirectUri === undefined ? [] : [redirectHost(redirectUri)])),
      ),
    ],
    device: grants.find(({ device }) => device !== undefined)?.device,
    services: [...new Set(grants.map(nameOf))],
    byCompany: grants.some(isByCompany),
    exchanged: grants.some(isExchanged),
    since: Math.min(...grants.map(({ createdAt }) => createdAt)),
    lastUsed,
    from: grants.find(({ lastUse }) => lastUse !== undefined && lastUse.at === lastUsed)?.lastUse?.from,
  }
}

const appsOf = (grants: readonly Grant[], deps: ConnectedAppsDeps): readonly App[] =>
  [...Map.groupBy(grants, ({ clientId }) => clientId).values()]
    .map((own) => appOf(own, deps))
    .sort((a, b) => (b.lastUsed ?? b.since) - (a.lastUsed ?? a.since))

/** What a person asks for on the page. Resolves with the path that comes next. */
type Action = (key: string, form: ReadonlyMap<string, string>, context: RequestContext) => Promise<string>

const createEnd =
  ({ access, connections }: ConnectedAppsDeps) =>
  async (own: readonly Grant[], form: ReadonlyMap<string, string>, by: string): Promise<string> => {
    await access.end(own, { reason: 'ended_by_user', by })
    const [grant] = own
    if (grant && form.has('revoke_upstream')) {
      const services = new Set(own.flatMap((one) => access.serviceOf(one) ?? []))
      await connections.endAccounts([{ person: grant.person, services: [...services] }], by, 0)
    }
    return path
  }

const createActions = (deps: ConnectedAppsDeps): Readonly<Record<string, Action>> => {
  const { access, sessions, record } = deps
  const end = createEnd(deps)
  return {
    async end(key, form) {
      const client = form.get('client') ?? ''
      const own = (await access.ofPerson(key)).filter(({ clientId }) => clientId === client)
      return end(own, form, key)
    },
    /** What comes back by itself is kept away by a block alone; an administrator lifts it. */
    async block(key, form, { ip, requestId }) {
      const client = form.get('client') ?? ''
      const own = (await access.ofPerson(key)).filter(({ clientId }) => clientId === client)
      if (!own.some((grant) => isByCompany(grant) || isExchanged(grant)))
        throw new Refusal('request.malformed', 'no such app that comes back by itself')
      await deps.blocks.add({ user: key, client, by: key, at: deps.runtime.now() })
      const blocked = { blocked_user: key, blocked_client: client, by: key }
      record({ event: 'access.blocked', ...blocked, ip, request_id: requestId })
      return end(own, form, key)
    },
    'end-all': async (key, form) => end(await access.ofPerson(key), form, key),
    async 'sign-out'(key, _, { ip, requestId }) {
      const ended = await sessions.endOfPerson(key)
      const tokens = (await access.ofPerson(key)).filter(({ token }) => token !== undefined)
      await access.end(tokens, { reason: 'signed_out_everywhere', by: key })
      record({ event: 'sign-out', everywhere: true, sessions: ended, person: key, ip, request_id: requestId })
      return '/login'
    },
  }
}

/**
 * What a person does on a page of their own: the form that only they can have sent, and what its `action` names.
 * Throws `account.form`, also where nobody is signed in, and `request.malformed`.
 */
export const readOwnAction = async <Act>(
  request: Request,
  { ip }: Pick<RequestContext, 'ip'>,
  actions: Readonly<Record<string, Act>>,
  {
    sessions,
    limit,
    directory,
  }: {
    readonly sessions: Sessions
    readonly limit: Limit
    readonly directory: Pick<Directory, 'origins'>
  },
  signIn: string,
) => {
  await limit('authorize', { ip })
  const session = await sessions.of(request)
  if (!session)
    throw new Refusal('account.form', 'session cookie missing or expired', {
      page: { onward: { label: 'Sign in', href: signIn } },
    })
  const form = await readOwnForm(request, session.csrf, directory.origins, 'account.form')
  const name = form.get('action') ?? ''
  const action = Object.hasOwn(actions, name) ? actions[name] : undefined
  if (!action) throw new Refusal('request.malformed', 'action unknown')
  return { session, form, action }
}

export const createConnectedApps = (deps: ConnectedAppsDeps): ConnectedApps => {
  const { access, sessions, pages } = deps
  const actions = createActions(deps)
  return {
    async page(request) {
      const session = await sessions.of(request)
      if (!session) return seeOther(signInPath)
      const grants = await access.ofPerson(personKey(session.person))
      return pages(request).connectedApps({
        person: session.person,
        csrf: session.csrf,
        switchAccount: `/login?switch=1&return_to=${encodeURIComponent(path)}`,
        apps: appsOf(grants, deps),
      })
    },
    async act(request, context) {
      const { session, form, action } = await readOwnAction(request, context, actions, deps, signInPath)
      return seeOther(await action(personKey(session.person), form, context))
    },
  }
}
