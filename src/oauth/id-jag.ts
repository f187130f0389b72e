// Identity Assertion Authorization Grants (draft-ietf-oauth-identity-assertion-authz-grant; MCP, Enterprise-Managed
// Authorization): a company's identity provider says that one of its people may use this gateway with one client. What
// only they have is checked here, after everything that every assertion has (assertion.ts).
import type { AssertionIssuer } from '../config/assertion-keys.ts'
import { type Permission, higherOf, levelNamed } from '../kit/levels.ts'
import { personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { MayStillSignIn, ProvisionPerson } from '../ports/modules.ts'
import type { FindKnownPerson, Person } from '../ports/people.ts'
import type { Address } from '../ports/services.ts'
import { type Assertion, type AssertionClaims, checkKey, refuse } from './assertion.ts'
import type { AuthenticatedClient } from './client.ts'
import { type ClientCredentialsDeps, addressOf } from './client-credentials.ts'
import { type TokenRequest, one } from './parameters.ts'
import { type Permitted, levelAt, namedAddress, narrowedScopes } from './silent-grant.ts'

export interface IdJagDeps extends ClientCredentialsDeps {
  readonly mayStillSignIn: MayStillSignIn
  /** Absent where no provider pushes groups. */
  readonly provision?: ProvisionPerson | undefined
  readonly knownPerson: FindKnownPerson
}

/** What an accepted assertion comes to. */
export interface Accepted {
  readonly permitted: Permitted
  readonly scopes: readonly string[]
  /** The highest level that its client can ask for, where the assertion names less than there is. */
  readonly most?: Permission | undefined
  /** Who acts for the person, or for the program. */
  readonly actor?: string | undefined
  /** Which rule said so, of workloads: its path in the configuration. */
  readonly rule?: string | undefined
}

export const idJagClaims = ['exp', 'iat', 'jti', 'sub', 'client_id']

/**
 * Whether the client may use such assertions at all: anybody can register a client, and a client without a secret or a
 * key is whoever says its ID. Throws `client.grant`.
 */
export const checkIdJagClient = ({ id, kind, proven }: AuthenticatedClient): void => {
  if (kind === 'dynamic' || !proven)
    throw new Refusal('client.grant', `${id}: ${proven ? 'registered itself' : 'does not authenticate'}`)
}

/** Throws `assertion.client`, `assertion.client-not-listed`, `assertion.tenant`. */
const checkParties = (
  claims: AssertionClaims,
  { id }: AuthenticatedClient,
  { clients, tenant, aud_tenant: ours }: AssertionIssuer,
): void => {
  if (claims['client_id'] !== id)
    throw refuse('assertion.client', `${String(claims['client_id'])}, not ${id}`)
  if (!clients.includes(id)) throw refuse('assertion.client-not-listed', id)
  if (claims['tenant'] !== tenant || claims['aud_tenant'] !== ours)
    throw refuse('assertion.tenant', JSON.stringify([claims['tenant'], claims['aud_tenant']]))
}

/**
 * The service that the token is for: one of those that the assertion names, or, where it names none (Okta), of those of
 * the entry. Throws `assertion.resource`, `resource.unknown` or `account.service`.
 */
const addressFor = async (
  deps: IdJagDeps,
  claims: AssertionClaims,
  form: URLSearchParams,
  { services }: AssertionIssuer,
): Promise<Address> => {
  const asked = form.getAll('resource').filter(Boolean)
  const { resource } = claims
  if (resource === undefined) return addressOf(deps, asked, services)
  const named: readonly unknown[] = Array.isArray(resource) ? resource : [resource]
  const found = await Promise.all(
    named.map(async (one) => (typeof one === 'string' ? deps.find(one) : undefined)),
  )
  const said = JSON.stringify(resource)
  if (found.length === 0 || found.some((one) => !one?.service.authRequired))
    throw refuse('assertion.resource', said)
  const wanted = (await namedAddress(deps, asked)) ?? (found.length === 1 ? found[0] : undefined)
  if (!wanted) throw new Refusal('account.service', `no resource, and the assertion names ${said}`)
  if (!found.some((one) => one?.service.id === wanted.service.id))
    throw refuse('assertion.resource', `${wanted.resource}, not ${said}`)
  return addressOf(deps, [wanted.resource], services)
}

/** Throws `assertion.details` or `assertion.actor`. */
const checkFurther = (claims: AssertionClaims, { actors }: AssertionIssuer): string | undefined => {
  if (claims['authorization_details'] !== undefined)
    throw refuse('assertion.details', JSON.stringify(claims['authorization_details']))
  const { act } = claims
  const actor = (act as { sub?: unknown } | undefined | null)?.sub
  if (act !== undefined && (!actors || typeof actor !== 'string'))
    throw refuse('assertion.actor', JSON.stringify(act))
  return typeof actor === 'string' ? actor : undefined
}

const emailShape = /^[^@\s"(),:;<>[\\\]]+@[^@\s"(),:;<>[\\\]]+$/

const textOf = (value: unknown, most: number): string | undefined =>
  typeof value === 'string' && value !== '' && value.length <= most && !/\p{Cc}/u.test(value)
    ? value
    : undefined

/**
 * The person, with what the assertion says of whom nobody has seen here. An address counts only with the issuer's word
 * that it is theirs.
 */
const described = (known: Person, claims: AssertionClaims): Person => {
  const [email, name, tenant] = [
    claims['email_verified'] === true ? textOf(claims['email'], 254) : undefined,
    textOf(claims['name'], 256),
    textOf(claims['tenant'], 256),
  ]
  return {
    ...(email !== undefined && emailShape.test(email) && { email }),
    ...(name !== undefined && { name }),
    ...(tenant !== undefined && { tenant }),
    ...known,
  }
}

/** The person as the provider describes them now. Throws `assertion.person` or `code.blocked`. */
const asOfNow = async (deps: IdJagDeps, said: Person, clientId: string): Promise<Person> => {
  const who = personKey(said)
  const person = deps.provision ? await deps.provision(said) : said
  const out = await deps.blocks.covers(person, clientId)
  if (out === 'blocked') throw new Refusal('code.blocked', `${who} with ${clientId}`)
  if (out) throw refuse('assertion.person', `${who} is ${out} at the provider`)
  const confirmed = await deps.confirm?.(person)
  if (confirmed?.kind === 'gone') throw refuse('assertion.person', `${who}: ${confirmed.why}`)
  return confirmed?.kind === 'known' ? confirmed.person : person
}

/**
 * The account, by provider and subject and never by an address, as the operator's lists admit it now. Throws
 * `assertion.person`, `assertion.email-unverified` or `code.blocked`.
 */
const personOf = async (
  deps: IdJagDeps,
  { claims, issuer: { entry } }: Assertion,
  clientId: string,
  address: Address,
): Promise<Person> => {
  const { provider = '', subject: by, accounts } = entry
  const subject = textOf(claims[by], 255)
  if (subject === undefined) throw refuse('assertion.claims', `${by} is missing or not as it must be`)
  const who = personKey({ provider, subject })
  const known = await deps.knownPerson(provider, subject)
  if (!known && accounts === 'existing') throw refuse('assertion.person', `${who} has never signed in`)
  if (known?.tenant !== undefined && entry.tenant !== undefined && known.tenant !== entry.tenant)
    throw refuse('assertion.person', `${who} is of tenant ${known.tenant}`)
  const said = described(known ?? { provider, subject, groups: [] }, claims)
  const person = deps.mayStillSignIn(await asOfNow(deps, said, clientId), address.resource)
  if (person) return person
  const unverified = said.email === undefined && claims['email'] !== undefined
  throw refuse(
    unverified ? 'assertion.email-unverified' : 'assertion.person',
    `${who} is not admitted to ${address.service.id}${unverified ? `, email_verified ${JSON.stringify(claims['email_verified'])}` : ''}`,
  )
}

/** What the assertion lets its client have. Throws `assertion.*`, `account.*`, `resource.unknown` or `code.blocked`. */
export const acceptIdJag = async (
  deps: IdJagDeps,
  assertion: Assertion,
  { client, form, key }: Pick<TokenRequest, 'client' | 'form' | 'key'>,
): Promise<Accepted> => {
  const { claims, issuer } = assertion
  checkParties(claims, client, issuer.entry)
  const address = await addressFor(deps, claims, form, issuer.entry)
  const actor = checkFurther(claims, issuer.entry)
  checkKey(claims, key)
  const { scope } = claims
  if (scope !== undefined && typeof scope !== 'string') throw refuse('assertion.claims', 'scope is no text')
  const person = await personOf(deps, assertion, client.id, address)
  const most = issuer.entry.permissions?.reduce<Permission>(higherOf, 'read')
  const by = { person, clientId: client.id, most }
  const level = await levelAt(deps, address.service, by, 'assertion.person')
  const permitted = { person, address, level }
  // Whoever grants less than is asked for is answered with less (RFC 6749 §3.3); what neither names is not lost.
  const said = narrowedScopes(scope, permitted, 'account.scope')
  const within = { ...permitted, level: level && (levelNamed(said, address.service.scopes) ?? level) }
  const scopes = narrowedScopes(one(form, 'scope'), within, 'account.scope')
  return { permitted, scopes, actor, ...(within.level !== level && { most: within.level }) }
}
