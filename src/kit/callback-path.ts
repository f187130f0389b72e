// The address where the authorization server of an upstream sends people back: one for each, so that the
// answer of one is
// never taken for another's (RFC 9700 §4.4.2.2).
import { encodeBase64url, utf8 } from './bytes.ts'
import { canonicalResource } from './urls.ts'

/** 132 bits: nobody finds a second issuer for the id of the first. */
const idLength = 22
export const callbackRoot = '/connect/callback'

/** The same for every spelling of an issuer, in every process and after every restart. */
export const callbackId = async (issuer: string): Promise<string> => {
  const digest = await crypto.subtle.digest('SHA-256', utf8(`callback\n${canonicalResource(issuer) ?? issuer}`))
  return encodeBase64url(new Uint8Array(digest)).slice(0, idLength)
}

export const callbackPathOf = async (issuer: string): Promise<string> =>
  `${callbackRoot}/${await callbackId(issuer)}`

export const isCallbackId = (text: string): boolean => text.length === idLength && /^[\w-]+$/.test(text)

// What identity providers, and clients registered with version 0.1.0, come back to.
const sharedPath = /^(?:\/connect\/callback|\/(?:oauth\/)?callback)$/

const pathOf = (redirectUri: string): string => new URL(redirectUri).pathname
/**
 * An address that only the operator's proxy knows: it leads to one that no authorization server has for
 * itself.
 */
const isMapped = (path: string): boolean => !path.startsWith(`${callbackRoot}/`) && !sharedPath.test(path)

/** Whether an answer that came to `path` is that of the authorization server whose redirect URI this is. */
export const isCallbackOf = (redirectUri: string, path: string): boolean => {
  const own = pathOf(redirectUri)
  return path === own || (isMapped(own) && sharedPath.test(path))
}

/** Whether an answer to one of these redirect URIs could be taken for an answer to the other. */
export const shareCallback = (a: string, b: string): boolean => {
  const [one, other] = [pathOf(a), pathOf(b)]
  return (
    one === other ||
    (isMapped(one) && (isMapped(other) || sharedPath.test(other))) ||
    (isMapped(other) && sharedPath.test(one))
  )
}
