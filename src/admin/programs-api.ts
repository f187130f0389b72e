// The API about programs, for administrators: service accounts, personal access tokens, and the end of one grant, which
// comes back by itself where no person is asked, and so can be blocked.
import { accountUsedAt, personKey, serviceAccounts } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Config } from '../config/schema.ts'
import type { Handler } from '../ports/modules.ts'
import type { BoundClient, BoundClients, ListedGrant, ListedToken } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { AccessAdmin } from './access-api.ts'
import { type AdminAuthorization, bodyOf, json, timeOf } from './services-api.ts'

export interface ProgramsApi {
  /** GET /api/tokens?user= */
  readonly tokens: Handler
  /** DELETE /api/tokens/:id?leaked=1 */
  readonly endToken: Handler
  /** GET /api/service-accounts, /api/service-accounts/:id */
  readonly accounts: Handler
  /** GET /api/client-bindings */
  readonly bindings: Handler
  /** POST /api/client-bindings: `{ client, account }` */
  readonly bind: Handler
  /** DELETE /api/client-bindings?client= */
  readonly unbind: Handler
  /** GET /api/assertion-issuers */
  readonly issuers: Handler
  /** POST /api/grants/:id/end */
  readonly endGrant: Handler
  /** POST /api/grants/:id/block: what it is for stays away until it is unblocked */
  readonly blockGrant: Handler
  /** POST /api/grants/:id/unblock */
  readonly unblockGrant: Handler
}

export interface ProgramsApiDeps {
  readonly accessAdmin: Pick<AccessAdmin, 'list' | 'show' | 'revoke' | 'blocks' | 'block' | 'unblock'>
  readonly registry: { config(): Config }
  readonly boundClients: BoundClients
  readonly runtime: Pick<Runtime, 'store'>
  readonly personalTokens: {
    all(): Promise<readonly ListedToken[]>
    end(id: string, by: { readonly by: string }, how?: { readonly leaked?: boolean }): Promise<boolean>
  }
}

/** `/api/name/:id/what` → `:id`; empty for `/api/name`. */
const idIn = (request: Request): string => new URL(request.url).pathname.split('/')[3] ?? ''

const named = (request: Request, name: string): string | undefined =>
  new URL(request.url).searchParams.get(name) || undefined

const listedToken = ({ createdAt, expiresAt, lastUsedAt, ...token }: ListedToken) => ({
  ...token,
  created_at: timeOf(createdAt),
  expires_at: timeOf(expiresAt),
  ...(lastUsedAt !== undefined && { last_used_at: timeOf(lastUsedAt) }),
})

interface InUse {
  readonly config: Config
  readonly grants: readonly ListedGrant[]
  readonly bound: readonly BoundClient[]
}

/** IDs of the clients that act as a service account: by the configuration, and bound to it since. */
export const clientsOf = (
  id: string,
  { config, bound }: Pick<InUse, 'config' | 'bound'>,
): readonly string[] => [
  ...Object.entries(config.clients).flatMap(([client, { service_account: account }]) =>
    account === id ? [client] : [],
  ),
  ...bound.flatMap(({ client, account }) => (account === id ? [client] : [])),
]

const listedAccount = async (id: string, { store }: ProgramsApiDeps['runtime'], used: InUse) => {
  const { name = id, groups, services, permissions, owner } = used.config.service_accounts[id] as Account
  const lastUsed = await accountUsedAt(store, id)
  return {
    id,
    user: `${serviceAccounts}:${id}`,
    name,
    ...(owner !== undefined && { owner }),
    groups,
    services,
    ...(permissions && { permissions }),
    clients: clientsOf(id, used),
    grants: used.grants.filter(({ user }) => user === `${serviceAccounts}:${id}`).length,
    ...(lastUsed !== undefined && { last_used_at: timeOf(lastUsed) }),
  }
}
type Account = Config['service_accounts'][string]

/** What is configured of an issuer, without its keys. */
const listedIssuer = (id: string, entry: Config['assertion_issuers'][string]) => {
  const { type, clients, issuer, trust_domain: domain, provider, services, permissions, rules } = entry
  const found = entry.jwks ? 'jwks' : entry.jwks_uri === undefined ? 'metadata' : 'jwks_uri'
  return {
    id,
    type,
    ...(issuer !== undefined && { issuer }),
    ...(domain !== undefined && { trust_domain: domain }),
    ...(provider !== undefined && { provider }),
    keys: found,
    clients,
    services,
    ...(permissions && { permissions }),
    service_accounts: [...new Set(rules.map(({ service_account: account }) => account))],
  }
}

