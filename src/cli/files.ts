// Files that the command line reads: text of bounded size, and who else can read it.
import { readFileSync, statSync } from 'node:fs'

const most = 1_048_576

const reasons: Readonly<Record<string, string>> = {
  ENOENT: 'the file does not exist',
  ENOTDIR: 'the file does not exist',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EISDIR: 'it is a directory',
}

/** Why a file could not be read, in words. */
export const cannotRead = (error: unknown): string => {
  const { code = '' } = error as NodeJS.ErrnoException
  return reasons[code] ?? (error instanceof TypeError ? 'it is not UTF-8 text' : code || 'it cannot be read')
}

/** A text file, UTF-8 and of bounded size; throws what the file system or the decoder says. */
export const readText = (path: string): string => {
  if (statSync(path).size > most) throw Object.assign(new Error('too large'), { code: 'it is larger than 1 MiB' })
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(readFileSync(path))
}

/** Whether every account of this computer can read the file. */
export const isOpenToAll = (path: string): boolean => process.platform !== 'win32' && (statSync(path).mode & 0o004) !== 0
