// `npm run prove conformance -- client`: the conformance suite's client scenarios, driven through Postern as the
// client of the upstream. Fails when a scenario does not pass, refusals included: where the suite's server lies,
// Postern has to stop. Extensions are not scored by the suite, and fail the proof all the same.
import { mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ensurePeer, root } from './harness/peers.ts'
import { startProcess } from './harness/process.ts'
import { table } from './harness/table.ts'

interface Check {
  readonly id: string
  readonly status: string
  readonly errorMessage?: string
  readonly description?: string
}

interface Outcome {
  readonly scenario: string
  readonly scored: boolean
  readonly passed: number
  readonly failed: readonly Check[]
  readonly output: string
}

const { values } = parseArgs({
  options: {
    revision: { type: 'string' },
    scenario: { type: 'string' },
    verbose: { type: 'boolean', default: false },
  },
})
const results = join(root, 'results', 'conformance-client')

const folder = await ensurePeer('conformance')
const suite = (args: readonly string[]) =>
  startProcess(process.execPath, {
    args: [join(folder, 'node_modules/@modelcontextprotocol/conformance/dist/index.js'), ...args],
    cwd: folder,
  })

/**
 * Client scenarios of a revision, as its frozen requirements (or, before there were any, its applicability)
 * name them.
 */
const scenariosOf = async (
  revision: string,
): Promise<readonly { readonly name: string; readonly scored: boolean }[]> => {
  const frozen = revision >= '2025-11-25'
  const started = suite(['list', frozen ? '--requirements' : '--spec-version', revision])
  await started.exited
  const [, client = '', rest = ''] =
    /Client scenarios[^\n]*\n([\s\S]*?)\n\n([\s\S]*)/.exec(`${started.output()}\n\n`) ?? []
  const names = (text: string, pattern: RegExp): string[] =>
    [...text.matchAll(pattern)].map(([, name = '']) => name)
  return [
    ...names(client, /^\s+- (\S+)/gm).map((name) => ({ name, scored: true })),
    ...(frozen ? names(rest, /^\s+- (\S+) \[client\]/gm).map((name) => ({ name, scored: false })) : []),
  ]
}

const checksIn = (where: string): Check[] =>
  readdirSync(where, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('checks.json'))
    .flatMap((path) => JSON.parse(readFileSync(join(where, path), 'utf8')) as Check[])

const runScenario = async (
  revision: string,
  { name, scored }: { readonly name: string; readonly scored: boolean },
): Promise<Outcome> => {
  const where = join(results, revision, name.replaceAll('/', '-'))
  rmSync(where, { recursive: true, force: true })
  mkdirSync(where, { recursive: true })
  const drive = `${process.execPath} ${join(root, 'scripts/conformance-drive.ts')}`
  const started = suite([
    'client',
    '--command',
    drive,
    '--scenario',
    name,
    '--spec-version',
    revision,
    '--timeout',
    '60000',
    '-o',
    where,
    '--verbose',
    ...(scored ? [] : ['--force']),
  ])
  const code = await started.exited
  const checks = checksIn(where)
  const failed = checks.filter(({ status }) => status === 'FAILURE' || status === 'WARNING')
  // The suite's own verdict counts as well: a client that fails where it should have gone on, or that never
  // ends.
  const verdict =
    code === 0 || failed.length > 0
      ? failed
      : [{ id: 'client', status: 'FAILURE', errorMessage: 'the suite failed the run' }]
  return {
    scenario: name,
    scored,
    passed: checks.filter(({ status }) => status === 'SUCCESS').length,
    failed: checks.length === 0 ? [{ id: 'none', status: 'FAILURE', errorMessage: 'no checks' }] : verdict,
    output: started.output(),
  }
}

const runRevision = async (revision: string): Promise<readonly Outcome[]> => {
  const waiting = (await scenariosOf(revision)).filter(
    ({ name }) => values.scenario === undefined || values.scenario === name,
  )
  const outcomes: Outcome[] = []
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next; next = waiting.shift())
      outcomes.push(await runScenario(revision, next))
  }
  await Promise.all([worker(), worker()])
  return outcomes
}

const revisions =
  values.revision === undefined ? ['2025-03-26', '2025-06-18', '2025-11-25', '2026-07-28'] : [values.revision]
const rows: string[][] = [
  ['client suite through Postern', 'scenarios that count', 'checks of these', 'of all'],
]
const notes: string[] = []
let good = true
for (const revision of revisions) {
  const outcomes = await runRevision(revision)
  const scored = outcomes.filter((outcome) => outcome.scored)
  const sum = (list: readonly Outcome[]): string => {
    const passed = list.reduce((total, outcome) => total + outcome.passed, 0)
    return `${passed} / ${passed + list.reduce((total, outcome) => total + outcome.failed.length, 0)}`
  }
  rows.push([
    revision,
    `${scored.filter(({ failed }) => failed.length === 0).length} / ${scored.length}`,
    sum(scored),
    sum(outcomes),
  ])
  for (const { scenario, failed, scored: counts, output } of outcomes) {
    if (failed.length > 0) good = false
    notes.push(
      ...failed.map(
        ({ id, status, errorMessage, description }) =>
          `${counts ? '✗' : '–'} ${revision} ${scenario}: ${id} ${status}: ${errorMessage ?? description ?? ''}`,
      ),
    )
    if (values.verbose && failed.length > 0) notes.push(output.slice(-4000))
  }
  if (outcomes.length === 0) good = false
}
console.log(`\n${table(rows)}\n`)
for (const note of notes) console.log(note)
process.exit(good ? 0 : 1)
