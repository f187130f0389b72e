// `postern issuers`: whose assertions give tokens, and what becomes of one, gate by gate.
import { readFileSync } from 'node:fs'
import { styleText } from 'node:util'
import type { Command } from 'commander'
import { printable } from '../config/tree.ts'
import type { TestedGate } from '../ports/assertions.ts'
import type { AdminTarget } from './admin.ts'
import { exitCodes, print, printTable, UsageError } from './output.ts'
import { targetOf, verb } from './verbs.ts'

interface TestOptions {
  readonly client?: string
  readonly resource?: string
  readonly scope?: string
}

const listIssuers = async (target: AdminTarget): Promise<void> => {
  const { withRecords } = await import('./access.ts')
  await withRecords(target, async ({ assertions }) => {
    const issuers = await assertions.list()
    if (target.json)
      return target.json({
        issuers: issuers.map(({ fetchedAt, ...issuer }) => ({
          ...issuer,
          ...(fetchedAt !== undefined && { fetched_at: new Date(fetchedAt).toISOString() }),
        })),
      })
    if (issuers.length === 0) return print('The configuration has no assertion_issuers.')
    printTable([
      ['ID', 'TYPE', 'ISSUER', 'KEYS'],
      ...issuers.map(({ id, type, issuer, keys, failure }) => [
        id,
        type,
        issuer,
        failure === undefined ? String(keys) : printable(failure, 200),
      ]),
    ])
  })
}

const marks = { 'passed': ['green', '✓'], 'refused': ['red', '✗'], 'not reached': ['dim', '·'] } as const

const gateLine = ({ say, result, code, why }: TestedGate): string => {
  const [colour, mark] = marks[result]
  const reason = code === undefined ? '' : `: ${code}${why ? ` (${printable(why, 300)})` : ''}`
  return `${styleText(colour, mark)} ${say}${reason}`
}

const assertionIn = (file: string | undefined): string => {
  try {
    return readFileSync(file ?? 0, 'utf8').trim()
  } catch {
    throw new UsageError(`${file === undefined ? 'Standard input' : printable(file, 200)} cannot be read.`)
  }
}

const testAssertion = async (
  target: AdminTarget,
  file: string | undefined,
  { client, resource, scope }: TestOptions,
): Promise<void> => {
  const assertion = assertionIn(file)
  const { withRecords } = await import('./access.ts')
  await withRecords(target, async ({ assertions }) => {
    const tested = await assertions.test(assertion, {
      ...(client !== undefined && { client_id: client }),
      ...(resource !== undefined && { resource }),
      ...(scope !== undefined && { scope }),
    })
    const { gates, accepted } = tested
    if (!accepted) process.exitCode = exitCodes.failed
    if (target.json) return target.json(tested)
    print(gates.map(gateLine).join('\n'))
    if (!accepted) return
    const { person, service, scopes, rule } = accepted
    print(`A token for ${printable(person, 100)} at ${service}, with the scopes ${scopes.join(' ')}.`)
    if (rule !== undefined) print(`By ${rule}.`)
  })
}

export const addIssuerVerbs = (issuers: Command): void => {
  verb(issuers, 'ls', 'List the issuers of assertions, and whether their keys can be had.').action(
    async (_, command: Command) => listIssuers(await targetOf(command)),
  )
  verb(issuers, 'test', 'Say gate by gate what becomes of an assertion. Nothing is issued or used up.')
    .argument('[file]', 'File that contains it. Default: standard input.')
    .option('--client <id>', 'Client that sends it. Default: the one that it is for.')
    .option('--resource <url>', 'URL of the service to ask for.')
    .option('--scope <scopes>', 'Scopes to ask for, separated by spaces.')
    .action(async (file: string | undefined, options: TestOptions, command: Command) =>
      testAssertion(await targetOf(command), file, options),
    )
}
