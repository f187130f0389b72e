// The Worker's code as wrangler uploads it, made once for all test files that ask for it and again when
// anything it is made of has changed.
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const ownCheckout = fileURLToPath(new URL('../..', import.meta.url))
const cache = join(ownCheckout, 'node_modules', '.cache', 'postern-worker')
const kept = 20
const inUseMs = 600_000

/** Nothing is sent anywhere, and no outside name is asked. */
export const wranglerEnv = {
  WRANGLER_SEND_METRICS: 'false',
  CLOUDFLARE_CF_FETCH_ENABLED: 'false',
  CI: 'true',
}

const stampOf = (entry: string, checkout: string): string => {
  const hash = createHash('sha256').update(`${checkout} ${entry}`)
  const add = (path: string): void => {
    const { mtimeMs, size } = statSync(path)
    hash.update(`${path} ${mtimeMs} ${size}\n`)
  }
  for (const folder of ['src', 'test/workers']) {
    if (!existsSync(join(checkout, folder))) continue
    for (const file of readdirSync(join(checkout, folder), { recursive: true, withFileTypes: true }))
      if (file.isFile()) add(join(file.parentPath, file.name))
  }
  for (const file of [entry, 'package.json', 'package-lock.json', 'wrangler.jsonc']) add(join(checkout, file))
  return hash.digest('hex').slice(0, 20)
}

/** The newest stay, and what another run may be about to start. */
const forgetOld = (): void => {
  const made = readdirSync(cache).map((name) => ({
    path: join(cache, name),
    at: statSync(join(cache, name), { throwIfNoEntry: false })?.mtimeMs ?? Infinity,
  }))
  for (const { path, at } of made.toSorted((one, other) => other.at - one.at).slice(kept))
    if (at < Date.now() - inUseMs) rmSync(path, { recursive: true, force: true })
}

/**
 * Builds `entry` (from the checkout) by `wrangler deploy --dry-run` with the wrangler.jsonc that is deployed;
 * answers the path of the one JavaScript file. Rejects with what wrangler printed.
 */
export const bundleWorker = async (entry: string, checkout = ownCheckout): Promise<string> => {
  const stamp = stampOf(entry, checkout)
  const folder = join(cache, stamp)
  const file = join(folder, `${basename(entry, '.ts')}.js`)
  if (existsSync(file)) return file
  mkdirSync(cache, { recursive: true })
  forgetOld()
  // Under a name of its own, then in place at once: another test file may be building the same.
  const draft = mkdtempSync(join(cache, 'draft-'))
  try {
    const wrangler = join(checkout, 'node_modules', 'wrangler', 'bin', 'wrangler.js')
    await promisify(execFile)(process.execPath, [wrangler, 'deploy', entry, '--dry-run', '--outdir', draft], {
      cwd: checkout,
      env: { ...process.env, ...wranglerEnv },
    })
    if (stampOf(entry, checkout) !== stamp) return await bundleWorker(entry, checkout)
    rmSync(join(draft, `${basename(entry, '.ts')}.js.map`), { force: true })
    if (!existsSync(file)) renameSync(draft, folder)
  } catch (error) {
    if (!existsSync(file)) throw error
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
  return file
}
