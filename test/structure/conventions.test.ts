// Conventions that lint has no rule for: what the core may not say, how files are named, and that each says
// what it is for.
import { basename } from 'node:path'
import { describe, expect, it } from 'vitest'
import { codeOf, sourcesIn } from './sources.ts'

const sources = sourcesIn('src', '.ts')
const core = sources.filter(({ path }) => !/^src\/(node|cli|worker)\//.test(path))
const everything = [
  ...sources,
  ...sourcesIn('test', '.ts'),
  ...sourcesIn('scripts', '.mjs'),
  ...sourcesIn('scripts', '.ts'),
  ...sourcesIn('bench', '.ts'),
  ...sourcesIn('bin', '.mjs'),
]

const findings = (files: typeof sources, pattern: RegExp): string[] =>
  files.flatMap(({ path, text }) =>
    codeOf(text)
      .split('\n')
      .flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1} ${line.trim()}`] : [])),
  )

describe('the core', () => {
  it('takes the time from the runtime, never from a new Date()', () =>
    expect(findings(core, /\bnew Date\(\s*\)|[^.\w]Date\(\s*\)/)).toEqual([]))
  it('keeps no state in modules', () => expect(findings(core, /^(export )?(let|var) /)).toEqual([]))
  it('never switches the types off with a double assertion', () =>
    expect(findings(sources, /\bas unknown as\b/)).toEqual([]))
  it('exports no type name from two files', () => {
    const files = new Map<string, string[]>()
    for (const { path, text } of sources)
      for (const [, name = ''] of text.matchAll(/^export (?:interface|type|class|enum) (\w+)/gm))
        files.set(name, [...(files.get(name) ?? []), path])
    expect([...files].filter(([, paths]) => new Set(paths).size > 1)).toEqual([])
  })
  it('uses no AsyncLocalStorage', () => expect(findings(core, /AsyncLocalStorage/)).toEqual([]))
  it('has classes only where the platform asks for one, and Refusal', () => {
    expect(
      findings(core, /^\s*(export )?(abstract )?class /).filter(
        (line) => !line.startsWith('src/kit/refusal.ts:'),
      ),
    ).toEqual([])
  })
})

describe('every file', () => {
  it('begins with a comment that says what it is for', () => {
    const silent = everything
      .filter(({ text }) => !/^(#!.*\n)?(\/\/ |\/\*)/.test(text))
      .map(({ path }) => path)
    expect(silent).toEqual([])
  })
  it('is named in kebab-case for the thing it holds', () => {
    const named = everything
      .filter(
        ({ path }) => !/^[a-z0-9]+(-[a-z0-9]+)*(\.test|\.d|\.config)?\.(ts|mts|mjs)$/.test(basename(path)),
      )
      .map(({ path }) => path)
    expect(named).toEqual([])
    const vague = everything
      .filter(({ path }) => /(^|[/-])(utils?|helpers?|common|misc|managers?|impl)([-./]|$)/.test(path))
      .map(({ path }) => path)
    expect(vague).toEqual([])
  })
  it('of the sources passes nothing on from another file but src/index.ts, the one barrel, and the entry that Workers reads', () => {
    const barrels = sources
      .filter(({ path }) => path !== 'src/index.ts' && path !== 'src/worker/entry.ts')
      .filter(
        ({ path, text }) =>
          basename(path) === 'index.ts' || /^export (type )?(\*|\{[^}]*\}) from /m.test(text),
      )
    expect(barrels.map(({ path }) => path)).toEqual([])
  })
  it('of the tests runs for itself: no it.only, no sleeping', () => {
    const tests = sourcesIn('test', '.test.ts').filter(({ path }) => !path.startsWith('test/structure/'))
    expect(findings(tests, /\b(it|test|describe)\.only\(|setTimeout\(\s*(resolve|done|r)\s*,/)).toEqual([])
  })
})

describe('tests of attacks', () => {
  it('have titles that start with "never"', () => {
    const titles = sourcesIn('test/attack', '.test.ts').flatMap(({ path, text }) =>
      [...text.matchAll(/^(?:describe|it|test)[.\w]*\(\s*(['"`])(.*?)\1/gm)].map(
        (match) => `${path}: ${match[2]}`,
      ),
    )
    expect(titles.filter((title) => !/: (\[[^\]]+\] ?)*never\b/i.test(title))).toEqual([])
  })
})
