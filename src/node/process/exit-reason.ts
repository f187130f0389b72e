// Why a server's process did not start, or ended: for the caller without details, for the operator with its
// last error output.
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, isAbsolute, join, resolve } from 'node:path'
import type { ProcessEnd } from '../../ports/runtime.ts'

// The last error on standard error: all of its lines, without stack frames.

/** Longest error that is reported, characters; of a longer one its beginning and end. */
const longest = 600
/** Lines that are searched for an error. */
const mostLines = 60

const begins = /^\S.{0,120}?(?:error|exception|fatal|panic|failed|failure|ERR!)\b|^(?:error|fatal)/i
/** `    at f (file:1:2)`, the marker under a line of source, and the Node.js version at the end. */
const noise = /^\s+at\s|^\s*\^+\s*$|^Node\.js v\d|^\s+File ".*", line \d+|^\s*$/
/** Continues a line above: a closing bracket, or indented text. */
const continues = /^\s|^[\]})"'`,;.\s]+$/

const startOf = (lines: readonly string[]): number => {
  let at = lines.findLastIndex((line) => begins.test(line))
  if (at !== -1) {
    // Some programs (npm) start every line of an error alike.
    while (at > 0 && lines.length - at < 12 && begins.test(lines[at - 1] as string)) at--
    return at
  }
  at = lines.length - 1
  while (at > 0 && continues.test(lines[at] as string)) at--
  return at
}

export const lastError = (stderr: string): string => {
  const lines = stderr
    .trimEnd()
    .split('\n')
    .slice(-mostLines)
    .filter((line) => !noise.test(line))
  const text = lines
    .slice(startOf(lines))
    .map((line) => line.trim())
    .join(' ')
  return text.length <= longest ? text : `${text.slice(0, longest / 2)} … ${text.slice(-longest / 2)}`
}

/** How to install a missing command. */
const installHints: Readonly<Record<string, string>> = {
  npx: 'npx comes with Node.js; with asdf, nvm or Volta, put the directory of the real npx in PATH before starting the gateway',
  node: 'install Node.js, or give its full path',
  npm: 'npm comes with Node.js',
  bunx: 'bunx comes with Bun (https://bun.sh)',
  uvx: 'uvx comes with uv (https://docs.astral.sh/uv)',
  uv: 'install uv (https://docs.astral.sh/uv)',
  python: 'many systems only provide python3',
  docker: 'install Docker and give this user access to it',
  deno: 'install Deno (https://deno.com)',
}

const isFile = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isFile() === true

const mayRun = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

export type Found = { readonly path: string } | { readonly end: ProcessEnd }

const refused = (say: string, why: string): Found => ({ end: { kind: 'refused', say, why } })

/** The program a command means, as a shell would find it: a path relative to `cwd`, or a name in `PATH`. */
export const findCommand = (
  command: string,
  path: string,
  cwd: string,
  suffixes: readonly string[] = [''],
): Found => {
  const say = 'The MCP server could not be started: its command was not found.'
  const inPlaces = (places: readonly string[]): readonly string[] =>
    places.flatMap((place) => suffixes.map((suffix) => place + suffix)).filter(isFile)
  const named = /[/\\]/.test(command)
  const found = named
    ? inPlaces([isAbsolute(command) ? command : resolve(cwd, command)])
    : inPlaces(
        path
          .split(delimiter)
          .filter(Boolean)
          .map((folder) => join(folder, command)),
      )
  const program = found.find(mayRun)
  if (program !== undefined) return { path: program }
  if (found[0] !== undefined)
    return refused(
      'The MCP server could not be started: this user may not run its command.',
      `${found[0]} is not executable by this user (EACCES): run chmod +x on it, or set its interpreter as \`command\``,
    )
  const hint = installHints[command]
  if (named) return refused(say, `${command} does not exist (ENOENT)`)
  if (command.includes(' '))
    return refused(
      say,
      `program "${command}" does not exist (ENOENT): \`command\` is the program only, list its arguments in \`args\``,
    )
  return refused(
    say,
    `${command} is not in PATH (ENOENT)${hint === undefined ? '' : `: ${hint}`}; PATH is ${path}`,
  )
}

