// Paths as the kernel resolves them: what isolation shows or hides is decided by where a path really leads,
// and not by how it is spelled.
import { existsSync, lstatSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, delimiter, dirname, isAbsolute, join, resolve, sep } from 'node:path'
import type { ProcessPlan } from '../../ports/runtime.ts'
import { findCommand } from './exit-reason.ts'

export const within = (path: string, folder: string): boolean =>
  path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep)

export interface Link {
  readonly at: string
  readonly target: string
}

export interface Resolved {
  /** The path without symbolic links; of a path that does not exist, as far as it does. */
  readonly real: string
  /** The links on the way, in the order in which they are followed. */
  readonly links: readonly Link[]
}

/** As many as the kernel follows. */
const mostLinks = 40

const linkAt = (path: string): string | undefined => {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : undefined
  } catch {
    return undefined
  }
}

/** Follows every symbolic link of a path, and says which. */
export const resolvePath = (path: string): Resolved => {
  const links: Link[] = []
  const rest = resolve(path).split(sep).filter(Boolean)
  let at: string = sep
  while (rest.length > 0) {
    const next = join(at, rest.shift() as string)
    const target = links.length < mostLinks ? linkAt(next) : undefined
    if (target === undefined) {
      at = next
      continue
    }
    links.push({ at: next, target })
    const led = resolve(at, target).split(sep).filter(Boolean)
    rest.unshift(...led)
    at = sep
  }
  return { real: at, links }
}

/** Every folder between the two, without them, the outer one first. */
export const foldersBetween = (outer: string, inner: string): readonly string[] => {
  const folders: string[] = []
  for (let at = dirname(inner); at !== outer && within(at, outer); at = dirname(at)) folders.unshift(at)
  return folders
}

// Home directories of the people and services of this computer. A server is not shown one as a whole because
// a program lies in it.

/** Accounts of people begin here; those below are the system's own and `nobody`'s. */
const firstPerson = 1000
const nobody = 65_534
/** Fields that many accounts of the system name as their home, which hold programs. */
const shared = [
  '/',
  '/bin',
  '/sbin',
  '/usr',
  '/usr/bin',
  '/usr/sbin',
  '/usr/games',
  '/usr/local',
  '/opt',
  '/dev',
  '/proc',
  '/nonexistent',
]

const accounts = (): readonly string[] => {
  try {
    return readFileSync('/etc/passwd', 'utf8').split('\n')
  } catch {
    return []
  }
}

/** The homes of root, of people, and of the user that the gateway runs as. */
export const homeDirectories = (own: string = homedir()): readonly string[] => {
  const homes = new Set(['/root', own])
  for (const line of accounts()) {
    const [, , uid, , , home = ''] = line.split(':')
    if (Number(uid) >= firstPerson && Number(uid) !== nobody) homes.add(home)
  }
  return [...homes].filter((home) => home.startsWith('/') && !shared.includes(home.replace(/(?<=.)\/+$/, '')))
}

/** Whether a folder is a home directory, or contains one. */
export const containsHome = (folder: string, homes: readonly string[]): boolean =>
  homes.some((home) => within(home, folder))

// What an isolated server needs to read apart from the system: its program, the program's interpreter, and
// the paths in its arguments and variables.

/**
 * The package of a program or script: the nearest folder above with a `package.json`, or its own folder; the
 * whole `node_modules` where it is in one.
 */
const packageOf = (file: string): string => {
  const parts = file.split(sep)
  const modules = parts.indexOf('node_modules')
  if (modules > 0) return parts.slice(0, modules + 1).join(sep)
  for (let at = dirname(file); at !== dirname(at); at = dirname(at)) {
    if (existsSync(join(at, 'package.json')) || existsSync(join(at, 'pyproject.toml'))) return at
  }
  return dirname(file)
}

/** The installation of an interpreter outside the system's folders: `<prefix>/bin/node` needs `<prefix>`. */
const prefixOf = (program: string): string =>
  basename(dirname(program)) === 'bin' ? dirname(dirname(program)) : packageOf(program)

