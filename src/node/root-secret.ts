// The gateway's own root secret: made once, kept in the state directory for its owner's eyes only.
import { randomBytes } from 'node:crypto'
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Bytes of the configured secret. Any text of 32 characters or more is accepted; the key ring derives keys from it. */
const configured = (secret: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(secret, 'utf8'))

const read = (path: string): Uint8Array<ArrayBuffer> | undefined => {
  try {
    if ((statSync(path).mode & 0o077) !== 0) chmodSync(path, 0o600)
    const secret = Buffer.from(readFileSync(path, 'utf8').trim(), 'base64url')
    if (secret.length >= 32) return new Uint8Array(secret)
    throw new Error(`${path} does not hold a root secret. Restore it from your backup; without it, what was sealed with it cannot be opened.`)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

/**
 * Root secrets, newest first: the configured one and its predecessors, or the one in `<state>/root.key` (32 random bytes, mode 0600, made at the first start).
 * Two processes that start together agree: the file is created exclusively, the loser reads the winner's.
 */
export const rootSecrets = (stateDir: string, secret: string | undefined, previous: readonly string[]): readonly Uint8Array<ArrayBuffer>[] => {
  if (secret !== undefined) return [secret, ...previous].map(configured)
  const path = join(stateDir, 'root.key')
  const known = read(path)
  if (known) return [known, ...previous.map(configured)]
  try {
    writeFileSync(path, `${randomBytes(32).toString('base64url')}\n`, { mode: 0o600, flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return [read(path) as Uint8Array<ArrayBuffer>, ...previous.map(configured)]
}
