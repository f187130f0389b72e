// Token introspection (RFC 7662): whether a token is active, for its own client and for clients that the
// operator configured.
import { Refusal } from '../kit/refusal.ts'
import type { Handler, Limit } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import type { Client } from './client.ts'
import type { Clients } from './clients.ts'
import type { Grant, Grants } from './grants.ts'
import { jsonResponse, one, onlyMethod, paceKey, readForm } from './parameters.ts'
import { type Tokens, subjectOf } from './tokens.ts'

export interface IntrospectDeps {
  readonly runtime: Pick<Runtime, 'digest'>
  readonly directory: Directory
  readonly clients: Clients
  readonly grants: Grants
  readonly tokens: Tokens
  readonly limit: Limit
}

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
  { directory, grants, tokens }: IntrospectDeps,
  token: string,
  client: Client,
): Promise<Members | undefined> => {
  const claims = await tokens.readAccess(token)
  if (!claims || (client.id !== claims.client_id && !asksForAll(client))) return undefined
  const grant = await grants.live(claims.gid)
  if (!grant || grant.clientId !== claims.client_id) return undefined
  const { scope, client_id, sub, aud, jti, iat, exp } = claims
  return {
    active: true,
    scope,
    client_id,
    username: username(grant),
    token_type: 'Bearer',
    exp,
    iat,
    sub,
    aud,
    iss: directory.issuer,
    jti,
  }
}

const refreshMembers = async (
  { directory, grants, tokens }: IntrospectDeps,
  token: string,
  client: Client,
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

export const createIntrospect = (deps: IntrospectDeps): Handler => {
  const { runtime, clients, limit } = deps
  return async (request, context) => {
    onlyMethod(request, 'POST')
    const form = await readForm(request)
    await limit('token', paceKey(runtime.digest, context.ip, form))
    const client = await clients.authenticate(request, form)
    const token = one(form, 'token')
    if (token === undefined)
      throw new Refusal('request.malformed', 'token missing', { say: 'token is required.' })
    // RFC 7662 §2.2: of a token that is not active nothing more is said.
    return jsonResponse(
      (await accessMembers(deps, token, client)) ??
        (await refreshMembers(deps, token, client)) ?? { active: false },
    )
  }
}
