// What a deployment gives the Worker: bindings, and variables and secrets by name.
import type { RecordObject } from './object.ts'

export interface Environment {
  /** The Durable Object that keeps everything strong. */
  readonly STORE: DurableObjectNamespace<RecordObject>
  /** Workers KV, a cache only; any of these names. */
  readonly OAUTH_KV?: KVNamespace
  readonly SESSIONS?: KVNamespace
  /** The configuration, as YAML or JSON text. */
  readonly POSTERN_CONFIG?: string
  readonly [name: string]: unknown
}

/** Variables and secrets alone, as the configuration loader reads them. */
export const variables = (env: Environment): Readonly<Record<string, string>> =>
  Object.fromEntries(Object.entries(env).flatMap(([name, value]) => (typeof value === 'string' && name !== 'POSTERN_CONFIG' ? [[name, value]] : [])))
