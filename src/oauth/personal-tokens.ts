// Personal access tokens as they are made, listed and ended: by their users on the page (tokens-page.ts), and by
// whoever runs the gateway (cli/tokens.ts).
import type { Config } from '../config/schema.ts'
import { sameText } from '../kit/bytes.ts'
import { type Permission, beforeRules, isEnough, scopesUpTo } from '../kit/levels.ts'
import { isNamed, personKey, personalClients, serviceAccounts } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, Blocks, GrantAdmin, MayStillSignIn, ProvisionPerson } from '../ports/modules.ts'
import type { ListedToken, Person, WantedToken } from '../ports/people.ts'
import type { Policy } from '../ports/policy.ts'
import type { RequestContext, Runtime } from '../ports/runtime.ts'
import type { Directory, Service } from '../ports/services.ts'
import { apiTarget } from './api-tokens.ts'
import type { AppAccess } from './connected-apps.ts'
import type { Grant } from './grant.ts'
import type { Grants } from './grants.ts'
import { createTakePlace } from './personal-token-limit.ts'
import {
  clientOfToken,
  isTokenId,
  newInstance,
  newPersonalToken,
  newTokenId,
  readPersonalToken,
  tokenGrantId,
  tokenOfClient,
} from './personal-token.ts'

/** Who makes or ends one, for the audit trail. */
export interface TokenActor {
  readonly by: string
  readonly context?: RequestContext | undefined
}

export interface PersonalTokens {
  /**
   * The token, which is kept nowhere. Throws `personal-token.limit`, `personal-token.scope`, `service.unknown`,
   * `request.malformed`, `code.blocked`, and `personal-token.exists` for an id that there is.
   */
  create(
    person: Person,
    wanted: WantedToken,
    by: TokenActor,
  ): Promise<{ readonly token: string; readonly listed: ListedToken }>
  ofPerson(key: string): Promise<readonly ListedToken[]>
  all(): Promise<readonly ListedToken[]>
  /**
   * By its id, or itself, secret and all; `owner`: only if it is theirs. `leaked`: it is known to strangers. False when there is none.
   */
  end(
    id: string,
    by: TokenActor,
    how?: { readonly owner?: string; readonly leaked?: boolean },
  ): Promise<boolean>
  /**
   * A user by key or email address, as far as the gateway knows them; without one, the only user there is. Throws
   * `person.unknown`.
   */
  person(user: string | undefined): Promise<Person>
  /** The most that a person may let a token do at a service now; undefined where they may not use it at all. */
  grantable(person: Person, service: string): Promise<Grantable | undefined>
}

/** `ruled`: access rules say what each tool needs, so that less than everything can be given. */
export interface Grantable {
  readonly ruled: boolean
  readonly level: Permission
}

export interface PersonalTokensDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'digest' | 'store' | 'keys' | 'log'>
  readonly config: Pick<Config, 'personal_tokens'>
  readonly directory: Pick<Directory, 'issuer' | 'addresses' | 'service'>
  readonly grants: Pick<Grants, 'keep' | 'read' | 'ofPerson' | 'hasRoom' | 'pages' | 'end'>
  readonly access: Pick<AppAccess, 'end' | 'serviceOf'>
  readonly grantAdmin: Pick<GrantAdmin, 'person'>
  readonly blocks: Pick<Blocks, 'covers'>
  readonly policy: Pick<Policy, 'of' | 'services' | 'fresh'>
  readonly people: { all(): readonly Person[] }
  readonly builtInUser: Person | undefined
  readonly isAdmin: (person: Person) => boolean
  readonly mayStillSignIn: MayStillSignIn
  readonly provision?: ProvisionPerson | undefined
  readonly record: Audit
}

const limits = { adminMs: 86_400_000, testMs: 86_400_000 } as const
const longestName = 60
const mostServices = 50

const wrong = (why: string, say: string): Refusal => new Refusal('request.malformed', why, { say })

