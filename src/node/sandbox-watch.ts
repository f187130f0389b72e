// Notices that a file is not the one it was. A mask over a file ends when another is put in its place (rename(2)): whoever could then read it has to end.
import { type FSWatcher, statSync, watch } from 'node:fs'
import { basename, dirname } from 'node:path'

const inode = (file: string): bigint | undefined => statSync(file, { bigint: true, throwIfNoEntry: false })?.ino

/** Calls `replaced` once, as soon as one of the files is another or gone. Watches until the returned function is called. */
export const watchReplaced = (files: readonly string[], replaced: () => void): (() => void) => {
  const watchers: FSWatcher[] = []
  const stop = (): void => {
    for (const each of watchers.splice(0)) each.close()
  }
  for (const file of files) {
    const was = inode(file)
    const watcher = watch(dirname(file), { persistent: false }, (_, name) => {
      if (name !== basename(file) || inode(file) === was) return
      stop()
      replaced()
    })
    watcher.on('error', stop)
    watchers.push(watcher)
  }
  return stop
}
