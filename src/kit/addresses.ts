// Which network addresses the gateway may be sent to by somebody else's word: global unicast only, by allow-list, embedded IPv4 included.

type Bytes = readonly number[]
type Block = readonly [base: Bytes, bits: number]

const groups = (text: string): number[] => (text === '' ? [] : text.split(':').flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]))

/** 4 or 16 bytes, undefined for what is no IP literal. The URL parser does the reading: a judge that reads an address otherwise than the one who connects is no judge. */
const bytesOf = (host: string): Bytes | undefined => {
  const literal = /^[\da-f.]*:[\da-f.:]*$/i.test(host) ? `[${host}]` : host
  // A host and nothing else: no port, no userinfo, no path that the parser would split off.
  if (!/^(?:\[[\da-f.:]+\]|[^/?#@\\:[\]\s]+)$/i.test(literal) || !URL.canParse(`http://${literal}`)) return undefined
  const name = new URL(`http://${literal}`).hostname
  if (/^\d+\.\d+\.\d+\.\d+$/.test(name)) return name.split('.').map(Number)
  if (!name.startsWith('[')) return undefined
  const [head = '', tail = ''] = name.slice(1, -1).split('::')
  const [first, last] = [groups(head), groups(tail)]
  return [...first, ...Array.from({ length: 16 - first.length - last.length }, () => 0), ...last]
}

const block = (cidr: string): Block => {
  const [base = '', bits = ''] = cidr.split('/')
  return [bytesOf(base) ?? [], Number(bits)]
}

const within = (address: Bytes, [base, bits]: Block): boolean => {
  for (let i = 0, left = bits; left > 0; i++, left -= 8) {
    const mask = left >= 8 ? 0xff : (0xff << (8 - left)) & 0xff
    if (((address[i] as number) & mask) !== ((base[i] as number) & mask)) return false
  }
  return true
}

// IANA IPv4 special-purpose registry (RFC 6890) where "globally reachable" is false or withdrawn, plus multicast and the reserved class E.
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
].map(block)

// Only 2000::/3 is allocated as global unicast (RFC 4291 §2.4); these parts of it are not for everybody.
const global6 = block('2000::/3')
const closed6 = [
  '2001::/23', // protocol assignments: Teredo, ORCHID, benchmarking
  '2001:db8::/32', // documentation
  '3ffe::/16', // 6bone, returned (RFC 3701)
  '3fff::/20', // documentation (RFC 9637)
].map(block)

// Addresses that a gateway on the way turns into the IPv4 address inside them: prefix, and where the four bytes begin.
const carriers: readonly (readonly [Block, number])[] = [
  [block('::ffff:0:0/96'), 12], // IPv4-mapped
  [block('64:ff9b::/96'), 12], // NAT64 (RFC 6052)
  [block('2002::/16'), 2], // 6to4 (RFC 3056)
]

const isGlobal4 = (address: Bytes): boolean => !closed4.some((closed) => within(address, closed))

const isGlobal6 = (address: Bytes): boolean => {
  for (const [prefix, at] of carriers) if (within(address, prefix)) return isGlobal4(address.slice(at, at + 4))
  if (!within(address, global6) || closed6.some((closed) => within(address, closed))) return false
  // ISATAP (RFC 5214 §6.1): the interface identifier [02]00:5efe carries the IPv4 address the packet is delivered to.
  const isatap = ((address[8] as number) & 0xfd) === 0 && address[9] === 0 && address[10] === 0x5e && address[11] === 0xfe
  return !isatap || isGlobal4(address.slice(12))
}

/** Whether the host is an IP literal, in any form that `new URL(…).hostname` or a resolver yields. */
export const isAddress = (host: string): boolean => bytesOf(host) !== undefined

/** Whether this IP literal is global unicast. False for every other address, for one with a zone, and for anything that is not an address. */
export const isGlobalAddress = (host: string): boolean => {
  const address = bytesOf(host)
  return address !== undefined && (address.length === 4 ? isGlobal4(address) : isGlobal6(address))
}

const hex = (bytes: Bytes): string => bytes.map((byte) => byte.toString(16).padStart(2, '0')).join('')

/**
 * The network that an address belongs to, as text to compare: an IPv4 address, also one carried in IPv6; the /64 of an IPv6 address, which one subscriber has
 * (RFC 6177 §2); `loopback`. What is no address stands for itself.
 */
export const networkOf = (address: string): string => {
  // As runtimes write it: most callers come so, and nothing has to be parsed for them.
  if (/^\d{1,3}(?:\.\d{1,3}){3}$/.test(address)) return address.startsWith('127.') ? 'loopback' : address
  const bytes = bytesOf(address.replace(/%.*$/, ''))
  if (!bytes) return address
  const [, at] = bytes.length === 16 ? (carriers.find(([prefix]) => within(bytes, prefix)) ?? []) : []
  const four = bytes.length === 4 ? bytes : at === undefined ? undefined : bytes.slice(at, at + 4)
  if (four) return four[0] === 127 ? 'loopback' : four.join('.')
  return hex(bytes) === '1'.padStart(32, '0') ? 'loopback' : `${hex(bytes.slice(0, 8))}/64`
}

/**
 * What one subscriber may have at most: an IPv4 address, the /48 of an IPv6 address (RFC 6177 §2). What is no address stands for itself.
 */
export const siteOf = (address: string): string => {
  const network = networkOf(address)
  return network.endsWith('/64') ? `${network.slice(0, 12)}/48` : network
}

// RFC 6761 §6, RFC 6762 §3, RFC 8375, RFC 9476, ICANN's .internal, and what home routers and cloud providers answer for.
const localSuffix = /(?:^|\.)(?:localhost|local|localdomain|internal|intranet|private|corp|home|lan|home\.arpa|alt|onion)$/

/** Whether the name belongs to this machine or its network, whatever DNS says: localhost and its kin, and every name without a dot. */
export const isLocalName = (host: string): boolean => {
  const name = host.toLowerCase().replace(/\.+$/, '')
  return !name.includes('.') || localSuffix.test(name)
}

/** Whether a URL's host is refused before any name is resolved: an address that is not global unicast, or a local name. */
export const refusedHost = (host: string): boolean => (isAddress(host) ? !isGlobalAddress(host) : isLocalName(host))
