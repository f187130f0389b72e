// The authorization endpoint (RFC 6749 §3.1): a request passes the checks, becomes a flow tied to this browser, and the person is asked.
import type { Handler, Limit, Sessions } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Directory, FindAddress } from '../ports/services.ts'
import type { AuthorizationRequest, PendingRequests } from './authorization-requests.ts'
import { seeOther } from './authorization-response.ts'
import { type AuthorizeDraft, authorizeChecks, emptyDraft, tellClient } from './authorize-checks.ts'
import { snapshotOf } from './client.ts'
import type { Clients } from './clients.ts'
import { loginPath } from './consent-request.ts'
import { endpoints } from './endpoints.ts'
import { ownNavigation, readForm, readQuery, takeSpace } from './parameters.ts'

export interface AuthorizeDeps {
  readonly runtime: Pick<Runtime, 'now'>
  readonly directory: Directory
  readonly find: FindAddress
  readonly clients: Clients
  readonly flows: PendingRequests
  readonly sessions: Sessions
  readonly limit: Limit
}

/** Bytes of a request by form: what a request line would have held, because it is kept until the person answers and goes back in one (`state`). */
const maxRequest = 16_384

/** What the checks have established, as it is kept. */
const requestOf = async (
  draft: AuthorizeDraft,
  silent: boolean,
  ownNavigation: boolean,
): Promise<AuthorizationRequest> => ({
  clientId: draft.client.id,
  client: await snapshotOf(draft.client, draft.scopes),
  redirectUri: draft.redirectUri,
  redirectSent: draft.redirectSent,
  ...(draft.state !== undefined && { state: draft.state }),
  challenge: draft.challenge,
  resource: draft.address.resource,
  scopes: draft.scopes,
  ask: draft.prompt.has('consent'),
  silent,
  ...(draft.signedInSince !== undefined && { signedInSince: draft.signedInSince }),
  ownNavigation,
})

export const createAuthorize = ({
  runtime,
  directory,
  find,
  clients,
  flows,
  sessions,
  limit,
}: AuthorizeDeps): Handler => {
  const checks = authorizeChecks({ clients, directory, find })
  return async (request, visit) => {
    await limit('authorize', { ip: visit.ip })
    // RFC 6749 §3.1 allows POST; its query is never read, so the two cannot be played against each other.
    const params = request.method === 'POST' ? await readForm(request, maxRequest) : readQuery(request)
    const draft = emptyDraft(params, runtime.now())
    const session = sessions.of(request)
    session.catch(() => undefined)
    const known = await clients.approvals.guard(
      async () => {
        for (const check of checks) await check(draft)
        const signedIn = (await session) !== undefined
        if (draft.prompt.has('none') && !signedIn)
          throw tellClient(draft, 'login.required', 'prompt=none without a session')
        return signedIn
      },
      () => draft.client,
    )
    const asked = await requestOf(draft, draft.prompt.has('none'), ownNavigation(request))
    if (!known) await takeSpace(limit, { of: 'authorize', record: asked, ip: visit.ip })
    const { id, cookies } = await flows.open(asked, request)
    // Whoever is not signed in would only be sent on from there.
    const onward = known
      ? `${endpoints.consent.path}?flow=${id}`
      : loginPath(id, asked.signedInSince === undefined ? undefined : 'login')
    return seeOther(onward, cookies)
  }
}
