// The gateway's files with secrets and data: access is limited to their owner, with a warning where it was
// not.
import { chmodSync, statSync } from 'node:fs'

/** The mode bits that let other users read or write. */
const others = 0o077
const mayRead = 0o044

export interface ExposedFile {
  readonly path: string
  /** In octal, as for `chmod`, e.g. `644`. */
  readonly mode: string
}

const modeOf = (path: string): number | undefined => {
  const found = process.platform === 'win32' ? undefined : statSync(path, { throwIfNoEntry: false })
  return found && found.mode & 0o777
}

/** The files that other users may read. Nothing is changed. */
export const exposedAmong = (paths: readonly string[]): readonly ExposedFile[] =>
  paths.flatMap((path) => {
    const mode = modeOf(path) ?? 0
    return (mode & mayRead) === 0 ? [] : [{ path, mode: mode.toString(8).padStart(3, '0') }]
  })

/**
 * Closes the files to other users, and returns those that others could read until now. Where the system does
 * not allow the change, they stay as they are.
 */
export const closeToOthers = (paths: readonly string[]): readonly ExposedFile[] => {
  const exposed = exposedAmong(paths)
  for (const path of paths) {
    if (((modeOf(path) ?? 0) & others) === 0) continue
    try {
      chmodSync(path, 0o600)
    } catch (error) {
      // Another owner, or a read-only file system. The warning tells the operator.
      const { code } = error as NodeJS.ErrnoException
      if (code !== 'EPERM' && code !== 'EROFS' && code !== 'EACCES') throw error
    }
  }
  return exposed
}

/** The files of a state directory that only their owner may read, with SQLite's journals. */
export const secretFiles = (stateDir: string): readonly string[] =>
  ['root.key', ...['postern.db', 'audit.db'].flatMap((name) => [name, `${name}-wal`, `${name}-shm`])].map(
    (name) => `${stateDir}/${name}`,
  )

/** One sentence for the operator: what is wrong, and what to type. */
export const exposedText = ({ path, mode }: ExposedFile): string =>
  `contains secrets and is readable by other users of this computer (mode ${mode}): run chmod 600 ${path}`

/** The same after `closeToOthers`. */
export const closedText = (file: ExposedFile): string =>
  exposedAmong([file.path]).length > 0
    ? `${file.path} ${exposedText(file)}`
    : `${file.path} contains secrets and was readable by other users of this computer (mode ${file.mode}). The mode is now 600. If somebody may have read it, replace the root secret.`
