// Where the gateway of a state directory is at the moment, for commands beside it: a free port is known to nobody else.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config/schema.ts'

/** A service that no configuration file holds: the demo, or what `postern wrap` serves. */
export interface OwnService {
  readonly id: string
  readonly from: 'built in' | 'wrap'
  readonly command?: string
}

interface Running {
  readonly url: string
  readonly services: readonly OwnService[]
  readonly pid: number
  /** Epoch ms. */
  readonly since: number
}

const notesIn = (stateDir: string): string => join(stateDir, 'running')
const noteOf = (stateDir: string, pid: number): string => join(notesIn(stateDir), `${pid}.json`)

const read = (path: string): Running | undefined => {
  try {
    const { url, pid, since, services = [] } = JSON.parse(readFileSync(path, 'utf8')) as Partial<Running>
    return typeof url === 'string' && URL.canParse(url) && Number.isSafeInteger(pid) && Number.isFinite(since) ? { url, pid: pid as number, since: since as number, services: Array.isArray(services) ? services : [] } : undefined
  } catch {
    // Gone meanwhile, or written only half.
    return undefined
  }
}

const isAlive = ({ pid }: Running): boolean => {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Another user's process is alive all the same.
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

const notes = (stateDir: string): readonly Running[] => {
  try {
    return readdirSync(notesIn(stateDir)).flatMap((name) => read(join(notesIn(stateDir), name)) ?? [])
  } catch {
    // No gateway ever ran here.
    return []
  }
}

/** Notes where this process listens, and drops the notes of those that ended without a word; what it returns takes the note back. */
export const noteRunning = (stateDir: string, url: string, services: readonly OwnService[] = []): (() => void) => {
  try {
    for (const note of notes(stateDir)) if (!isAlive(note)) rmSync(noteOf(stateDir, note.pid), { force: true })
    mkdirSync(notesIn(stateDir), { recursive: true, mode: 0o700 })
    writeFileSync(noteOf(stateDir, process.pid), JSON.stringify({ url, pid: process.pid, since: Date.now(), services }), { mode: 0o600 })
  } catch {
    // A full disk keeps no gateway from serving; commands then name the configured port.
  }
  return () => rmSync(noteOf(stateDir, process.pid), { force: true })
}

const alive = (stateDir: string): readonly Running[] =>
  notes(stateDir)
    .filter(isAlive)
    .toSorted((a, b) => b.since - a.since)

/** Where gateways of this state directory listen now, the last that started first. */
export const runningAt = (stateDir: string): readonly string[] => [...new Set(alive(stateDir).map(({ url }) => url))]

/** What running gateways serve beside their configuration, each with the gateway's URL. */
export const ownServices = (stateDir: string): readonly (OwnService & { readonly at: string })[] => alive(stateDir).flatMap(({ url, services }) => services.map((service) => ({ ...service, at: url })))

/** The issuer of that gateway, whether it runs or will run; of several processes the last that started is named. Undefined when only a start will tell: the port is chosen then. */
export const issuerOf = ({ issuer, port }: Config, stateDir: string): string | undefined => {
  if (issuer !== undefined) return issuer
  const [latest] = runningAt(stateDir)
  if (latest !== undefined) return latest
  return port === 0 ? undefined : `http://localhost:${port}`
}
