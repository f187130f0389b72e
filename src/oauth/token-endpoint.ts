// The token endpoint (RFC 6749 §3.2): parse, count, authenticate the client, load, check everything, and only
// then use up what was presented, in one atomic write.
import { aboutRequest } from '../kit/log.ts'
import { Refusal, type RequestFacts } from '../kit/refusal.ts'
import type { Handler, Limit } from '../ports/modules.ts'
import type { Directory } from '../ports/services.ts'
import type { Clients } from './clients.ts'
import { createAuthorizationCodeGrant } from './grant-authorization-code.ts'
import { createRefreshTokenGrant } from './grant-refresh-token.ts'
import type { Grant } from './grants.ts'
import { one, onlyMethod, paceKey, readForm } from './parameters.ts'
import type { GrantHandler, GrantDeps } from './token-request.ts'
import { subjectOf } from './tokens.ts'

export interface TokenDeps extends GrantDeps {
  readonly clients: Clients
  readonly limit: Limit
  readonly directory: Pick<Directory, 'resolve'>
}

export const createToken = ({ clients, limit, directory, ...deps }: TokenDeps): Handler => {
  const grantTypes = new Map<string, GrantHandler>([
    ['authorization_code', createAuthorizationCodeGrant(deps)],
    ['refresh_token', createRefreshTokenGrant(deps)],
  ])
  const { runtime, grants, tokens } = deps
  return async (request, context) => {
    onlyMethod(request, 'POST')
    const form = await readForm(request)
    await limit('token', paceKey(runtime.digest, context.ip, form))
    const type = one(form, 'grant_type')
    if (type === undefined)
      throw new Refusal('request.malformed', 'grant_type missing', { say: 'grant_type is required.' })
    // The client and its grant are two records, perhaps far away: both are read at once, and the client is
    // authenticated first.
    const claimed =
      tokens.readCode(form.get('code') ?? '') ?? tokens.readRefresh(form.get('refresh_token') ?? '')
    const grant = claimed && grants.read(claimed.grantId)
    grant?.catch(() => undefined)
    const client = await clients.authenticate(request, form)
    const grantType = grantTypes.get(type)
    if (!grantType) throw new Refusal('grant.type', `grant_type ${type.slice(0, 100)}`)
    let facts: RequestFacts = {}
    const about = (grant: Grant): void =>
      void (facts = { person: subjectOf(grant), service: directory.resolve(grant.resource)?.service.id })
    try {
      return await grantType({
        client,
        form,
        context,
        about,
        first: (id) => (grant && id === claimed.grantId ? grant : grants.read(id)),
      })
    } catch (error) {
      throw error instanceof Refusal ? aboutRequest(error, facts) : error
    }
  }
}
