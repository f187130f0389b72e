// Code and reference say the same, in both directions.
import { describe, expect, it } from 'vitest'
import { referencePages } from '../../scripts/reference.ts'
import { readRoot } from '../structure/sources.ts'

describe('the reference', () => {
  it.each(Object.keys(referencePages()))(
    '%s is what the code says; when it is not, run: npm run docs',
    (page) => {
      expect(readRoot(page)).toBe(referencePages()[page])
    },
  )

  it('explains every key of the configuration', () => {
    const silent = (referencePages()['docs/reference/config.md'] ?? '')
      .split('\n')
      .filter((line) => /^\| `.*\|\s+\|$/.test(line))
    expect(silent).toEqual([])
  })
})
