// Commands about the configuration, without starting the gateway: `postern validate`, `postern config
// schema`, `postern config explain`.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { styleText } from 'node:util'
import * as z from 'zod'
import type { Environment } from '../config/environment-names.ts'
import { type Explained, explain, explainAll } from '../config/explain.ts'
import { durationPattern } from '../config/key-types.ts'
import { type Config, configSchema } from '../config/schema.ts'
import { type Fault, printable } from '../config/tree.ts'
import { type Check, checkConnections } from '../connection-checks.ts'
import { createOutbound } from '../node/outbound.ts'
import { createNodeRuntime } from '../node/runtime.ts'
import { type ExposedFile, exposedAmong, exposedText, secretFiles } from '../node/file-modes.ts'
import { type ConfigurationRequest, forwardProxies, loadOrThrow, privateFilesOf } from './configuration.ts'
import { accessTestFaults } from './policy.ts'
import {
  ConfigError,
  count,
  faultData,
  print,
  type Printer,
  printWarnings,
  programName,
  UsageError,
} from './output.ts'

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
  readonly json: Printer | undefined
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
  const unfit = [...unusable, ...accessTestFaults(config, loaded.sources)]
  if (unfit.length > 0) throw new ConfigError(unfit)
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
    json({
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

// `postern config schema`: JSON Schema 2020-12 of the file for editors, with every description, made from the
// one schema.

type Node = Record<string, unknown>

/** Any text with `${…}` in it; what it becomes is checked when the gateway loads it. */
const variable = { type: 'string', pattern: '\\$\\{' } as const

/** A duration: a number, text with units, or a variable. */
const durationNode = ({ type, minimum, maximum, 'x-unit': _, ...notes }: Node): Node => ({
  ...notes,
  anyOf: [{ type, minimum, maximum }, { type: 'string', pattern: durationPattern }, variable],
})

/** A mapping with a short form of one word. */
const shortNode = ({ description, 'x-words': words, ...mapping }: Node): Node => ({
  description,
  anyOf: [{ type: 'string', enum: words }, variable, mapping],
})

const constrained = ['enum', 'pattern', 'format'] as const

/** A value that only some texts or numbers satisfy may also be a variable. */
const withVariable = (node: Node): Node => {
  const type = node['type']
  if ('x-unit' in node) return durationNode(node)
  if ('x-words' in node) return shortNode(node)
  const simpleList = type === 'array' && (node['items'] as Node | undefined)?.['type'] === 'string'
  const strict =
    simpleList ||
    type === 'integer' ||
    type === 'number' ||
    type === 'boolean' ||
    (type === 'string' && constrained.some((word) => word in node))
  if (!strict) return node
  const { default: fallback, description, writeOnly, ...rest } = node
  const notes = Object.fromEntries(
    Object.entries({ description, default: fallback, writeOnly }).filter(([, value]) => value !== undefined),
  )
  return { ...notes, anyOf: [rest, variable] }
}

const walk = (value: unknown, isKey = false): unknown => {
  if (Array.isArray(value)) return value.map((item) => walk(item))
  if (value === null || typeof value !== 'object') return value
  const entries = Object.entries(value).map(
    ([key, part]) =>
      [key, key === 'propertyNames' || key === 'default' ? part : walk(part, key === 'properties')] as const,
  )
  const node = Object.fromEntries(
    entries.filter(([key]) => isKey || key === 'x-unit' || key === 'x-words' || !key.startsWith('x-')),
  )
  return isKey ? node : withVariable(node)
}

/** A fresh object each time; plain JSON. */
export const configJsonSchema = (): Node => {
  const { $schema, ...schema } = z.toJSONSchema(configSchema, {
    io: 'input',
    target: 'draft-2020-12',
  }) as Node
  return { $schema, title: 'Postern configuration', ...(walk(schema) as Node) }
}

export const printSchema = (): void => print(JSON.stringify(configJsonSchema(), null, 2))

// `postern config explain`.

const rowText = ({ key, value, from }: Explained): string =>
  `${`${key}: ${value === null ? '' : JSON.stringify(value)}`.padEnd(60)}  # ${from}`

/** Prints each key with its value and source; secrets are masked. */
export const explainConfig = async (
  key: string | undefined,
  wanted: ConfigurationRequest,
  env: Environment,
  json: Printer | undefined,
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
  if (json) json(rows)
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
