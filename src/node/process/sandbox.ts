// Isolation with bubblewrap: a server sees the system's programs (read-only), its own home and the paths that
// the operator names; no other files and no other processes.
import { spawnSync } from 'node:child_process'
import { type FSWatcher, existsSync, readFileSync, statSync, watch, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { basename, delimiter, dirname, isAbsolute, join, resolve, sep } from 'node:path'
import type { ProcessPlan } from '../../ports/runtime.ts'
import { findCommand } from './exit-reason.ts'
import { type Hidden, type Link, layMounts, resolvePath, within } from './sandbox-mounts.ts'

/** Programs, libraries and system files that they need; these contain no secrets. */
const system = [
  '/usr',
  '/bin',
  '/sbin',
  '/lib',
  '/lib32',
  '/lib64',
  '/libx32',
  '/opt',
  '/nix/store',
  '/snap',
  '/run/current-system',
  '/gnu/store',
]
const knowledge =
  'alternatives ca-certificates ca-certificates.conf chromium chromium.d default/locale fonts gai.conf group host.conf hosts hostname java-8-openjdk java-11-openjdk java-17-openjdk java-21-openjdk ld.so.cache ld.so.conf ld.so.conf.d locale.alias localtime login.defs magic magic.mime mime.types nsswitch.conf os-release pam.d passwd pki protocols resolv.conf services ssl terminfo timezone'.split(
    ' ',
  )

export type Isolation = { readonly program: string } | { readonly missing: string }

/** Finds bubblewrap and checks that it works: some containers and systems do not allow user namespaces. */
export const findBubblewrap = (path: string, platform: string = process.platform): Isolation => {
  if (platform !== 'linux') return { missing: 'bubblewrap is available on Linux only' }
  const found = findCommand('bwrap', path, '/')
  if (!('path' in found))
    return { missing: 'bubblewrap is not installed (Debian and Ubuntu: apt install bubblewrap)' }
  const tried = spawnSync(
    found.path,
    [
      '--ro-bind',
      '/',
      '/',
      '--unshare-user',
      '--unshare-pid',
      '--unshare-net',
      '--proc',
      '/proc',
      '--dev',
      '/dev',
      '--die-with-parent',
      '/usr/bin/env',
    ],
    { env: {}, timeout: 5000, encoding: 'utf8' },
  )
  if (tried.status === 0) return { program: found.path }
  return {
    missing: `bubblewrap cannot create namespaces here (${(tried.stderr ?? '').trim().split('\n')[0]?.slice(0, 200) ?? 'no output'})`,
  }
}

/** What no isolated server may see, whatever leads there. */
interface HiddenPaths {
  /** The state directory: keys, the database, and the homes of all stdio servers. */
  readonly stateDir: string
  /** The configuration and the files it names, `.env`; some may not exist. */
  readonly files: readonly string[]
}

interface SandboxInput {
  readonly plan: ProcessPlan
  /** Absolute path of the program. */
  readonly program: string
  readonly path: string
  /** Its own home, without symbolic links. */
  readonly home: string
  readonly cwd: string
  readonly secrets: HiddenPaths
}

export interface Sandbox {
  /** The arguments of bubblewrap before the program's own. */
  readonly args: readonly string[]
  /** What it would see without isolation; for the operator's log. */
  readonly masked: readonly string[]
  /** When one of these files is replaced, the process must end. */
  readonly watched: readonly string[]
}

/** Why a server cannot be isolated as configured: a path that it needs is hidden. */
interface Forbidden {
  readonly forbidden: string
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
const homeDirectories = (): readonly string[] => {
  const homes = new Set(['/root', homedir()])
  for (const line of accounts()) {
    const [, , uid, , , home = ''] = line.split(':')
    if (Number(uid) >= firstPerson && Number(uid) !== nobody) homes.add(home)
  }
  return [...homes].filter((home) => home.startsWith('/') && !shared.includes(home.replace(/(?<=.)\/+$/, '')))
}

/** Whether a folder is a home directory, or contains one. */
const containsHome = (folder: string, homes: readonly string[]): boolean =>
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

interface ReadablePathsInput extends Pick<SandboxInput, 'plan' | 'program' | 'path' | 'cwd'> {
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
const isSteered = (path: string, writable: readonly string[]): boolean => {
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
const readablePlaces = (input: ReadablePathsInput): readonly string[] => {
  const { plan, path, homes, writable } = input
  // Certificates, configuration and key files are often named by a variable.
  const named = Object.values(plan.env).filter((value) => isAbsolute(value))
  const wide = [...ofPath(path), ...named].filter((place) => !isBroad(resolvePath(place).real, homes))
  return [...new Set([...ofProgram(input), ...ofArguments(input), ...wide])].filter(
    (place) => existsSync(place) && !isSteered(place, writable),
  )
}

// What is hidden, and whether the server can work without it.

interface Known extends Hidden {
  /** Symbolic links on the way to hidden paths. */
  readonly links: readonly Link[]
}

const hiddenOf = ({ stateDir, files }: HiddenPaths): Known => {
  const state = resolvePath(stateDir)
  // A folder named .env is a Python virtual environment.
  const found = files.filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile())
  const known = found.map((file) => ({
    name: join(resolvePath(dirname(resolve(file))).real, basename(file)),
    ...resolvePath(file),
  }))
  return {
    folders: [state.real],
    files: [...new Set(known.flatMap(({ name, real }) => [name, real]))].filter(
      (file) => !within(file, state.real),
    ),
    links: [...state.links, ...known.flatMap(({ links }) => links)],
  }
}

const whatIs = (place: string, { stateDir }: HiddenPaths): string =>
  within(place, resolvePath(stateDir).real)
    ? `the gateway's state directory ${stateDir}`
    : "the gateway's configuration"

/** A hidden path that the operator named, or that the command needs. */
const conflict = (
  { plan, program, cwd, home, secrets }: SandboxInput,
  hidden: Known,
  write: readonly string[],
): string | undefined => {
  const isHidden = (place: string): boolean => {
    const { real } = resolvePath(place)
    return (
      !within(real, home) &&
      (hidden.files.includes(real) || hidden.folders.some((folder) => within(real, folder)))
    )
  }
  const needed: readonly (readonly [string, string])[] = [
    ['command', program],
    ['cwd', cwd],
    ...plan.args.flatMap((arg) =>
      arg.startsWith('-') || arg === '' || !statSync(resolve(cwd, arg), { throwIfNoEntry: false })?.isFile()
        ? []
        : [['args', resolve(cwd, arg)] as const],
    ),
    ...plan.read.map((place) => ['sandbox_read', resolve(place)] as const),
    ...plan.write.map((place) => ['sandbox_write', resolve(place)] as const),
  ]
  const found = needed.find(([, place]) => isHidden(place))
  if (found)
    return `${found[0]} refers to ${found[1]}, which isolation hides because it belongs to ${whatIs(resolvePath(found[1]).real, secrets)}: move it, or set \`sandbox: none\``
  if (write.includes('/'))
    return 'sandbox_write contains /: list only the folders that the command may change, or set `sandbox: none`'
  const missing = plan.write.find((place) => !existsSync(place))
  if (missing !== undefined)
    return `sandbox_write contains ${resolve(missing)}, which does not exist: create it`
  const link = hidden.links.find(({ at }) => write.some((place) => within(at, place)))
  return (
    link &&
    `sandbox_write would allow changes to ${link.at}, a symbolic link to ${whatIs(resolvePath(link.at).real, secrets)}: list a folder that does not contain the link`
  )
}

/** The real paths that may be changed, without those inside another one. */
const writablePlaces = (plan: ProcessPlan): readonly string[] => {
  const places = plan.write.map((place) => resolve(place)).filter((place) => existsSync(place))
  const outer = places.filter(
    (place) =>
      !places.some(
        (other) =>
          other !== place &&
          resolvePath(other).real !== resolvePath(place).real &&
          isSteered(place, [resolvePath(other).real]),
      ),
  )
  return [...new Set(outer.map((place) => resolvePath(place).real))]
}

/**
 * The arguments of bubblewrap for a server, or why it cannot be isolated as configured. Throws the file
 * system's error.
 */
export const layOutSandbox = (input: SandboxInput): Sandbox | Forbidden => {
  const { plan, program, path, home, cwd, secrets } = input
  const hidden = hiddenOf(secrets)
  const write = writablePlaces(plan)
  const forbidden = conflict(input, hidden, write)
  if (forbidden !== undefined) return { forbidden }
  const writable = [home, ...write]
  const homes = homeDirectories()
  const isSecret = (place: string): boolean =>
    hidden.files.includes(place) || hidden.folders.some((folder) => within(place, folder))
  const asked = [cwd, ...plan.read.map((place) => resolve(place))].filter(
    (place) => !isSteered(place, writable),
  )
  const read = [...readablePlaces({ plan, program, path, cwd, writable, homes }), ...asked].filter(
    (place) => !isSecret(resolvePath(place).real),
  )
  const empty = join(resolve(secrets.stateDir), 'processes', '.hidden')
  writeFileSync(empty, '')
  const shown = [...system, ...knowledge.map((name) => `/etc/${name}`)]
  const mounts = layMounts({ system: shown, homes, read, write, home, hidden, empty })
  return {
    masked: mounts.masked,
    watched: mounts.watched,
    args: [
      '--die-with-parent',
      ...['--unshare-user', '--unshare-ipc', '--unshare-pid', '--unshare-uts', '--unshare-cgroup-try'],
      ...(plan.network ? [] : ['--unshare-net']),
      ...['--uid', '65534', '--gid', '65534', '--hostname', 'postern'],
      ...mounts.args,
      // The root is only the memory that the mounts are in.
      ...['--remount-ro', '/', '--chdir', resolvePath(cwd).real, '--'],
    ],
  }
}

// Detects replaced files. A mask over a file ends when the file is replaced (rename(2)), and a process that
// could then read it must end.

const inode = (file: string): bigint | undefined =>
  statSync(file, { bigint: true, throwIfNoEntry: false })?.ino

/**
 * Calls `replaced` once, as soon as one of the files is replaced or removed. Watches until the returned
 * function is called.
 */
export const watchReplaced = (files: readonly string[], replaced: () => void): (() => void) => {
  const watchers: FSWatcher[] = []
  const stop = (): void => {
    for (const each of watchers.splice(0)) each.close()
  }
  for (const file of files) {
    const was = inode(file)
    const watcher = watch(dirname(file), { persistent: false }, (_, name) => {
      if (name !== basename(file) || inode(file) === was) return
      stop()
      replaced()
    })
    watcher.on('error', stop)
    watchers.push(watcher)
  }
  return stop
}
