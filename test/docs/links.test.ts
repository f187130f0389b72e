// What the documentation points at exists: files, headings, npm scripts.
import { existsSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readRoot } from '../house/sources.ts'
import { root } from '../house/tree.ts'
import { anchorsOf, linksOf, pages } from './markdown.ts'

describe('the documentation', () => {
  it('links to files and headings that exist', () => {
    const broken = pages().flatMap(({ path, text }) =>
      linksOf(text).filter((link) => {
        const [file = '', anchor] = link.split('#')
        const target = file === '' ? path : normalize(join(dirname(path), file))
        if (!existsSync(join(root, target))) return true
        return anchor !== undefined && target.endsWith('.md') && !anchorsOf(readRoot(target)).includes(anchor)
      }).map((link) => `${path}: ${link}`),
    )
    expect(broken).toEqual([])
  })

  it('names npm scripts that exist', () => {
    const { scripts } = JSON.parse(readRoot('package.json')) as { scripts: Record<string, string> }
    const unknown = pages().flatMap(({ path, text }) => [...text.matchAll(/npm run ([a-z][\w:-]*)/g)].filter(([, name = '']) => !(name in scripts)).map(([command]) => `${path}: ${command}`))
    expect(unknown).toEqual([])
  })

  it('has each link and heading read as GitHub reads them', () => {
    const text = '# The `tour`, in short\n[a](b.md#c) ![d](e.png "f") [out](https://example.com)\n```\n[not](a-link.md)\n```\n'
    expect(linksOf(text)).toEqual(['b.md#c', 'e.png'])
    expect(anchorsOf(text)).toEqual(['the-tour-in-short'])
  })
})
