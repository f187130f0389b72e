// Where audit events are kept while the trail cannot be written, because its disk is full or fails: files in a directory
// elsewhere, which are read back in their order once the trail can be written again.
import {
  appendFileSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs'
import { join } from 'node:path'
import type { AuditBody, AuditRow } from '../ports/store.ts'
import type { AuditWriter } from '../stores/audit-append.ts'

/** Told when events begin to be kept there, and when all of them are in the trail. */
export interface SpillTold {
  readonly spill: string
  readonly why: string | undefined
}

export interface SpillOptions {
  readonly dir: string
  /** Of this writer: letters and digits. */
  readonly id: string
  readonly now: () => number
  /** Whether an error of the trail may pass. */
  readonly mayPass: (error: unknown) => boolean
  readonly say: (told: SpillTold) => void
  /** Of all files together. */
  readonly mostBytes?: number
}

type OpenWriter = AuditWriter & { close(now: number): void }

/** What is written to the trail in one commit. */
interface Commit {
  readonly rows: readonly AuditRow[]
  readonly subjects: readonly (readonly [hash: string, snapshot: string])[]
  readonly bodies: readonly AuditBody[]
}

const mostBytesHere = 268_435_456
/** A file is read back in one commit, so that a process that is killed writes at most one of them twice. */
const bytesOfFile = 4_194_304
const retryMs = 1_000
/** What another process has not touched for so long it has left behind. */
const leftMs = 60_000

const prefix = 'audit-spill-'

interface SpillFile {
  readonly path: string
  readonly name: string
  readonly size: number
  /** Epoch ms. */
  readonly touchedAt: number
}

const filesIn = (dir: string): readonly SpillFile[] =>
  readdirSync(dir)
    .filter((name) => name.startsWith(prefix))
    .flatMap((name) => {
      const path = join(dir, name)
      const stats = statSync(path, { throwIfNoEntry: false })
      return stats ? [{ path, name, size: stats.size, touchedAt: stats.mtimeMs }] : []
    })
    // Names begin with a time and a number, which end with nothing that sorts otherwise.
    .toSorted((one, other) => (one.name < other.name ? -1 : 1))

/** Text that was cut, by a full disk or the end of its process, is none. */
const commitOf = (text: string): readonly Commit[] => {
  try {
    return text === '' ? [] : [JSON.parse(text) as Commit]
  } catch {
    return []
  }
}

const appendFile = (writer: AuditWriter, path: string): void => {
  const commits = readFileSync(path, 'utf8').split('\n').flatMap(commitOf)
  if (commits.length === 0) return
  writer.append(
    commits.flatMap(({ rows }) => rows),
    new Map(commits.flatMap(({ subjects }) => subjects)),
    commits.flatMap(({ bodies }) => bodies),
  )
}

/** An error of the directory, and not of the trail. */
const isOfFiles = (error: unknown): boolean => error instanceof Error && 'syscall' in error

/** A directory that is away is tried again later. */
const withoutFiles = (work: () => void): void => {
  try {
    work()
  } catch (error) {
    if (!isOfFiles(error)) throw error
  }
}

/** The files of this writer and of writers that are gone. Throws where the directory cannot be made. */
const createFiles = ({ dir, id, now, mostBytes = mostBytesHere }: SpillOptions) => {
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  let count = 0
  let open: { readonly path: string; bytes: number } | undefined
  const isOwn = ({ name }: SpillFile): boolean => name.endsWith(`.${id}`)
  /** The next to be read back, which is nobody else's from now on. */
  const claim = (): string | undefined => {
    for (const file of filesIn(dir)) {
      if (isOwn(file)) return file.path
      const at = now()
      if (at - file.touchedAt < leftMs) continue
      const claimed = `${file.path}.${id}`
      try {
        // Before it has the new name, so that nobody takes it for left behind again.
        utimesSync(file.path, at / 1000, at / 1000)
        renameSync(file.path, claimed)
        return claimed
      } catch {
        // Somebody else was sooner.
      }
    }
    return undefined
  }
  return {
    claim,
    /** What is read back is not written to any more. */
    close(): void {
      open = undefined
    },
    /** Still somebody's. */
    touch(): void {
      const at = now() / 1000
      for (const file of filesIn(dir).filter(isOwn)) utimesSync(file.path, at, at)
    },
    /** Throws where there is no room. */
    write(commit: Commit): void {
      const text = `${JSON.stringify(commit)}\n`
      const bytes = Buffer.byteLength(text)
      if (filesIn(dir).reduce((sum, { size }) => sum + size, bytes) > mostBytes)
        throw new Error(`${dir} holds ${mostBytes} bytes of audit events`)
      if (!open || open.bytes + bytes > bytesOfFile) {
        const name = `${prefix}${String(now()).padStart(15, '0')}-${String(count++).padStart(6, '0')}.${id}`
        open = { path: join(dir, name), bytes: 0 }
      }
      appendFileSync(open.path, text, { mode: 0o600 })
      open.bytes += bytes
    },
  }
}

/** `read`: files that are in the trail and could not be removed. Throws where the trail cannot be written. */
const readFiles = (writer: AuditWriter, files: ReturnType<typeof createFiles>, read: Set<string>): void => {
  files.close()
  for (let path = files.claim(); path !== undefined; path = files.claim()) {
    if (!read.has(path)) appendFile(writer, path)
    read.add(path)
    rmSync(path, { force: true })
    read.delete(path)
  }
}

/** The writer, which keeps in files what it cannot write. Throws where the directory cannot be made. */
export const withSpill = (writer: OpenWriter, options: SpillOptions): OpenWriter => {
  const { dir, mayPass, say } = options
  const files = createFiles(options)
  const read = new Set<string>()
  let isSpilling = false
  let timer: NodeJS.Timeout | undefined
  /** Throws where the trail still cannot be written. */
  const readBack = (): void => {
    readFiles(writer, files, read)
    if (isSpilling) say({ spill: dir, why: undefined })
    isSpilling = false
  }
  const retry = (): void => {
    try {
      withoutFiles(() => {
        files.touch()
        readBack()
      })
    } catch (error) {
      if (!mayPass(error)) throw error
    }
    arm()
  }
  const arm = (): void => {
    clearTimeout(timer)
    timer = setTimeout(retry, isSpilling ? retryMs : leftMs).unref()
  }
  const spill = (commit: Commit, why: unknown): void => {
    try {
      files.write(commit)
    } catch {
      // Then they stay in memory, as without these files.
      throw why
    }
    if (isSpilling) return
    isSpilling = true
    say({ spill: dir, why: (why as Error).message })
    arm()
  }
  arm()
  return {
    ...writer,
    append(rows, subjects = new Map(), bodies = [], also) {
      // It is about what is kept in the trail itself, and can wait there.
      if (also) return writer.append(rows, subjects, bodies, also)
      try {
        // What came before is written before.
        if (isSpilling) withoutFiles(readBack)
        writer.append(rows, subjects, bodies)
      } catch (error) {
        if (!mayPass(error)) throw error
        spill({ rows, subjects: [...subjects], bodies }, error)
      }
    },
    close(now) {
      clearTimeout(timer)
      writer.close(now)
    },
  }
}
