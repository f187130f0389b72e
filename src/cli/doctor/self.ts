// What `postern doctor` says of the gateway of this configuration and state directory, whether it runs or not.
import { existsSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import type { Environment } from '../../config/environment-names.ts'
import type { Config } from '../../config/schema.ts'
import { faultText } from '../../config/tree.ts'
import type { Check } from '../../connection-checks.ts'
import { isLoopbackUrl } from '../../kit/addresses.ts'
import { exposedAmong, exposedText, secretFiles } from '../../node/file-modes.ts'
import { type AdminTarget, serviceUrls } from '../admin.ts'
import { runConnectionChecks } from '../config.ts'
import { type ConfigurationRequest, loadOrThrow, privateFilesOf } from '../configuration.ts'
import { ConfigError, count } from '../output.ts'
import { accessTestFaults } from '../policy.ts'
import { issuerOf, runningAt } from '../state.ts'
import { type Ask, type DoctorNetwork, createAsk, isAnswer, objectOf } from './exchange.ts'
import { type Finding, type DoctorStep, stepOf } from './findings.ts'

export interface OwnContext {
  readonly wanted: ConfigurationRequest
  readonly env: Environment
  readonly stateDir: (env: Environment) => string
}

const lowDiskBytes = 100_000_000

const diskFindings = (stateDir: string): readonly Finding[] => {
  try {
    const { bavail, bsize } = statfsSync(stateDir)
    const free = bavail * bsize
    return free < lowDiskBytes
      ? [{ code: 'doctor.disk', evidence: `${Math.floor(free / 1e6)} MB are free for ${stateDir}.` }]
      : []
  } catch {
    // Not there yet: the gateway makes it when it starts.
    return []
  }
}

const clockLimitMs = 60_000

/** Whose clock the gateway’s is compared with: the times in what they sign are. */
const issuersOf = ({ oauth_providers: providers, assertion_issuers: issuers }: Config): readonly string[] => [
  ...Object.values(providers).flatMap(({ type, issuer }) => (type === 'mock' ? [] : [issuer])),
  ...Object.values(issuers).flatMap(({ issuer }) => issuer ?? []),
]

/** By the Date header of the first of them (RFC 9110 §6.6.1), which counts in seconds. */
const clockFindings = async (config: Config, network: DoctorNetwork) => {
  const [issuer] = issuersOf(config)
  if (issuer === undefined || !URL.canParse(issuer)) return []
  const answer = await createAsk(new URL(issuer), [], network)(issuer, { headOnly: true })
  const told = isAnswer(answer) ? Date.parse(answer.headers.get('date') ?? '') : NaN
  const off = network.now() - told
  return Math.abs(off) > clockLimitMs
    ? [
        {
          code: 'doctor.clock' as const,
          evidence: `The clock of this computer differs from that of ${issuer} by ${Math.round(off / 1000)} seconds.`,
        },
      ]
    : []
}

/** Whether requests to the public URL come to a gateway. */
const publicUrlFindings = async (issuer: string, ask: Ask): Promise<readonly Finding[]> => {
  const answer = await ask(`${issuer}/health`)
  const version = isAnswer(answer) ? objectOf(answer.text)?.['version'] : undefined
  if (typeof version === 'string') return []
  const got = isAnswer(answer) ? `status ${answer.status}` : answer.failure
  return [{ code: 'doctor.public-url', evidence: `${issuer}/health is not answered by a gateway: ${got}.` }]
}

export interface OwnGateway {
  readonly step: DoctorStep
  /** Where its services are; none while it does not run on this computer. */
  readonly urls: readonly URL[]
}

type Loaded = Awaited<ReturnType<typeof loadOrThrow>>

const configurationFindings = (
  { config, warnings, unusable, sources }: Loaded,
  stateDir: string,
): readonly Finding[] => {
  const faults = [...warnings, ...unusable, ...accessTestFaults(config, sources)].map(faultText)
  const exposed = exposedAmong(secretFiles(stateDir)).map((file) => `${file.path} ${exposedText(file)}`)
  return [...faults, ...exposed].map((evidence) => ({ code: 'doctor.configuration', evidence }))
}

/** Where the gateway can be asked: a public URL always, a loopback one while it runs. */
const askableIssuer = (config: Config, stateDir: string): string | undefined => {
  const issuer = issuerOf(config, stateDir)
  return issuer !== undefined && (!isLoopbackUrl(issuer) || runningAt(stateDir).length > 0)
    ? issuer
    : undefined
}

/** Without a database of this gateway here, those of the configuration. */
const urlsOf = async (target: AdminTarget, issuer: string): Promise<readonly URL[]> => {
  const known = existsSync(join(target.stateDir, 'postern.db'))
    ? (await serviceUrls(target)).map(({ url }) => url)
    : Object.keys(target.config.mcp_services).map((id) => `${issuer}/${id}/mcp`)
  return known.flatMap((url) => URL.parse(url) ?? [])
}

/** With the code under which pages, answers, the log and flows tell of the same. */
export const connectionFinding = ({ key, say, refusal }: Check): Finding => ({
  code: 'doctor.connection',
  evidence: `${key}: ${say}${refusal === undefined ? '' : ` Until then requests are refused with ${refusal}.`}`,
  ...(refusal !== undefined && { refusal }),
})

const examineLoaded = async (
  loaded: Loaded,
  wanted: ConfigurationRequest,
  stateDir: string,
  network: DoctorNetwork,
): Promise<OwnGateway> => {
  const { config, env, path, privateFiles } = loaded
  const checks = await runConnectionChecks(
    config,
    { privateFiles: privateFilesOf(wanted, { path, privateFiles }), env },
    () => undefined,
  )
  const issuer = askableIssuer(config, stateDir)
  const findings: Finding[] = [
    ...checks.filter(({ ok }) => !ok).map(connectionFinding),
    ...(issuer === undefined ? [] : await publicUrlFindings(issuer, createAsk(new URL(issuer), [], network))),
    ...diskFindings(stateDir),
    ...configurationFindings(loaded, stateDir),
    ...(await clockFindings(config, network)),
  ]
  const about = `${loaded.file ?? 'Defaults and environment variables'}: ${count(checks.length, 'connection')} checked`
  return {
    step: stepOf('self', `${about}${issuer === undefined ? '; the gateway is not running' : ''}.`, findings),
    urls: issuer === undefined ? [] : await urlsOf({ config, stateDir, env, json: undefined }, issuer),
  }
}

const invalid = (error: unknown): OwnGateway => {
  if (!(error instanceof ConfigError)) throw error
  const findings = error.faults.map((fault) => ({
    code: 'doctor.configuration-invalid' as const,
    evidence: faultText(fault),
  }))
  return { step: stepOf('self', 'The configuration cannot be used.', findings), urls: [] }
}

/** Throws what is no fault of the configuration. */
export const examineOwn = async (
  { wanted, env, stateDir }: OwnContext,
  network: DoctorNetwork,
): Promise<OwnGateway> => {
  try {
    const loaded = await loadOrThrow(wanted, env)
    return await examineLoaded(loaded, wanted, stateDir(loaded.env), network)
  } catch (error) {
    return invalid(error)
  }
}
