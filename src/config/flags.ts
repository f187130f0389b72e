// The command-line flags that set configuration keys, in one table: the parser, the loader and the
// documentation read it.
import { shapeAt } from './shape.ts'
import { coerce } from './reading.ts'
import type { Fault, Path, Tree } from './tree.ts'

/** Values given on the command line (or by the runtime), by key; texts are read as the key's type. */
export interface Flags {
  readonly host?: string | undefined
  readonly port?: string | undefined
  readonly issuer?: string | undefined
  readonly debug?: boolean | undefined
  readonly log_level?: string | undefined
  readonly workers?: string | undefined
  /** A service that the command line itself describes (`postern wrap`). */
  readonly wrapped?: { readonly id: string; readonly service: Readonly<Record<string, unknown>> } | undefined
}

export interface ConfigFlag {
  readonly key: Exclude<keyof Flags, 'wrapped'>
  /** As the parser wants it. */
  readonly option: string
  readonly note: string
  /** The only values, where there are few. */
  readonly choices?: readonly string[]
}

export const configFlags: readonly ConfigFlag[] = [
  { key: 'host', option: '--host <address>', note: 'Address to listen on.' },
  { key: 'port', option: '--port <number>', note: 'Port to listen on. 0 picks a free port.' },
  { key: 'issuer', option: '--public-url <url>', note: 'Public URL of the gateway.' },
  {
    key: 'debug',
    option: '--debug',
    note: 'Log more. On a loopback gateway, also accept any localhost origin.',
  },
  {
    key: 'log_level',
    option: '--log-level <level>',
    note: 'Minimum log level.',
    choices: ['debug', 'info', 'warn', 'error'],
  },
  { key: 'workers', option: '--workers <number>', note: 'Number of processes that serve requests.' },
]

/** Flags that are no configuration. */
export const otherFlags: readonly { readonly option: string; readonly note: string }[] = [
  { option: '-c, --config <file>', note: 'Configuration file.' },
  {
    option: '--env-file <file>',
    note: 'File with environment variables, instead of .env in the working directory. Variables already set in the environment take precedence.',
  },
  { option: '--state <dir>', note: 'State directory for keys and the database.' },
  {
    option: '--print-sign-in-link',
    note: 'Without a terminal, print a one-time sign-in link in the first output line, for scripts. Anyone who can read the log can use it.',
  },
]

/** Ways to sign in that `postern init` writes: the one-time link, local users, and types of providers. */
export const signIns = ['link', 'local', 'google', 'github', 'entra', 'openid'] as const
export type FirstSignIn = (typeof signIns)[number]

/** What `postern export` prints. */
export const exportForms = ['mcp-servers', 'vscode', 'server-json'] as const
export type ExportForm = (typeof exportForms)[number]

/** `--public-url <url>` → `--public-url`. */
export const flagName = (option: string): string =>
  option.split(' ').find((word) => word.startsWith('--')) ?? option

// The command line laid over file and environment; it wins over both.

/** Puts every flag that was given into the tree. */
export const overlayFlags = (
  tree: Tree,
  flags: Flags,
): { readonly faults: readonly Fault[]; readonly lost: readonly Path[] } => {
  const faults: Fault[] = []
  const lost: Path[] = []
  if (flags.wrapped)
    tree.set(['mcp_services', flags.wrapped.id], flags.wrapped.service, { from: 'flag', name: 'wrap' })
  for (const { option, key } of configFlags) {
    const given = flags[key]
    const shape = shapeAt([key])
    if (given === undefined || !shape) continue
    const origin = { from: 'flag', name: flagName(option) } as const
    const result = coerce(String(given), shape)
    if ('value' in result) tree.set([key], result.value, origin)
    else {
      faults.push({ key, origin, what: result.what })
      lost.push([key])
    }
  }
  return { faults, lost }
}
