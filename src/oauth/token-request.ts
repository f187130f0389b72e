// What the two grants of the token endpoint have in common: their surroundings, the resource rule and the
// response.
import type { Config } from '../config/schema.ts'
import { Refusal } from '../kit/refusal.ts'
import { withoutQuery } from '../kit/urls.ts'
import type { Audit } from '../ports/modules.ts'
import type { Runtime, RequestContext } from '../ports/runtime.ts'
import type { FindAddress } from '../ports/services.ts'
import type { Client } from './client.ts'
import type { Grant, Grants, ReadGrant } from './grants.ts'
import { jsonResponse } from './parameters.ts'
import { type Tokens, subjectOf } from './tokens.ts'

export interface GrantDeps {
  readonly runtime: Pick<Runtime, 'now' | 'keys' | 'digest'>
  readonly config: Pick<Config, 'refresh_grace' | 'refresh_late_repeat'>
  readonly find: FindAddress
  readonly grants: Grants
  readonly tokens: Tokens
  readonly record: Audit
}

/** A token request of an authenticated client. */
export interface TokenRequest {
  readonly client: Client
  readonly form: URLSearchParams
  /**
   * The grant that the presented code or token names, read while the client was; as `grants.read` where it
   * must be read again.
   */
  readonly first: (id: string) => Promise<ReadGrant | undefined>
  readonly context: RequestContext
  /** Whose grant it is about, as soon as that is known. */
  readonly about: (grant: Grant) => void
}

export type GrantHandler = (request: TokenRequest) => Promise<Response>

/** What the audit trail keeps of a grant. */
export const factsOf = (grant: Grant, { context }: TokenRequest) => ({
  grant: grant.id,
  client: grant.clientId,
  person: subjectOf(grant),
  resource: grant.resource,
  ip: context.ip,
  request_id: context.requestId,
})

/** RFC 8707 §2.2: the same resource again, under whichever address of its service, or none. */
export const sameResource = async (form: URLSearchParams, grant: Grant, find: FindAddress): Promise<void> => {
  const asked = form.getAll('resource').filter(Boolean)
  const service = asked.length > 0 ? (await find(grant.resource))?.service.id : undefined
  for (const named of asked)
    if (service === undefined || (await find(named))?.service.id !== service)
      throw new Refusal('resource.mismatch', withoutQuery(named))
}

/** RFC 6749 §5.1. A member without a value is left out: clients throw their session away over a null. */
export const tokenResponse = (
  tokens: Tokens,
  access: string,
  scopes: readonly string[],
  refresh: string | undefined,
): Response =>
  jsonResponse({
    access_token: access,
    token_type: 'Bearer',
    expires_in: tokens.expiresIn,
    ...(refresh !== undefined && { refresh_token: refresh }),
    scope: scopes.join(' '),
  })
