// Programs that some suites need and npm cannot bring: where they are, what they are called in Debian, and
// which suites wait for them.
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/**
 * A further program is one more row. `variable` names an environment variable that points at another copy.
 */
export const programs = [
  {
    name: 'chromium',
    path: '/usr/bin/chromium',
    package: 'chromium',
    variable: 'POSTERN_CHROMIUM',
    suites: 'tests in a browser',
  },
  {
    name: 'bwrap',
    path: '/usr/bin/bwrap',
    package: 'bubblewrap',
    variable: 'POSTERN_BWRAP',
    suites: 'tests of isolated servers',
  },
  {
    name: 'nginx',
    path: '/usr/sbin/nginx',
    package: 'nginx-light',
    variable: 'POSTERN_NGINX',
    suites: 'tests behind nginx',
  },
  {
    name: 'caddy',
    path: '/usr/bin/caddy',
    package: 'caddy',
    variable: 'POSTERN_CADDY',
    suites: 'tests behind Caddy',
  },
  {
    name: 'redis-server',
    path: '/usr/bin/redis-server',
    package: 'redis-server',
    variable: 'POSTERN_REDIS_SERVER',
    suites: 'tests on Redis',
  },
  {
    name: 'postgres',
    // Debian keeps each version in a folder of its own.
    path: '/usr/lib/postgresql/*/bin/postgres',
    package: 'postgresql',
    variable: 'POSTERN_POSTGRES',
    suites: 'tests on PostgreSQL',
  },
]

/** The paths that a row means: a star stands for the name of one folder, the highest first. */
const placesOf = (path) => {
  const [before, after] = path.split('*')
  if (after === undefined) return [path]
  const names = existsSync(before) ? readdirSync(before) : []
  return names.toSorted((a, b) => Number(b) - Number(a)).map((name) => `${before}${name}${after}`)
}

/**
 * Absolute path of the program, or undefined when it is not on this machine. A variable that is set says
 * where alone.
 */
export const findProgram = (name, env = process.env) => {
  const program = programs.find((row) => row.name === name)
  if (!program) throw new RangeError(`no such program in scripts/system-programs.mjs: ${name}`)
  const named = env[program.variable]
  const inPath = (env.PATH ?? '').split(delimiter).map((folder) => folder && join(folder, program.name))
  return (named ? [named] : [...placesOf(program.path), ...inPath]).find(
    (place) => place && existsSync(place),
  )
}

const isThere = ({ name }, env) =>
  (name === 'chromium' ? findBrowser(env) : findProgram(name, env)) !== undefined

export const missingPrograms = (env = process.env) => programs.filter((program) => !isThere(program, env))

/** True where a skipped suite is a failure. */
export const inCI = (env = process.env) => ![undefined, '', '0', 'false'].includes(env.CI)

/** How to start the browser that scripts/bootstrap.mjs fetched, written by peers/chromium/unpack.mjs. */
export const fetchedBrowser = fileURLToPath(
  new URL('../peers/chromium/node_modules/.browser.json', import.meta.url),
)

const fetched = () => {
  try {
    const browser = JSON.parse(readFileSync(fetchedBrowser, 'utf8'))
    return existsSync(browser.path) ? browser : undefined
  } catch {
    return undefined
  }
}

/** The browser for tests: this machine's own, else the fetched one. Undefined when there is neither. */
export const findBrowser = (env = process.env) => {
  const path = findProgram('chromium', env)
  if (path !== undefined) return { path, args: [], env: {} }
  return env.POSTERN_CHROMIUM ? undefined : fetched()
}