/** All grants of one token as one. */
const listedOf = (grants: readonly Grant[], { access }: Pick<PersonalTokensDeps, 'access'>): ListedToken => {
  const [first] = grants as readonly [Grant, ...Grant[]]
  const used = grants.flatMap(({ lastUse }) => lastUse?.at ?? [])
  return {
    id: tokenOfClient(first.clientId),
    name: first.clientName,
    user: personKey(first.person),
    kind: first.kind ?? 'personal',
    services: grants.map((grant) => access.serviceOf(grant) ?? grant.resource).toSorted(),
    ...(first.consented && { permission: first.consented.level }),
    createdAt: first.createdAt,
    expiresAt: first.token?.expiresAt ?? 0,
    ...(used.length > 0 && { lastUsedAt: Math.max(...used) }),
  }
}

const isToken = ({ token, state, clientId }: Grant): boolean =>
  token !== undefined && state === 'live' && clientId.startsWith(personalClients)

const tokensOf = (
  grants: readonly Grant[],
  deps: Pick<PersonalTokensDeps, 'access'>,
): readonly ListedToken[] =>
  [...Map.groupBy(grants.filter(isToken), ({ clientId }) => clientId).values()]
    .map((own) => listedOf(own, deps))
    .toSorted((a, b) => b.createdAt - a.createdAt)

/** What a token is for: a service, or the API of the gateway. */
interface TokenTarget extends Pick<Service, 'id' | 'scopes' | 'authRequired'> {
  readonly resource: string
  readonly service?: Service
}

const createTargetOf =
  ({ directory }: PersonalTokensDeps) =>
  (id: string): TokenTarget | undefined => {
    if (id === apiTarget)
      return { id, scopes: [], authRequired: true, resource: directory.issuer + apiTarget }
    const found = directory.addresses.find(({ service }) => service.id === id)
    return found && { ...found.service, resource: found.resource, service: found.service }
  }
type TargetOf = ReturnType<typeof createTargetOf>

const createGrantable =
  ({ policy, mayStillSignIn, provision, isAdmin }: PersonalTokensDeps, targetOf: TargetOf) =>
  async (person: Person, id: string, clientId = personalClients): Promise<Grantable | undefined> => {
    const target = targetOf(id)
    if (!target?.authRequired) return undefined
    const now = mayStillSignIn(provision ? await provision(person) : person, target.resource)
    if (!now) return undefined
    const { service } = target
    if (!service) return isAdmin(now) ? { ruled: true, level: 'admin' } : undefined
    if (policy.services.ruled) await policy.fresh()
    const rules = policy.services.ruled ? policy.of(service) : undefined
    if (!rules?.choices) return { ruled: false, level: beforeRules }
    const by = { person: now, personKey: personKey(now), clientId, redirectHost: '' }
    const choices = rules.choices(by, [])
    return 'allowed' in choices ? undefined : { ruled: true, level: choices.own }
  }

/** How long the token lives. Throws `request.malformed`. */
const lifetimeOf = (
  { lifetimeMs, permission, kind }: WantedToken,
  { personal_tokens: { max_lifetime: most, default_lifetime: usual } }: PersonalTokensDeps['config'],
): number => {
  const longest = Math.min(
    most * 1000,
    ...(permission === 'admin' ? [limits.adminMs] : []),
    ...(kind === 'test' ? [limits.testMs] : []),
  )
  const wanted = lifetimeMs ?? Math.min(usual * 1000, longest)
  if (wanted >= 1000 && wanted <= longest) return wanted
  const days = longest / 86_400_000
  throw wrong(
    `lifetime ${wanted} ms`,
    `The token may live for at most ${days >= 1 ? `${Math.floor(days)} day${days >= 2 ? 's' : ''}` : `${Math.floor(longest / 60_000)} minutes`}.`,
  )
}

interface TokenScope {
  readonly targets: readonly TokenTarget[]
  readonly level: Permission
}

type GrantableOf = ReturnType<typeof createGrantable>

const outOfScope = (say: string): Refusal => new Refusal('personal-token.scope', say, { say })

