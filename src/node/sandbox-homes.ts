// Home directories of the people and services of this computer. A server is not shown one as a whole because a program lies in it.
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { within } from './sandbox-paths.ts'

/** Accounts of people begin here; those below are the system's own and `nobody`'s. */
const firstPerson = 1000
const nobody = 65_534
/** Fields that many accounts of the system name as their home, which hold programs. */
const shared = ['/', '/bin', '/sbin', '/usr', '/usr/bin', '/usr/sbin', '/usr/games', '/usr/local', '/opt', '/dev', '/proc', '/nonexistent']

const accounts = (): readonly string[] => {
  try {
    return readFileSync('/etc/passwd', 'utf8').split('\n')
  } catch {
    return []
  }
}

/** The homes of root, of people, and of the user that the gateway runs as. */
export const homeDirectories = (own: string = homedir()): readonly string[] => {
  const homes = new Set(['/root', own])
  for (const line of accounts()) {
    const [, , uid, , , home = ''] = line.split(':')
    if (Number(uid) >= firstPerson && Number(uid) !== nobody) homes.add(home)
  }
  return [...homes].filter((home) => home.startsWith('/') && !shared.includes(home.replace(/(?<=.)\/+$/, '')))
}

/** Whether a folder is somebody's home, or holds one. */
export const holdsHome = (folder: string, homes: readonly string[]): boolean => homes.some((home) => within(home, folder))
