// `postern backup` and `postern restore`: all records of the gateway in one file, and back.
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { Refusal } from '../kit/refusal.ts'
import { openBackup, openRootKey, sealRootKey, writeBackup } from '../node/backup.ts'
import { copyRecords } from '../stores/copy.ts'
import { copyKey, metaKey } from '../stores/meta.ts'
import type { Store } from '../ports/store.ts'
import { type AdminTarget, readHidden } from './admin.ts'
import { StartError, UsageError, count, packageVersion, print } from './output.ts'
import { issuerOf } from './state.ts'
import { createProgress, openConfigured, requireStopped } from './store-copy.ts'

const leastPassphrase = 12

/** The root key of the state directory, as it is there. */
const rootKeyOf = ({ config, stateDir }: AdminTarget): Buffer => {
  if (config.session_secret !== undefined)
    throw new UsageError(
      '--with-root-key: the secret is `session_secret` in the configuration. Keep it yourself, apart from the backup.',
    )
  if (config.keys.root.vault_transit !== undefined)
    throw new UsageError(
      '--with-root-key: the secret is encrypted by Vault, and the backup has it as it is stored. Keep the key of its transit engine.',
    )
  const path = join(stateDir, 'root.key')
  if (!existsSync(path)) throw new UsageError(`--with-root-key: there is no root.key in ${stateDir}.`)
  return readFileSync(path)
}

const sealedRootKey = async (target: AdminTarget) => {
  const rootKey = rootKeyOf(target)
  const passphrase = await readHidden('Passphrase', true)
  if (passphrase.length < leastPassphrase)
    throw new UsageError(`The passphrase has fewer than ${leastPassphrase} characters.`)
  return sealRootKey(rootKey, passphrase)
}

/** A refusal of the storage, or of the file, in one sentence. */
const failed = (error: unknown, what: string): unknown => {
  if (error instanceof Refusal) return new StartError('store.backup', `${what}: ${error.why}.`)
  const { code, path } = error as NodeJS.ErrnoException
  if (code === 'EEXIST') return new StartError('store.backup', `${what}: ${path} is there already.`)
  return code !== undefined && path !== undefined
    ? new StartError('store.backup', `${what}: cannot use ${path} (${code}).`)
    : error
}

export interface BackupOptions {
  readonly withRootKey?: true
}

export const backUp = async (
  target: AdminTarget,
  file: string,
  { withRootKey }: BackupOptions,
): Promise<void> => {
  const path = resolve(file)
  if (existsSync(path)) throw new UsageError(`${path} is there already. Choose another name.`)
  const rootKey = withRootKey && (await sealedRootKey(target))
  const progress = createProgress()
  try {
    const storage = await openConfigured(target)
    try {
      const header = {
        product: packageVersion(),
        created_at: new Date().toISOString(),
        issuer: issuerOf(target.config, target.stateDir),
        root_key: rootKey,
      }
      const { records: from } = storage
      const records = await writeBackup({ path, header, from, now: Date.now, onProgress: progress.tell })
      progress.end()
      if (target.json) return target.json({ file: path, records, root_key: rootKey !== undefined })
      print(
        `Wrote ${count(records, 'record')} to ${path}. ${
          rootKey
            ? 'The root key is in it, sealed with the passphrase.'
            : 'The secret that decrypts them is not in it: keep root.key or session_secret, too.'
        }`,
      )
    } finally {
      storage.close()
    }
  } catch (error) {
    progress.end()
    throw failed(error, 'The backup was not written')
  }
}

/** Everything but what the storage keeps about itself. Until the copy is complete no gateway starts on it. */
const empty = async (store: Store, fromWhere: string): Promise<void> => {
  await store.put(copyKey, JSON.stringify({ from: fromWhere, after: '' }))
  for (let after = ''; ;) {
    const page = await store.list('', { after, limit: 200 })
    const last = page.at(-1)
    if (!last) return
    const gone = page.filter(({ key }) => key !== copyKey && key !== metaKey)
    await Promise.all(gone.map(({ key }) => store.take(key)))
    after = last.key
  }
}

/** Writes it where it is missing. */
const restoreRootKey = (stateDir: string, rootKey: Buffer | undefined): void => {
  if (!rootKey) return
  const path = join(stateDir, 'root.key')
  if (!existsSync(path)) return writeFileSync(path, rootKey, { mode: 0o600, flag: 'wx' })
  if (!readFileSync(path).equals(rootKey))
    throw new StartError(
      'store.backup',
      `${path} is another key than the one in the backup. Move it away first.`,
    )
}

export interface RestoreOptions {
  readonly replace?: true
}

export const restore = async (
  target: AdminTarget,
  file: string,
  { replace }: RestoreOptions,
): Promise<void> => {
  const { config, stateDir } = target
  if (config.storage.type === 'memory') throw new UsageError('Records in memory cannot be restored.')
  requireStopped(stateDir)
  const progress = createProgress()
  try {
    const { header, sha256, ...from } = await openBackup(resolve(file), Date.now)
    const passphrase = header.root_key && (await readHidden('Passphrase', false))
    const rootKey = header.root_key && openRootKey(header.root_key, passphrase ?? '')
    if (header.root_key && !rootKey) throw new StartError('store.backup', 'The passphrase is wrong.')
    restoreRootKey(stateDir, rootKey)
    const { store, location, close } = await openConfigured(target)
    try {
      const fromWhere = `the backup of ${header.created_at} (${sha256.slice(0, 12)})`
      if (replace) await empty(store, fromWhere)
      const onProgress = progress.tell
      const records = await copyRecords({ from, fromWhere, to: store, toWhere: location, onProgress })
      progress.end()
      if (target.json) return target.json({ records, to: location, root_key: rootKey !== undefined })
      print(
        `Restored and compared ${count(records, 'record')} in ${location}.${
          rootKey
            ? ' The root key is in the state directory.'
            : ' Start the gateway with the secret of that time.'
        }`,
      )
    } finally {
      close()
    }
  } catch (error) {
    progress.end()
    throw failed(error, 'The backup was not restored')
  }
}
