// What a wrapped server writes to standard error, line by line beside the gateway's own words.
import { printable } from '../config/fault.ts'
import type { Log } from '../ports/runtime.ts'

/** The log, with `process.stderr` events written out whatever the level; escape sequences of the server do not reach the terminal. */
export const withStderr =
  (log: Log, write: (text: string) => void = (text) => void process.stderr.write(text)): Log =>
  (level, event, fields, audit) => {
    const text = event === 'process.stderr' ? fields?.['text'] : undefined
    if (typeof text === 'string') for (const line of text.split('\n')) if (line.trim() !== '') write(`  │ ${printable(line, 500)}\n`)
    log(level, event, fields, audit)
  }
