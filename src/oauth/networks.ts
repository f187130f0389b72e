// From which network a refresh token is presented, in a form that can be compared and not be read: a keyed digest, of one grant alone.
import { networkOf } from '../kit/addresses.ts'
import { encodeBase64url } from '../kit/bytes.ts'
import type { KeyRing } from '../kit/keyring.ts'
import type { Grant } from './grants.ts'

/** The network of one request, as seen by one grant. */
export interface Network {
  /** `{key id}.{digest}` */
  readonly digest: string
  /** Whether a kept digest is of this network. One that was never kept may be; one whose key is gone is not. */
  is(kept: string | undefined): boolean
}

const digestBytes = 16
const keyIdOf = (digest: string): string => digest.slice(0, digest.indexOf('.'))

/** Every digest that a grant keeps. */
const keptBy = ({ usedBy = {}, handed, replaced = {} }: Grant): readonly string[] => [...Object.values(usedBy), ...Object.values(replaced).map(({ by }) => by), ...(handed ? [handed.by] : [])]

export const networkFor = async (keys: Pick<KeyRing, 'current' | 'mac'>, grant: Grant, ip: string): Promise<Network> => {
  const digestWith = async (keyId: string): Promise<string> => {
    const mac = await keys.mac('network', `${grant.id}.${grant.salt}.${networkOf(ip)}`, keyId)
    return `${keyId}.${mac ? encodeBase64url(mac.subarray(0, digestBytes)) : ''}`
  }
  const digest = await digestWith(keys.current)
  const former = new Set(keptBy(grant).map(keyIdOf).filter((keyId) => keyId !== keys.current))
  const all = new Set([digest, ...(await Promise.all([...former].map(digestWith)))])
  return { digest, is: (kept) => kept === undefined || (!kept.endsWith('.') && all.has(kept)) }
}
