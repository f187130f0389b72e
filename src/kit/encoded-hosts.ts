// A server's domain as one DNS label: base32 (RFC 4648 §6) in lower case without padding, and `-enc` behind
// it. DNS knows no capitals, so base64 would not do.
import { isAddress, refusedHost } from './addresses.ts'
import { utf8, utf8Text } from './bytes.ts'

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'
const suffix = '-enc'

/**
 * A label has 63 characters (RFC 1035 §2.3.4), `-enc` takes four, and 59 characters of base32 hold 36 whole
 * bytes.
 */
export const mostDomainBytes = 36

/**
 * A public DNS name in lower case: letters, digits and hyphens, at least two labels, no address in any
 * spelling and no name of a machine of one's own.
 */
export const isDomain = (text: string): boolean =>
  text.length <= 253 &&
  /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(text) &&
  !isAddress(text) &&
  !refusedHost(text)

const encodeBase32 = (bytes: Uint8Array): string => {
  let text = ''
  let bits = 0
  let value = 0
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xfff
    for (bits += 8; bits >= 5; bits -= 5) text += alphabet[(value >> (bits - 5)) & 31]
  }
  return bits > 0 ? text + alphabet[(value << (5 - bits)) & 31] : text
}

/**
 * Undefined for what no encoder writes: foreign characters, impossible lengths, bits behind the last byte
 * (RFC 4648 §3.5).
 */
const decodeBase32 = (text: string): Uint8Array | undefined => {
  const bytes: number[] = []
  let bits = 0
  let value = 0
  for (const character of text) {
    const digit = alphabet.indexOf(character)
    if (digit === -1) return undefined
    value = ((value << 5) | digit) & 0xfff
    bits += 5
    if (bits < 8) continue
    bits -= 8
    bytes.push((value >> bits) & 0xff)
  }
  const whole = Uint8Array.from(bytes)
  return encodeBase32(whole) === text ? whole : undefined
}

/**
 * `mcp.atlassian.com` → `nvrxaltborwgc43tnfqw4ltdn5wq-enc`. Undefined for what is no domain, and for one of
 * more than 36 bytes: that one needs an alias.
 */
export const labelOfDomain = (domain: string): string | undefined => {
  const name = domain.toLowerCase()
  return isDomain(name) && name.length <= mostDomainBytes ? `${encodeBase32(utf8(name))}${suffix}` : undefined
}

/** The domain that a label stands for; undefined for every label that `labelOfDomain` does not write. */
export const domainOfLabel = (label: string): string | undefined => {
  const bytes = label.endsWith(suffix) ? decodeBase32(label.slice(0, -suffix.length)) : undefined
  const domain = bytes === undefined ? undefined : utf8Text(bytes as Uint8Array<ArrayBuffer>)
  return domain !== undefined && labelOfDomain(domain) === label ? domain : undefined
}

/** The label of a short alias, for servers whose domain is too long or who have none. */
export const labelOfAlias = (alias: string): string => `${alias}${suffix}`

// Which encoded host and path mean which server, and which servers could not be told apart there.

export interface Encodable {
  readonly id: string
  /** The MCP endpoint, path included; undefined for a server that is at no URL. */
  readonly url: URL | undefined
  readonly alias: string | undefined
}

export interface EncodedHost {
  readonly id: string
  /** One DNS label. */
  readonly label: string
  /** The path under which a server's own clients know it, without a final slash. */
  readonly path: string
}

export interface EncodedHosts {
  /** In the order of the servers. */
  readonly places: readonly EncodedHost[]
  /** Servers that would be where another one (`by`) is already. */
  readonly clashes: readonly (EncodedHost & { readonly by: string })[]
}

/** A host that stands for a server's domain keeps the path its own clients know. */
const pathOf = (url: URL | undefined): string => url?.pathname.replace(/\/+$/, '') || '/mcp'

interface Claim extends EncodedHost {
  /** The server has a host of its own besides, and leaves the one of its domain to others. */
  readonly yields: boolean
}

const claimsOf = ({ id, url, alias }: Encodable): readonly Claim[] => {
  const path = pathOf(url)
  const domain = url && labelOfDomain(url.hostname)
  return [
    ...(domain === undefined ? [] : [{ id, label: domain, path, yields: alias !== undefined }]),
    ...(alias === undefined ? [] : [{ id, label: labelOfAlias(alias), path, yields: false }]),
  ]
}

/**
 * A domain means the server that has nothing but its domain. Several that have an alias each share the domain
 * of none: it means nobody then. Two that have only the same domain and path clash.
 */
export const encodedHosts = (servers: readonly Encodable[]): EncodedHosts => {
  const claims = servers.flatMap(claimsOf)
  const byPlace = new Map<string, Claim[]>()
  for (const claim of claims) {
    const place = `${claim.label}${claim.path}`
    const there = byPlace.get(place)
    if (there) there.push(claim)
    else byPlace.set(place, [claim])
  }
  const holder = ({ label, path }: Claim): Claim | undefined => {
    const there = byPlace.get(`${label}${path}`) ?? []
    return there.find(({ yields }) => !yields) ?? (there.length === 1 ? there[0] : undefined)
  }
  const plain = ({ id, label, path }: Claim): EncodedHost => ({ id, label, path })
  return {
    places: claims.filter((claim) => holder(claim) === claim).map(plain),
    clashes: claims.flatMap((claim) => {
      const held = holder(claim)
      return held === undefined || held === claim || claim.yields ? [] : [{ ...plain(claim), by: held.id }]
    }),
  }
}
