// Ends a test run with one line that anybody can read: `N passed, N failed`, and `, N skipped` when any were.
// In CI a skip is a failure.
import { inCI } from './system-programs.mjs'

/** A file that failed to load, or failed outside its tests, counts as one failure. */
const countOf = (modules, unhandledErrors) => {
  const count = { passed: 0, failed: unhandledErrors.length, skipped: 0 }
  for (const module of modules) {
    let failedHere = 0
    for (const test of module.children.allTests()) {
      const { state } = test.result()
      if (state === 'passed') count.passed++
      else if (state === 'skipped') count.skipped++
      else failedHere++
    }
    count.failed += failedHere === 0 && module.state() === 'failed' ? 1 : failedHere
  }
  return count
}

export default class PlainReporter {
  onTestRunEnd(modules, unhandledErrors, reason) {
    const { passed, failed, skipped } = countOf(modules, unhandledErrors)
    const forbidden = skipped > 0 && inCI()
    if (forbidden)
      console.log(
        `\nIn CI nothing may be skipped, and ${skipped} ${skipped === 1 ? 'test was' : 'tests were'}.`,
      )
    if (reason === 'interrupted') console.log('\nThe run was interrupted.')
    if (forbidden || reason === 'interrupted') process.exitCode = 1
    const failures = forbidden ? failed + skipped : failed
    console.log(
      `\n${passed} passed, ${failures} failed${skipped > 0 && !forbidden ? `, ${skipped} skipped` : ''}`,
    )
  }
}
