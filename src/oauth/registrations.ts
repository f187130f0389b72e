// Dynamic registrations (RFC 7591) in the store: one sealed record for each client, which expires when it is
// unused for too long and is renewed by use.
import { encodeBase64url, sameText } from '../kit/bytes.ts'
import { type Records, createRecords } from '../kit/records.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Client, ClientMetadata } from './client.ts'

export interface Registration {
  readonly id: string
  readonly metadata: ClientMetadata
  /** Digest of the client secret, for the methods that have one. */
  readonly secretDigest?: string
  /** Digest of the registration access token (RFC 7592 §3). */
  readonly accessDigest: string
  /** It was deleted, and its grants are being ended; it cannot be used for anything else. */
  readonly ended?: true
  /** No person has allowed this client anything yet. */
  readonly unused?: true
  /** Epoch ms. */
  readonly issuedAt: number
  readonly renewedAt: number
}

/** A registration as it was read, with the version a change must find. */
export interface ReadRegistration {
  readonly registration: Registration
  readonly mark: string
}

/** A new registration, with the secrets that are returned only here. */
export interface NewRegistration {
  readonly registration: Registration
  readonly secret?: string
  readonly accessToken: string
}

export interface Registrations {
  /** Keeps new metadata under a new id. The secrets are returned here and kept as digests. */
  create(metadata: ClientMetadata): Promise<NewRegistration>
  read(id: string): Promise<ReadRegistration | undefined>
  /**
   * New metadata for a registration as it was read; undefined when it changed meanwhile. A secret is made
   * when the method needs one and there was none.
   */
  replace(
    read: ReadRegistration,
    metadata: ClientMetadata,
  ): Promise<{ readonly registration: Registration; readonly secret?: string } | undefined>
  /** The same for a registration that may be ended already, to finish deleting it. */
  readEnded(id: string): Promise<ReadRegistration | undefined>
  /** From now on it is unknown to everything but `readEnded`. */
  end(read: ReadRegistration): Promise<void>
  remove(id: string): Promise<void>
  /** A person allowed the client something: from now on its use renews it. */
  use(read: ReadRegistration): Promise<void>
  /** Extends the expiry of a client in use, with at most one write a day and client. */
  renew(read: ReadRegistration): Promise<void>
  /** Epoch seconds at which a registration ends when it is not used again; 0: never (RFC 7591 §3.2.1). */
  expiresAt(registration: Registration): number
  /** Whether this is the registration's access token. */
  admits(registration: Registration, accessToken: string): boolean
}

const renewEveryMs = 86_400_000
/** How long an interrupted DELETE can be repeated. */
const endedMs = 86_400_000
/** Each lost compare-and-set means that another request won, so this many in a row mean a fault. */
const maxAttempts = 10
const idShape = /^client_[A-Za-z0-9_-]{22}$/
const needsSecret = (metadata: ClientMetadata): boolean =>
  metadata.token_endpoint_auth_method === 'client_secret_basic' ||
  metadata.token_endpoint_auth_method === 'client_secret_post'

export const registeredClient = (
  { id, metadata, secretDigest }: Registration,
  digest: Runtime['digest'],
): Client => ({
  id,
  name: metadata.client_name ?? 'Unnamed app',
  kind: 'dynamic',
  redirectUris: metadata.redirect_uris,
  authMethod: metadata.token_endpoint_auth_method,
  grantTypes: metadata.grant_types,
  ...(secretDigest && { secretDigest }),
  ...(metadata.jwks && { jwks: metadata.jwks }),
  ...(metadata.jwks_uri && { jwksUri: metadata.jwks_uri }),
  digest: () => digest(JSON.stringify(metadata)),
})

interface Secret {
  readonly secret?: string
  readonly secretDigest?: string
}
type PutOptions = NonNullable<Parameters<Records<Registration>['put']>[2]>

