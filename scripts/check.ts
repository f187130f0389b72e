// `npm run check [name …]`: everything about the source that is judged without running it. Prints one line
// for each, and the output of those that fail.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { didYouMean } from '../src/config/shape.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const program = (name: string): string => `${root}node_modules/.bin/${name}`

const checks: Readonly<Record<string, readonly [program: string, ...args: string[]]>> = {
  lint: [program('oxlint'), '--deny-warnings'],
  types: [process.execPath, 'scripts/types.mjs'],
  format: [program('oxfmt'), '--check'],
  knip: [program('knip'), '--no-progress'],
  docs: [process.execPath, 'scripts/docs.ts', '--check'],
}

const names = process.argv.slice(2)
for (const name of names) {
  if (Object.hasOwn(checks, name)) continue
  const known = Object.keys(checks)
  console.error(
    `There is no check "${name}"${didYouMean(name, known) || '.'} The checks are ${known.join(', ')}.`,
  )
  process.exit(2)
}

let failed = 0
const chosen = Object.entries(checks).filter(([name]) => names.length === 0 || names.includes(name))
for (const [name, [command, ...args]] of chosen) {
  const started = performance.now()
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: root, encoding: 'utf8' })
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  if (status !== 0) {
    failed++
    console.log(`${stdout ?? ''}${stderr ?? ''}${error?.message ?? ''}`.trimEnd())
  }
  console.log(`${name.padEnd(8)} ${status === 0 ? 'passes' : 'FAILS'} (${seconds} s)`)
}
console.log(`check: ${chosen.length - failed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