/** Known errors on standard error, and what they mean. */
const knownErrors: readonly (readonly [RegExp, string])[] = [
  [/npm (?:ERR!|error) code E404|404 Not Found - GET/i, 'npm did not find the package'],
  [
    /SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_GET_ISSUER_CERT|CERTIFICATE_VERIFY_FAILED|unable to verify the first certificate/i,
    'a TLS certificate is not trusted: behind a TLS-inspecting proxy, set NODE_EXTRA_CA_CERTS (or SSL_CERT_FILE) in `env`',
  ],
  [
    /npm (?:ERR!|error) code (?:ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT)/i,
    'npm could not reach its registry',
  ],
  [/could not determine executable to run/i, 'the package has no executable of that name'],
  [
    /No version is set for command|asdf: /i,
    'asdf has no version for this command: set one for the user of the gateway, or use the full path of the program',
  ],
  [/ERR_MODULE_NOT_FOUND|Cannot find module/i, 'a required file or package is missing'],
  [/ERR_UNSUPPORTED|EBADENGINE|SyntaxError: /i, 'it may need another runtime version'],
  [/EADDRINUSE/i, 'its port is already in use'],
  [/EACCES|Permission denied/i, 'permission denied for a file it needs'],
  [/EROFS|Read-only file system/i, 'it tried to write outside its home: list the path in `sandbox_write`'],
  [/ENOSPC/i, 'the disk is full'],
  [/heap out of memory|MemoryError/i, 'it ran out of memory'],
  [
    /(?:api[_ -]?key|token|credentials?)\b.{0,40}\b(?:missing|required|not set|not provided|not found)|\b(?:missing|requires?|set|provide)\b.{0,40}(?:api[_ -]?key|token|credentials?)/i,
    'an API key or token may be missing in `env`',
  ],
]

/** The read-only path that an error names: `EROFS: read-only file system, open '/x'`, `[Errno 30] Read-only file system: '/x'`. */
const readOnlyPlace = (stderr: string): string | undefined =>
  /(?:EROFS|Read-only file system)[^\n]{0,80}?['"]([^'"\n]{1,200})['"]/.exec(stderr)?.[1]

/** The last error of a process and, where it is known, what it means; empty without one. Follows a reason. */
export const stderrReason = (stderr: string): string => {
  const meaning = knownErrors.find(([pattern]) => pattern.test(stderr))?.[1]
  const place = readOnlyPlace(stderr)
  const last = lastError(stderr)
  return `${meaning === undefined ? '' : `; ${meaning}`}${place === undefined ? '' : ` (${place})`}${last === '' ? '' : `; last stderr line: ${last}`}`
}

const exitText = (code: number | null, signal: string | null): string => {
  if (signal === 'SIGKILL') return 'was killed (SIGKILL), possibly because the system ran out of memory'
  if (signal !== null) return `was terminated by ${signal}`
  if (code === 126) return 'exited with code 126: a program it runs is not executable'
  if (code === 127) return 'exited with code 127: a program it runs was not found'
  return code === 0 ? 'exited normally' : `exited with code ${code}`
}

/** What isolation hides from a process, as a sentence for the operator's log. */
export const isolationNote = (masked: readonly string[]): string => {
  const named =
    masked.length > 5 ? `${masked.slice(0, 5).join(', ')} and ${masked.length - 5} more` : masked.join(', ')
  return `isolated: ${masked.length === 0 ? '' : `${named} hidden; `}write access only to its home, /tmp and sandbox_write; read access only to the system, its own package and sandbox_read`
}

/** The end of a process that the gateway did not stop. `isolation`: what was hidden from it. */
export const endOf = (
  command: string,
  code: number | null,
  signal: string | null,
  stderr: string,
  isolation?: string,
): ProcessEnd => {
  const how = exitText(code, signal)
  const short = how.split(':')[0]
  const kept = isolation === undefined || code === 0 ? undefined : isolation
  return {
    kind: 'exit',
    say: `The MCP server ${short}${kept === undefined ? '' : ' (running in isolation)'}.`,
    why: `${command} ${how}${code === 0 ? '' : stderrReason(stderr)}${kept === undefined ? '' : `; it was ${kept}`}`,
  }
}
