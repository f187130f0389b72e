// What the documentation points at exists: files, headings, npm scripts.
import { existsSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { proofs } from '../../scripts/proofs.ts'
import { readRoot, sourcesIn } from '../structure/sources.ts'
import { root } from '../structure/tree.ts'
import { anchorsOf, linksOf, pages } from './markdown.ts'

describe('the documentation', () => {
  it('links to files and headings that exist', () => {
    const broken = pages().flatMap(({ path, text }) =>
      linksOf(text)
        .filter((link) => {
          const [file = '', anchor] = link.split('#')
          const target = file === '' ? path : normalize(join(dirname(path), file))
          if (!existsSync(join(root, target))) return true
          return (
            anchor !== undefined && target.endsWith('.md') && !anchorsOf(readRoot(target)).includes(anchor)
          )
        })
        .map((link) => `${path}: ${link}`),
    )
    expect(broken).toEqual([])
  })

  const named = (pattern: RegExp, known: object, files = pages()): string[] =>
    files.flatMap(({ path, text }) =>
      [...text.matchAll(pattern)]
        .filter(([, name = '']) => !(name in known))
        .map(([command]) => `${path}: ${command}`),
    )

  it('names npm scripts and proofs that exist', () => {
    const { scripts } = JSON.parse(readRoot('package.json')) as { scripts: Record<string, string> }
    const commands = [
      ...pages(),
      ...['src', 'test', 'scripts', 'bench'].flatMap((folder) => sourcesIn(folder, '.ts')),
      { path: '.ci/run', text: readRoot('.ci/run') },
    ]
    expect(named(/npm run (?:--silent )?([a-z][\w:-]*)/g, scripts, commands)).toEqual([])
    expect(named(/npm run prove ([a-z][\w:-]*)/g, proofs, commands)).toEqual([])
  })

  it('lists every proof in docs/development/testing.md, and each script of a proof exists', () => {
    const page = readRoot('docs/development/testing.md')
    expect(Object.keys(proofs).filter((name) => !page.includes(`\`npm run prove ${name}\``))).toEqual([])
    expect(Object.values(proofs).filter(({ file }) => !existsSync(join(root, 'scripts', file)))).toEqual([])
  })

  it('has each link and heading read as GitHub reads them', () => {
    const text =
      '# The `tour`, in short\n[a](b.md#c) ![d](e.png "f") [out](https://example.com)\n```\n[not](a-link.md)\n```\n'
    expect(linksOf(text)).toEqual(['b.md#c', 'e.png'])
    expect(anchorsOf(text)).toEqual(['the-tour-in-short'])
  })
})
