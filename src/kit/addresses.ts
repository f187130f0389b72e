// Which network addresses the gateway may be sent to by somebody else's word: global unicast only, by
// allow-list, embedded IPv4 included.
import ipaddr from 'ipaddr.js'

type Address = ipaddr.IPv4 | ipaddr.IPv6

/**
 * Undefined for what is no IP literal. The URL parser does the reading: a judge that reads an address
 * otherwise than the one who connects is no judge.
 */
const addressOf = (host: string): Address | undefined => {
  const literal = /^[\da-f.]*:[\da-f.:]*$/i.test(host) ? `[${host}]` : host
  // A host and nothing else: no port, no userinfo, no path that the parser would split off.
  if (!/^(?:\[[\da-f.:]+\]|[^/?#@\\:[\]\s]+)$/i.test(literal) || !URL.canParse(`http://${literal}`))
    return undefined
  const name = new URL(`http://${literal}`).hostname
  if (name.startsWith('[')) return ipaddr.IPv6.parse(name.slice(1, -1))
  return ipaddr.IPv4.isValidFourPartDecimal(name) ? ipaddr.IPv4.parse(name) : undefined
}

// The ranges that ipaddr.js names are no allow-list: it takes 3ffe::/16, ::8.8.8.8 and all that is not
// allocated yet for unicast, and has no ISATAP. IANA IPv4 special-purpose registry (RFC 6890) where "globally
// reachable" is false or withdrawn, plus multicast and the reserved class E.
const closed4 = [
  '0.0.0.0/8', // this network
  '10.0.0.0/8', // private
  '100.64.0.0/10', // shared, carrier-grade NAT
  '127.0.0.0/8', // loopback
  '169.254.0.0/16', // link-local, cloud metadata
  '172.16.0.0/12', // private
  '192.0.0.0/24', // protocol assignments
  '192.0.2.0/24', // documentation
  '192.88.99.0/24', // 6to4 relay anycast, withdrawn (RFC 7526)
  '192.168.0.0/16', // private
  '198.18.0.0/15', // benchmarking
  '198.51.100.0/24', // documentation
  '203.0.113.0/24', // documentation
  '224.0.0.0/4', // multicast
  '240.0.0.0/4', // reserved, broadcast
].map((cidr) => ipaddr.IPv4.parseCIDR(cidr))

// Only 2000::/3 is allocated as global unicast (RFC 4291 §2.4); these parts of it are not for everybody.
const global6 = ipaddr.IPv6.parseCIDR('2000::/3')
const closed6 = [
  '2001::/23', // protocol assignments: Teredo, ORCHID, benchmarking
  '2001:db8::/32', // documentation
  '3ffe::/16', // 6bone, returned (RFC 3701)
  '3fff::/20', // documentation (RFC 9637)
].map((cidr) => ipaddr.IPv6.parseCIDR(cidr))

// Addresses that a gateway on the way turns into the IPv4 address inside them: prefix, and where the four
// bytes begin.
const carriers = [
  { prefix: ipaddr.IPv6.parseCIDR('::ffff:0:0/96'), at: 12 }, // IPv4-mapped
  { prefix: ipaddr.IPv6.parseCIDR('64:ff9b::/96'), at: 12 }, // NAT64 (RFC 6052)
  { prefix: ipaddr.IPv6.parseCIDR('2002::/16'), at: 2 }, // 6to4 (RFC 3056)
]

const fourAt = (address: ipaddr.IPv6, at: number): ipaddr.IPv4 =>
  new ipaddr.IPv4(address.toByteArray().slice(at, at + 4))

/** The IPv4 address that a gateway on the way would turn it into. */
const carriedIn = (address: ipaddr.IPv6): ipaddr.IPv4 | undefined => {
  const carrier = carriers.find(({ prefix }) => address.match(prefix))
  return carrier && fourAt(address, carrier.at)
}

const isGlobal4 = (address: ipaddr.IPv4): boolean => !closed4.some((closed) => address.match(closed))

const isGlobal6 = (address: ipaddr.IPv6): boolean => {
  const carried = carriedIn(address)
  if (carried) return isGlobal4(carried)
  if (!address.match(global6) || closed6.some((closed) => address.match(closed))) return false
  // ISATAP (RFC 5214 §6.1): the interface identifier [02]00:5efe carries the IPv4 address the packet is
  // delivered to.
  const [, , , , high = 0, low] = address.parts
  const isatap = (high & 0xfdff) === 0 && low === 0x5efe
  return !isatap || isGlobal4(fourAt(address, 12))
}

/** Whether the host is an IP literal, in any form that `new URL(…).hostname` or a resolver yields. */
export const isAddress = (host: string): boolean => addressOf(host) !== undefined

/**
 * Whether this IP literal is global unicast. False for every other address, for one with a zone, and for
 * anything that is not an address.
 */
export const isGlobalAddress = (host: string): boolean => {
  const address = addressOf(host)
  return address !== undefined && (address instanceof ipaddr.IPv4 ? isGlobal4(address) : isGlobal6(address))
}

const hex = (parts: readonly number[]): string =>
  parts.map((part) => part.toString(16).padStart(4, '0')).join('')

/**
 * The network that an address belongs to, as text to compare: an IPv4 address, also one carried in IPv6; the
 * /64 of an IPv6 address, which one subscriber has (RFC 6177 §2); `loopback`. What is no address stands for
 * itself.
 */
export const networkOf = (address: string): string => {
  // As runtimes write it: most callers come so, and nothing has to be parsed for them.
  if (/^\d{1,3}(?:\.\d{1,3}){3}$/.test(address)) return address.startsWith('127.') ? 'loopback' : address
  const parsed = addressOf(address.replace(/%.*$/, ''))
  if (!parsed) return address
  const four = parsed instanceof ipaddr.IPv4 ? parsed : carriedIn(parsed)
  if (four) return four.octets[0] === 127 ? 'loopback' : four.toString()
  const { parts } = parsed as ipaddr.IPv6
  return parsed.range() === 'loopback' ? 'loopback' : `${hex(parts.slice(0, 4))}/64`
}

/**
 * What one subscriber may have at most: an IPv4 address, the /48 of an IPv6 address (RFC 6177 §2). What is no
 * address stands for itself.
 */
export const siteOf = (address: string): string => {
  const network = networkOf(address)
  return network.endsWith('/64') ? `${network.slice(0, 12)}/48` : network
}

/** As `siteOf`, with the neighbours of an IPv4 address (its /24), which a device and a browser at one place share. */
export const neighbourhoodOf = (address: string): string =>
  siteOf(address).replace(/^((?:\d{1,3}\.){3})\d{1,3}$/, '$10/24')

// RFC 6761 §6, RFC 6762 §3, RFC 8375, RFC 9476, ICANN's .internal, and what home routers and cloud providers
// answer for.
const localSuffix =
  /(?:^|\.)(?:localhost|local|localdomain|internal|intranet|private|corp|home|lan|home\.arpa|alt|onion)$/

/**
 * Whether the name belongs to this machine or its network, whatever DNS says: localhost and its kin, and
 * every name without a dot.
 */
export const isLocalName = (host: string): boolean => {
  const name = host.toLowerCase().replace(/\.+$/, '')
  return !name.includes('.') || localSuffix.test(name)
}

/**
 * Whether a host name or address (IPv6 with or without brackets) means this computer: the names and addresses
 * that RFC 6761 §6.3 and RFC 6890 give to loopback.
 */
export const isLoopbackHost = (host: string): boolean => {
  const name = host.toLowerCase().replace(/^\[|\]$/g, '')
  return (
    name === 'localhost' || name.endsWith('.localhost') || name === '::1' || /^127(\.\d{1,3}){3}$/.test(name)
  )
}

/** Whether the URL's host means this computer; false for what is no URL. */
export const isLoopbackUrl = (text: string): boolean => isLoopbackHost(URL.parse(text)?.hostname ?? '')

/**
 * Whether a URL's host is refused before any name is resolved: an address that is not global unicast, or a
 * local name.
 */
export const refusedHost = (host: string): boolean =>
  isAddress(host) ? !isGlobalAddress(host) : isLocalName(host)

/** Whether an address is one of these, or in one of these CIDR ranges. IPv4-mapped IPv6 counts as IPv4. */
export const createRanges = (entries: readonly string[]): ((address: string) => boolean) => {
  const ranges = entries.map((entry) =>
    ipaddr.parseCIDR(entry.includes('/') ? entry : `${entry}/${entry.includes(':') ? 128 : 32}`),
  )
  return (text) => {
    if (!ipaddr.isValid(text)) return false
    const address = ipaddr.process(text)
    return ranges.some(([range, bits]) => range.kind() === address.kind() && address.match(range, bits))
  }
}
