// `postern doctor`: of a URL, what a client meets there; without one, of every service of this gateway, and of its
// configuration.
import type { Environment } from '../../config/environment-names.ts'
import { UsageError, exitCodes, print } from '../output.ts'
import { type Examined, examine } from './examine.ts'
import { findingKinds } from './findings.ts'
import { createDoctorNetwork } from './network.ts'
import { type DoctorReport, printConclusion, printJunit, printReport, printStep, stepsOf } from './report.ts'
import { type OwnContext, examineOwn } from './self.ts'

export interface DoctorOptions {
  readonly junit?: true
  readonly failOn: 'error' | 'warning'
  /** False with `--no-register`. */
  readonly register: boolean
  readonly tokenEnv?: string
}

export interface DoctorContext extends OwnContext {
  readonly json: boolean
}

const urlOf = (text: string): URL => {
  const url = URL.parse(/^[a-z]+:\/\//i.test(text) ? text : `https://${text}`)
  if (!url || !/^https?:$/.test(url.protocol) || url.username !== '' || url.password !== '')
    throw new UsageError(`${JSON.stringify(text)} is not an http(s) URL of an MCP server.`)
  url.hash = ''
  return url
}

const tokenOf = (name: string | undefined, env: Environment): string | undefined => {
  if (name === undefined) return undefined
  const token = env[name]
  if (!token) throw new UsageError(`The environment variable ${name} is not set.`)
  return token
}

const isUnreachable = ({ steps }: Examined): boolean =>
  steps.some(({ id, result }) => id === 'challenge' && result === 'skip')

const exitCodeOf = (report: DoctorReport, failOn: DoctorOptions['failOn']): number => {
  const findings = stepsOf(report).flatMap((step) => step.findings)
  const fails = findings.some(({ code }) => failOn === 'warning' || findingKinds[code].severity === 'error')
  if (!fails) return 0
  return report.targets.some(isUnreachable) ? exitCodes.unreachable : exitCodes.failed
}

/** Prints while the steps are taken, where a person reads, and everything at the end otherwise. */
const outputOf = ({ junit }: DoctorOptions, { json }: DoctorContext) => {
  const quiet = { heading: () => undefined, step: () => undefined }
  if (junit) return { ...quiet, done: printJunit }
  return json ? { ...quiet, done: printReport } : { heading: print, step: printStep, done: printConclusion }
}

/** Sets the exit code: 0, 1 where something was found, 4 where a URL cannot be reached. Throws `UsageError`. */
export const runDoctor = async (
  text: string | undefined,
  options: DoctorOptions,
  context: DoctorContext,
): Promise<void> => {
  const given = text === undefined ? undefined : urlOf(text)
  const token = tokenOf(options.tokenEnv, context.env)
  const network = createDoctorNetwork(context.env)
  const output = outputOf(options, context)
  const own = given ? undefined : await examineOwn(context, network)
  if (own) output.step(own.step)
  const targets: Examined[] = []
  for (const url of given ? [given] : (own?.urls ?? [])) {
    output.heading(`${own ? '\n' : ''}${url.href}`)
    // All services of a gateway have the same authorization server.
    const authorization = targets.length === 0
    targets.push(
      await examine(url, { token, register: options.register, authorization }, network, output.step),
    )
  }
  const report = { targets, self: own?.step }
  output.done(report)
  process.exitCode = exitCodeOf(report, options.failOn)
}
