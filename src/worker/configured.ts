// The configuration of this deployment, and what Workers ask of it beyond what every house asks.
import { faultText } from '../config/fault.ts'
import { loadConfig } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { parsePhc } from '../kit/phc.ts'
import { knownRevisions } from '../known-revisions.ts'
import { configFile, type Environment, variables } from './environment.ts'

/** One sentence. `open`: a step of setting up that whoever opens the URL may read; everything else is for the operator's log. */
export interface Lack {
  readonly text: string
  readonly open: boolean
}

export type Configured = { readonly config: Config; readonly warnings: readonly string[] } | { readonly lacks: readonly Lack[] }

const step = (text: string): Lack => ({ text, open: true })

export const lacksIssuer = (origin: string): Lack =>
  step(
    `issuer – the public URL is not set. Set the variable MCP_ISSUER in wrangler.jsonc (for this address: "${origin}"), then deploy again.`,
  )

/** Memory of a Worker is 128 MB in all; a password check must leave room for the requests beside it. */
const mostMemory = 33_554_432

const passwordLack = (text: string, key: string): Lack[] => {
  const phc = parsePhc(text)
  const cure = 'Create one with: postern hash-password --scrypt'
  if (phc?.id === 'argon2id') return [{ text: `${key} – is an argon2id hash, which Workers cannot verify. ${cure}`, open: false }]
  const { ln = 0, r = 0, p = 0 } = phc?.params ?? {}
  if (phc?.id === 'scrypt' && ln >= 1 && 128 * 2 ** ln * r <= mostMemory && p >= 1 && p <= 4 && phc.hash.length >= 32) return []
  return [{ text: `${key} – is not a hash that Workers can verify (scrypt, at most 32 MiB). ${cure}`, open: false }]
}

const nobody = (config: Config): boolean =>
  config.local_users.length === 0 &&
  Object.keys(config.oauth_providers).length === 0 &&
  (Object.keys(config.mcp_services).length === 0 || Object.values(config.mcp_services).some((service) => service.auth_required))

const locations = ['wnam', 'enam', 'sam', 'weur', 'eeur', 'apac', 'oc', 'afr', 'me']
const jurisdictions = ['eu', 'us', 'fedramp', 'fedramp-high']

/** A wrong word would make every call to an object fail. */
const placeLacks = ({ LOCATION_HINT: location, JURISDICTION: jurisdiction }: Environment): readonly Lack[] => {
  const wrong = (name: string, value: unknown, known: readonly string[]): Lack[] =>
    value === undefined || value === '' || known.includes(value as string)
      ? []
      : [{ text: `${name} – is not a known Durable Objects location. Use one of: ${known.join(', ')}.`, open: false }]
  return [...wrong('LOCATION_HINT', location, locations), ...wrong('JURISDICTION', jurisdiction, jurisdictions)]
}

const lacksOf = (config: Config, env: Environment): readonly Lack[] => [
  ...(env.STORE === undefined
    ? [step('STORE – the Durable Object binding is missing. Copy durable_objects and migrations from the wrangler.jsonc of this project.')]
    : []),
  ...(env.LINES === undefined
    ? [step('LINES – the Durable Object binding is missing. Copy durable_objects and migrations from the wrangler.jsonc of this project.')]
    : []),
  ...placeLacks(env),
  ...(config.session_secret === undefined
    ? [step('session_secret – the root secret is not set. Run: openssl rand -hex 32 | npx wrangler secret put SESSION_SECRET')]
    : []),
  // The built-in person of Node signs in with a link from the terminal, and a Worker has none.
  ...(nobody(config)
    ? [
        step(
          'local_users – no sign-in method is configured. Run npx wrangler secret put LOCAL_USER and npx wrangler secret put LOCAL_PASSWORD, or set CF_ACCESS_TEAM_DOMAIN, CF_ACCESS_CLIENT_ID and CF_ACCESS_CLIENT_SECRET.',
        ),
      ]
    : []),
  ...config.local_users.flatMap(({ password_hash: hash }, i) => (hash === undefined ? [] : passwordLack(hash, `local_users[${i}].password_hash`))),
]

/** Never rejects for anything the deployment holds. */
export const readConfiguration = async (env: Environment): Promise<Configured> => {
  const loaded = await loadConfig({ file: configFile(env), env: variables(env), revisions: knownRevisions, workers: true })
  if (!loaded.ok) return { lacks: loaded.faults.map((fault) => ({ text: faultText(fault), open: false })) }
  const lacks = lacksOf(loaded.config, env)
  return lacks.length > 0 ? { lacks } : { config: loaded.config, warnings: loaded.warnings.map(faultText) }
}
