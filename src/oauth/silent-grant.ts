// What the grants have in common that nobody is asked about: the client's next request brings back what was ended; only
// a block keeps it out. All requests of one client that mean the same are one grant: one record, one line in every
// list, one end.
import { encodeBase64url } from '../kit/bytes.ts'
import { type Permission, levelNamed, scopesUpTo } from '../kit/levels.ts'
import { type RefusalCode, Refusal } from '../kit/refusal.ts'
import { withoutQuery } from '../kit/urls.ts'
import type { Limit } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Policy } from '../ports/policy.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Address, Service } from '../ports/services.ts'
import type { Client } from './client.ts'
import type { Grant, GrantKind, ReadGrant } from './grant.ts'
import type { GrantDeps, GrantHandler, TokenRequest } from './parameters.ts'
import { subjectOf } from './tokens.ts'

export interface SilentGrantDeps extends GrantDeps {
  readonly runtime: Pick<Runtime, 'now' | 'keys' | 'digest' | 'random'>
  readonly limit: Limit
}

/**
 * Where nobody is asked, a fault in a loop asks without end: each client is counted, and of each address what was
 * refused. Throws `rate.limited` in the place of a refusal.
 */
export const paced =
  ({ limit }: { readonly limit: Limit }, handle: GrantHandler): GrantHandler =>
  async (request) => {
    const { client, context } = request
    await limit('client-tokens', `client ${client.id}`)
    try {
      return await handle(request)
    } catch (error) {
      if (error instanceof Refusal && error.row.status < 500)
        await limit('refused-clients', { ip: context.ip })
      throw error
    }
  }

/** Everything but administration, which an operator names. */
export const ordinary: Permission = 'execute'

/** Where a client may go, and what its tokens say there. */
export interface Permitted {
  readonly person: Person
  readonly address: Address
  /** Undefined where no access rules say what a tool needs. */
  readonly level: Permission | undefined
}

/** Every token has a scope that its service needs. */
const scopesWith = ({ address }: Permitted, level: Permission | undefined): readonly string[] => [
  ...new Set([...address.service.scopes, ...(level ? scopesUpTo(level) : [])]),
]

/**
 * What access rules let this person's tokens say at the service, at most. Throws `code` where they grant nothing, and
 * where nothing could hold the tokens to `most`.
 */
export const levelAt = async (
  { policy }: { readonly policy: Pick<Policy, 'of' | 'services' | 'fresh'> },
  service: Service,
  by: { readonly person: Person; readonly clientId: string; readonly most: Permission | undefined },
  code: RefusalCode,
): Promise<Permission | undefined> => {
  if (policy.services.ruled) await policy.fresh()
  const rules = policy.services.ruled ? policy.of(service) : undefined
  if (!rules?.choices) {
    // Rules were taken away while the gateway runs: then nothing could hold the tokens to less.
    if (by.most === undefined) return undefined
    throw new Refusal(code, `${service.id}: permissions need access rules`)
  }
  const choices = rules.choices({ ...by, personKey: subjectOf(by), redirectHost: '' }, [])
  if ('allowed' in choices)
    throw new Refusal(code, `${service.id}: ${subjectOf(by)} is denied by ${choices.rule ?? choices.code}`)
  return by.most ?? ordinary
}

/**
 * The one service that these resources name (RFC 8707 §2.2), at the first of its addresses among them; undefined
 * where none is named. Throws `resource.unknown`.
 */
export const namedAddress = async (
  { find }: Pick<GrantDeps, 'find'>,
  resources: readonly string[],
): Promise<Address | undefined> => {
  const named = resources.filter(Boolean)
  if (named.length === 0) return undefined
  const [address, ...others] = await Promise.all(named.map(find))
  if (!address || others.some((other) => other?.service.id !== address.service.id))
    throw new Refusal('resource.unknown', named.slice(0, 5).map(withoutQuery).join(' '))
  if (!address.service.authRequired)
    throw new Refusal('resource.unknown', `${address.service.id} needs no token`)
  return address
}

/**
 * RFC 6749 §3.3: of what was asked what there is; none means all of it. As at the authorization endpoint, who
 * names no level means the one there is, and what the service needs is never left out. Throws `code` where nothing is left.
 */