/** Throws `personal-token.scope`. */
const requireGrantable = (
  { id, authRequired }: TokenTarget,
  own: Grantable | undefined,
  permission: Permission | undefined,
): Grantable => {
  if (!authRequired) throw outOfScope(`${id} is public: it needs no token.`)
  if (!own) throw outOfScope(`At ${id} this user has no access with a personal access token.`)
  if (permission && !own.ruled)
    throw outOfScope(
      `${id} has no access rules that say what each tool needs, so permissions cannot be limited.`,
    )
  if (permission && !isEnough(own.level, permission))
    throw outOfScope(`At ${id} this user has no more than ${own.level} access.`)
  return own
}

/** Where the token is good, and for how much. Throws `service.unknown` and `personal-token.scope`. */
const scopeOf = async (
  person: Person,
  { services, permission, kind }: WantedToken,
  clientId: string,
  { targetOf, grantable }: { readonly targetOf: TargetOf; readonly grantable: GrantableOf },
): Promise<TokenScope> => {
  const ids = [...new Set(services)]
  if (ids.length === 0 || ids.length > mostServices || (kind === 'test' && ids.length > 1))
    throw wrong(
      `${ids.length} services`,
      kind === 'test' ? 'A token for tests is for one service.' : 'Choose at least one service.',
    )
  if (ids.includes(apiTarget) && (ids.length > 1 || permission !== 'admin'))
    throw outOfScope('The API of the gateway needs a token of its own, with the permission admin.')
  const found = await Promise.all(
    ids.map(async (id) => {
      const target = targetOf(id)
      if (!target) throw new Refusal('service.unknown', id.slice(0, 80))
      return { target, own: requireGrantable(target, await grantable(person, id, clientId), permission) }
    }),
  )
  const level = permission ?? (found.some(({ own }) => own.ruled) ? 'read' : beforeRules)
  const open = found.find(({ own }) => !own.ruled)
  if (open && level !== beforeRules)
    throw outOfScope(
      `${open.target.id} has no access rules and other services have: create a token for each.`,
    )
  return { targets: found.map(({ target }) => target), level }
}

/** Grants of one token, which nobody has seen yet. */
const grantsOf = (
  { runtime }: PersonalTokensDeps,
  wanted: { readonly id: string; readonly name: string; readonly kind: 'personal' | 'test' },
  {
    person,
    scope: { targets, level },
    secret,
    lifetimeMs,
  }: {
    readonly person: Person
    readonly scope: TokenScope
    readonly secret: string
    readonly lifetimeMs: number
  },
): readonly Grant[] => {
  const now = runtime.now()
  return targets.map(({ id, scopes, service, resource }) => ({
    id: tokenGrantId(runtime, wanted.id, id),
    kind: wanted.kind,
    state: 'live',
    person,
    clientId: clientOfToken(wanted.id),
    clientName: wanted.name,
    resource,
    ...(service?.generation !== undefined && { serviceGeneration: service.generation }),
    scopes: [...new Set([...scopes, ...scopesUpTo(level)])],
    consented: { level, excluded: [] },
    refreshable: false,
    salt: '',
    generation: 0,
    usedAt: {},
    keyIds: {},
    createdAt: now,
    instance: newInstance(runtime),
    token: { digest: runtime.digest(secret), expiresAt: now + lifetimeMs },
  }))
}

const nameOf = (text: string): string => {
  const name = text.replaceAll(/\s+/g, ' ').trim()
  if (name.length <= longestName && !/[\u0000-\u001F\u007F-\u009F]/.test(name)) return name || 'Unnamed token'
  throw wrong('name', `The name may have at most ${longestName} characters.`)
}

const createPerson =
  ({ people, builtInUser, grantAdmin, mayStillSignIn }: PersonalTokensDeps): PersonalTokens['person'] =>
  async (user) => {
    const local = [...people.all(), ...(builtInUser ? [builtInUser] : [])]
    const unknown = (say: string) => new Refusal('person.unknown', String(user).slice(0, 80), { say })
    if (user === undefined) {
      const [only, ...others] = local
      if (only && others.length === 0) return only
      throw unknown('Several users can sign in. Name the one whose token it is.')
    }
    if (user.startsWith(`${serviceAccounts}:`))
      throw unknown('A service account has no personal access tokens: its clients ask for tokens themselves.')
    const found = local.find((person) => isNamed(person, user)) ?? (await grantAdmin.person(user))
    const person = found && mayStillSignIn(found)
    if (!person)
      throw unknown('This user is not known. Users of an identity provider must have signed in to an app.')
    return person
  }

