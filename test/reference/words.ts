// Words that the parts of the reference server share.

/** What a tool may announce to whoever listens. */
export type Change = 'tools' | 'prompts' | 'watched'

/** The state of a call that waits for input: which tool, which step. */
export interface Step {
  readonly tool: string
  readonly step: number
}
