// `node scripts/structure.ts`: figures of the source's structure: files, small files that one file alone
// imports, type names that are exported twice, assertions that switch the types off, and what is over the
// limits of lint at the formatter's width. --list names them. Nothing is changed: what is not formatted yet
// is formatted in a copy.
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { table } from './harness/table.ts'

const { values } = parseArgs({ options: { list: { type: 'boolean', default: false } } })
const root = fileURLToPath(new URL('..', import.meta.url))
const program = (name: string): string => join(root, 'node_modules/.bin', name)

const folder = mkdtempSync(join(tmpdir(), 'postern-structure-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
cpSync(join(root, 'src'), join(folder, 'src'), { recursive: true })
for (const file of ['package.json', '.oxfmtrc.json']) cpSync(join(root, file), join(folder, file))
symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'dir')
execFileSync(program('oxfmt'), ['src'], { cwd: folder, stdio: 'ignore' })

interface Source {
  /** From src/. */
  readonly path: string
  readonly text: string
}

const sources: readonly Source[] = readdirSync(join(folder, 'src'), { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts'))
  .toSorted()
  .map((path) => ({ path, text: readFileSync(join(folder, 'src', path), 'utf8') }))

const linesOf = ({ text }: Source): number => text.trimEnd().split('\n').length
const importsOf = ({ path, text }: Source): Set<string> =>
  new Set(
    [...text.matchAll(/(?:\bfrom |\bimport\(|^import )'(\.[^']+)'/gm)].map(([, to = '']) =>
      join(dirname(path), to),
    ),
  )

const importers = new Map<string, string[]>()
for (const source of sources) {
  for (const path of importsOf(source)) importers.set(path, [...(importers.get(path) ?? []), source.path])
}
const importedOnce = sources.filter(({ path }) => importers.get(path)?.length === 1)
const small = importedOnce.filter((source) => linesOf(source) < 40)

const typeNames = new Map<string, string[]>()
for (const { path, text } of sources) {
  for (const [, name = ''] of text.matchAll(/^export (?:interface|type|class|enum) (\w+)/gm))
    typeNames.set(name, [...(typeNames.get(name) ?? []), path])
}
const twice = [...typeNames].filter(([, paths]) => new Set(paths).size > 1)
const switchedOff = sources.flatMap(({ path, text }) =>
  [...text.matchAll(/\bas unknown as\b/g)].map(() => path),
)

const skip = { skipBlankLines: true, skipComments: true }
writeFileSync(
  join(folder, 'limits.json'),
  JSON.stringify({
    plugins: ['eslint'],
    categories: { correctness: 'off' },
    rules: {
      'max-lines': ['error', { max: 350, ...skip }],
      'max-lines-per-function': ['error', { max: 60, ...skip }],
      'complexity': ['error', { max: 15 }],
    },
  }),
)
const judged = spawnSync(program('oxlint'), ['-c', 'limits.json', '-f', 'json', 'src'], {
  cwd: folder,
  encoding: 'utf8',
  maxBuffer: 64 * 1024 * 1024,
})
const { diagnostics } = JSON.parse(judged.stdout) as {
  diagnostics: readonly { code: string; filename: string; message: string }[]
}
const over = (rule: string): { readonly path: string; readonly message: string }[] =>
  diagnostics
    .filter(({ code }) => code.includes(`(${rule})`))
    .map(({ filename, message }) => ({
      path: relative('src', filename).replace(/^(?:\.\.\/)+.*src\//, ''),
      message,
    }))

const limits = {
  'functions over 60 lines': over('max-lines-per-function'),
  'functions of complexity over 15': over('complexity'),
  'files over 350 lines': over('max-lines'),
}

const median = sources.map(linesOf).toSorted((a, b) => a - b)[sources.length >> 1] ?? 0
const rows: (readonly [what: string, count: number, goal: string, names: readonly string[]])[] = [
  ['source files', sources.length, '≤ 240', []],
  ['median lines of a file', median, '100 to 300', []],
  ['files that one file alone imports', importedOnce.length, '–', []],
  [
    'of them under 40 lines',
    small.length,
    '≤ 10',
    small.map((source) => `${source.path} (${linesOf(source)}) ← ${importers.get(source.path)?.[0]}`),
  ],
  [
    'type names exported by two files',
    twice.length,
    '0',
    twice.map(([name, paths]) => `${name}: ${paths.join(', ')}`),
  ],
  ['as unknown as', switchedOff.length, '0', switchedOff],
  ...Object.entries(limits).map(
    ([what, found]) =>
      [what, found.length, '0', found.map(({ path, message }) => `${path}: ${message}`)] as const,
  ),
]

console.log(
  table([['what', 'count', 'goal'], ...rows.map(([what, count, goal]) => [what, String(count), goal])]),
)
if (values.list) {
  for (const [what, , , names] of rows) {
    if (names.length > 0) console.log(`\n${what}\n${names.map((name) => `  ${name}`).join('\n')}`)
  }
}
