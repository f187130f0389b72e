// Types of system-programs.mjs, which stays plain JavaScript because the bootstrap runs it under Node 20.
export interface SystemProgram {
  readonly name: string
  readonly path: string
  readonly package: string
  readonly variable: string
  readonly suites: string
}
export const programs: readonly SystemProgram[]
/**
 * Absolute path of the program, or undefined when it is not on this machine. A set variable alone says where.
 * Throws RangeError for a name the table lacks.
 */
export const findProgram: (
  name: string,
  env?: Readonly<Record<string, string | undefined>>,
) => string | undefined
export const missingPrograms: (env?: Readonly<Record<string, string | undefined>>) => readonly SystemProgram[]
/** True where a skipped suite is a failure. */
export const inCI: (env?: Readonly<Record<string, string | undefined>>) => boolean
export interface FoundBrowser {
  readonly path: string
  /** Further arguments that this browser needs. */
  readonly args: readonly string[]
  /** Further environment variables that this browser needs. */
  readonly env: Readonly<Record<string, string>>
}
/** The browser for tests: this machine's own, else the one that scripts/bootstrap.mjs fetched. */
export const findBrowser: (env?: Readonly<Record<string, string | undefined>>) => FoundBrowser | undefined