const factsOf = (listed: ListedToken, { by, context }: TokenActor) => ({
  person: listed.user,
  client: clientOfToken(listed.id),
  name: listed.name,
  services: listed.services,
  by,
  ...(context && { ip: context.ip, request_id: context.requestId }),
})

const createEnd =
  (deps: PersonalTokensDeps): PersonalTokens['end'] =>
  async (named, by, { owner, leaked = false } = {}) => {
    const { id, secret } = readPersonalToken(named) ?? { id: named, secret: undefined }
    if (!isTokenId(id)) return false
    const digest = secret === undefined ? undefined : deps.runtime.digest(secret)
    const isMeant = (grant: Grant): boolean =>
      isToken(grant) && (digest === undefined || sameText(digest, grant.token?.digest ?? ''))
    const found: Grant[] = []
    for await (const page of deps.grants.pages(clientOfToken(id))) found.push(...page.filter(isMeant))
    const own = owner === undefined ? found : found.filter(({ person }) => personKey(person) === owner)
    if (own.length === 0) return false
    const listed = listedOf(own, deps)
    const reason = leaked
      ? 'leaked'
      : owner
        ? 'ended_by_user'
        : `ended_by_${by.by === 'cli' ? 'admin' : 'holder'}`
    await deps.access.end(own, { reason, by: by.by })
    if (leaked) deps.record({ event: 'token.leaked', ...factsOf(listed, by) })
    else deps.record({ event: 'token.ended', ...factsOf(listed, by) })
    return true
  }

export const createPersonalTokens = (deps: PersonalTokensDeps): PersonalTokens => {
  const { runtime, config, grants, blocks, record } = deps
  const targetOf = createTargetOf(deps)
  const grantable = createGrantable(deps, targetOf)
  const refuseBlocked = async (person: Person, clientId: string): Promise<void> => {
    if (await blocks.covers(person, clientId)) throw new Refusal('code.blocked', personKey(person))
  }
  const ofPerson: PersonalTokens['ofPerson'] = async (key) => tokensOf(await grants.ofPerson(key), deps)
  const takePlace = createTakePlace(deps, async (key) => (await ofPerson(key)).map(({ id }) => id))
  return {
    person: createPerson(deps),
    grantable,
    ofPerson,
    async all() {
      const found: Grant[] = []
      for await (const page of grants.pages())
        found.push(...page.filter((grant) => isToken(grant) && (grant.token?.expiresAt ?? 0) > runtime.now()))
      return tokensOf(found, deps)
    },
    async create(person, wanted, by) {
      const { id = newTokenId(runtime), kind = 'personal' } = wanted
      if (!isTokenId(id)) throw wrong('id', 'The form is not one of this page.')
      const name = nameOf(wanted.name)
      const lifetimeMs = lifetimeOf(wanted, config)
      const scope = await scopeOf(person, wanted, clientOfToken(id), { targetOf, grantable })
      await refuseBlocked(person, clientOfToken(id))
      await takePlace(personKey(person), id)
      const { token, secret } = newPersonalToken(runtime, id)
      const made = grantsOf(deps, { id, name, kind }, { person, scope, secret, lifetimeMs })
      const kept: Grant[] = []
      for (const grant of made) if (await grants.keep(grant, 'absent')) kept.push(grant)
      try {
        if (kept.length < made.length) throw new Refusal('personal-token.exists', id)
        // Whoever blocks ends what is there, and this may have been written between the two.
        await refuseBlocked(person, clientOfToken(id))
      } catch (error) {
        if (kept.length > 0) await grants.end(kept, 'blocked')
        throw error
      }
      const listed = listedOf(made, deps)
      record({
        event: 'token.created',
        ...factsOf(listed, by),
        kind,
        permission: scope.level,
        expires_at: new Date(listed.expiresAt).toISOString(),
      })
      return { token, listed }
    },
    end: createEnd(deps),
  }
}
