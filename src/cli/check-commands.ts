// What can be seen of a service's command without starting it: whether there is such a program, and such a folder.
import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import type { Environment } from '../config/environment-names.ts'
import { type Fault, printable } from '../config/fault.ts'
import type { Sources } from '../config/load.ts'
import type { Config } from '../config/schema.ts'
import { wordsOf } from '../config/words.ts'
import { findCommand } from '../node/spawn-words.ts'

interface Looked {
  readonly config: Config
  readonly sources: Sources
  readonly env: Environment
}

const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true

/** The other words are not repeated: people put keys among them. */
const wholeLine = (command: string): string => `contains a whole command line, but no shell is used: set \`command: ${printable(wordsOf(command)[0] ?? '')}\` and list the other words in \`args\``

/** The commands of the configuration that cannot be started on this computer as it is now. `platform` as Node names it. */
export const checkCommands = ({ config, sources, env }: Looked, platform: string = process.platform): readonly Fault[] => {
  const unusable: Fault[] = []
  const suffixes = platform === 'win32' ? ['', ...(env['PATHEXT'] ?? '.EXE;.CMD;.BAT').split(';')] : ['']
  for (const [id, { command, cwd, env: own }] of Object.entries(config.mcp_services)) {
    if (command === undefined) continue
    const told = (key: string, what: string): void => void unusable.push({ key: `mcp_services.${id}.${key}`, origin: sources[`mcp_services.${id}.${key}`] ?? { from: 'default' }, what })
    const place = cwd === undefined ? undefined : resolve(cwd)
    if (place !== undefined && !isFolder(place)) told('cwd', `folder ${place} does not exist${cwd?.startsWith('~') ? '; ~ is not expanded' : ''}`)
    // A command without a folder of its own runs in a home that is made for it, where a relative path leads nowhere.
    const found = findCommand(command, own['PATH'] ?? env['PATH'] ?? '', place ?? '/', suffixes)
    if ('path' in found) continue
    const [first = ''] = wordsOf(command)
    const path = /^\S*[/\\]/.test(command)
    // A path with a space in it may be one that is not there (C:\Program Files\…); any other word with a space is a line.
    const line = first !== command.trim() && (!path || 'path' in findCommand(first, own['PATH'] ?? env['PATH'] ?? '', place ?? '/', suffixes))
    told('command', line ? wholeLine(command) : found.end.why)
  }
  return unusable
}
