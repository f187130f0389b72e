// The three kinds of token and their shapes: authorization code, refresh token, access token. Each kind has
// its own prefix or type, so none passes for another.
import type { JWTPayload } from 'jose'
import type { Config } from '../config/schema.ts'
import { encodeBase64url, sameText } from '../kit/bytes.ts'
import { fitOf, markerKey, sealedRefusal } from '../kit/keyring.ts'
import { type Permission, ladder } from '../kit/levels.ts'
import { actClaim, personKey } from '../kit/records.ts'
import type { Signer } from '../ports/modules.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Grant } from './grant.ts'

export const accessTokenType = 'at+jwt'

/**
 * What a presented code or refresh token says of itself; nothing of it counts before `holdsCode` or
 * `holdsRefresh` confirms it.
 */
export interface CodeClaim {
  readonly kind: 'code'
  readonly grantId: string
  readonly secret: string
}
export interface RefreshClaim {
  readonly kind: 'refresh'
  readonly grantId: string
  readonly generation: number
  readonly keyId: string
  readonly mac: string
}

/** Claims of an access token of ours (RFC 9068 §2.2). */
export interface AccessClaims {
  readonly sub: string
  readonly aud: string
  readonly client_id: string
  readonly scope: string
  /** The grant it belongs to. */
  readonly gid: string
  readonly jti: string
  /** Which instance of the grant, where it has several (`Grant.instance`). */
  readonly gin?: string
  /** Thumbprint of the key that it is bound to (RFC 9449 §6.1). */
  readonly jkt?: string
  /** The highest level that its holder can ask for. */
  readonly most?: Permission
  /** Epoch seconds. */
  readonly iat: number
  readonly exp: number
}

export interface AccessTokenOptions {
  /** Seconds; absent: `access_token_lifetime`. */
  readonly lifetime?: number | undefined
  /** The highest level that its holder can ask for, where that is lower than the grant's. */
  readonly most?: Permission | undefined
}

export interface Tokens {
  /**
   * A signed access token for the grant's resource (JWT, RFC 9068); nothing personal in it but the person's
   * key. `jkt`: thumbprint of the key that it is bound to; undefined: a bearer token.
   */
  access(
    grant: Grant,
    scopes: readonly string[],
    jkt: string | undefined,
    options?: AccessTokenOptions,
  ): Promise<string>
  /** Access token lifetime, seconds, where no other is named. */
  readonly expiresIn: number
  /**
   * The refresh token of a generation of this grant: computed, never stored. Undefined when the root key it
   * was made under is gone.
   */
  refresh(grant: Grant, generation: number): Promise<string | undefined>
  code(grant: Grant, secret: string): string
  readCode(token: string): CodeClaim | undefined
  readRefresh(token: string): RefreshClaim | undefined
  holdsCode(grant: Grant | undefined, claim: CodeClaim): Promise<boolean>
  holdsRefresh(grant: Grant | undefined, claim: RefreshClaim): Promise<boolean>
  readAccess(token: string): Promise<AccessClaims | undefined>
}

export const subjectOf = (grant: Pick<Grant, 'person'>): string => personKey(grant.person)

/** Whether the token was issued for this grant as it is now. */
export const isTokenOf = (grant: Grant, claims: AccessClaims): boolean =>
  grant.clientId === claims.client_id &&
  grant.resource === claims.aud &&
  grant.instance === claims.gin &&
  subjectOf(grant) === claims.sub

/** RFC 7800 §3.1. Undefined for a token that is bound to something else than a key by its thumbprint. */
const boundTo = (cnf: unknown): Pick<AccessClaims, 'jkt'> | undefined => {
  if (cnf === undefined) return {}
  const { jkt } = (cnf ?? {}) as { readonly jkt?: unknown }
  return typeof jkt === 'string' ? { jkt } : undefined
}
const isPermission = (value: unknown): value is Permission => (ladder as readonly unknown[]).includes(value)

/** The claims of an access token, where they are all there and of their types. */
export const accessClaimsOf = (payload: JWTPayload | undefined): AccessClaims | undefined => {
  if (!payload) return undefined
  const { sub, aud, jti, iat, exp, client_id, scope, gid, gin, cnf, most } = payload
  const bound = boundTo(cnf)
  return bound &&
    typeof sub === 'string' &&
    typeof aud === 'string' &&
    typeof jti === 'string' &&
    typeof iat === 'number' &&
    typeof exp === 'number' &&
    typeof client_id === 'string' &&
    typeof scope === 'string' &&
    typeof gid === 'string'
    ? {
        ...{ sub, aud, jti, iat, exp, client_id, scope, gid },
        ...(typeof gin === 'string' && { gin }),
        ...bound,
        ...(isPermission(most) && { most }),
      }
    : undefined
}