export const narrowedScopes = (
  scope: string | undefined,
  permitted: Permitted,
  code: RefusalCode,
): readonly string[] => {
  const asked = (scope ?? '').split(' ').filter(Boolean)
  const own = permitted.address.service.scopes
  const all = scopesWith(permitted, permitted.level)
  const refuse = (): never => {
    throw new Refusal(code, asked.join(' ').slice(0, 500))
  }
  const kept = all.filter((scope) => asked.includes(scope))
  if (levelNamed(asked, own) !== undefined) return scopesWith(permitted, levelNamed(kept, own) ?? refuse())
  return asked.length === 0 || kept.length > 0 ? all : refuse()
}

/** What tells the grants of one client apart. */
interface SilentIdentity {
  readonly client: Pick<Client, 'id' | 'name'>
  readonly kind: GrantKind
  /** The first part is the kind. */
  readonly parts: readonly string[]
}

/** The first characters are the client's, as in every grant (grants.ts). */
export const silentGrantId = (
  { digest }: Pick<Runtime, 'digest'>,
  { client, kind, parts }: SilentIdentity,
): string => digest(`client ${client.id}`).slice(0, 8) + digest(JSON.stringify([kind, ...parts])).slice(0, 24)

/** The grant as it is now or anew; `before`: as it was kept. */
export const silentGrant = (
  { runtime }: Pick<SilentGrantDeps, 'runtime'>,
  identity: SilentIdentity,
  allowed: Permitted,
  before: Grant | undefined,
): Grant => {
  const { person, address, level } = allowed
  const now = runtime.now()
  const live = before?.state === 'live' ? before : undefined
  return {
    id: silentGrantId(runtime, identity),
    kind: identity.kind,
    state: 'live',
    person,
    clientId: identity.client.id,
    clientName: identity.client.name,
    resource: address.resource,
    ...(address.service.generation !== undefined && { serviceGeneration: address.service.generation }),
    scopes: scopesWith(allowed, level),
    ...(level && { consented: { level, excluded: [] } }),
    refreshable: false,
    salt: '',
    generation: 0,
    usedAt: {},
    keyIds: {},
    createdAt: live?.createdAt ?? now,
    instance: live?.instance ?? encodeBase64url(runtime.random(9)),
    redeemedAt: now,
    ...(live?.lastUse && { lastUse: live.lastUse }),
  }
}

/** Each lost compare-and-set means that another request of the client won. */
const maxAttempts = 10
/** The record outlives its tokens by a minute: a token of a record as old as this is not outlived by it. */
const renewAfterMs = 30_000

const isSame = (a: Grant, b: Grant): boolean =>
  JSON.stringify([a.scopes, a.consented, a.clientName, a.person]) ===
  JSON.stringify([b.scopes, b.consented, b.clientName, b.person])

/** Whether what is kept says all of it, and will for as long as the new token lives. */
const isKept = (grant: Grant, read: ReadGrant | undefined): boolean =>
  read?.grant.state === 'live' &&
  isSame(grant, read.grant) &&
  (grant.redeemedAt ?? 0) - (read.grant.redeemedAt ?? 0) < renewAfterMs

interface SilentIssue {
  readonly id: string
  readonly make: (before: Grant | undefined) => Grant
  /** Signs the token first: afterwards nothing but the record can fail, and nothing was written yet. */
  readonly sign: (grant: Grant) => Promise<string>
}

const issue = async (
  { grants }: SilentGrantDeps,
  { client, context }: TokenRequest,
  { id, make, sign }: SilentIssue,
): Promise<{ readonly grant: Grant; readonly access: string }> => {
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const read = await grants.read(id)
    const grant = make(read?.grant)
    const access = await sign(grant)
    if (attempt === 0) await client.spend()
    if (isKept(grant, read) || (await grants.keep(grant, read?.mark ?? 'absent', context.ip)))
      return { grant, access }
  }
  throw new Refusal('storage.unavailable', 'grant update conflicts, retries exhausted')
}

/** Keeps the grant and signs its token. Throws `code.blocked`. */
export const issueSilently = async (
  deps: SilentGrantDeps,
  request: TokenRequest,
  person: Person,
  wanted: SilentIssue,
): Promise<{ readonly grant: Grant; readonly access: string }> => {
  const { client } = request
  const refuseBlocked = async (): Promise<void> => {
    if (await deps.blocks.covers(person, client.id))
      throw new Refusal('code.blocked', `${subjectOf({ person })} with ${client.id}`)
  }
  await refuseBlocked()
  const issued = await issue(deps, request, wanted)
  request.about(issued.grant)
  try {
    // Whoever blocks ends what is there, and this may have been written between the two.
    await refuseBlocked()
  } catch (error) {
    await deps.grants.end([issued.grant], 'blocked')
    throw error
  }
  return issued
}
