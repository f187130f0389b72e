// Programs that some suites need and npm cannot bring: where they are, what they are called in Debian, and which suites wait for them.
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

/** A further program is one more row. `variable` names an environment variable that points at another copy. */
export const programs = [
  { name: 'chromium', path: '/usr/bin/chromium', package: 'chromium', variable: 'POSTERN_CHROMIUM', suites: 'tests in a browser' },
  { name: 'bwrap', path: '/usr/bin/bwrap', package: 'bubblewrap', variable: 'POSTERN_BWRAP', suites: 'tests of isolated servers' },
]

/** Absolute path of the program, or undefined when it is not on this machine. */
export const findProgram = (name, env = process.env) => {
  const program = programs.find((row) => row.name === name)
  if (!program) throw new RangeError(`no such program in scripts/system-programs.mjs: ${name}`)
  const places = [env[program.variable], program.path, ...(env.PATH ?? '').split(delimiter).map((folder) => folder && join(folder, program.name))]
  return places.find((place) => place && existsSync(place))
}

export const missingPrograms = (env = process.env) => programs.filter((program) => findProgram(program.name, env) === undefined)

/** True where a skipped suite is a failure. */
export const inCI = (env = process.env) => ![undefined, '', '0', 'false'].includes(env.CI)

/** The browser for tests: where it is, and what it needs besides. Undefined when this machine has none. */
export const findBrowser = (env = process.env) => {
  const path = findProgram('chromium', env)
  return path === undefined ? undefined : { path, args: [], env: {} }
}
