// A client's key and the proofs that it signs (RFC 9449 §4), good ones and others.
import { createHash, randomUUID } from 'node:crypto'
import { type JWK, SignJWT, calculateJwkThumbprint, exportJWK, generateKeyPair } from 'jose'

export interface ProofOf {
  readonly method?: string
  readonly url: string
  /** The access token that it comes with. */
  readonly token?: string
  readonly nonce?: string | undefined
  /** Claims and header members in place of the right ones; undefined leaves a member out. */
  readonly claims?: Readonly<Record<string, unknown>>
  readonly header?: Readonly<Record<string, unknown>>
  /** Epoch ms. */
  readonly now?: number
}

export interface Prover {
  readonly jwk: JWK
  readonly jkt: string
  readonly keys: CryptoKeyPair
  proof(of: ProofOf): Promise<string>
}

export const athOf = (token: string): string => createHash('sha256').update(token).digest('base64url')

export const createProver = async (
  alg = 'ES256',
  options: { modulusLength?: number } = {},
): Promise<Prover> => {
  const keys = (await generateKeyPair(alg, { extractable: true, ...options })) as CryptoKeyPair
  const jwk = await exportJWK(keys.publicKey)
  return {
    jwk,
    jkt: await calculateJwkThumbprint(jwk),
    keys,
    proof: ({ method = 'POST', url, token, nonce, claims, header, now = Date.now() }) =>
      new SignJWT({
        jti: randomUUID(),
        htm: method,
        htu: url,
        iat: Math.floor(now / 1000),
        ...(token !== undefined && { ath: athOf(token) }),
        ...(nonce !== undefined && { nonce }),
        ...claims,
      })
        .setProtectedHeader({ typ: 'dpop+jwt', alg, jwk: jwk as never, ...header })
        .sign(keys.privateKey),
  }
}
