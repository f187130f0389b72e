// grant_type=client_credentials (RFC 6749 §4.4): a client that acts as a service account. Nobody is asked, so the next
// request brings back what was ended; only a block keeps it out. All requests of one client for one service are one
// grant: one record, one line in every list, one end.
import type { Config } from '../config/schema.ts'
import { encodeBase64url } from '../kit/bytes.ts'
import { type Permission, higherOf, levelNamed, scopesUpTo } from '../kit/levels.ts'
import { serviceAccounts } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import { withoutQuery } from '../kit/urls.ts'
import type { MayStillSignIn } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Policy } from '../ports/policy.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Address, Directory, Service } from '../ports/services.ts'
import type { Client } from './client.ts'
import type { Grant, ReadGrant } from './grant.ts'
import {
  type GrantDeps,
  type GrantHandler,
  type TokenRequest,
  factsOf,
  one,
  tokenResponse,
} from './parameters.ts'
import { subjectOf } from './tokens.ts'

export interface ClientCredentialsDeps extends GrantDeps {
  readonly runtime: Pick<Runtime, 'now' | 'keys' | 'digest' | 'random'>
  readonly config: Pick<Config, 'refresh_grace' | 'refresh_late_repeat' | 'service_accounts'>
  readonly directory: Pick<Directory, 'issuer' | 'only' | 'service' | 'addresses'>
  readonly policy: Pick<Policy, 'of' | 'services' | 'fresh'>
  readonly mayStillSignIn: MayStillSignIn
}

/** Where a client may go, and what its tokens say there. */
interface Permitted {
  readonly person: Person
  readonly address: Address
  /** Undefined where no access rules say what a tool needs. */
  readonly level: Permission | undefined
}

/** Everything but administration, which an operator names. */
const ordinary: Permission = 'execute'

/** Of the only service, or of the one of the account's that it can mean. */
const impliedAddress = (
  { directory }: ClientCredentialsDeps,
  services: readonly string[],
): Address | undefined => {
  if (services.includes('*')) return directory.only
  const [id] = services
  return services.length === 1 ? directory.addresses.find(({ service }) => service.id === id) : undefined
}

/** RFC 8707 §2.2. Throws `resource.unknown`, or `account.service` where it is none of the account's. */
const addressOf = async (
  deps: ClientCredentialsDeps,
  form: URLSearchParams,
  services: readonly string[],
): Promise<Address> => {
  const named = form.getAll('resource').filter(Boolean)
  const found =
    named.length === 0 ? [impliedAddress(deps, services)] : await Promise.all(named.map(deps.find))
  const [address] = found
  const said = named.slice(0, 5).map(withoutQuery).join(' ')
  if (named.length === 0 && !address) throw new Refusal('account.service', 'no resource, and no only service')
  if (!address || found.some((other) => other?.service.id !== address.service.id))
    throw new Refusal('resource.unknown', said)
  const { id, authRequired } = address.service
  if (!authRequired) throw new Refusal('resource.unknown', `${id} needs no token`)
  if (!services.includes('*') && !services.includes(id))
    throw new Refusal('account.service', `${id} is none of the account's services`)
  return address
}

/** What the account may have at the service. Throws `account.service` where the rules grant it nothing there. */
const levelAt = async (
  { policy }: ClientCredentialsDeps,
  service: Service,
  by: { readonly person: Person; readonly clientId: string; readonly most: Permission | undefined },
): Promise<Permission | undefined> => {
  if (policy.services.ruled) await policy.fresh()
  const rules = policy.services.ruled ? policy.of(service) : undefined
  if (!rules?.choices) {
    // Rules were taken away while the gateway runs: then nothing could hold the tokens to less.
    if (by.most === undefined) return undefined
    throw new Refusal('account.service', `${service.id}: permissions of the account need access rules`)
  }
  const choices = rules.choices({ ...by, personKey: subjectOf(by), redirectHost: '' }, [])
  if ('allowed' in choices)
    throw new Refusal(
      'account.service',
      `${service.id}: ${subjectOf(by)} is denied by ${choices.rule ?? choices.code}`,
    )
  return by.most ?? ordinary
}

const permitted = async (
  deps: ClientCredentialsDeps,
  client: Client,
  form: URLSearchParams,
): Promise<Permitted> => {
  const id = client.serviceAccount ?? ''
  const account = Object.hasOwn(deps.config.service_accounts, id)
    ? deps.config.service_accounts[id]
    : undefined
  if (!account) throw new Refusal('client.grant', `${client.id} acts as no service account`)
  const address = await addressOf(deps, form, account.services)
  const person = deps.mayStillSignIn({ provider: serviceAccounts, subject: id, groups: [] }, address.resource)
  if (!person) throw new Refusal('account.service', `${id} at ${address.service.id}`)
  const most = account.permissions?.reduce(higherOf)
  const level = await levelAt(deps, address.service, { person, clientId: client.id, most })
  return { person, address, level }
}

