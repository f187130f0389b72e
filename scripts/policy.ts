// `npm run prove policy`: random access rules and calls, judged by the gateway's two evaluators and by Cedar, for
// calls and for lists. QUESTIONS and SEED repeat a run.
import fc from 'fast-check'
import { createOracle } from '../test/unit/policy-cedar.ts'
import { configOfRules, question, rules } from '../test/unit/policy-random.ts'
import { createAsking, tool } from '../test/unit/policy-world.ts'

const total = Number(process.env['QUESTIONS'] ?? 100_000)
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
/** Questions about one configuration. */
const each = 10

const oracle = createOracle()
const counts = { asked: 0, allowed: 0, listed: 0 }
const started = performance.now()

const result = fc.check(
  fc.property(rules(true), fc.array(question, { minLength: each, maxLength: each }), (written, all) => {
    const { ask } = createAsking(configOfRules(written))
    const allows = oracle(written)
    for (const asked of all) {
      const { caller, name, hint, args } = asked
      // Throws where the two evaluators differ.
      const called = ask('a', caller, tool(name, hint), args).allowed
      const listed = ask('a', caller, tool(name, hint), 'list').allowed
      counts.asked++
      if (called) counts.allowed++
      if (listed) counts.listed++
      if (called && !listed) throw new Error(`${name} can be called and is not listed`)
      if (called !== allows(asked, 'call')) throw new Error(`Cedar says otherwise of a call of ${name}`)
      if (listed !== allows(asked, 'list')) throw new Error(`Cedar says otherwise of ${name} in a list`)
    }
  }),
  { numRuns: Math.ceil(total / each), seed },
)

const { asked, allowed, listed } = counts
const seconds = ((performance.now() - started) / 1000).toFixed(1)
console.log(
  `${asked} questions in ${seconds} s, seed ${seed}: ${allowed} calls allowed, ${listed} tools listed`,
)
if (result.failed) {
  console.error(fc.stringify(result.counterexample))
  console.error(String((result as { errorInstance?: unknown }).errorInstance))
  process.exitCode = 1
} else console.log('Both evaluators and Cedar agree on all of them.')
