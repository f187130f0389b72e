// A server's process as a bridge sees it: lines in, lines out, an end. The Node door starts them; other runtimes have none.

/** What the operator configured, and for whom the process is. Command lines come from nowhere else (security best practices, stdio). */
export interface ProcessPlan {
  /** Id of the service. */
  readonly service: string
  /** Whose process it is: letters, digits, - and _, the same for the same person. It gets a home of its own. */
  readonly owner: string
  readonly command: string
  readonly args: readonly string[]
  /** Beside the few names that every process gets (docs/guide/stdio-servers.md). */
  readonly env: Readonly<Record<string, string>>
  /** Absent: its home. */
  readonly cwd: string | undefined
  readonly sandbox: 'auto' | 'bubblewrap' | 'none'
  /** In a sandbox: whether it has the network, and which places beside its home it may read or write. */
  readonly network: boolean
  readonly read: readonly string[]
  readonly write: readonly string[]
}

/** How a process ended, or why it never began. */
export interface ProcessEnd {
  /** `refused`: it was never started; `flood`: it wrote a line that did not end; `stopped`: we ended it. */
  readonly kind: 'refused' | 'exit' | 'flood' | 'stopped'
  /** For whoever called: a sentence without paths, arguments or output. */
  readonly say: string
  /** For the operator: with what it wrote last. */
  readonly why: string
}

export interface ProcessEvents {
  /** One line of standard output without its line feed; U+FFFD stands for bytes that are no UTF-8. */
  line(text: string): void
  /** The next line is not wholly UTF-8. */
  garbage(): void
  /** A line that is too long (32 MB, or less while others are long), of which only the two ends are kept. */
  oversized(head: string, tail: string): void
  /** Whole lines of standard error, for the operator's log; configured values are written as their names. */
  complained?(text: string): void
  /** Exactly once; nothing follows. */
  ended(end: ProcessEnd): void
}

export interface ServerProcess {
  readonly pid: number | undefined
  /** Of an isolated process: what isolation keeps from it, for the operator. */
  readonly isolation?: string
  /** Writes one line. False, and nothing is written, when it has left too much unread, or is over. */
  send(line: string): boolean
  /** Stops reading what it writes, and goes on; back-pressure reaches the process through its pipe. */
  pause(): void
  resume(): void
  /** The text with values that the operator configured written as their names. */
  conceal(text: string): string
  /** The last 64 KiB it wrote to standard error, as `complained` tells it. */
  stderr(): string
  /** What it wrote last, and what that means where it is known, to be put behind a reason for the operator; empty when it wrote nothing. */
  complaint(): string
  /** Closes its input, waits, then ends it and all it started. Resolves when nothing of it is left, within ten seconds. */
  stop(): Promise<void>
}

/** Starts a process. Never throws: what goes wrong is told by `ended`, later than this call returns. */
export type SpawnServer = (plan: ProcessPlan, events: ProcessEvents) => ServerProcess
