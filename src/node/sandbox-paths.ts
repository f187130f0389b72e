// Paths as the kernel resolves them: what isolation shows or hides is decided by where a path really leads, and not by how it is spelled.
import { lstatSync, readlinkSync } from 'node:fs'
import { dirname, join, resolve, sep } from 'node:path'

export const within = (path: string, folder: string): boolean =>
  path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep)

export interface Link {
  readonly at: string
  readonly target: string
}

export interface Resolved {
  /** The path without symbolic links; of a path that does not exist, as far as it does. */
  readonly real: string
  /** The links on the way, in the order in which they are followed. */
  readonly links: readonly Link[]
}

/** As many as the kernel follows. */
const mostLinks = 40

const linkAt = (path: string): string | undefined => {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : undefined
  } catch {
    return undefined
  }
}

/** Follows every symbolic link of a path, and says which. */
export const resolvePath = (path: string): Resolved => {
  const links: Link[] = []
  const rest = resolve(path).split(sep).filter(Boolean)
  let at: string = sep
  while (rest.length > 0) {
    const next = join(at, rest.shift() as string)
    const target = links.length < mostLinks ? linkAt(next) : undefined
    if (target === undefined) {
      at = next
      continue
    }
    links.push({ at: next, target })
    const led = resolve(at, target).split(sep).filter(Boolean)
    rest.unshift(...led)
    at = sep
  }
  return { real: at, links }
}

/** Every folder between the two, without them, the outer one first. */
export const foldersBetween = (outer: string, inner: string): readonly string[] => {
  const folders: string[] = []
  for (let at = dirname(inner); at !== outer && within(at, outer); at = dirname(at)) folders.unshift(at)
  return folders
}
