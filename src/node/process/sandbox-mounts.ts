// The file system of an isolated server: mounts of what it may see at the real paths, the links that lead
// there, and masks over what is hidden.
import { existsSync, lstatSync, readdirSync, readlinkSync } from 'node:fs'
import { dirname, join, resolve, sep } from 'node:path'

// Paths as the kernel resolves them: what isolation shows or hides is decided by where a path really leads,
// and not by how it is spelled.

export const within = (path: string, folder: string): boolean =>
  path === folder || path.startsWith(folder.endsWith(sep) ? folder : folder + sep)

export interface Link {
  readonly at: string
  readonly target: string
}

interface Resolved {
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
const foldersBetween = (outer: string, inner: string): readonly string[] => {
  const folders: string[] = []
  for (let at = dirname(inner); at !== outer && within(at, outer); at = dirname(at)) folders.unshift(at)
  return folders
}

// The mounts.

interface WantedMounts {
  /** Programs and libraries of the system. */
  readonly system: readonly string[]
  /** Home directories: only what is named is visible in them. */
  readonly homes: readonly string[]
  /** Further paths it may read. */
  readonly read: readonly string[]
  /** Paths it may change; real paths. */
  readonly write: readonly string[]
  /** The server's own home, a real path. It may be in a hidden folder. */
  readonly home: string
  readonly hidden: Hidden
  /** An empty file that is mounted over hidden ones. */
  readonly empty: string
}

/** What no server may see, wherever it is; real paths. */
export interface Hidden {
  readonly folders: readonly string[]
  readonly files: readonly string[]
}

interface Mounts {
  /** Arguments of bubblewrap. */
  readonly args: readonly string[]
  /** What would be visible without the masks. */
  readonly masked: readonly string[]
  /** Hidden files in folders that the server may change: an editor that replaces one removes its mask. */
  readonly watched: readonly string[]
}

/** Folders with more entries are not mounted entry by entry. */
const mostEntries = 500
const special = ['/proc', '/dev', '/sys']

interface Draft {
  readonly args: string[]
  /** Real paths, in the order in which they are mounted. */
  readonly shown: string[]
  readonly links: Map<string, string>
  /** Folders that were put together without their hidden files. */
  readonly rebuilt: Set<string>
  readonly masks: string[]
  readonly masked: Set<string>
  readonly watched: string[]
}

const shows = ({ shown, masks }: Draft, path: string): boolean =>
  shown.some((place) => within(path, place)) &&
  !masks.some(
    (mask) => within(path, mask) && !shown.some((place) => within(place, mask) && within(path, place)),
  )

const bindAll = (draft: Draft, flag: '--ro-bind' | '--bind', places: readonly string[]): void => {
  const links: Link[] = []
  const reals = places.flatMap((place) => {
    const found = resolvePath(place)
    links.push(...found.links)
    return existsSync(found.real) && !special.some((mount) => within(found.real, mount)) ? [found.real] : []
  })
  // Folders before their contents, or the later mount would cover the earlier one.
  for (const real of [...new Set(reals)].sort()) {
    if (flag === '--ro-bind' && (draft.rebuilt.has(real) || shows(draft, real))) continue
    draft.args.push(flag, real, real)
    draft.shown.push(real)
  }
  for (const { at, target } of links) {
    if (draft.links.has(at) || special.some((mount) => within(at, mount)) || shows(draft, dirname(at)))
      continue
    draft.links.set(at, target)
    draft.args.push('--symlink', target, at)
  }
}

/**
 * A readable folder with hidden files is mounted entry by entry, without them. A mount over such a file is
 * not enough: it ends when an editor replaces the file (rename(2)), and the new file would be visible.
 */
const withoutFiles = (draft: Draft, folder: string, { files, folders }: Hidden): void => {
  const entries = readdirSync(folder).map((name) => join(folder, name))
  const kept = entries.filter((entry) => !files.includes(entry) && !folders.includes(entry))
  draft.rebuilt.add(folder)
  for (const file of files) if (dirname(file) === folder) draft.masked.add(file)
  draft.args.push('--tmpfs', folder)
  for (const entry of kept) {
    const target = linkAt(entry)
    draft.args.push(...(target === undefined ? ['--ro-bind', entry, entry] : ['--symlink', target, entry]))
  }
  draft.masks.push(folder)
  draft.shown.push(...kept)
}

const hideFiles = (
  draft: Draft,
  { hidden, write, empty }: WantedMounts,
  later: readonly string[] = [],
): void => {
  for (const file of hidden.files) {
    const folder = dirname(file)
    if (![...later, ...write].every((place) => !within(file, place)) || !shows(draft, file)) continue
    draft.masked.add(file)
    if (folder !== '/' && readdirSync(folder).length <= mostEntries) withoutFiles(draft, folder, hidden)
    else if (linkAt(file) === undefined) draft.args.push('--ro-bind', empty, file)
  }
}

/** A folder on the way to what is hidden is pinned: moved aside, it would leave its name free for another. */
const pin = (draft: Draft, { write, hidden }: WantedMounts): void => {
  const pinned = new Set(
    write.flatMap((place) =>
      [...hidden.folders, ...hidden.files].flatMap((secret) =>
        within(secret, place) ? foldersBetween(place, secret) : [],
      ),
    ),
  )
  for (const folder of [...pinned].sort()) if (existsSync(folder)) draft.args.push('--bind', folder, folder)
}

const maskWritable = (draft: Draft, { write, hidden, empty }: WantedMounts): void => {
  for (const file of hidden.files) {
    if (!write.some((place) => within(file, place))) continue
    draft.args.push('--ro-bind', empty, file)
    draft.masked.add(file)
    draft.watched.push(file)
  }
}

const maskFolders = (draft: Draft, folders: readonly string[]): void => {
  for (const folder of folders) {
    if (!draft.shown.some((place) => within(folder, place)) || !existsSync(folder)) continue
    draft.args.push('--tmpfs', folder)
    draft.masks.push(folder)
    draft.masked.add(folder)
  }
}

/** Lays the mounts out. Nothing of what is hidden is under `read` or `write` itself. */
export const layMounts = (wanted: WantedMounts): Mounts => {
  const { system, read, write, home, hidden } = wanted
  const homes = wanted.homes.map((folder) => resolvePath(folder).real).filter((folder) => existsSync(folder))
  const draft: Draft = {
    args: [],
    shown: [],
    links: new Map(),
    rebuilt: new Set(),
    masks: [],
    masked: new Set(),
    watched: [],
  }
  // The root as a whole comes before what is mounted into it.
  bindAll(draft, '--ro-bind', [...read.filter((place) => resolvePath(place).real === '/'), ...system])
  draft.args.push('--proc', '/proc', '--dev', '/dev', '--tmpfs', '/tmp', '--tmpfs', '/run/user')
  hideFiles(draft, wanted, homes)
  for (const folder of homes.filter((place) => shows(draft, place))) {
    draft.args.push('--tmpfs', folder)
    draft.masks.push(folder)
  }
  bindAll(draft, '--ro-bind', read)
  hideFiles(draft, wanted)
  bindAll(draft, '--bind', write)
  pin(draft, wanted)
  maskWritable(draft, wanted)
  maskFolders(draft, hidden.folders)
  draft.args.push('--bind', home, home)
  // What is left of masks, and of the root, is memory: nothing is to be kept there.
  for (const mask of new Set(draft.masks)) draft.args.push('--remount-ro', mask)
  return { args: draft.args, masked: [...draft.masked], watched: draft.watched }
}
