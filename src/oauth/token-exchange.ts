// grant_type=urn:ietf:params:oauth:grant-type:token-exchange (RFC 8693): a client that was handed a user's token trades
// it for one of its own. The new token is the user's, names who acts for them, does no more and lives no longer than
// the one that was traded, and ends with it.
import type { Config } from '../config/schema.ts'
import { type Permission, higherOf, levelNamed, lowerOf } from '../kit/levels.ts'
import { serviceAccounts } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { MayStillSignIn } from '../ports/modules.ts'
import type { Policy } from '../ports/policy.ts'
import type { Address, Directory } from '../ports/services.ts'
import type { Grant } from './grant.ts'
import { type GrantHandler, confirmPerson, factsOf, jsonResponse, one } from './parameters.ts'
import {
  type Permitted,
  type SilentGrantDeps,
  issueSilently,
  levelAt,
  namedAddress,
  narrowedScopes,
  ordinary,
  silentGrant,
  silentGrantId,
} from './silent-grant.ts'
import { type AccessClaims, isTokenOf, subjectOf } from './tokens.ts'

export interface TokenExchangeDeps extends SilentGrantDeps {
  readonly config: Pick<Config, 'refresh_grace' | 'refresh_late_repeat' | 'token_exchange'>
  readonly directory: Pick<Directory, 'issuer' | 'only' | 'addresses'>
  readonly policy: Pick<Policy, 'of' | 'services' | 'fresh'>
  readonly mayStillSignIn: MayStillSignIn
}

type ExchangeRule = Config['token_exchange'][number]

const accessTokenUrn = 'urn:ietf:params:oauth:token-type:access_token'
/** Longest token looked at, characters; ours have about 700. */
const longestToken = 8_192

/** A token that was sent, and its grant. */
interface LiveToken {
  readonly grant: Grant
  readonly claims: AccessClaims
}

/**
 * A live access token of ours, under its own type: ID tokens, refresh tokens and tokens of others are none. Throws
 * `exchange.subject` or `exchange.actor`.
 */
const liveToken = async (
  { tokens, grants }: TokenExchangeDeps,
  form: URLSearchParams,
  which: 'subject' | 'actor',
): Promise<LiveToken | undefined> => {
  const [token, type] = [one(form, `${which}_token`), one(form, `${which}_token_type`)]
  if (which === 'actor' && token === undefined && type === undefined) return undefined
  const refuse = (why: string): never => {
    throw new Refusal(`exchange.${which}`, why)
  }
  if (token === undefined) return refuse(`${which}_token missing`)
  if (type !== accessTokenUrn) return refuse(`${which}_token_type ${String(type).slice(0, 100)}`)
  const claims = token.length <= longestToken ? await tokens.readAccess(token) : undefined
  if (!claims) return refuse('not a live access token of this gateway')
  const grant = (await grants.read(claims.gid))?.grant
  return grant?.state === 'live' && isTokenOf(grant, claims)
    ? { grant, claims }
    : refuse(`grant ${claims.gid} is not live`)
}

/** Who acts: the client, or its service account, where it shows that it is one (RFC 8693 §4.1). */
const actorsOf = (
  clientId: string,
  subject: LiveToken,
  actor: LiveToken | undefined,
): readonly [string, ...string[]] => {
  const isOwn =
    actor?.grant.kind === 'client_credentials' &&
    actor.grant.clientId === clientId &&
    actor.grant.person.provider === serviceAccounts
  if (actor && !isOwn)
    throw new Refusal('exchange.actor', `token of ${actor.grant.clientId}, sent by ${clientId}`)
  return [actor ? subjectOf(actor.grant) : clientId, ...(subject.grant.actor ?? [])]
}

/** `audience` must name the service that `resource` names, in the same words (RFC 8693 §2.1). */
const addressOf = async (
  deps: TokenExchangeDeps,
  form: URLSearchParams,
  rules: readonly ExchangeRule[],
): Promise<Address> => {
  const named = await namedAddress(deps, [...form.getAll('resource'), ...form.getAll('audience')])
  if (named) return named
  const ids = new Set(rules.flatMap(({ services }) => services))
  const [id] = ids
  const implied =
    ids.size === 1 && id !== '*'
      ? deps.directory.addresses.find(({ service }) => service.id === id)
      : deps.directory.only
  if (!implied?.service.authRequired)
    throw new Refusal('resource.unknown', 'no resource, and no only service')
  return implied
}

/** The least of what the rule and the traded token allow; undefined where neither says. */
const mostOf = ({ permissions }: ExchangeRule, named: Permission | undefined): Permission | undefined => {
  const ruled = permissions?.reduce<Permission>(higherOf, 'read')
  if (ruled === undefined && named === undefined) return undefined
  return lowerOf(lowerOf(ruled ?? ordinary, named ?? ordinary), ordinary)
}

/**
 * What the new token may say: nothing that the traded one does not. Throws `exchange.rule`, `scope.exceeded`.
 */
