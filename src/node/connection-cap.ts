// How many connections the gateway takes: as many as it can serve with the files this process may have open.
import { readFileSync } from 'node:fs'

/** More than any gateway of one process has use for. */
const most = 20_000
const least = 64
/** The database, the log, upstream connections that wait for their next call. */
const kept = 400

/** From what the system says of the process (proc_pid_limits(5)); a proxied call needs two files, the caller's connection and the upstream's. */
export const capFor = (limits: string): number => {
  const [, files] = /^Max open files\s+(\d+)/m.exec(limits) ?? []
  return files === undefined ? most : Math.max(least, Math.min(most, Math.floor((Number(files) - kept) / 2)))
}

/** Without a cap of its own a server that ran out of files could reach neither its database nor an upstream for those it serves already. */
export const connectionCap = (): number => {
  try {
    return capFor(readFileSync('/proc/self/limits', 'utf8'))
  } catch {
    return most
  }
}
