// Which hosts belong to one owner, as far as their names tell.
import { isAddress } from './addresses.ts'

// Hosts that give each customer a name below their own, and are not in the public suffix list.
const tenants = new Set(
  `amazonaws.com auth0.com azurecontainerapps.io b2clogin.com cloudflareaccess.com kinde.com koyeb.app lhr.life loca.lt
  nip.io okta.com onelogin.com oraclecloud.com railway.app render.com sslip.io stytch.com workos.com`.split(
    /\s+/,
  ),
)

/** The name that somebody registered. Undefined for addresses, suffixes and names below a tenant's host. */
const registered = async (host: string): Promise<string | undefined> => {
  if (isAddress(host)) return undefined
  // The list is large, and most gateways never ask: it is read with the first question.
  const { getDomain } = await import('tldts')
  const domain = getDomain(host.toLowerCase(), { allowPrivateDomains: true })
  return domain === null || tenants.has(domain) ? undefined : domain
}

/**
 * Whether both hosts are equal, or below one registered name (public suffix list, its private section
 * included).
 */
export const sameSite = async (a: string, b: string): Promise<boolean> => {
  if (a === b) return true
  const domain = await registered(a)
  return domain !== undefined && domain === (await registered(b))
}