const createReads = (records: Records<Registration>) => {
  const readEnded: Registrations['readEnded'] = async (id) => {
    const kept = idShape.test(id) ? await records.get(id) : undefined
    return kept && { registration: kept.value, mark: kept.mark }
  }
  const read: Registrations['read'] = async (id) => {
    const found = await readEnded(id)
    return found?.registration.ended ? undefined : found
  }

  /**
   * Writes what `next` returns over the version that was read, and tries again over a newer one. Nothing is
   * written when `next` returns undefined.
   */
  const change = async (
    first: ReadRegistration,
    next: (was: Registration) => Registration | undefined,
    ttl: (registration: Registration) => PutOptions,
  ): Promise<void> => {
    let found: ReadRegistration | undefined = first
    for (let attempt = 0; attempt < maxAttempts && found; attempt++) {
      const changed = next(found.registration)
      if (!changed || (await records.put(changed.id, changed, { ...ttl(changed), only: found.mark }))) return
      found = await readEnded(changed.id)
    }
  }
  return { read, readEnded, change }
}

export interface RegistrationsDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'digest'>
  /** 0: for ever. */
  readonly lifetimeMs: number
}

const secretFor = (metadata: ClientMetadata, { random, digest }: RegistrationsDeps['runtime']): Secret => {
  if (!needsSecret(metadata)) return {}
  const secret = encodeBase64url(random(32))
  return { secret, secretDigest: digest(secret) }
}

const newRegistration = (
  metadata: ClientMetadata,
  runtime: RegistrationsDeps['runtime'],
): NewRegistration => {
  const { secret, secretDigest } = secretFor(metadata, runtime)
  const accessToken = `reg-${encodeBase64url(runtime.random(32))}`
  const now = runtime.now()
  const registration: Registration = {
    id: `client_${encodeBase64url(runtime.random(16))}`,
    metadata,
    ...(secretDigest && { secretDigest }),
    accessDigest: runtime.digest(accessToken),
    unused: true,
    issuedAt: now,
    renewedAt: now,
  }
  return { registration, accessToken, ...(secret && { secret }) }
}

/**
 * Whether its use extends the expiry now. The id is no secret: knowing it must not be enough to keep an
 * unused registration alive.
 */
const renewsNow = ({ unused, renewedAt }: Registration, lifetimeMs: number, now: number): boolean =>
  lifetimeMs > 0 && !unused && now - renewedAt >= Math.min(renewEveryMs, lifetimeMs / 4)

export const createRegistrations = ({ runtime, lifetimeMs }: RegistrationsDeps): Registrations => {
  // As `client_secret_expires_at` says (RFC 7591 §3.2.1), whether a person has signed in with the client or
  // not.
  const ttl = lifetimeMs > 0 ? { ttlMs: lifetimeMs } : {}
  const records = createRecords<Registration>(runtime, 'client:', { remembered: 256 })
  const { read, readEnded, change } = createReads(records)

  return {
    read,
    readEnded,
    end: (first) =>
      change(
        first,
        ({ ended, ...rest }) => (ended ? undefined : { ...rest, ended: true }),
        () => ({ ttlMs: endedMs }),
      ),
    async create(metadata) {
      const made = newRegistration(metadata, runtime)
      await records.put(made.registration.id, made.registration, { ...ttl, only: 'absent' })
      return made
    },
    async replace({ registration, mark }, metadata) {
      const { secretDigest: former, ...rest } = registration
      const { secret, secretDigest }: Secret =
        former && needsSecret(metadata) ? { secretDigest: former } : secretFor(metadata, runtime)
      const next: Registration = {
        ...rest,
        metadata,
        ...(secretDigest && { secretDigest }),
        renewedAt: runtime.now(),
      }
      const written = await records.put(next.id, next, { ...ttl, only: mark })
      return written === undefined ? undefined : { registration: next, ...(secret && { secret }) }
    },
    async remove(id) {
      await records.take(id)
    },
    use: (first) =>
      change(
        first,
        ({ unused, ...rest }) => (unused ? { ...rest, renewedAt: runtime.now() } : undefined),
        () => ttl,
      ),
    async renew({ registration, mark }) {
      const now = runtime.now()
      if (!renewsNow(registration, lifetimeMs, now)) return
      // Only over the version that was read: a client deleted meanwhile stays deleted.
      const renewed = { ...registration, renewedAt: now }
      await records.put(renewed.id, renewed, { ...ttl, only: mark })
    },
    expiresAt: ({ renewedAt }) => (lifetimeMs > 0 ? Math.floor((renewedAt + lifetimeMs) / 1000) : 0),
    admits: (registration, accessToken) => sameText(runtime.digest(accessToken), registration.accessDigest),
  }
}
