// Password hashes as PHC strings: reading, writing, and scrypt (RFC 7914), which every runtime has.
import { decodeBase64, encodeBase64, sameBytes, utf8 } from './bytes.ts'

export interface Phc {
  readonly id: string
  readonly version?: number
  readonly params: Readonly<Record<string, number>>
  readonly salt: Uint8Array<ArrayBuffer>
  readonly hash: Uint8Array<ArrayBuffer>
}

const shape =
  /^\$([a-z0-9-]{1,32})(?:\$v=(\d{1,9}))?\$([a-z0-9-]+=\d{1,9}(?:,[a-z0-9-]+=\d{1,9})*)\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{22,172})$/

/** Undefined for what is no PHC string with parameters, salt (8 to 64 bytes) and hash (16 to 128 bytes). */
export const parsePhc = (text: string): Phc | undefined => {
  const [, id = '', version, params = '', saltText = '', hashText = ''] = shape.exec(text) ?? []
  const [salt, hash] = [decodeBase64(saltText), decodeBase64(hashText)]
  if (id === '' || !salt || !hash) return undefined
  const pairs = params
    .split(',')
    .map((pair): [string, number] => [pair.split('=')[0] ?? '', Number(pair.split('=')[1])])
  return {
    id,
    params: Object.fromEntries(pairs),
    salt,
    hash,
    ...(version === undefined ? {} : { version: Number(version) }),
  }
}

const unpadded = (bytes: Uint8Array): string => encodeBase64(bytes).replaceAll('=', '')

export const formatPhc = ({ id, version, params, salt, hash }: Phc): string => {
  const list = Object.entries(params).map(([name, value]) => `${name}=${value}`)
  return `$${id}${version === undefined ? '' : `$v=${version}`}$${list.join(',')}$${unpadded(salt)}$${unpadded(hash)}`
}

/** scrypt of the runtime: N, r and p of RFC 7914, the result of `length` bytes. */
export type Scrypt = (
  password: Uint8Array,
  salt: Uint8Array,
  length: number,
  cost: { readonly N: number; readonly r: number; readonly p: number; readonly maxmem: number },
) => Promise<Uint8Array>

const least = { ln: 14, r: 8, p: 1 } as const

const derive = (
  scrypt: Scrypt,
  password: string,
  { params: { ln = 0, r = 0, p = 0 }, salt, hash }: Phc,
): Promise<Uint8Array> => {
  const N = 2 ** ln
  return scrypt(utf8(password), salt, hash.length, { N, r, p, maxmem: 256 * N * r })
}

/** N = 2^14, r = 8, p = 1: 16 MiB and about a tenth of a second on Workers, whose limits allow no more. */
export const hashByScrypt = async (
  scrypt: Scrypt,
  password: string,
  salt: Uint8Array<ArrayBuffer>,
): Promise<string> => {
  const phc: Phc = { id: 'scrypt', params: least, salt, hash: new Uint8Array(32) }
  return formatPhc({ ...phc, hash: new Uint8Array(await derive(scrypt, password, phc)) })
}

/**
 * Whether this is a scrypt hash that the gateway is willing to compute: at most 1 GiB, so that no stored
 * string can stop it, and no shorter than 32 bytes, because a cut scrypt hash is the scrypt hash of that
 * length.
 */
export const isScrypt = ({ id, params: { ln = 0, r = 0, p = 0 }, hash }: Phc): boolean =>
  id === 'scrypt' &&
  ln >= 1 &&
  ln <= 20 &&
  r >= 1 &&
  r <= 32 &&
  2 ** ln * r <= 2 ** 23 &&
  p >= 1 &&
  p <= 16 &&
  hash.length >= 32

export const verifyByScrypt = async (scrypt: Scrypt, password: string, phc: Phc): Promise<boolean> =>
  sameBytes(new Uint8Array(await derive(scrypt, password, phc)), phc.hash)

export const isWeakScrypt = ({ params: { ln = 0, r = 0, p = 0 } }: Phc): boolean =>
  ln < least.ln || r < least.r || p < least.p
