// Where the gateway of a state directory is at the moment, for commands beside it: a free port is known to nobody else.
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config/schema.ts'

interface Running {
  readonly url: string
  readonly pid: number
}

const fileIn = (stateDir: string): string => join(stateDir, 'running.json')

const read = (stateDir: string): Running | undefined => {
  try {
    const { url, pid } = JSON.parse(readFileSync(fileIn(stateDir), 'utf8')) as Partial<Running>
    return typeof url === 'string' && URL.canParse(url) && Number.isSafeInteger(pid) ? { url, pid: pid as number } : undefined
  } catch {
    // None was written, or only half.
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

/** Notes where this process listens; what it returns takes the note back. Of several processes on one state directory the last that started is the one to name. */
export const noteRunning = (stateDir: string, url: string): (() => void) => {
  writeFileSync(fileIn(stateDir), JSON.stringify({ url, pid: process.pid }), { mode: 0o600 })
  return () => {
    if (read(stateDir)?.pid === process.pid) rmSync(fileIn(stateDir), { force: true })
  }
}

/** The issuer of that gateway, whether it runs or will run. Undefined when only its start will tell: the port is chosen then. */
export const issuerOf = ({ issuer, port }: Config, stateDir: string): string | undefined => {
  if (issuer !== undefined) return issuer
  const running = read(stateDir)
  if (running && isAlive(running)) return running.url
  return port === 0 ? undefined : `http://localhost:${port}`
}
