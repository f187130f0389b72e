// What clients do with a token that was issued: they ask whether it is active (introspection, RFC 7662), each of
// its own tokens and those that the operator configured of every token, or they end it (revocation, RFC 7009).
import { actClaim } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Audit, Handler, Limit } from '../ports/modules.ts'
import type { RequestContext, Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import type { Client } from './client.ts'
import type { Clients } from './clients.ts'
import type { Grant } from './grant.ts'
import type { Grants } from './grants.ts'
import { countFailures, jsonResponse, noStore, one, onlyMethod, paceKey, readForm } from './parameters.ts'
import { personalPrefix } from './personal-token.ts'
import type { PersonalTokens } from './personal-tokens.ts'
import { type Tokens, subjectOf } from './tokens.ts'

export interface IssuedTokensDeps {
  readonly runtime: Pick<Runtime, 'digest'>
  readonly directory: Pick<Directory, 'issuer'>
  readonly clients: Clients
  readonly grants: Grants
  readonly tokens: Tokens
  readonly personalTokens: Pick<PersonalTokens, 'end'>
  readonly limit: Limit
  readonly record: Audit
}

/** The token that a request is about, and the client that sent it. */
interface PresentedToken {
  readonly token: string
  readonly client: Client
}

const formOf = async (
  { runtime, limit }: IssuedTokensDeps,
  request: Request,
  context: RequestContext,
): Promise<URLSearchParams> => {
  onlyMethod(request, 'POST')
  const form = await readForm(request)
  await limit('token', paceKey(runtime.digest, context.ip, form))
  return form
}

const presentedToken = async (
  deps: IssuedTokensDeps,
  request: Request,
  form: URLSearchParams,
  { ip }: RequestContext,
): Promise<PresentedToken> => {
  const client = await countFailures(deps, deps.clients.authenticate, ip)(request, form)
  const token = one(form, 'token')
  if (token === undefined)
    throw new Refusal('request.malformed', 'token missing', { say: 'token is required.' })
  await client.spend()
  return { token, client }
}

// Introspection.

/**
 * Whether the client may ask about tokens of others: one that the operator configured, and that
 * authenticates. Anybody may register a client, with a secret too; such a client asks about its own tokens
 * alone (RFC 7662 §4).
 */
const asksForAll = ({ kind, authMethod }: Client): boolean => kind === 'registered' && authMethod !== 'none'

const username = ({ person }: Grant): string => person.login ?? person.email ?? person.subject

type Members = Readonly<Record<string, unknown>>

/** RFC 7662 §2.2. Undefined for a token that is not active, or that the client may not ask about. */
const accessMembers = async (
  { directory, grants, tokens }: IssuedTokensDeps,
  { token, client }: PresentedToken,
): Promise<Members | undefined> => {
  const claims = await tokens.readAccess(token)
  if (!claims || (client.id !== claims.client_id && !asksForAll(client))) return undefined
  const grant = await grants.live(claims.gid)
  if (!grant || grant.clientId !== claims.client_id) return undefined
  const { scope, client_id, sub, aud, jti, iat, exp, jkt } = claims
  return {
    active: true,
    scope,
    client_id,
    username: username(grant),
    token_type: jkt === undefined ? 'Bearer' : 'DPoP',
    // RFC 9449 §6.2.
    ...(jkt !== undefined && { cnf: { jkt } }),
    exp,
    iat,
    sub,
    aud,
    iss: directory.issuer,
    jti,
    ...(grant.actor && { act: actClaim(grant.actor) }),
  }
}

const refreshMembers = async (
  { directory, grants, tokens }: IssuedTokensDeps,
  { token, client }: PresentedToken,
): Promise<Members | undefined> => {
  const claim = tokens.readRefresh(token)
  const read = claim && (await grants.read(claim.grantId))
  if (
    !claim ||
    !(await tokens.holdsRefresh(read?.grant, claim)) ||
    read?.grant.state !== 'live' ||
    read.grant.clientId !== client.id
  )
    return undefined
  const { grant } = read
  // An older generation answers only its own retry; it is not a token to count on.
  if (claim.generation < grant.generation) return undefined
  return {
    active: true,
    scope: grant.scopes.join(' '),
    client_id: grant.clientId,
    username: username(grant),
    sub: subjectOf(grant),
    aud: grant.resource,
    iss: directory.issuer,
  }
}

const createIntrospect =
  (deps: IssuedTokensDeps): Handler =>
  async (request, context) => {
    const presented = await presentedToken(deps, request, await formOf(deps, request, context), context)
    // RFC 7662 §2.2: of a token that is not active nothing more is said.
    return jsonResponse(
      (await accessMembers(deps, presented)) ?? (await refreshMembers(deps, presented)) ?? { active: false },
    )
  }

// Revocation: whichever token of a grant is presented, the whole grant ends, so that no other token of it stays
// in use.

/** The id of the grant that this token of this client belongs to; undefined for every other token. */
const grantOf = async (
  { token, client }: PresentedToken,
  { grants, tokens }: Pick<IssuedTokensDeps, 'grants' | 'tokens'>,
): Promise<string | undefined> => {
  const claim = tokens.readRefresh(token) ?? tokens.readCode(token)
  if (!claim) {
    const access = await tokens.readAccess(token)
    return access?.client_id === client.id ? access.gid : undefined
  }
  const read = await grants.read(claim.grantId)
  const held =
    claim.kind === 'refresh'
      ? await tokens.holdsRefresh(read?.grant, claim)
      : await tokens.holdsCode(read?.grant, claim)
  return held && read?.grant.clientId === client.id ? read.grant.id : undefined
}

const createRevoke =
  (deps: IssuedTokensDeps): Handler =>
  async (request, context) => {
    const form = await formOf(deps, request, context)
    const token = form.getAll('token')
    // It has no client: whoever holds it may end it.
    if (token.length === 1 && token[0]?.startsWith(personalPrefix)) {
      await deps.personalTokens.end(token[0], { by: 'holder', context })
      return new Response(null, { status: 200, headers: noStore })
    }
    const presented = await presentedToken(deps, request, form, context)
    // RFC 7009 §2.2: an unknown or foreign token is answered like a good one. The hint is not needed: tokens
    // say what they are.
    const grant = await grantOf(presented, deps)
    if (grant !== undefined) {
      await deps.grants.revoke(grant, 'revoked_by_client')
      deps.record({
        event: 'token.revoked',
        grant,
        client: presented.client.id,
        ip: context.ip,
        request_id: context.requestId,
      })
    }
    return new Response(null, { status: 200, headers: noStore })
  }

export const createIssuedTokens = (
  deps: IssuedTokensDeps,
): { readonly introspect: Handler; readonly revoke: Handler } => ({
  introspect: createIntrospect(deps),
  revoke: createRevoke(deps),
})