/** The interpreter in the first line of a script (`#!/usr/bin/env node`), if it is one. */
const interpreterOf = (program: string, path: string): string | undefined => {
  try {
    const [, first = '', second = ''] =
      /^#!\s*(\S+)[ \t]*(?:-S\s*)?(\S*)/.exec(
        readFileSync(program, { encoding: 'latin1', flag: 'r' }).slice(0, 200),
      ) ?? []
    if (basename(first) !== 'env') return first || undefined
    const found = findCommand(second, path, '/')
    return 'path' in found ? found.path : undefined
  } catch {
    return undefined
  }
}

export interface ReadablePathsInput {
  readonly plan: ProcessPlan
  /** Absolute path of the program. */
  readonly program: string
  readonly path: string
  readonly cwd: string
  /**
   * What the server itself may change. Links in there are not followed, because the server could have made
   * them.
   */
  readonly writable: readonly string[]
  /** Home directories of this computer. */
  readonly homes: readonly string[]
}

const broad = new Set(
  '/ /home /root /etc /var /var/lib /tmp /run /proc /sys /dev /srv /mnt /media /data /usr /opt /snap'.split(
    ' ',
  ),
)

/** Too wide to be visible because of one program in it. */
const isBroad = (place: string, homes: readonly string[]): boolean =>
  broad.has(place) ||
  containsHome(place, homes) ||
  homes.some((home) => ['.local', '.config', '.cache'].some((name) => place === join(home, name)))

/** Whether the server could have changed where this path leads. */
export const isSteered = (path: string, writable: readonly string[]): boolean => {
  const { real, links } = resolvePath(path)
  return [resolve(path), real, ...links.map(({ at }) => at)].some((each) =>
    writable.some((folder) => within(each, folder)),
  )
}

/**
 * The widest path around a file that may be visible: its package, its folder, or the file and the modules
 * beside it.
 */
const around = (file: string, homes: readonly string[]): readonly string[] => {
  const folder = [packageOf(file), dirname(file)].find((place) => !isBroad(place, homes))
  return folder === undefined
    ? [file, ...['package.json', 'node_modules'].map((name) => join(dirname(file), name))]
    : [folder]
}

const ofProgram = ({ program, path, homes, writable }: ReadablePathsInput): readonly string[] => {
  if (isSteered(program, writable)) return []
  const { real } = resolvePath(program)
  return [program, interpreterOf(real, path)].flatMap((file) => {
    if (file === undefined || isSteered(file, writable)) return []
    const { real: where } = resolvePath(file)
    const more = dirname(file) === dirname(where) ? [] : [prefixOf(file)]
    return [
      file,
      ...around(where, homes),
      ...[dirname(file), prefixOf(where), ...more].filter((place) => !isBroad(place, homes)),
    ]
  })
}

const ofArguments = ({ plan, cwd, homes, writable }: ReadablePathsInput): readonly string[] =>
  plan.args.flatMap((arg) => {
    const file = isAbsolute(arg) ? arg : resolve(cwd, arg)
    const found =
      arg === '' || arg.startsWith('-') || isSteered(file, writable)
        ? undefined
        : statSync(file, { throwIfNoEntry: false })
    if (found?.isFile()) return [file, ...around(file, homes), ...around(resolvePath(file).real, homes)]
    return found?.isDirectory() && isAbsolute(arg) && !isBroad(resolvePath(file).real, homes) ? [file] : []
  })

const ofPath = (path: string): readonly string[] =>
  path
    .split(delimiter)
    .filter(isAbsolute)
    .map((folder) => (basename(dirname(folder)) === 'node_modules' ? dirname(folder) : folder))

/**
 * Paths that the server needs, without those that the operator named. None of them is as wide as a home
 * directory.
 */
export const readablePlaces = (input: ReadablePathsInput): readonly string[] => {
  const { plan, path, homes, writable } = input
  // Certificates, configuration and key files are often named by a variable.
  const named = Object.values(plan.env).filter((value) => isAbsolute(value))
  const wide = [...ofPath(path), ...named].filter((place) => !isBroad(resolvePath(place).real, homes))
  return [...new Set([...ofProgram(input), ...ofArguments(input), ...wide])].filter(
    (place) => existsSync(place) && !isSteered(place, writable),
  )
}
