// The gateway's own root secret: made once, kept in the state directory for its owner's eyes only.
import { randomBytes } from 'node:crypto'
import { closeSync, fsyncSync, linkSync, openSync, readFileSync, renameSync, unlinkSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { closeToOthers } from './file-modes.ts'

/** Bytes of the configured secret. Any text of 32 characters or more is accepted; the key ring derives keys from it. */
const configured = (secret: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(secret, 'utf8'))

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code

const read = (path: string): Uint8Array<ArrayBuffer> | undefined => {
  try {
    closeToOthers([path])
    const secret = Buffer.from(readFileSync(path, 'utf8').trim(), 'base64url')
    if (secret.length >= 32) return new Uint8Array(secret)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
  throw Object.assign(new Error(`${path} does not contain a root secret. Restore it from your backup: without it, stored data cannot be decrypted.`), { code: 'ERR_ROOT_SECRET', path })
}

/** Content and name are on the disk when this returns: what is sealed from here on must never outlive its key. */
const sync = (path: string, flags: string, text?: string): void => {
  const file = openSync(path, flags, 0o600)
  try {
    if (text !== undefined) writeSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}

/** A name appears with its whole content or not at all, however this process ends; of several that try one is first. */
const create = (path: string): void => {
  const draft = `${path}.${randomBytes(6).toString('hex')}`
  sync(draft, 'wx', `${randomBytes(32).toString('base64url')}\n`)
  try {
    linkSync(draft, path)
    unlinkSync(draft)
  } catch (error) {
    // A file system without hard links: there, two first starts in the same moment are not told apart.
    if (codeOf(error) === 'EEXIST') unlinkSync(draft)
    else renameSync(draft, path)
  }
  if (process.platform !== 'win32') sync(dirname(path), 'r')
}

/** The file's secret, where a configuration has taken its place: what it sealed still opens, until it is deleted. */
const superseded = (path: string): readonly Uint8Array<ArrayBuffer>[] => {
  try {
    const secret = read(path)
    return secret ? [secret] : []
  } catch (error) {
    if (codeOf(error) === 'ERR_ROOT_SECRET') return []
    throw error
  }
}

/**
 * Root secrets, newest first: the configured one and its predecessors, then the one in `<state>/root.key` (32 random bytes, mode 0600), which is made at the first start
 * without a configured one. Two processes that start together agree on one. `make: false`: something was sealed already, so a new one would be of no use; without
 * a secret the list is empty then.
 */
export const rootSecrets = (stateDir: string, secret: string | undefined, previous: readonly string[], make = true): readonly Uint8Array<ArrayBuffer>[] => {
  const path = join(stateDir, 'root.key')
  if (secret !== undefined) return [...[secret, ...previous].map(configured), ...superseded(path)]
  const known = read(path)
  if (known) return [known, ...previous.map(configured)]
  if (!make) return previous.map(configured)
  create(path)
  return [read(path) as Uint8Array<ArrayBuffer>, ...previous.map(configured)]
}
