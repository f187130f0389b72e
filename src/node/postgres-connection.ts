// A connection to PostgreSQL on Node: how it is made from the configuration, and what its errors mean.
import { readFileSync } from 'node:fs'
import { type ClientConfig, DatabaseError } from 'pg'
import type { PostgresSettings } from '../config/storage-keys.ts'
import { type Failure, unavailable } from './remote-store.ts'

// The server, from the configuration.

type SslMode = 'disable' | 'require' | 'verify-ca' | 'verify-full'

interface Server {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string | undefined
  readonly database: string
  readonly sslMode: SslMode
}

const isLoopback = (host: string): boolean =>
  host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host)

/** `url` is one that the schema let through (config/storage-keys.ts). */
export const serverOf = ({ url: text, password }: PostgresSettings): Server => {
  const url = new URL(text)
  const host = url.hostname.replaceAll(/[[\]]/g, '')
  return {
    host,
    port: Number(url.port || 5432),
    user: decodeURIComponent(url.username),
    password: url.password ? decodeURIComponent(url.password) : password,
    database: decodeURIComponent(url.pathname.slice(1)),
    sslMode:
      (url.searchParams.get('sslmode') as SslMode | null) ?? (isLoopback(host) ? 'disable' : 'verify-full'),
  }
}

/** As people write it, without what is secret. */
export const nameOf = ({ host, port, database }: Server): string =>
  `postgres://${host.includes(':') ? `[${host}]` : host}:${port}/${database}`

const certificatesIn = (path: string): string => {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw unavailable(`cannot read storage.postgres.ssl_ca_certs, ${path} (${code})`)
  }
}

/** The server gives up what nobody waits for any more, ms: longer than anybody does. */
const statementMs = 2500

/** Nothing of it is left to variables of the environment or to a file of passwords. Throws `Refusal('storage.unavailable')`. */
export const clientOptions = (settings: PostgresSettings): ClientConfig => {
  const { host, port, user, password = '', database, sslMode } = serverOf(settings)
  const { ssl_ca_certs: path } = settings
  const ca = path === undefined ? undefined : certificatesIn(path)
  return {
    host,
    port,
    user,
    password: () => password,
    database,
    application_name: 'postern',
    keepAlive: true,
    ssl: sslMode !== 'disable' && {
      rejectUnauthorized: sslMode !== 'require',
      ...(ca !== undefined && { ca }),
      ...(sslMode === 'verify-ca' && { checkServerIdentity: () => undefined }),
    },
    // A pooler takes no settings with a connection.
    ...(!settings.pooled && {
      statement_timeout: statementMs,
      options: String.raw`-c default_transaction_isolation=read\ committed`,
    }),
  }
}

// Errors, by SQLSTATE or by what Node calls them.

const refused = (why: string): Failure => ({ kind: 'refused', why })
const passes = (why: string): Failure => ({ kind: 'passes', why })

const states: Readonly<Record<string, Failure>> = {
  '28P01': refused('PostgreSQL does not accept the user and password: correct them in storage.postgres'),
  '28000': refused('PostgreSQL does not let this user in: see pg_hba.conf and its log'),
  '3D000': refused('there is no such database: create it, or correct storage.postgres.url'),
  '3F000': refused('its tables are missing: start the gateway again'),
  '42P01': refused('its tables are missing: start the gateway again'),
  '42883': refused('its tables are missing: start the gateway again'),
  '42501': refused('the PostgreSQL user lacks a permission: see the guide'),
  '08P01': refused('a connection pooler is in front of PostgreSQL: set storage.postgres.pooled to true'),
  '26000': refused('a connection pooler is in front of PostgreSQL: set storage.postgres.pooled to true'),
  '42P05': refused('a connection pooler is in front of PostgreSQL: set storage.postgres.pooled to true'),
  '25006': passes('this PostgreSQL server is a standby: connect to the primary'),
  '40001': passes('PostgreSQL could not order two changes'),
  '40P01': passes('two changes waited for each other'),
  '53100': passes('the disk of PostgreSQL is full'),
  '53200': passes('PostgreSQL is out of memory'),
  '53300': passes(
    'PostgreSQL has no connection left: raise max_connections there, or lower storage.postgres.max_connections',
  ),
  '57014': passes('PostgreSQL took too long'),
  '57P01': { kind: 'lost', why: 'PostgreSQL is shutting down' },
  '57P02': { kind: 'lost', why: 'PostgreSQL has crashed and starts again' },
  '57P03': passes('PostgreSQL is starting or shutting down'),
  '57P05': { kind: 'lost', why: 'PostgreSQL closed an idle connection' },
  '58030': passes('PostgreSQL cannot read or write its files: see its log'),
}

const tlsFailures: Readonly<Record<string, string>> = {
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host: use a host of the certificate',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'nobody signed its certificate: set storage.postgres.ssl_ca_certs to its CA',
  SELF_SIGNED_CERT_IN_CHAIN: 'its CA is not known: set storage.postgres.ssl_ca_certs to it',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'its CA is not known: set storage.postgres.ssl_ca_certs to it',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'its CA is not known: set storage.postgres.ssl_ca_certs to it',
}

/** Of a host with several addresses each has an error. */
const textOf = (error: Error): string =>
  error instanceof AggregateError
    ? error.errors.map((one) => (one as Error).message).join(', ')
    : error.message || error.name

/** There was no connection, so that nothing was done. */
export class ConnectError extends Error {}

const connectFailure = (error: unknown): Failure => {
  const { code = '' } = error as NodeJS.ErrnoException
  const tls = tlsFailures[code]
  if (tls !== undefined) return refused(`no connection to PostgreSQL: ${tls}`)
  const text = error instanceof Error ? textOf(error) : String(error)
  if (/^SASL: .*password/.test(text))
    return refused('PostgreSQL asks for a password: set storage.postgres.password')
  return /does not support SSL/.test(text)
    ? refused('PostgreSQL has no TLS: set it up there, or add ?sslmode=disable to storage.postgres.url')
    : passes(`no connection to PostgreSQL (${text})`)
}

/** From a socket, or from the driver about one that is gone. */
const isOfConnection = (error: Error): boolean =>
  /^E[A-Z]/.test((error as NodeJS.ErrnoException).code ?? '') || /^(?:Connection|Client) /.test(error.message)

/** Undefined: a fault of this program. */
export const failureOf = (error: unknown): Failure | undefined => {
  if (error instanceof ConnectError) {
    const { cause } = error
    const known = cause instanceof DatabaseError ? states[cause.code ?? ''] : undefined
    // Whatever a server says to a new connection, nothing was done.
    if (known) return known.kind === 'refused' ? known : passes(known.why)
    return connectFailure(cause)
  }
  if (!(error instanceof Error)) return undefined
  if (!(error instanceof DatabaseError))
    return isOfConnection(error)
      ? { kind: 'lost', why: `no connection to PostgreSQL (${textOf(error)})` }
      : undefined
  const known = states[error.code ?? '']
  if (known) return error.code === '42501' ? { ...known, why: `${known.why} (${error.message})` } : known
  if (error.code?.startsWith('08'))
    return { kind: 'lost', why: `no connection to PostgreSQL (${error.message})` }
  return undefined
}
