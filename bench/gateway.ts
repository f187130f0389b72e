// Postern as a process of its own for a measurement: from this checkout, or from another one, with the
// defaults of that checkout.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, openSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { npm, root } from '../scripts/harness/peers.ts'
import { pause, type Place, type Running, start } from './machine.ts'

/** A checkout of Postern and what its rows are called. */
export interface Build {
  readonly name: string
  readonly path: string
  /** A module that is loaded before the gateway. */
  readonly first?: string
}

export const thisCheckout: Build = { name: 'Postern', path: root }

export interface Gateway {
  readonly origin: string
  readonly running: Running
}

/** What `npm start` of that checkout tells Node. */
const startFlags = (checkout: string): readonly string[] => {
  const { scripts } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as {
    scripts: { start: string }
  }
  return (/exec node (.*)bin\/postern\.mjs/.exec(scripts.start)?.[1] ?? '').split(' ').filter(Boolean)
}

/**
 * Starts `bin/postern.mjs`, which is where every checkout has it and which runs the sources; resolves when it
 * listens.
 */
export const startGateway = async (
  folder: string,
  config: object,
  { path, first }: Build = thisCheckout,
  where: Place = 'gateway',
): Promise<Gateway> => {
  const place = mkdtempSync(join(folder, 'gateway-'))
  const [file, log] = [join(place, 'config.yaml'), join(place, 'log')]
  writeFileSync(file, JSON.stringify(config))
  const profiles = process.env['BENCH_PROFILE']
  const profile = profiles === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profiles}`]
  const before = first === undefined ? [] : ['--import', first]
  const args = [
    ...startFlags(path),
    join(path, 'bin/postern.mjs'),
    '--state',
    join(place, 'state'),
    '--port',
    '0',
    '--config',
    file,
  ]
  const running = start(process.execPath, [...before, ...profile, ...args], {
    place: where,
    stdout: openSync(log, 'w'),
  })
  for (let tries = 0; tries < 150; tries++) {
    await pause(100)
    const origin = /"event":"listening","url":"([^"]+)"/.exec(readFileSync(log, 'utf8'))?.[1]
    if (origin !== undefined) return { origin, running }
  }
  throw new Error(`Postern did not start:\n${readFileSync(log, 'utf8')}${running.output()}`)
}

const git = (...args: readonly string[]): string =>
  execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim()

/**
 * Checks a commit out into a folder of its own, with the packages of its own lock file. The worktree is
 * removed when this process ends.
 */
export const checkOut = async (commit: string, folder: string): Promise<Build> => {
  const id = git('rev-parse', '--short', `${commit}^{commit}`)
  const path = join(folder, 'before')
  git('worktree', 'add', '--detach', '--quiet', path, id)
  process.once('exit', () => git('worktree', 'remove', '--force', path))
  const lockOf = (checkout: string): string => readFileSync(join(checkout, 'package-lock.json'), 'utf8')
  if (lockOf(path) === lockOf(root))
    symlinkSync(join(root, 'node_modules'), join(path, 'node_modules'), 'dir')
  else {
    console.error(`Installing the packages of ${id} …`)
    await npm(['ci', '--ignore-scripts', '--include=dev', '--include=optional'], path)
  }
  return { name: `before (${id})`, path }
}

/** This checkout with undici's `dispatch` in place of its own HTTP/1.1 client. */
export const onUndici: Build = {
  name: 'undici',
  path: root,
  first: new URL('./use-undici.ts', import.meta.url).href,
}

/** This checkout as it is, with the changes that are not committed. */
export const afterwards = (): Build => {
  const changed = git('status', '--porcelain') === '' ? '' : ' and changes'
  return { name: `after (${git('rev-parse', '--short', 'HEAD')}${changed})`, path: root }
}
