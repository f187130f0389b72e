// Which service account a client acts as that the configuration does not name: one that registered (RFC 7591), or that
// published a metadata document. Until an administrator has bound it, it acts as none.
import type { Config } from '../config/schema.ts'
import { createRecords } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit } from '../ports/modules.ts'
import type { BoundClient, BoundClients, UnboundClient } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import { registrableGrants } from './client.ts'
import { type FetchJsonDeps, createClientDocuments } from './client-id-document.ts'
import {
  type Clients,
  type ClientsDeps,
  type FoundClient,
  createClients,
  registeredClient,
} from './clients.ts'
import type { Grants } from './grants.ts'

export interface ClientBindings {
  list(): Promise<readonly BoundClient[]>
  /** ID of the service account. */
  accountOf(client: string): Promise<string | undefined>
  set(bound: BoundClient): Promise<void>
  /** False when there was none. */
  remove(client: string): Promise<boolean>
}

/** Bindings that are read at once. */
const atOnce = 1000

export const createClientBindings = ({
  runtime,
}: {
  readonly runtime: Pick<Runtime, 'store' | 'keys' | 'log' | 'digest'>
}): ClientBindings => {
  const { digest } = runtime
  const records = createRecords<BoundClient>(runtime, 'client-binding:', { remembered: 256 })
  return {
    async list() {
      const found: BoundClient[] = []
      for await (const page of records.pages(atOnce)) found.push(...page.map(({ value }) => value))
      return found
    },
    async accountOf(client) {
      const kept = await records.get(digest(client))
      // Sealed with a former secret, it would be lost with that. Whoever wrote it meanwhile meant what they wrote.
      if (kept?.former) await records.put(digest(client), kept.value, { only: kept.mark })
      return kept?.value.account
    },
    set: async (bound) => void (await records.put(digest(bound.client), bound)),
    remove: async (client) => (await records.take(digest(client))) !== undefined,
  }
}

interface BindClientsDeps {
  readonly registry: { config(): Pick<Config, 'service_accounts'> }
  readonly config: Pick<Config, 'dynamic_registration'>
  readonly runtime: Pick<Runtime, 'now' | 'digest'>
  readonly clients: Pick<Clients, 'find' | 'registrations'>
  readonly grants: Pick<Grants, 'pages' | 'end'>
  readonly record: Audit
}

const refuse = (why: string, say: string): Refusal => new Refusal('request.malformed', why, { say })

/** Throws `person.unknown` for an account, and `client.unknown` or `request.malformed` for a client, that cannot be. */
const bindable = async (
  { registry, clients }: BindClientsDeps,
  id: string,
  account: string,
): Promise<FoundClient> => {
  if (!Object.hasOwn(registry.config().service_accounts, account))
    throw new Refusal('person.unknown', account.slice(0, 80), { say: 'There is no such service account.' })
  const client = await clients.find(id).catch((error: unknown) => {
    // What is said of it elsewhere is for the users of an app.
    if (error instanceof Refusal && error.code === 'client.unknown')
      throw new Refusal('client.unknown', error.why, { say: 'No client has this client_id.' })
    throw error
  })
  if (client.kind === 'registered')
    throw refuse(`${id} is configured`, 'This client is configured: set its service_account there.')
  if (!client.grantTypes.includes('client_credentials'))
    throw refuse(
      `${id} has not the grant client_credentials`,
      'This client does not have the grant type client_credentials: either it did not ask for it, does not authenticate, or dynamic_registration.grant_types does not allow it.',
    )
  return client
}

/** Registrations that are looked through for those that are not bound: anybody may register. */
const mostRead = 10_000
const mostUnbound = 100

const isUnbound = ({ ended, client }: RegisteredClient, bound: ReadonlySet<string>): boolean =>
  !ended &&
  client.grantTypes.includes('client_credentials') &&
  client.authMethod !== 'none' &&
  !bound.has(client.id)

interface RegisteredClient {
  readonly ended: boolean | undefined
  readonly client: ReturnType<typeof registeredClient>
}

const findUnbound = async (
  { clients, config, runtime }: BindClientsDeps,
  bound: ReadonlySet<string>,
): ReturnType<BoundClients['unbound']> => {
  const offered = registrableGrants(config)
  if (!offered.includes('client_credentials')) return { clients: [], truncated: false }
  const found: UnboundClient[] = []
  let read = 0
  for await (const page of clients.registrations.pages(atOnce)) {
    for (const { value } of page) {
      const client = registeredClient(value, runtime.digest, offered)
      if (!isUnbound({ ended: value.ended, client }, bound)) continue
      found.push({ client: client.id, name: client.name, method: client.authMethod, at: value.issuedAt })
    }
    read += page.length
    if (read >= mostRead) break
  }
  const newest = found.toSorted((one, other) => other.at - one.at)
  return { clients: newest.slice(0, mostUnbound), truncated: read >= mostRead || newest.length > mostUnbound }
}

const createBoundClients = (deps: BindClientsDeps, bindings: ClientBindings): BoundClients => {
  const { runtime, clients, grants, record } = deps
  /** Those that are not for this account; grants that it has from users stay. */
  const endOwn = async (client: string, but?: string): Promise<number> => {
    let ended = 0
    for await (const page of grants.pages(client))
      ended += await grants.end(
        page.filter(({ kind, person }) => kind === 'client_credentials' && person.subject !== but),
        'client_unbound',
      )
    return ended
  }
  return {
    list: () => bindings.list(),
    unbound: async () => findUnbound(deps, new Set((await bindings.list()).map(({ client }) => client))),
    async bind(id, account, by) {
      const client = await bindable(deps, id, account)
      const bound = { client: id, account, by, at: runtime.now() }
      await bindings.set(bound)
      await endOwn(id, account)
      // A registration that nobody uses expires.
      if (client.registered) await clients.registrations.use(client.registered)
      record({ event: 'client.bound', client: id, account, by })
      return bound
    },
    async unbind(id, by) {
      if (!(await bindings.remove(id)))
        throw new Refusal('client.unknown', `${id.slice(0, 200)} is not bound`, {
          say: 'This client is bound to no service account.',
        })
      const ended = await endOwn(id)
      record({ event: 'client.unbound', client: id, grants: ended, by })
      return ended
    },
  }
}

/** The clients, whatever they come from, and what an administrator has bound them to. `known`: what is noted of each. */
export const createClientParts = (
  deps: Omit<ClientsDeps, 'documents'> & FetchJsonDeps & Omit<BindClientsDeps, 'clients'>,
  known: (clients: Clients) => Clients,
): {
  readonly clients: Clients
  readonly clientBindings: ClientBindings
  readonly boundClients: BoundClients
} => {
  const clients = known(createClients({ ...deps, documents: createClientDocuments(deps) }))
  const clientBindings = createClientBindings(deps)
  return { clients, clientBindings, boundClients: createBoundClients({ ...deps, clients }, clientBindings) }
}
