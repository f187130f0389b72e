// `postern validate`, `postern config schema`, `postern config explain`: everything about the configuration without starting anything.
import type { Environment } from '../config/environment-names.ts'
import { type Explained, explain, explainAll } from '../config/explain.ts'
import { configJsonSchema } from '../config/json-schema.ts'
import type { Fault } from '../config/fault.ts'
import { exposedAmong, type ExposedFile, exposedText, secretFiles } from '../node/file-modes.ts'
import { UsageError, faultData, print, printJson, printWarnings } from './answer.ts'
import { type Wanted, loadOrThrow } from './configuration.ts'

const count = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`

const exposedFault = (file: ExposedFile): Fault => ({ key: file.path, origin: { from: 'default' }, what: exposedText(file) })

/** Says that the configuration loads, and what it would do. Throws `ConfigError` with every fault otherwise. */
export const validate = async (wanted: Wanted, env: Environment, json: boolean, stateDir: string): Promise<void> => {
  const { config, file, ...loaded } = await loadOrThrow(wanted, env)
  const warnings = [...loaded.warnings, ...exposedAmong(secretFiles(stateDir)).map(exposedFault)]
  const services = Object.keys(config.mcp_services)
  const providers = Object.keys(config.oauth_providers)
  if (json) {
    printJson({ ok: true, file: file ?? null, services, identity_providers: providers, local_users: config.local_users.length, warnings: warnings.map(faultData) })
    return
  }
  printWarnings(warnings)
  const has = [count(services.length, 'service'), count(providers.length, 'identity provider'), count(config.local_users.length, 'local user')].join(', ')
  print(file === undefined ? `Valid: no configuration file, so the defaults and the environment count (${has})` : `Valid: ${file} (${has})`)
}

export const printSchema = (): void => print(JSON.stringify(configJsonSchema(), null, 2))

const rowText = ({ key, value, from }: Explained): string => `${`${key}: ${value === null ? '' : JSON.stringify(value)}`.padEnd(60)}  # ${from}`

/** Prints each key with its value and where that came from; secrets are masked. */
export const explainConfig = async (key: string | undefined, wanted: Wanted, env: Environment, json: boolean): Promise<void> => {
  const { config, sources } = await loadOrThrow(wanted, env)
  const { rows, meant } = key === undefined ? { rows: explainAll(config, sources), meant: undefined } : explain(config, sources, key)
  if (rows.length === 0) throw new UsageError(`There is no key ${JSON.stringify(key)}${meant === undefined ? '. Run postern config schema for all of them.' : `, did you mean "${meant}"?`}`)
  if (json) printJson(rows)
  else print(rows.map(rowText).join('\n'))
}