const createGrantActions = (
  { accessAdmin }: Pick<ProgramsApiDeps, 'accessAdmin'>,
  { requireCsrfToken }: AdminAuthorization,
): Pick<ProgramsApi, 'endGrant' | 'blockGrant' | 'unblockGrant'> => ({
  async endGrant(request) {
    const by = personKey((await requireCsrfToken(request)).person)
    await accessAdmin.revoke(idIn(request), by)
    return new Response(null, { status: 204 })
  },
  async blockGrant(request) {
    const by = personKey((await requireCsrfToken(request)).person)
    const grant = await accessAdmin.show(idIn(request))
    const party = { user: grant.user, client: grant.client }
    return json({ ended: await accessAdmin.block(party, by, { grant: grant.id }) }, 201)
  },
  async unblockGrant(request) {
    const by = personKey((await requireCsrfToken(request)).person)
    const id = idIn(request)
    const block = (await accessAdmin.blocks()).find(({ grant }) => grant === id)
    if (!block) throw new Refusal('block.unknown', id.slice(0, 80))
    const { user, client } = block
    await accessAdmin.unblock(
      { ...(user !== undefined && { user }), ...(client !== undefined && { client }) },
      by,
    )
    return new Response(null, { status: 204 })
  },
})

const listedBinding = ({ at, ...bound }: BoundClient) => ({ ...bound, at: timeOf(at) })

const isName = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= 2048

const createBindingActions = (
  { boundClients }: Pick<ProgramsApiDeps, 'boundClients'>,
  { requireAdmin, requireCsrfToken }: AdminAuthorization,
): Pick<ProgramsApi, 'bindings' | 'bind' | 'unbind'> => ({
  async bindings(request) {
    await requireAdmin(request)
    const [bound, unbound] = await Promise.all([boundClients.list(), boundClients.unbound()])
    return json({
      client_bindings: bound.map(listedBinding),
      unbound_clients: unbound.clients.map(({ at, ...client }) => ({ ...client, registered_at: timeOf(at) })),
      truncated: unbound.truncated,
    })
  },
  async bind(request) {
    const by = personKey((await requireCsrfToken(request)).person)
    const { client, account } = await bodyOf(request)
    if (!isName(client) || !isName(account))
      throw new Refusal('request.malformed', 'client or account', {
        say: 'Name a client (client_id) and an account (ID of a service account).',
      })
    return json(listedBinding(await boundClients.bind(client, account, by)), 201)
  },
  async unbind(request) {
    const by = personKey((await requireCsrfToken(request)).person)
    return json({ ended: await boundClients.unbind(named(request, 'client') ?? '', by) })
  },
})

export const createProgramsApi = (deps: ProgramsApiDeps, authorization: AdminAuthorization): ProgramsApi => {
  const { accessAdmin, registry, personalTokens, boundClients, runtime } = deps
  const { requireAdmin, requireCsrfToken } = authorization
  return {
    ...createGrantActions(deps, authorization),
    ...createBindingActions(deps, authorization),
    async tokens(request) {
      await requireAdmin(request)
      const user = named(request, 'user')
      const all = await personalTokens.all()
      const tokens = all.filter((token) => user === undefined || token.user === user)
      return json({ tokens: tokens.map(listedToken) })
    },
    async endToken(request) {
      const by = personKey((await requireCsrfToken(request)).person)
      const id = idIn(request)
      const leaked = named(request, 'leaked') !== undefined
      if (!(await personalTokens.end(id, { by }, { leaked })))
        throw new Refusal('grant.unknown', id.slice(0, 80), {
          say: 'There is no such personal access token.',
        })
      return new Response(null, { status: 204 })
    },
    async issuers(request) {
      await requireAdmin(request)
      const issuers = Object.entries(registry.config().assertion_issuers)
      return json({
        assertion_issuers: issuers.map(([id, entry]) => listedIssuer(id, entry)),
      })
    },
    async accounts(request) {
      await requireAdmin(request)
      const config = registry.config()
      const id = idIn(request)
      const ids = Object.keys(config.service_accounts)
      if (id !== '' && !ids.includes(id))
        throw new Refusal('person.unknown', id.slice(0, 80), { say: 'There is no such service account.' })
      const { grants } = await accessAdmin.list({ ...(id !== '' && { user: `${serviceAccounts}:${id}` }) })
      const used = { config, grants, bound: await boundClients.list() }
      if (id !== '') return json(await listedAccount(id, runtime, used))
      return json({
        service_accounts: await Promise.all(ids.map((one) => listedAccount(one, runtime, used))),
      })
    },
  }
}
