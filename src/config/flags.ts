// The command-line flags that set configuration keys, in one table: the parser, the loader and the documentation read it.
import { coerce } from './coerce.ts'
import type { Fault, Path } from './fault.ts'
import { shapeAt } from './shape.ts'
import type { Tree } from './tree.ts'

export interface Flags {
  readonly host?: string | undefined
  readonly port?: string | undefined
  readonly publicUrl?: string | undefined
  readonly debug?: boolean | undefined
  readonly logLevel?: string | undefined
}

export interface ConfigFlag {
  readonly name: keyof Flags
  /** As the parser wants it. */
  readonly option: string
  readonly key: string
  readonly note: string
}

export const configFlags: readonly ConfigFlag[] = [
  { name: 'host', option: '--host <address>', key: 'host', note: 'Address to listen on.' },
  { name: 'port', option: '--port <number>', key: 'port', note: 'Port to listen on; 0 takes a free one.' },
  { name: 'publicUrl', option: '--public-url <url>', key: 'issuer', note: 'The URL under which everybody reaches the gateway.' },
  { name: 'debug', option: '--debug', key: 'debug', note: 'More in the log; on loopback, any localhost origin is accepted.' },
  { name: 'logLevel', option: '--log-level <level>', key: 'log_level', note: 'The least that is logged: debug, info, warn or error.' },
]

/** Flags that are no configuration. */
export const otherFlags: readonly { readonly option: string; readonly note: string }[] = [
  { option: '-c, --config <file>', note: 'The configuration file.' },
  { option: '--state <dir>', note: 'The state directory: keys and the database.' },
]

/** `--public-url <url>` → `--public-url`. */
export const flagName = (option: string): string => option.split(' ').find((word) => word.startsWith('--')) ?? option

/** Lays flags over the tree; they win over everything. */
export const overlayFlags = (tree: Tree, flags: Flags): { readonly faults: readonly Fault[]; readonly lost: readonly Path[] } => {
  const faults: Fault[] = []
  const lost: Path[] = []
  for (const { name, option, key } of configFlags) {
    const given = flags[name]
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
