// The matrix of access rules of a service, group by tool, and changes of it.
import type { LearnedTool, Permission, StoredRule } from './policy.ts'

/** `never`: the tool is hidden from the group, and its calls are refused. */
export type Cell = 'allow' | 'never'

/** What an administrator wants of one group and one tool. Without a group: people who are in none. */
export interface CellChange {
  readonly group?: string | undefined
  readonly tool: string
  readonly to: Cell
}

export interface MatrixCell {
  readonly is: Cell
  /** The rule that decides it, or the code where none does. */
  readonly rule: string
  /** It cannot be changed here: the configuration says so, or nobody may have it. */
  readonly fixed: boolean
}

export interface MatrixTool extends Pick<LearnedTool, 'name' | 'about'> {
  /** What its calls need; `deny`: nobody may call it. */
  readonly need: Permission | 'deny'
  /** The server does not say what the tool can do. */
  readonly unmarked: boolean
  readonly held: boolean
  /** By group. */
  readonly cells: readonly MatrixCell[]
}

/** What rules an edit adds and takes away. */
export interface RulesEdit {
  readonly add: readonly {
    readonly effect: 'allow' | 'deny'
    readonly rule: Readonly<Record<string, unknown>>
  }[]
  /** IDs. */
  readonly remove: readonly string[]
}

/** What becomes of changes. */
export interface MatrixPlan {
  readonly edit: RulesEdit
  /** The stored rules afterwards. */
  readonly stored: readonly StoredRule[]
  /** The matrix afterwards. */
  readonly tools: readonly MatrixTool[]
  /** Changes that rules of the configuration do not let through, with the rule. */
  readonly impossible: readonly (CellChange & { readonly rule: string })[]
}

/** What the calls of the last days would have met. */
export interface Consequence {
  readonly days: number
  readonly calls: number
  readonly refused: number
  readonly granted: number
  /** What the trail does not tell. */
  readonly unsaid: number
  /** Whose calls would have been refused; only for auditors. */
  readonly people?: readonly string[] | undefined
  /** There were more calls than could be looked at. */
  readonly partial: boolean
}

/** Why a call of somebody is allowed or not, rule by rule. */
export interface Why {
  readonly person: string
  readonly tool: string
  /** There are no rules at all. */
  readonly open: boolean
  readonly allowed: boolean
  readonly code?: string | undefined
  readonly rule?: string | undefined
  readonly need?: string | undefined
  readonly have?: string | undefined
  readonly reason?: string | undefined
  /** The groups by which the rules judged. */
  readonly groups: readonly string[]
  readonly groupsUnknown: boolean
  readonly rules: readonly {
    readonly id: string
    readonly effect: 'allow' | 'deny'
    readonly matched: boolean
    readonly why: string
  }[]
}

/** Who could call a tool by the rules of now. */
export interface WhoToday {
  /** People who are in no group, too. */
  readonly everyone: boolean
  readonly groups: readonly string[]
}

// The page of the console.

export interface MatrixView {
  /** The columns; undefined stands for people who are in none of the others. */
  readonly groups: readonly (string | undefined)[]
  /** Of this page, as they would be with the changes. */
  readonly tools: readonly MatrixTool[]
  /** The same as they are. */
  readonly before: readonly MatrixTool[]
  /** Of all pages. */
  readonly count: number
  readonly page: { readonly at: number; readonly count: number }
  readonly changes: readonly CellChange[]
  readonly impossible: MatrixPlan['impossible']
  /** Absent without changes, and where no trail is kept that can be asked. */
  readonly consequence?: Consequence | undefined
  /** What can be stored: `open`: there are no rules, so nothing can. */
  readonly bound: 'any' | 'deny' | 'off' | 'open'
  /** Where rules stand, by their ID: a line of the file, or who stored it. */
  readonly where: Readonly<Record<string, string>>
}

export interface WhyView {
  readonly asked: { readonly person?: string | undefined; readonly tool?: string | undefined }
  /** Some who have access, to choose from. */
  readonly people: readonly string[]
  readonly tools: readonly string[]
  /** Absent before anything was asked, and for somebody whom nobody knows. */
  readonly answer?: Why | undefined
  /** As of `MatrixView`. */
  readonly where: Readonly<Record<string, string>>
}
