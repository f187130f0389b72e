// Refusals of tokens that are bound to a key, and of the proofs that come with them (RFC 9449).
import { type RefusalRow, row } from './refusals-mcp.ts'

export const proofRefusals = {
  'token.bound': row(
    401,
    'invalid_token',
    1401,
    'This access token is bound to a key: send it with DPoP and a proof of that key, not as a bearer token.',
  ),
  'token.unbound': row(
    401,
    'invalid_token',
    1401,
    'This access token is not bound to a key: it cannot be used with DPoP, nor where DPoP is required.',
  ),
  // proofs of possession (RFC 9449): 400 at the token endpoint, 401 at a service
  'proof.missing': row(
    400,
    'invalid_dpop_proof',
    1400,
    'A DPoP proof is required. Send it in a DPoP header.',
  ),
  'proof.malformed': row(
    400,
    'invalid_dpop_proof',
    1400,
    'The DPoP header must hold one proof: a JWT of at most 4 KiB with jti, htm, htu and iat.',
  ),
  'proof.type': row(400, 'invalid_dpop_proof', 1400, 'The typ of a DPoP proof must be dpop+jwt.'),
  'proof.algorithm': row(
    400,
    'invalid_dpop_proof',
    1400,
    'The alg of the DPoP proof is not supported. The metadata lists those that are.',
  ),
  'proof.key': row(
    400,
    'invalid_dpop_proof',
    1400,
    'The jwk of the DPoP proof is not a public key that fits its alg, or not the one that the token is bound to.',
  ),
  'proof.signature': row(400, 'invalid_dpop_proof', 1400, 'The signature of the DPoP proof is not valid.'),
  'proof.method': row(400, 'invalid_dpop_proof', 1400, 'The DPoP proof is for another HTTP method (htm).'),
  'proof.url': row(400, 'invalid_dpop_proof', 1400, 'The DPoP proof is for another URL (htu).'),
  'proof.time': row(
    400,
    'invalid_dpop_proof',
    1400,
    'The DPoP proof was not made just now (iat). Check the clock of the client.',
  ),
  'proof.token': row(400, 'invalid_dpop_proof', 1400, 'The DPoP proof is for another access token (ath).'),
  'proof.replayed': row(
    400,
    'invalid_dpop_proof',
    1400,
    'The DPoP proof was used before. Each request needs a proof of its own.',
  ),
  'proof.nonce': row(
    400,
    'use_dpop_nonce',
    1400,
    'The DPoP proof must contain a current nonce: use the one in the DPoP-Nonce header.',
  ),
} as const satisfies Record<string, RefusalRow>
