// The project speaks the words of its field: no private word of private-words.ts in source, documentation or
// messages. What is left of each is counted in private-words-left.json, and a count may only fall:
// UPDATE_PRIVATE_WORDS=1 writes the lower counts down.
import { writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { codeOf, readRoot, type Source, sourcesIn } from '../structure/sources.ts'
import { root } from '../structure/tree.ts'
import { pages } from './markdown.ts'
import { ordinaryMeanings, privatePhrases, type PrivateWord, privateWords } from './private-words.ts'

const leftFile = 'test/docs/private-words-left.json'

const sources: readonly Source[] = [
  ...sourcesIn('src', '.ts'),
  ...pages(),
  ...sourcesIn('bin', '.mjs'),
  ...sourcesIn('examples', '.yaml'),
  ...['package.json', 'wrangler.jsonc', 'postern.schema.json'].map((path) => ({
    path,
    text: readRoot(path),
  })),
]

/** The words of a name, in lower case: `createLineServer`, `line-server` and `LINE_SERVER` are the same. */
export const partsOf = (name: string): readonly string[] =>
  (name.match(/[A-Z]+(?![a-z])|[A-Z]?[a-z]+\d*|\d+/g) ?? []).map((part) => part.toLowerCase())

/** Where files are imported from says nothing that the name of the file does not say. */
const withoutImports = (text: string): string =>
  text.replaceAll(/(?:\bfrom |\bimport\(|^import )'\.[^']*'/gm, '')

/**
 * Names of files, and of what is declared at the top of a file, without what every factory and its arguments
 * are called.
 */
const namesIn = ({ path, text }: Source): readonly string[] => {
  if (!path.endsWith('.ts')) return []
  const declared = codeOf(text).matchAll(
    /^(?:export )?(?:default )?(?:async )?(?:const|let|function|class|interface|type|enum) (\w+)/gm,
  )
  const plain = [...declared].map(([, name = '']) =>
    name.replace(/^create(?=[A-Z])/, '').replace(/(?:Deps|Options|Input)$/, ''),
  )
  return [basename(path, '.ts'), ...plain].map((name) => partsOf(name).join('-'))
}

const exceptions = new Map(privateWords.map(({ word, except }) => [word, except]))

/** Each file with a private word, once for each name or word in it: `path: name`. */
const placesOf = (all: readonly Source[]): ReadonlyMap<string, readonly string[]> => {
  const found = new Map<string, Set<string>>()
  const add = (word: string, path: string, name: string): void => {
    const place = `${path}: ${name}`
    if (exceptions.get(word)?.test(place) !== true && ordinaryMeanings[word]?.test(place) !== true)
      found.set(word, (found.get(word) ?? new Set()).add(place))
  }
  const wordsBy = (where: PrivateWord['where']): ReadonlySet<string> =>
    new Set(privateWords.filter((row) => row.where === where).map(({ word }) => word))
  const [everywhere, named, files] = [wordsBy('anywhere'), wordsBy('name'), wordsBy('file')]
  for (const source of all) {
    const { path } = source
    const text = `${path}\n${withoutImports(source.text)}`
    for (const [name] of text.matchAll(/[A-Za-z]\w*/g))
      for (const part of partsOf(name)) if (everywhere.has(part)) add(part, path, name)
    for (const name of namesIn(source)) if (named.has(name)) add(name, path, name)
    const file = basename(path, '.ts')
    if (path.endsWith('.ts') && files.has(file)) add(file, path, file)
    for (const [phrase, pattern] of Object.entries(privatePhrases))
      for (const [said] of text.matchAll(pattern)) add(phrase, path, said)
  }
  return new Map([...found].map(([word, places]) => [word, [...places]]))
}

const insteadOf = (word: string): string =>
  privateWords.find((row) => row.word === word)?.instead ?? 'another phrase'

describe('private words', () => {
  it('are found as words, as parts of names and as names of files, and not in ordinary English', () => {
    const text =
      "// A server on a line; the place where it is.\nimport { x } from './house.ts'\nexport const createPlace = (eraOf: X): Place => first(eraOf)\n"
    const found = placesOf([{ path: 'src/proxy/line-server.ts', text }])
    expect(Object.fromEntries(found)).toEqual({
      'era': ['src/proxy/line-server.ts: eraOf'],
      'line-server': ['src/proxy/line-server.ts: line-server'],
      'place': ['src/proxy/line-server.ts: place'],
      'server or client on a line': ['src/proxy/line-server.ts: server on a line'],
    })
  })

  it('are each on the list once', () => {
    expect(new Set(privateWords.map(({ word }) => word)).size).toBe(privateWords.length)
  })

  it('become fewer, and no new one appears', () => {
    const places = placesOf(sources)
    const allowed = JSON.parse(readRoot(leftFile)) as Readonly<Record<string, number>>
    const grown = [...places]
      .filter(([word, all]) => all.length > (allowed[word] ?? 0))
      .map(
        ([word, all]) =>
          `"${word}" (say: ${insteadOf(word)}) ${all.length} > ${allowed[word] ?? 0}: ${all.join(', ')}`,
      )
    if (process.env['UPDATE_PRIVATE_WORDS'] !== undefined) {
      const left = [...places]
        .map(([word, all]) => [word, all.length] as const)
        .toSorted(([one], [other]) => one.localeCompare(other))
      writeFileSync(join(root, leftFile), `${JSON.stringify(Object.fromEntries(left), null, 2)}\n`)
      return
    }
    expect(grown).toEqual([])
  })
})
