// A server's domain as one DNS label: base32 (RFC 4648 §6) in lower case without padding, and `-enc` behind it. DNS knows no capitals, so base64 would not do.
import { isAddress, refusedHost } from './addresses.ts'
import { utf8, utf8Text } from './bytes.ts'

const alphabet = 'abcdefghijklmnopqrstuvwxyz234567'
const suffix = '-enc'

/** A label has 63 characters (RFC 1035 §2.3.4), `-enc` takes four, and 59 characters of base32 hold 36 whole bytes. */
export const mostDomainBytes = 36

/** A public DNS name in lower case: letters, digits and hyphens, at least two labels, no address in any spelling and no name of a machine of one's own. */
export const isDomain = (text: string): boolean =>
  text.length <= 253 && /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/.test(text) && !isAddress(text) && !refusedHost(text)

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

/** Undefined for what no encoder writes: foreign characters, impossible lengths, bits behind the last byte (RFC 4648 §3.5). */
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

/** `mcp.atlassian.com` → `nvrxaltborwgc43tnfqw4ltdn5wq-enc`. Undefined for what is no domain, and for one of more than 36 bytes: that one needs an alias. */
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
