// What `postern doctor` prints: lines for a person, JSON, or JUnit.
import { styleText } from 'node:util'
import { print, printJson } from '../output.ts'
import { outsideSteps, type Examined } from './examine.ts'
import {
  type DoctorStep,
  type Finding,
  actorOf,
  clientsBy,
  findingKinds,
  fixOf,
  primaryOf,
  stepTitles,
} from './findings.ts'

const words = {
  pass: ['PASS', 'green'],
  warn: ['WARN', 'yellow'],
  fail: ['FAIL', 'red'],
  skip: ['SKIP', 'dim'],
} as const

const indent = ' '.repeat(9)

const findingLines = (finding: Finding): readonly string[] => [
  `${indent}${styleText('bold', finding.code)}  ${finding.evidence}`,
  `${indent}→ ${fixOf(finding)}`,
]

/** One step: `FAIL  3  Resource metadata     …`, and below it what was found. */
export const printStep = ({ id, result, say, findings }: DoctorStep): void => {
  const [word, colour] = words[result]
  const number = id === 'self' ? '–' : String(outsideSteps.indexOf(id) + 1)
  print(`${styleText(colour, word)}  ${number}  ${stepTitles[id].padEnd(23)} ${say}`)
  for (const line of findings.flatMap(findingLines)) print(line)
}

const named = (names: readonly string[]): string => (names.length === 0 ? 'none' : names.join(', '))

const findingData = (finding: Finding) => {
  const { code, evidence, refusal } = finding
  const { severity } = findingKinds[code]
  const error = refusal === undefined ? {} : { refusal, acts: actorOf(finding) }
  return { code, severity, evidence, fix: fixOf(finding), ...error }
}

const stepData = ({ id, result, say, findings }: DoctorStep) => ({
  step: id,
  result,
  message: say,
  findings: findings.map(findingData),
})

/** `targets`: the URLs; `self`: the configuration, where it is this gateway. */
export interface DoctorReport {
  readonly targets: readonly Examined[]
  readonly self?: DoctorStep | undefined
}

export const stepsOf = ({ targets, self }: DoctorReport): readonly DoctorStep[] => [
  ...(self ? [self] : []),
  ...targets.flatMap(({ steps }) => steps),
]

const clientsOf = ({ targets }: DoctorReport) =>
  clientsBy(targets.flatMap(({ steps }) => steps.flatMap(({ findings }) => findings)))

/** What a person reads below the steps. */
export const printConclusion = (report: DoctorReport): void => {
  const primary = primaryOf(stepsOf(report))
  print('')
  if (!primary) print(styleText('green', 'Nothing is wrong.'))
  else if (findingKinds[primary.code].severity === 'warning')
    print('No errors. The warnings above matter only in the cases that they name.')
  else {
    print(`${styleText('bold', 'Do this first:')} ${fixOf(primary)}`)
    print(`${indent}${primary.code}: ${primary.evidence}`)
  }
  if (report.targets.length === 0) return
  const { fail, work } = clientsOf(report)
  print(`Stops:      ${named(fail)}`)
  print(`Lets pass:  ${named(work)}`)
}

export const printReport = (report: DoctorReport): void => {
  const steps = stepsOf(report)
  const primary = primaryOf(steps)
  const { fail, work } = clientsOf(report)
  printJson({
    ok: steps.every(({ result }) => result !== 'fail'),
    primary: primary ? findingData(primary) : null,
    ...(report.self ? { self: stepData(report.self) } : {}),
    targets: report.targets.map(({ url, steps: taken }) => ({ url, steps: taken.map(stepData) })),
    ...(report.targets.length > 0 ? { stops: fail, lets_pass: work } : {}),
  })
}

const xml = (text: string): string =>
  text
    .replaceAll(/[^\t\n\r\x20-\uD7FF\uE000-\uFFFD]/gu, '?')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('"', '&quot;')

const testCase = (suite: string, { id, result, say, findings }: DoctorStep): string => {
  const head = `    <testcase classname="${xml(suite)}" name="${xml(stepTitles[id])}"`
  if (result === 'pass') return `${head}/>`
  if (result === 'skip') return `${head}><skipped message="${xml(say)}"/></testcase>`
  const text = findings.map((finding) => `${finding.code}: ${finding.evidence} ${fixOf(finding)}`)
  return result === 'warn'
    ? `${head}><system-out>${xml(text.join('\n'))}</system-out></testcase>`
    : `${head}><failure message="${xml(say)}">${xml(text.join('\n'))}</failure></testcase>`
}

const suiteOf = (name: string, steps: readonly DoctorStep[]): string => {
  const count = (result: DoctorStep['result']): number =>
    steps.filter((step) => step.result === result).length
  return [
    `  <testsuite name="${xml(name)}" tests="${steps.length}" failures="${count('fail')}" skipped="${count('skip')}">`,
    ...steps.map((step) => testCase(name, step)),
    '  </testsuite>',
  ].join('\n')
}

/** JUnit's XML, as continuous integration reads it: a suite for each URL, a case for each step. */
export const printJunit = ({ targets, self }: DoctorReport): void =>
  print(
    [
      '<?xml version="1.0" encoding="UTF-8"?>',
      '<testsuites name="postern doctor">',
      ...targets.map(({ url, steps }) => suiteOf(url, steps)),
      ...(self ? [suiteOf('configuration', [self])] : []),
      '</testsuites>',
    ].join('\n'),
  )
