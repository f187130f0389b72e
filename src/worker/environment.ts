// What a deployment gives the Worker: bindings, and variables and secrets by name.
import type { RecordObject } from './object.ts'

export interface Environment {
  /** The Durable Object that keeps everything strong. */
  readonly STORE?: DurableObjectNamespace<RecordObject>
  /** The Durable Objects in which sessions of HTTP+SSE, and of servers that speak it or a WebSocket, live. */
  readonly LINES?: DurableObjectNamespace
  /** Workers KV, a cache only; either name, or none. */
  readonly OAUTH_KV?: KVNamespace
  readonly SESSIONS?: KVNamespace
  /** The platform's Rate Limiting, in front of sign-ins; optional. */
  readonly SIGN_IN_RATE?: RateLimit
  /** Where the objects of the records are made at the first deployment, and whose law they stay under. */
  readonly LOCATION_HINT?: string
  readonly JURISDICTION?: string
  /** The configuration: YAML or JSON text, or the object itself in `vars` of wrangler.jsonc. */
  readonly POSTERN_CONFIG?: string | object
  readonly [name: string]: unknown
}

const name = 'POSTERN_CONFIG'

/** The configuration as it was given: text, or an object, which costs each new isolate less. */
export const configFile = (env: Environment): { readonly path: string; readonly text: string } | { readonly path: string; readonly value: object } | undefined => {
  const { [name]: config } = env
  if (config === undefined || config === '') return undefined
  return typeof config === 'string' ? { path: name, text: config } : { path: name, value: config }
}

/** Variables and secrets alone, as the configuration loader reads them. Numbers and flags in `vars` are what they would be as text. */
export const variables = (env: Environment): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(env).flatMap(([key, value]) => {
      if (key === name) return []
      return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean' ? [[key, String(value)]] : []
    }),
  )
