// The configuration of this deployment, and the requirements that only Workers have.
import { type Sources, loadConfig } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { faultText } from '../config/tree.ts'
import { parsePhc } from '../kit/password-hash.ts'
import { knownRevisions } from '../known-revisions.ts'
import type { RecordObject } from './storage-object.ts'
import type { TrailCalls } from './trail-calls.ts'

// What a deployment gives the Worker: bindings, and variables and secrets by name.

export interface WorkerEnvironment {
  /** The Durable Objects that keep the records. */
  readonly STORE?: DurableObjectNamespace<RecordObject>
  /** One Durable Object per session of an HTTP+SSE client, or with an HTTP+SSE or WebSocket server. */
  readonly SESSION_OBJECTS?: DurableObjectNamespace
  /** The Durable Object of the audit trail; needed only where one is configured. */
  readonly TRAIL?: DurableObjectNamespace<TrailCalls>
  /** Workers KV, a cache only; either name, or none. */
  readonly OAUTH_KV?: KVNamespace
  readonly SESSIONS?: KVNamespace
  /** The platform's Rate Limiting, in front of sign-ins; optional. */
  readonly SIGN_IN_RATE?: RateLimit
  /** Where the record objects are created by the first deployment, and the jurisdiction they stay in. */
  readonly LOCATION_HINT?: string
  readonly JURISDICTION?: string
  /** The configuration: YAML or JSON text, or the object itself in `vars` of wrangler.jsonc. */
  readonly POSTERN_CONFIG?: string | object
  readonly [name: string]: unknown
}

const name = 'POSTERN_CONFIG'

/** The configuration as given: text, or an object, which a new isolate reads faster. */
export const configFile = (
  env: WorkerEnvironment,
):
  | { readonly path: string; readonly text: string }
  | { readonly path: string; readonly value: object }
  | undefined => {
  const { [name]: config } = env
  if (config === undefined || config === '') return undefined
  return typeof config === 'string' ? { path: name, text: config } : { path: name, value: config }
}

/**
 * Variables and secrets, for the configuration loader. Numbers and booleans in `vars` are converted to text.
 */
export const variables = (env: WorkerEnvironment): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(env).flatMap(([key, value]) => {
      if (key === name) return []
      return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'
        ? [[key, String(value)]]
        : []
    }),
  )

/**
 * `text`: one sentence. `open`: a setup step that anyone who opens the URL may read; everything else is for
 * the operator's log.
 */
export interface MissingSetting {
  readonly text: string
  readonly open: boolean
}

export type WorkerConfiguration =
  | { readonly config: Config; readonly sources: Sources; readonly warnings: readonly string[] }
  | { readonly lacks: readonly MissingSetting[] }

const step = (text: string): MissingSetting => ({ text, open: true })

export const isMissingIssuer = (origin: string): MissingSetting =>
  step(
    `issuer – the public URL is not set. Set the variable MCP_ISSUER in wrangler.jsonc (for this address: "${origin}"), then deploy again.`,
  )

/** A Worker has 128 MB in all, and a password check must leave memory for other requests. */
const mostMemory = 33_554_432

const passwordLack = (text: string, key: string): MissingSetting[] => {
  const phc = parsePhc(text)
  const cure = 'Create one with: postern hash-password --scrypt'
  if (phc?.id === 'argon2id')
    return [{ text: `${key} – is an argon2id hash, which Workers cannot verify. ${cure}`, open: false }]
  const { ln = 0, r = 0, p = 0 } = phc?.params ?? {}
  if (
    phc?.id === 'scrypt' &&
    ln >= 1 &&
    128 * 2 ** ln * r <= mostMemory &&
    p >= 1 &&
    p <= 4 &&
    phc.hash.length >= 32
  )
    return []
  return [
    { text: `${key} – is not a hash that Workers can verify (scrypt, at most 32 MiB). ${cure}`, open: false },
  ]
}

const nobody = (config: Config): boolean =>
  config.local_users.length === 0 &&
  Object.keys(config.oauth_providers).length === 0 &&
  (Object.keys(config.mcp_services).length === 0 ||
    Object.values(config.mcp_services).some((service) => service.auth_required))

