// Token revocation (RFC 7009): whichever token of a grant is presented, the whole grant ends, so that no
// other token of it stays in use.
import { Refusal } from '../kit/refusal.ts'
import type { Audit, Handler, Limit } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Client } from './client.ts'
import type { Clients } from './clients.ts'
import type { Grants } from './grants.ts'
import { noStore, one, onlyMethod, paceKey, readForm } from './parameters.ts'
import type { Tokens } from './tokens.ts'

export interface RevokeDeps {
  readonly runtime: Pick<Runtime, 'digest'>
  readonly clients: Clients
  readonly grants: Grants
  readonly tokens: Tokens
  readonly limit: Limit
  readonly record: Audit
}

/** The id of the grant that this token of this client belongs to; undefined for every other token. */
export const grantOf = async (
  token: string,
  client: Client,
  { grants, tokens }: Pick<RevokeDeps, 'grants' | 'tokens'>,
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

export const createRevoke =
  ({ runtime, clients, grants, tokens, limit, record }: RevokeDeps): Handler =>
  async (request, context) => {
    onlyMethod(request, 'POST')
    const form = await readForm(request)
    await limit('token', paceKey(runtime.digest, context.ip, form))
    const client = await clients.authenticate(request, form)
    const token = one(form, 'token')
    if (token === undefined)
      throw new Refusal('request.malformed', 'token missing', { say: 'token is required.' })
    // RFC 7009 §2.2: an unknown or foreign token is answered like a good one. The hint is not needed: tokens
    // say what they are.
    const grant = await grantOf(token, client, { grants, tokens })
    if (grant !== undefined) {
      await grants.revoke(grant, 'revoked_by_client')
      record({
        event: 'token.revoked',
        grant,
        client: client.id,
        ip: context.ip,
        request_id: context.requestId,
      })
    }
    return new Response(null, { status: 200, headers: noStore })
  }
