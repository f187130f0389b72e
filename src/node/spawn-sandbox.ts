// Isolation by bubblewrap: a server sees the programs of this computer, read-only, its own home and what the operator names; nothing else of the disk, no other process.
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { basename, delimiter, dirname, isAbsolute, join, resolve, sep } from 'node:path'
import type { ProcessPlan } from '../ports/spawn.ts'
import { findCommand } from './spawn-words.ts'

/** Programs, libraries and what they need to know of the system; no secrets are kept there. */
const system = ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/opt', '/nix/store', '/snap', '/run/current-system', '/gnu/store']
const knowledge =
  'alternatives ca-certificates ca-certificates.conf chromium chromium.d default/locale fonts gai.conf group host.conf hosts hostname java-8-openjdk java-11-openjdk java-17-openjdk java-21-openjdk ld.so.cache ld.so.conf ld.so.conf.d locale.alias localtime login.defs magic magic.mime mime.types nsswitch.conf os-release pam.d passwd pki protocols resolv.conf services ssl terminfo timezone'.split(
    ' ',
  )

export type Isolation = { readonly program: string } | { readonly missing: string }

/** Whether bubblewrap is there and may be used: in some containers and on some systems user namespaces are closed. */
export const findBubblewrap = (path: string, platform: string = process.platform): Isolation => {
  if (platform !== 'linux') return { missing: 'bubblewrap exists for Linux only' }
  const found = findCommand('bwrap', path, '/')
  if (!('path' in found)) return { missing: 'bubblewrap is not installed (Debian and Ubuntu: apt install bubblewrap)' }
  const tried = spawnSync(found.path, ['--ro-bind', '/', '/', '--unshare-user', '--unshare-pid', '--unshare-net', '--proc', '/proc', '--dev', '/dev', '--die-with-parent', '/usr/bin/env'], { env: {}, timeout: 5000, encoding: 'utf8' })
  if (tried.status === 0) return { program: found.path }
  return { missing: `bubblewrap may not make namespaces here (${(tried.stderr ?? '').trim().split('\n')[0]?.slice(0, 200) ?? 'it did not answer'})` }
}

const within = (path: string, place: string): boolean => path === place || path.startsWith(place.endsWith(sep) ? place : place + sep)

const real = (path: string): string => {
  try {
    return realpathSync(path)
  } catch {
    return path
  }
}

/** The package a program or script belongs to: the nearest folder above with a `package.json`, or the folder it lies in; `node_modules` as a whole where it is in one. */
const packageOf = (file: string): string => {
  const parts = file.split(sep)
  const modules = parts.indexOf('node_modules')
  if (modules > 0) return parts.slice(0, modules + 1).join(sep)
  for (let at = dirname(file); at !== dirname(at); at = dirname(at)) if (existsSync(join(at, 'package.json')) || existsSync(join(at, 'pyproject.toml'))) return at
  return dirname(file)
}

/** Where an interpreter that lies outside the system's folders keeps what belongs to it: `<prefix>/bin/node` needs `<prefix>`. */
const prefixOf = (program: string): string => (basename(dirname(program)) === 'bin' ? dirname(dirname(program)) : packageOf(program))

/** The interpreter in the first line of a script (`#!/usr/bin/env node`), if it is one. */
const interpreterOf = (program: string, path: string): string | undefined => {
  try {
    const [, first = '', second = ''] = /^#!\s*(\S+)[ \t]*(?:-S\s*)?(\S*)/.exec(readFileSync(program, { encoding: 'latin1', flag: 'r' }).slice(0, 200)) ?? []
    if (basename(first) !== 'env') return first || undefined
    const found = findCommand(second, path, '/')
    return 'path' in found ? found.path : undefined
  } catch {
    return undefined
  }
}

export interface SandboxInput {
  readonly plan: ProcessPlan
  /** Absolute path of the program. */
  readonly program: string
  readonly path: string
  readonly home: string
  readonly cwd: string
  /** Places that must stay unseen whatever leads there. */
  readonly hidden: readonly string[]
}

/** What the process needs to read beside the system: its program, that program's interpreter, what its arguments and variables name, and its working directory. */
export const readablePlaces = ({ plan, program, path, cwd }: Omit<SandboxInput, 'home' | 'hidden'>): readonly string[] => {
  const places: string[] = []
  for (const file of [program, interpreterOf(real(program), path)]) {
    if (file === undefined) continue
    places.push(dirname(file), prefixOf(real(file)), packageOf(real(file)))
    if (dirname(file) !== dirname(real(file))) places.push(prefixOf(file))
  }
  for (const folder of path.split(delimiter)) if (isAbsolute(folder)) places.push(basename(dirname(folder)) === 'node_modules' ? dirname(folder) : folder)
  for (const arg of plan.args) {
    const file = isAbsolute(arg) ? arg : resolve(cwd, arg)
    const found = arg === '' || arg.startsWith('-') ? undefined : statSync(file, { throwIfNoEntry: false })
    if (found?.isFile()) places.push(packageOf(file), packageOf(real(file)))
    else if (found?.isDirectory() && isAbsolute(arg)) places.push(file)
  }
  // Certificates, configuration and key files are often named by a variable.
  for (const value of Object.values(plan.env)) if (isAbsolute(value) && existsSync(value)) places.push(value)
  places.push(cwd, ...plan.read.map((place) => resolve(place)))
  return places
}

/** Too much to show because one program lies in it. */
const isBroad = (place: string, hidden: readonly string[]): boolean =>
  ['/', '/home', '/root', '/etc', '/var', '/tmp', '/run', '/proc', '/sys', '/dev', '/srv', '/mnt', '/media', '/data'].includes(place) || /^\/home\/[^/]+(\/\.local)?$/.test(place) || hidden.some((secret) => within(secret, place) || within(place, secret))

/** The arguments of bubblewrap before the program's own. */
export const sandboxArguments = (input: SandboxInput): readonly string[] => {
  const { plan, home, cwd, hidden } = input
  const shown = [...system, ...knowledge.map((name) => `/etc/${name}`)].filter((place) => existsSync(place))
  const asked = new Set([cwd, ...plan.read.map((place) => resolve(place))])
  const more = [...new Set(readablePlaces(input))].filter((place) => place !== home && !shown.some((known) => within(place, known)) && (asked.has(place) || !isBroad(place, hidden)) && existsSync(place))
  // Folders before what lies in them, or the later mount would cover the earlier one.
  const binds = (flag: string, places: readonly string[]): readonly string[] => [...places].sort().flatMap((place) => [flag, place, place])
  return [
    '--die-with-parent',
    ...['--unshare-user', '--unshare-ipc', '--unshare-pid', '--unshare-uts', '--unshare-cgroup-try'],
    ...(plan.network ? [] : ['--unshare-net']),
    ...['--uid', '65534', '--gid', '65534', '--hostname', 'postern'],
    ...binds('--ro-bind', shown),
    ...['--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp', '--tmpfs', '/run/user'],
    ...binds('--ro-bind', more),
    ...binds('--bind', [home, ...plan.write.map((place) => resolve(place))]),
    // What is left is the memory that the mounts stand in.
    ...['--remount-ro', '/', '--chdir', cwd, '--'],
  ]
}
