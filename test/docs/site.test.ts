// The site of the documentation (peers/site): everything is on its menu once, and errors can be linked to.
import { expect, it } from 'vitest'
import { contents } from '../../peers/site/contents.ts'
import { refusals } from '../../src/kit/refusal.ts'
import { readRoot, sourcesIn } from '../structure/sources.ts'
import { anchorsOf } from './markdown.ts'

it('has every page of docs/ in peers/site/contents.ts once', () => {
  const listed = contents.flatMap(({ pages }) => pages.map((page) => `docs/${page}.md`))
  const found = sourcesIn('docs', '.md').map(({ path }) => path)
  expect(listed.toSorted()).toEqual(found.filter((path) => path !== 'docs/index.md').toSorted())
})

it('has an anchor for every error code', () =>
  expect(anchorsOf(readRoot('docs/reference/refusals.md')).slice(1)).toEqual(Object.keys(refusals)))