const locations = ['wnam', 'enam', 'sam', 'weur', 'eeur', 'apac', 'oc', 'afr', 'me']
const jurisdictions = ['eu', 'us', 'fedramp', 'fedramp-high']

/** An unknown location would make every call to an object fail. */
const placeLacks = ({
  LOCATION_HINT: location,
  JURISDICTION: jurisdiction,
}: WorkerEnvironment): readonly MissingSetting[] => {
  const wrong = (name: string, value: unknown, known: readonly string[]): MissingSetting[] =>
    value === undefined || value === '' || known.includes(value as string)
      ? []
      : [
          {
            text: `${name} – is not a known Durable Objects location. Use one of: ${known.join(', ')}.`,
            open: false,
          },
        ]
  return [
    ...wrong('LOCATION_HINT', location, locations),
    ...wrong('JURISDICTION', jurisdiction, jurisdictions),
  ]
}

const lacksOf = (config: Config, env: WorkerEnvironment): readonly MissingSetting[] => [
  ...(env.STORE === undefined
    ? [
        step(
          'STORE – the Durable Object binding is missing. Copy durable_objects and migrations from the wrangler.jsonc of this project.',
        ),
      ]
    : []),
  ...(env.SESSION_OBJECTS === undefined
    ? [
        step(
          'SESSION_OBJECTS – the Durable Object binding is missing. Copy durable_objects and migrations from the wrangler.jsonc of this project.',
        ),
      ]
    : []),
  ...(config.audit?.enabled && env.TRAIL === undefined
    ? [
        step(
          'TRAIL – the Durable Object binding is missing, and an audit trail is configured. Copy durable_objects and migrations from the wrangler.jsonc of this project.',
        ),
      ]
    : []),
  ...placeLacks(env),
  ...(config.session_secret === undefined
    ? [
        step(
          'session_secret – the root secret is not set. Run: openssl rand -hex 32 | npx wrangler secret put SESSION_SECRET',
        ),
      ]
    : []),
  // On Node the built-in user signs in with a link from the terminal. A Worker has no terminal.
  ...(nobody(config)
    ? [
        step(
          'local_users – no sign-in method is configured. Run npx wrangler secret put LOCAL_USER and npx wrangler secret put LOCAL_PASSWORD, or set CF_ACCESS_TEAM_DOMAIN, CF_ACCESS_CLIENT_ID and CF_ACCESS_CLIENT_SECRET.',
        ),
      ]
    : []),
  ...config.local_users.flatMap(({ password_hash: hash }, i) =>
    hash === undefined ? [] : passwordLack(hash, `local_users[${i}].password_hash`),
  ),
]

/** Never rejects for anything the deployment holds. */
export const readConfiguration = async (env: WorkerEnvironment): Promise<WorkerConfiguration> => {
  const loaded = await loadConfig({
    file: configFile(env),
    env: variables(env),
    revisions: knownRevisions,
    workers: true,
  })
  if (!loaded.ok) return { lacks: loaded.faults.map((fault) => ({ text: faultText(fault), open: false })) }
  const lacks = lacksOf(loaded.config, env)
  const { config, sources, warnings } = loaded
  return lacks.length > 0 ? { lacks } : { config, sources, warnings: warnings.map(faultText) }
}

// A Worker on its developer's computer: `wrangler dev`, or workerd itself on a loopback address.

const names = ['localhost', '127.0.0.1', '[::1]']

export const isLoopback = (url: URL): boolean =>
  names.includes(url.hostname) || url.hostname.endsWith('.localhost')

export interface Origins {
  readonly issuer: string
  readonly aliases: readonly string[]
}

/** The issuer on loopback, whichever name a request used, and the other origins of the same address. */
export const loopbackOrigins = (url: URL): Origins => {
  const [issuer = '', ...aliases] = names.map(
    (name) =>
      new URL(`${url.protocol}//${name}:${url.port || (url.protocol === 'https:' ? '443' : '80')}`).origin,
  )
  return { issuer, aliases }
}
