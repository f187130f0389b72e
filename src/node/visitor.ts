// Who is at the other end of the socket: the peer, or the first address behind the proxies the operator listed.
import { BlockList, isIP } from 'node:net'

const bare = (address: string): string => (address.startsWith('::ffff:') && isIP(address.slice(7)) === 4 ? address.slice(7) : address)

const listed = (entries: readonly string[]): BlockList => {
  const list = new BlockList()
  for (const entry of entries) {
    const [address = '', bits] = entry.split('/')
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    if (bits === undefined) list.addAddress(address, family)
    else list.addSubnet(address, Number(bits), family)
  }
  return list
}

export interface Visitor {
  /** `(peer, X-Forwarded-For) → address`: walks the header from the right, past trusted proxies only; anything malformed ends the walk. */
  address(peer: string | undefined, forwardedFor: string | undefined): string
  /** Whether the peer is a proxy that the operator listed. */
  trusts(peer: string | undefined): boolean
}

export const createVisitor = (trustedProxies: readonly string[]): Visitor => {
  const trusted = listed(trustedProxies)
  const trusts = (address: string): boolean => isIP(address) !== 0 && trusted.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
  return {
    address(peer, forwardedFor) {
      let address = bare(peer ?? '')
      if (trustedProxies.length === 0) return address
      const hops = (forwardedFor ?? '').split(',').map((hop) => bare(hop.trim()))
      for (let hop = hops.pop(); hop !== undefined && trusts(address) && isIP(hop) !== 0; hop = hops.pop()) address = hop
      return address
    },
    trusts: (peer) => trusts(bare(peer ?? '')),
  }
}
