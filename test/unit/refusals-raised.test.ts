// Every code by which callers without a browser are refused is raised by some test: a code that no test names may be one
// that nothing raises any more.
import { expect, it } from 'vitest'
import { refusals } from '../../src/kit/refusal.ts'
import { sourcesIn } from '../structure/sources.ts'

const subjects =
  /^(?:client\.grant$|access\.blocked$|(?:device|assertion|exchange|proof|personal-token)\.|token\.(?:bound|unbound)$)/

const tests = sourcesIn('test', '.ts').filter(
  ({ path }) => !path.startsWith('test/structure/') && !path.endsWith('refusals-raised.test.ts'),
)
/** Whole, or after the prefix that a table of its file writes before each. */
const isNamed = (code: string): boolean => {
  const [prefix = '', suffix = ''] = code.split('.')
  return tests.some(
    ({ text }) =>
      text.includes(`'${code}'`) ||
      (text.includes(`\`${prefix}.\${`) && (text.includes(`'${suffix}'`) || text.includes(`${suffix}:`))),
  )
}

it('every code about tokens, devices, assertions, exchanges and proofs is raised by a test [H-W76]', () => {
  const codes = Object.keys(refusals).filter((code) => subjects.test(code))
  expect(codes.length).toBeGreaterThan(30)
  expect(codes.filter((code) => !isNamed(code))).toEqual([])
})
