// The authorization response (RFC 6749 §4.1.2): every response to a client's redirect URI is written here, so
// that each names its issuer.
import { Refusal, type RefusalCode, type RefusalDetail } from '../kit/refusal.ts'
import { withParams } from '../kit/urls.ts'

/** Redirect URI and parameters → where the browser is sent. `iss` is added (RFC 9207 §2). */
export const authorizationResponse =
  (issuer: string) =>
  (redirectUri: string, params: Readonly<Record<string, string | undefined>>): string =>
    withParams(redirectUri, { ...params, iss: issuer })

/** A refusal that is sent to the client, at a redirect URI that is known to be its own. */
export const tellClient = (
  { redirectUri, state }: { readonly redirectUri: string; readonly state?: string },
  code: RefusalCode,
  why: string,
  detail: RefusalDetail = {},
): Refusal =>
  new Refusal(code, why, { ...detail, redirect: { uri: redirectUri, ...(state !== undefined && { state }) } })

/**
 * 303 (RFC 9700 §4.12: never 307, which would repeat a form with its credentials), kept by no cache, telling
 * the next site nothing.
 */
export const seeOther = (location: string, cookies: readonly string[] = []): Response => {
  const headers = new Headers({ location, 'cache-control': 'no-store', 'referrer-policy': 'no-referrer' })
  for (const cookie of cookies) headers.append('set-cookie', cookie)
  return new Response(null, { status: 303, headers })
}