const permitted = async (
  deps: TokenExchangeDeps,
  clientId: string,
  { grant, claims }: LiveToken,
  { rule, address }: { readonly rule: ExchangeRule; readonly address: Address },
): Promise<Permitted> => {
  const { id, scopes: needed } = address.service
  const scopes = claims.scope.split(' ')
  if (needed.some((scope) => !scopes.includes(scope)))
    throw new Refusal('scope.exceeded', `${id} needs ${needed.join(' ')}`)
  const own = (await deps.find(claims.aud))?.service.scopes ?? []
  const named = levelNamed(scopes, own)
  const person = deps.mayStillSignIn(grant.person, address.resource)
  if (!person) throw new Refusal('exchange.rule', `${subjectOf(grant)} may not use ${id}`)
  const by = { person, clientId, most: mostOf(rule, named) }
  const level = await levelAt(deps, address.service, by, 'exchange.rule')
  // A token from before there were access rules says no level, so no level can be taken from it.
  if (level !== undefined && named === undefined)
    throw new Refusal('scope.exceeded', `the token names no level of access, and ${id} has access rules`)
  return { person, address, level }
}

/** Seconds: no longer than any of these tokens, and no longer than others of ours. */
const lifetimeOf = (now: number, usual: number, tokens: readonly (LiveToken | undefined)[]): number =>
  Math.min(usual, ...tokens.flatMap((token) => (token ? [token.claims.exp - Math.floor(now / 1000)] : [])))

/** What the person unticked for a service stays unticked there. */
const excludedOf = async (
  { find }: TokenExchangeDeps,
  { resource, consented }: Grant,
  { service }: Address,
): Promise<readonly string[]> =>
  (await find(resource))?.service.id === service.id ? (consented?.excluded ?? []) : []

/** The grant of an exchange, beyond what all silent ones have. */
const exchanged = (
  made: Grant,
  subject: Grant,
  { actors, excluded }: { readonly actors: readonly string[]; readonly excluded: readonly string[] },
): Grant => ({
  ...made,
  ...(made.consented && { consented: { ...made.consented, excluded } }),
  parent: { id: subject.id, ...(subject.instance !== undefined && { instance: subject.instance }) },
  actor: actors,
})

/** Throws `exchange.subject`, `exchange.rule`, `exchange.depth` and `resource.unknown`. */
const ruleFor = async (
  deps: TokenExchangeDeps,
  form: URLSearchParams,
  {
    clientId,
    subject,
    depth,
  }: { readonly clientId: string; readonly subject: Grant; readonly depth: number },
): Promise<{ readonly rule: ExchangeRule; readonly address: Address }> => {
  const rules = deps.config.token_exchange.filter(
    ({ client, subject_clients: clients }) => client === clientId && clients.includes(subject.clientId),
  )
  if (rules.length === 0)
    throw new Refusal('exchange.subject', `${clientId} may not exchange tokens of ${subject.clientId}`)
  const address = await addressOf(deps, form, rules)
  const fitting = rules.filter(
    ({ services }) => services.includes('*') || services.includes(address.service.id),
  )
  if (fitting.length === 0)
    throw new Refusal('exchange.rule', `${clientId} for ${subject.clientId} at ${address.service.id}`)
  const rule = fitting.find((one) => one.depth >= depth)
  if (!rule) throw new Refusal('exchange.depth', `${depth} would act one for another`)
  return { rule, address }
}

const refuseOtherType = (form: URLSearchParams): void => {
  const type = one(form, 'requested_token_type') ?? accessTokenUrn
  if (type !== accessTokenUrn)
    throw new Refusal('request.malformed', `requested_token_type ${type.slice(0, 100)}`, {
      say: `requested_token_type must be ${accessTokenUrn}, or be left out.`,
    })
}

export const createTokenExchange = (deps: TokenExchangeDeps): GrantHandler => {
  const { runtime, tokens, record, directory } = deps
  return async (request) => {
    const { client, form } = request
    refuseOtherType(form)
    const subject = (await liveToken(deps, form, 'subject')) as LiveToken
    const actor = await liveToken(deps, form, 'actor')
    request.about(subject.grant)
    const actors = actorsOf(client.id, subject, actor)
    const asked = { clientId: client.id, subject: subject.grant, depth: actors.length }
    const { rule, address } = await ruleFor(deps, form, asked)
    await confirmPerson(deps, subject.grant)
    const allowed = await permitted(deps, client.id, subject, { rule, address })
    const scopes = narrowedScopes(one(form, 'scope'), allowed, 'scope.exceeded')
    const excluded = await excludedOf(deps, subject.grant, address)
    const parts = [directory.issuer, client.id, subjectOf(allowed), address.resource, subject.grant.id]
    const identity = { client, kind: 'exchange' as const, parts: [...parts, ...actors] }
    const jkt = request.bind(address.resource)
    const lifetime = lifetimeOf(runtime.now(), tokens.expiresIn, [subject, actor])
    const { grant, access } = await issueSilently(deps, request, allowed.person, {
      id: silentGrantId(runtime, identity),
      make: (before) =>
        exchanged(silentGrant(deps, identity, allowed, before), subject.grant, { actors, excluded }),
      sign: (grant) => tokens.access(grant, scopes, jkt, { lifetime }),
    })
    record({
      event: 'exchange.issued',
      scopes,
      actor: actors,
      parent: subject.grant.id,
      subject_client: subject.grant.clientId,
      ...factsOf(grant, request),
    })
    // RFC 8693 §2.2.1.
    return jsonResponse({
      access_token: access,
      issued_token_type: accessTokenUrn,
      token_type: jkt === undefined ? 'Bearer' : 'DPoP',
      expires_in: lifetime,
      scope: scopes.join(' '),
    })
  }
}