const codeShape = /^pc_([\w-]{32})\.([\w-]{32})$/
const refreshShape = /^pr_([\w-]{32})\.(0|[1-9]\d{0,8})\.([\da-f]{8})\.([\w-]{43})$/

const readCode = (token: string): CodeClaim | undefined => {
  const [, grantId, secret] = codeShape.exec(token) ?? []
  return grantId && secret ? { kind: 'code', grantId, secret } : undefined
}

const readRefresh = (token: string): RefreshClaim | undefined => {
  const [, grantId, generation, keyId, mac] = refreshShape.exec(token) ?? []
  return grantId && generation && keyId && mac
    ? { kind: 'refresh', grantId, generation: Number(generation), keyId, mac }
    : undefined
}

/**
 * The grant names a key that is not configured: the token is not wrong, it cannot be checked, unless that key
 * was retired on purpose. Throws `storage.sealed`.
 */
const requireKey = async ({ store, keys }: Pick<Runtime, 'store' | 'keys'>): Promise<void> => {
  const fit = await fitOf(store, keys)
  if (fit !== 'fits') throw sealedRefusal(fit === 'empty' ? { key: markerKey, kind: 'damaged' } : fit)
}

const createRefreshTokens = (
  runtime: Pick<Runtime, 'keys' | 'store'>,
): Pick<Tokens, 'refresh' | 'holdsRefresh'> => {
  const macOf = async (
    grantId: string,
    generation: number,
    salt: string,
    keyId: string | undefined,
  ): Promise<string | undefined> => {
    const mac = await runtime.keys.mac('refresh', `${grantId}.${generation}.${salt}`, keyId)
    return mac && encodeBase64url(mac)
  }
  return {
    async refresh(grant, generation) {
      const keyId = grant.keyIds[generation]
      const mac = keyId && (await macOf(grant.id, generation, grant.salt, keyId))
      if (keyId && mac === undefined) await requireKey(runtime)
      return mac && `pr_${grant.id}.${generation}.${keyId}.${mac}`
    },
    // An unknown grant costs the same work as a wrong secret, so that time tells nothing (hostile case G21).
    async holdsRefresh(grant, { grantId, generation, keyId, mac }) {
      const expected = await macOf(grantId, generation, grant?.salt ?? '-'.repeat(22), keyId)
      if (expected === undefined && grant && grant.keyIds[generation] === keyId) await requireKey(runtime)
      return (
        sameText(mac, expected ?? '-'.repeat(43)) &&
        grant !== undefined &&
        expected !== undefined &&
        generation <= grant.generation
      )
    },
  }
}

export const createTokens = ({
  runtime,
  config,
  signer,
}: {
  readonly runtime: Pick<Runtime, 'keys' | 'store' | 'digest'>
  readonly config: Pick<Config, 'access_token_lifetime'>
  readonly signer: Signer
}): Tokens => ({
  ...createRefreshTokens(runtime),
  expiresIn: config.access_token_lifetime,
  access: (grant, scopes, jkt, { lifetime = config.access_token_lifetime, most } = {}) =>
    signer.sign(
      {
        sub: subjectOf(grant),
        aud: grant.resource,
        client_id: grant.clientId,
        scope: scopes.join(' '),
        gid: grant.id,
        ...(grant.instance !== undefined && { gin: grant.instance }),
        ...(grant.actor && { act: actClaim(grant.actor) }),
        ...(jkt !== undefined && { cnf: { jkt } }),
        ...(most !== undefined && { most }),
      },
      { typ: accessTokenType, lifetimeMs: lifetime * 1000 },
    ),
  code: (grant, secret) => `pc_${grant.id}.${secret}`,
  readCode,
  readRefresh,
  // An unknown grant costs the same work as a wrong secret, so that time tells nothing (hostile case G21).
  holdsCode: async (grant, { secret }) =>
    sameText(runtime.digest(secret), grant?.codeDigest ?? '-'.repeat(43)) && grant !== undefined,
  readAccess: async (token) => accessClaimsOf(await signer.verify(token, accessTokenType)),
})
