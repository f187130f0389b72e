// Heavy test peers live in folders of their own with a lock file each, installed when a harness first needs
// them.
import { existsSync, readFileSync, realpathSync, writeFileSync } from 'node:fs'
import { createHash } from 'node:crypto'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { run } from './process.ts'

export const root = fileURLToPath(new URL('../..', import.meta.url))

/**
 * The npm program as a script for this very Node: which packages npm picks depends on the Node that runs it.
 */
const npmScript = (): string => {
  const given = process.env['npm_execpath']
  if (given !== undefined && /npm-cli\.c?js$/.test(given)) return given
  for (const folder of (process.env['PATH'] ?? '').split(delimiter)) {
    const link = join(folder, 'npm')
    if (existsSync(link)) return realpathSync(link)
  }
  throw new Error('npm was not found on the PATH.')
}

export const npm = (args: readonly string[], cwd: string, timeoutMs = 600_000) =>
  run(process.execPath, {
    args: [npmScript(), ...args, '--no-audit', '--no-fund', '--no-update-notifier'],
    cwd,
    // What `npm run` set for us would be read as configuration.
    env: Object.fromEntries(
      Object.entries(process.env).filter(
        ([name]) => !name.startsWith('npm_') && name !== 'NODE_ENV' && name !== 'NODE_OPTIONS',
      ),
    ),
    timeoutMs,
  })

/**
 * The folder of a peer, installed exactly as its lock file says; a finished install is known by the lock's
 * digest.
 */
export const ensurePeer = async (
  name: string,
  { scripts = false }: { readonly scripts?: boolean } = {},
): Promise<string> => {
  const folder = join(root, 'peers', name)
  const digest = createHash('sha256')
    .update(readFileSync(join(folder, 'package-lock.json')))
    .digest('hex')
  const marker = join(folder, 'node_modules', '.installed')
  if (existsSync(marker) && readFileSync(marker, 'utf8') === digest) return folder
  console.error(`Installing peers/${name} (once) …`)
  await npm(['ci', ...(scripts ? [] : ['--ignore-scripts'])], folder)
  writeFileSync(marker, digest)
  return folder
}
