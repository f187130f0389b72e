// Postern as people get it: packed, and installed from the tarball into an empty folder.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { npm, root } from './peers.ts'

export interface Installed {
  /** How to start what was installed. */
  readonly command: readonly [program: string, ...args: string[]]
  readonly remove: () => void
}

export const installPackage = async (): Promise<Installed> => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-package-'))
  await npm(['pack', '--pack-destination', folder], root)
  const [tarball] = readdirSync(folder).filter((name) => name.endsWith('.tgz'))
  if (tarball === undefined) throw new Error('npm pack wrote no tarball.')
  writeFileSync(join(folder, 'package.json'), '{ "private": true }\n')
  await npm(['install', join(folder, tarball)], folder)
  return {
    command: [process.execPath, join(folder, 'node_modules/postern/bin/postern.mjs')],
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}
