// Over random rules, callers, tools and arguments: both evaluators say the same, and a list shows what can be
// called and nothing else.
import fc from 'fast-check'
import { expect, it } from 'vitest'
import type { Arguments } from '../../src/ports/policy.ts'
import { createOracle } from './policy-cedar.ts'
import { type Written, configOfRules, question, rules } from './policy-random.ts'
import { createAsking, tool } from './policy-world.ts'

const askOf = (written: Written) => createAsking(configOfRules(written)).ask

it('says the same with and without its memory, and lists whatever can be called: 5,000 questions', () => {
  fc.assert(
    fc.property(rules(true), fc.array(question, { minLength: 10, maxLength: 10 }), (written, all) => {
      // Throws where the two evaluators differ, also when asked a second time.
      const ask = askOf(written)
      for (const { caller: whom, name, hint, args: given } of [...all, ...all]) {
        const called = ask('a', whom, tool(name, hint), given)
        const listed = ask('a', whom, tool(name, hint), 'list')
        if (called.allowed) expect(listed.allowed).toBe(true)
      }
    }),
    { numRuns: 500 },
  )
})

/** What conditions can tell apart, and every combination of two. */
const everyValue = [undefined, 'x', 'y', 'xyz', 1, 2, 3, true, false, null]
const everyArguments: readonly Arguments[] = everyValue.flatMap((p) =>
  everyValue.map((q) => ({
    ...(p === undefined ? {} : { p }),
    ...(q === undefined ? {} : { q }),
  })),
)

it('lists nothing that no arguments can call, where only grants have conditions', () => {
  fc.assert(
    fc.property(rules(false), fc.array(question, { minLength: 3, maxLength: 3 }), (written, all) => {
      const ask = askOf(written)
      for (const { caller: whom, name, hint } of all) {
        const listed = ask('a', whom, tool(name, hint), 'list').allowed
        const callable = everyArguments.some((given) => ask('a', whom, tool(name, hint), given).allowed)
        expect(listed).toBe(callable)
      }
    }),
    { numRuns: 200 },
  )
})

it('says the same as Cedar, for which the rules are written a second time: 5,000 questions', () => {
  const oracle = createOracle()
  fc.assert(
    fc.property(rules(true), fc.array(question, { minLength: 5, maxLength: 5 }), (written, all) => {
      const ask = askOf(written)
      const allows = oracle(written)
      for (const each of all) {
        const { caller, name, hint, args } = each
        const said = ask('a', caller, tool(name, hint), args).allowed
        expect([said, ask('a', caller, tool(name, hint), 'list').allowed]).toEqual([
          allows(each, 'call'),
          allows(each, 'list'),
        ])
      }
    }),
    { numRuns: 500 },
  )
}, 60_000)
