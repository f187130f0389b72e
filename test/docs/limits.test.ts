// Keeps the page of limits and the table of paces together.
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { paces } from '../../src/policy/rate-limit.ts'

it('docs/reference/limits.md names every pace as it is', () => {
  const page = readFileSync(new URL('../../docs/reference/limits.md', import.meta.url), 'utf8')
  const written = [...page.matchAll(/^\| `([\w-]+)` \|.*\| (\d+) \| (\d+) s \| (–|yes) \|$/gm)].map(
    ([, kind, points, seconds, always]) => [kind, Number(points), Number(seconds), always === 'yes'],
  )
  expect(written).toEqual(
    Object.entries(paces).map(([kind, pace]) => [kind, pace.points, pace.seconds, 'always' in pace]),
  )
})
