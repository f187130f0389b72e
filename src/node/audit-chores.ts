// What the thread of the audit trail does now and then, in idle moments: signs the ends of all chains, makes indexes,
// removes what is too old, and looks whether the file is still the one that everybody else reads.
import { identityOf } from './audit-damaged.ts'
import type { AuditWriter } from './audit-file.ts'

/** While there is more to do, and afterwards. */
const busyMs = 200
const restMs = 60_000

interface ChoresOptions {
  readonly path: string
  readonly writer: AuditWriter
  /** Does what may fail for a while. */
  readonly later: (work: () => void) => void
}

/** Returns what ends them. */
export const startChores = ({ path, writer, later }: ChoresOptions): (() => void) => {
  const opened = identityOf(path)
  let timer: NodeJS.Timeout | undefined
  const run = (): void => {
    // What is written to a file that is gone is found by nobody.
    if (identityOf(path) !== opened) throw new Error(`${path} was moved or removed`)
    let more = false
    later(() => {
      writer.anchor(Date.now())
      more = writer.tidy(Date.now())
    })
    timer = setTimeout(run, more ? busyMs : restMs).unref()
  }
  run()
  return () => clearTimeout(timer)
}