/** Every token has a scope that its service needs. */
const scopesWith = ({ address }: Permitted, level: Permission | undefined): readonly string[] => [
  ...new Set([...address.service.scopes, ...(level ? scopesUpTo(level) : [])]),
]

/**
 * RFC 6749 §3.3: of what was asked what the account has; none means all of it. As at the authorization endpoint, who
 * names no level means the one there is, and what the service needs is never left out.
 */
const narrowed = (form: URLSearchParams, permitted: Permitted): readonly string[] => {
  const asked = (one(form, 'scope') ?? '').split(' ').filter(Boolean)
  const own = permitted.address.service.scopes
  const all = scopesWith(permitted, permitted.level)
  const refuse = (): never => {
    throw new Refusal('account.scope', asked.join(' ').slice(0, 500))
  }
  const kept = all.filter((scope) => asked.includes(scope))
  if (levelNamed(asked, own) !== undefined) return scopesWith(permitted, levelNamed(kept, own) ?? refuse())
  return asked.length === 0 || kept.length > 0 ? all : refuse()
}

/** Each lost compare-and-set means that another request of the client won. */
const maxAttempts = 10
/** The record outlives its tokens by a minute: a token of a record as old as this is not outlived by it. */
const renewAfterMs = 30_000

/** The grant of this client for this service, as it is now or anew. */
const grantOf = (
  { runtime, directory }: ClientCredentialsDeps,
  client: Client,
  allowed: Permitted,
  before: Grant | undefined,
): Grant => {
  const { person, address, level } = allowed
  const now = runtime.now()
  const live = before?.state === 'live' ? before : undefined
  const digestOf = (...parts: readonly string[]): string => runtime.digest(JSON.stringify(parts))
  return {
    // The first characters are the client's, as in every grant (grants.ts).
    id:
      runtime.digest(`client ${client.id}`).slice(0, 8) +
      digestOf(
        'client_credentials',
        directory.issuer,
        client.id,
        subjectOf({ person }),
        address.resource,
      ).slice(0, 24),
    kind: 'client_credentials',
    state: 'live',
    person,
    clientId: client.id,
    clientName: client.name,
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

const isSame = (a: Grant, b: Grant): boolean =>
  JSON.stringify([a.scopes, a.consented, a.clientName, a.person]) ===
  JSON.stringify([b.scopes, b.consented, b.clientName, b.person])

/** Whether what is kept says all of it, and will for as long as the new token lives. */
const isKept = (grant: Grant, read: ReadGrant | undefined): boolean =>
  read?.grant.state === 'live' &&
  isSame(grant, read.grant) &&
  (grant.redeemedAt ?? 0) - (read.grant.redeemedAt ?? 0) < renewAfterMs

/** Signs the token first: afterwards nothing but the record can fail, and nothing was written yet. */
const issue = async (
  deps: ClientCredentialsDeps,
  { client, form, context }: TokenRequest,
  allowed: Permitted,
): Promise<{ readonly grant: Grant; readonly access: string; readonly scopes: readonly string[] }> => {
  const scopes = narrowed(form, allowed)
  const { id } = grantOf(deps, client, allowed, undefined)
  for (let attempt = 0; attempt < maxAttempts; attempt++) {
    const read = await deps.grants.read(id)
    const grant = grantOf(deps, client, allowed, read?.grant)
    const access = await deps.tokens.access(grant, scopes)
    if (attempt === 0) await client.spend()
    if (isKept(grant, read) || (await deps.grants.keep(grant, read?.mark ?? 'absent', context.ip)))
      return { grant, access, scopes }
  }
  throw new Refusal('storage.unavailable', 'grant update conflicts, retries exhausted')
}

export const createClientCredentialsGrant = (deps: ClientCredentialsDeps): GrantHandler => {
  const { blocks, grants, tokens, record } = deps
  const refuseBlocked = async ({ person }: Permitted, { client }: TokenRequest): Promise<void> => {
    if (await blocks.covers(person, client.id))
      throw new Refusal('code.blocked', `${subjectOf({ person })} with ${client.id}`)
  }
  return async (request) => {
    const allowed = await permitted(deps, request.client, request.form)
    await refuseBlocked(allowed, request)
    const { grant, access, scopes } = await issue(deps, request, allowed)
    request.about(grant)
    try {
      // Whoever blocks ends what is there, and this may have been written between the two.
      await refuseBlocked(allowed, request)
    } catch (error) {
      await grants.end([grant], 'blocked')
      throw error
    }
    record({ event: 'grant.issued', kind: grant.kind, scopes, ...factsOf(grant, request) })
    return tokenResponse(tokens, access, scopes, undefined)
  }
}
