// Which redirect URI the gateway has at an authorization server: one of its own there, or the one that the
// operator wrote.
import type * as oauth from 'oauth4webapi'
import { callbackPathOf, shareCallback } from '../kit/callback-path.ts'
import { sameIssuer } from '../kit/urls.ts'
import type { Directory } from '../ports/services.ts'
import type { UpstreamAuth } from '../ports/upstream-auth.ts'
import { enrolmentRefusal } from './faults.ts'
import type { Upstream } from './upstream.ts'

export interface RedirectUris {
  /** Throws `connection.enrolment` when another authorization server has it already. */
  of(as: Pick<oauth.AuthorizationServer, 'issuer'>, upstream: Upstream): Promise<string>
  /** The gateway's own there, whatever the operator wrote. */
  own(as: Pick<oauth.AuthorizationServer, 'issuer'>): Promise<string>
}

/** The authorization server that the operator wrote down; undefined where the upstream names one. */
export const writtenIssuer = ({
  issuer,
  token_endpoint: token,
}: Pick<UpstreamAuth, 'issuer' | 'token_endpoint'>): string | undefined =>
  issuer ?? (token === undefined ? undefined : new URL(token).origin)

export const createRedirectUris = ({
  issuer,
  services,
}: {
  readonly issuer: string
  readonly services: () => Directory['services']
}): RedirectUris => {
  const own: RedirectUris['own'] = async (as) => `${issuer}${await callbackPathOf(as.issuer)}`

  /** The first service that has it, where that is for another authorization server. */
  const taken = (uri: string, as: Pick<oauth.AuthorizationServer, 'issuer'>): string | undefined => {
    const first = services().find(
      ({ auth }) =>
        auth?.redirect_uri !== undefined &&
        writtenIssuer(auth) !== undefined &&
        shareCallback(auth.redirect_uri, uri),
    )
    const written = first?.auth && writtenIssuer(first.auth)
    return written === undefined || sameIssuer(written, as.issuer)
      ? undefined
      : `${written} (mcp_services.${first?.id})`
  }

  return {
    own,
    async of(as, upstream) {
      const { redirect_uri: written } = upstream.auth
      // Of a server that may be another tomorrow nothing is shared.
      if (written === undefined || writtenIssuer(upstream.auth) === undefined) return own(as)
      const other = taken(written, as)
      if (other === undefined) return written
      const key = `mcp_services.${upstream.id}.upstream_auth.redirect_uri`
      const ours = await own(as)
      throw enrolmentRefusal(
        upstream,
        `${written} serves ${other} already; register ${ours} with ${as.issuer} and set it as ${key}`,
        [
          { name: 'Authorization server', value: as.issuer },
          { name: 'Redirect URI', value: ours },
        ],
      )
    },
  }
}
