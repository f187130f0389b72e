// `postern validate`, `postern config schema`, `postern config explain`: about the configuration, without
// starting the gateway.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { styleText } from 'node:util'
import { type Explained, configJsonSchema, explain, explainAll } from '../config/docs.ts'
import type { Environment } from '../config/environment-names.ts'
import type { Config } from '../config/schema.ts'
import { type Fault, printable } from '../config/tree.ts'
import { type Check, checkConnections } from '../connection-checks.ts'
import { createOutbound } from '../node/outbound.ts'
import { createNodeRuntime } from '../node/runtime.ts'
import { type ExposedFile, exposedAmong, exposedText, secretFiles } from '../node/file-modes.ts'
import { type ConfigurationRequest, forwardProxies, loadOrThrow, privateFilesOf } from './configuration.ts'
import { ConfigError, UsageError, faultData, print, printJson, printWarnings, programName } from './output.ts'

const count = (n: number, one: string, many = `${one}s`): string => `${n} ${n === 1 ? one : many}`

const exposedFault = (file: ExposedFile): Fault => ({
  key: file.path,
  origin: { from: 'default' },
  what: exposedText(file),
})

const checkText = ({ key, ok, say }: Check): string =>
  `${ok ? styleText('green', '✓') : styleText('red', '✗')} ${key} – ${printable(say, 600)}`

export interface ValidateOptions {
  /** Also connects to everything that the configuration names. */
  readonly connect: boolean
  readonly json: boolean
  readonly stateDir: (env: Environment) => string
}

const valid = (config: Config, file: string | undefined): string => {
  const has = [
    count(Object.keys(config.mcp_services).length, 'service'),
    count(Object.keys(config.oauth_providers).length, 'identity provider'),
    count(config.local_users.length, 'local user'),
  ].join(', ')
  return file === undefined
    ? `Valid: no configuration file; using defaults and environment variables (${has})`
    : `Valid: ${file} (${has})`
}

/**
 * Prints that the configuration is valid. Throws `ConfigError` with every fault otherwise; returns false
 * where a connection failed.
 */
export const validate = async (
  wanted: ConfigurationRequest,
  real: Environment,
  { connect, json, stateDir }: ValidateOptions,
): Promise<boolean> => {
  const { config, file, unusable, env, path, privateFiles, ...loaded } = await loadOrThrow(wanted, real)
  if (unusable.length > 0) throw new ConfigError(unusable)
  const warnings = [...loaded.warnings, ...exposedAmong(secretFiles(stateDir(env))).map(exposedFault)]
  if (!json) {
    printWarnings(warnings)
    print(valid(config, file))
  }
  const printCheck = (check: Check): void => void (json || print(checkText(check)))
  const checks = connect
    ? await runConnectionChecks(
        config,
        { privateFiles: privateFilesOf(wanted, { path, privateFiles }), env },
        printCheck,
      )
    : undefined
  const ok = checks?.every((check) => check.ok) ?? true
  if (json) {
    const has = {
      services: Object.keys(config.mcp_services),
      identity_providers: Object.keys(config.oauth_providers),
      local_users: config.local_users.length,
    }
    printJson({
      ok,
      file: file ?? null,
      ...has,
      warnings: warnings.map(faultData),
      ...(checks ? { checks } : {}),
    })
  } else if (checks?.length === 0)
    print('Nothing to check: no identity provider, MCP server or jwks_uri is configured.')
  return ok
}

export const printSchema = (): void => print(JSON.stringify(configJsonSchema(), null, 2))

const rowText = ({ key, value, from }: Explained): string =>
  `${`${key}: ${value === null ? '' : JSON.stringify(value)}`.padEnd(60)}  # ${from}`

/** Prints each key with its value and source; secrets are masked. */
export const explainConfig = async (
  key: string | undefined,
  wanted: ConfigurationRequest,
  env: Environment,
  json: boolean,
): Promise<void> => {
  const { config, sources } = await loadOrThrow(wanted, env)
  const { rows, meant } =
    key === undefined
      ? { rows: explainAll(config, sources), meant: undefined }
      : explain(config, sources, key)
  if (rows.length === 0)
    throw new UsageError(
      `Unknown key ${JSON.stringify(key)}${meant === undefined ? `. Run ${programName(process.env)} config schema to list all keys.` : `; did you mean "${meant}"?`}`,
    )
  if (json) printJson(rows)
  else print(rows.map(rowText).join('\n'))
}

// `postern validate --connect`: connects to everything that the configuration names, and keeps nothing.

export interface ConnectContext {
  readonly privateFiles: readonly string[]
  readonly env: Environment
}

/**
 * Reports each check as it completes. Stdio servers run in a state directory of their own, which is removed.
 */
export const runConnectionChecks = async (
  config: Config,
  { privateFiles, env }: ConnectContext,
  report: (check: Check) => void,
): Promise<readonly Check[]> => {
  const proxies = forwardProxies(env)
  const stateDir = mkdtempSync(join(tmpdir(), 'postern-validate-'))
  const runtime = await createNodeRuntime({
    config: { ...config, storage: { type: 'memory' } },
    stateDir,
    privateFiles,
    log: () => undefined,
    version: '',
    proxies,
  })
  try {
    return await checkConnections(
      config,
      {
        runtime,
        outboundTo: (...urls) =>
          createOutbound({ allowOrigins: urls.map((url) => new URL(url).origin), proxies }),
      },
      report,
    )
  } finally {
    await runtime.close()
    rmSync(stateDir, { recursive: true, force: true })
  }
}
