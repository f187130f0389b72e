// Keeps requirements, hostile cases and tests together: no test cites an id that does not exist, and none
// that is due stands without a test.
import { describe, expect, it } from 'vitest'
import { hostile } from '../hostile.ts'
import * as cases from '../hostile-due.ts'
import { later, pending, requirements } from '../requirements.ts'
import { proofs } from '../../scripts/proofs.ts'
import { sourcesIn } from './sources.ts'

interface Citation {
  readonly id: string
  readonly hostile: boolean
  readonly place: string
  /** Of a test that runs: neither skipped nor to do. */
  readonly runs: boolean
}

const data = new Set(['test/requirements.ts', 'test/hostile.ts'])

/** Citations in string literals: `[A1]`, `[A1, B2]`, and `[H-G2]`, `[H-G2, H-G3]` of hostile cases. */
const citationsIn = (path: string, text: string): Citation[] =>
  text.split('\n').flatMap((line, i) => {
    if (/^\s*(\/\/|\*|\/\*)/.test(line)) return []
    const literals = line.match(/'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`?/g) ?? []
    return [
      ...literals.join('\n').matchAll(/\[((?:H-)?[A-Z]\d{1,2}[a-z]?(?:, ?(?:H-)?[A-Z]\d{1,2}[a-z]?)*)\]/g),
    ].flatMap(([, ids = '']) =>
      ids.split(/, ?/).map((id) => ({
        id,
        hostile: id.startsWith('H-'),
        place: `${path}:${i + 1}`,
        runs: !/\.(skip|todo)\b/.test(line),
      })),
    )
  })

const tests = sourcesIn('test', '.ts').filter(
  ({ path }) => !data.has(path) && !path.startsWith('test/structure/'),
)
const citations = tests.flatMap(({ path, text }) => citationsIn(path, text))
const isRequirement = (id: string): boolean => id in requirements
const tested = new Set(citations.filter((citation) => citation.runs && !citation.hostile).map(({ id }) => id))

describe('requirements and tests', () => {
  it('meet in ids that exist', () => {
    const unknown = citations.filter((citation) =>
      citation.hostile ? !(citation.id in hostile) : !isRequirement(citation.id),
    )
    const advice = ({ id, place }: Citation): string => `${place} [${id}]: no such id`
    expect(unknown.map(advice)).toEqual([])
  })

  it('leave no requirement that is due without a test', () => {
    const waiting = new Set<string>([...pending, ...later])
    expect(Object.keys(requirements).filter((id) => !tested.has(id) && !waiting.has(id))).toEqual([])
  })

  it('keep nothing on the waiting lists that has a test: take these out of pending or later in test/requirements.ts', () => {
    expect([...pending, ...later].filter((id) => tested.has(id))).toEqual([])
  })

  it('know each id once, and each waiting id', () => {
    const waiting = [...pending, ...later]
    expect(new Set(waiting).size).toBe(waiting.length)
    expect(waiting.filter((id) => !isRequirement(id))).toEqual([])
  })

  it('have a sentence and a source each', () => {
    for (const [id, { sentence, source }] of Object.entries(requirements))
      expect(`${id} ${sentence} (${source})`).toMatch(/^\w+ [A-Z].{20,}\. \(.{5,}\)$/)
  })
})

describe('hostile cases and tests', () => {
  const cited = new Set(citations.filter((citation) => citation.runs && citation.hostile).map(({ id }) => id))
  const excused: readonly string[] = [
    ...Object.keys(cases.later),
    ...Object.keys(cases.measured),
    ...cases.pending,
  ]
  const optional = new Set<string>([...cases.should, ...cases.whereOffered])

  it('leave no case that must hold, and applies, without a test that cites it', () => {
    expect(
      Object.keys(hostile).filter((id) => !cited.has(id) && !optional.has(id) && !excused.includes(id)),
    ).toEqual([])
  })

  it('keep no excuse for a case that has a test: take these out of later, measured or pending in test/hostile-due.ts', () => {
    expect(excused.filter((id) => cited.has(id))).toEqual([])
  })

  it('know each excuse once and each listed case, name a reason, and a command that exists', () => {
    expect(new Set(excused).size).toBe(excused.length)
    expect([...excused, ...optional].filter((id) => !(id in hostile))).toEqual([])
    for (const [id, command] of Object.entries(cases.measured))
      expect([id, command.replace('npm run prove ', '') in proofs]).toEqual([id, true])
    for (const [id, reason] of Object.entries(cases.later))
      expect([id, reason.length > 10]).toEqual([id, true])
  })
})

describe('a citation', () => {
  it('is read in titles only, alone or in a list, with its prefix', () => {
    const text = [
      "it('answers [A1]', …)",
      "it.each(rows)('x [A2, B3] and [H-G2, H-G3]', …)",
      '// [A4] in a comment',
      'const x = list[A5]',
      "it.skip('[A6]', …)",
    ].join('\n')
    expect(
      citationsIn('x', text).map(
        ({ id, hostile: prefixed, runs }) => `${prefixed ? '!' : ''}${id}${runs ? '' : ' skipped'}`,
      ),
    ).toEqual(['A1', 'A2', 'B3', '!H-G2', '!H-G3', 'A6 skipped'])
  })
})
