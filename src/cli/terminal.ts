// What a running gateway prints at its terminal, and which keys and signals it hears there.
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Config } from '../config/schema.ts'
import { printable } from '../config/tree.ts'
import type { Gateway } from '../gateway.ts'
import { isLoopbackUrl } from '../kit/addresses.ts'
import { clientRecipes } from '../kit/client-recipes.ts'
import type { NodeLog } from '../node/log.ts'
import type { NodeRuntime } from '../node/runtime.ts'
import type { Log } from '../ports/runtime.ts'
import type { Address } from '../ports/services.ts'

// When it has started: a short banner for a person, one JSON line for a program.

export interface StartFacts {
  readonly gateway: Gateway
  readonly about: { readonly version: string; readonly runtime: string }
  readonly stateDir: string
  /** Whether this start created the state directory. */
  readonly fresh: boolean
  /** The one-time sign-in link, if there is one. */
  readonly link: string | undefined
  /** Milliseconds since the process began. */
  readonly readyMs: number
  readonly tty: boolean
  /** Whether the gateway reads keys from the terminal. */
  readonly keys: boolean
  /** A command as it can be pasted. */
  readonly command: (verb: string) => string
  /** The words before a command. */
  readonly program: string
  /** `postern wrap`, which says itself what clients in the cloud miss (tunnel.ts). */
  readonly wraps: boolean
}

const tilde = (path: string): string =>
  process.env['HOME'] && path.startsWith(`${process.env['HOME']}/`)
    ? `~${path.slice(process.env['HOME'].length)}`
    : path

const colour = (): boolean =>
  !process.env['NO_COLOR'] && (process.stdout.isTTY || Boolean(process.env['FORCE_COLOR']))

const paint = (code: number, text: string): string => (colour() ? `\u001B[${code}m${text}\u001B[0m` : text)

/** The address of each service, without the default address. */
const serviceAddresses = ({ directory }: Gateway): readonly Address[] =>
  directory.services.flatMap(
    (service) => directory.addresses.find((address) => address.service.id === service.id) ?? [],
  )

/** The first line of standard output, for programs. */
const listeningEvent = ({
  gateway,
  about,
  stateDir,
  link,
  command,
  readyMs,
}: StartFacts): Readonly<Record<string, unknown>> => ({
  event: 'listening',
  url: gateway.directory.issuer,
  ...(gateway.links.enabled
    ? link === undefined
      ? { sign_in_command: command('admin link') }
      : { sign_in_link: link }
    : {}),
  mcp: serviceAddresses(gateway).map(({ service, resource }) => ({ service: service.id, url: resource })),
  version: about.version,
  runtime: about.runtime,
  state: stateDir,
  ready_ms: readyMs,
})

const row = (name: string, text: string): string => `  ${paint(2, name.padEnd(13))} ${text}`

const demoTools = 'demo: whoami, slow_count, large_result, delete_everything'

const commands = (name: string, url: string): string[] => {
  const cards = new Map(clientRecipes({ name, url, reachable: false }).map((card) => [card.id, card]))
  const lines = [
    ['Claude Code', cards.get('claude-code')?.commands[0]],
    ['VS Code', cards.get('vscode')?.links.find(({ kind }) => kind === 'https')?.href],
    ['Inspector', cards.get('inspector')?.commands[0]],
  ] as const
  return lines.flatMap(([client, text]) => (text === undefined ? [] : [row(client, text)]))
}

const bannerLines = (facts: StartFacts): string[] => {
  const { gateway, about, link } = facts
  const { directory } = gateway
  const [first] = serviceAddresses(gateway)
  const addresses = serviceAddresses(gateway).map(({ service, resource }) =>
    row('MCP server', `${paint(36, resource)}${service.id === 'demo' ? `   ${paint(2, demoTools)}` : ''}`),
  )
  const newLink = facts.keys ? 'press l for a sign-in link' : facts.command('admin link')
  const next = [
    link === undefined && gateway.links.enabled
      ? newLink
      : first?.service.id === 'demo'
        ? `${facts.program} wrap -- npx -y @modelcontextprotocol/server-filesystem .`
        : `${facts.program} config schema`,
    facts.command('doctor'),
    ...(facts.keys ? ['press h for help'] : []),
  ].join(' · ')
  return [
    `${paint(1, `postern ${about.version}`)} · ${about.runtime} · state ${tilde(facts.stateDir)}${facts.fresh ? ' (new)' : ''}   ready in ${facts.readyMs} ms`,
    '',
    link === undefined
      ? row('Dashboard', paint(36, `${directory.issuer}/`))
      : row('Dashboard', `${paint(36, link)}   ${paint(2, '(one-time link, valid 15 minutes)')}`),
    ...addresses,
    '',
    ...(first ? [...commands(first.service.id, first.resource), ''] : []),
    ...(isLoopbackUrl(directory.issuer) && !facts.wraps
      ? [
          `  ${paint(33, '⚠')} claude.ai and ChatGPT connect over the internet. Put an HTTPS reverse proxy in front and set --public-url https://…`,
        ]
      : []),
    `  Next: ${next}`,
    '',
  ]
}

/**
 * Prints the banner, or one JSON line without a terminal. Without a terminal the link is only printed on
 * request, because the output is kept as a log.
 */
export const startBanner = (facts: StartFacts): void => {
  if (!facts.tty) {
    process.stdout.write(`${JSON.stringify(listeningEvent(facts))}\n`)
    return
  }
  process.stdout.write(`${bannerLines(facts).join('\n')}\n`)
}

// Warnings at the start about stdio servers that run with all permissions of the gateway's user.

const named = (ids: readonly string[]): string =>
  ids.length > 5 ? `${ids.slice(0, 5).join(', ')} and ${ids.length - 5} more` : ids.join(', ')

/**
 * An isolated stdio server shares the network of the computer, and so reaches programs that listen on
 * loopback only.
 */
const sayLoopback = (services: Config['mcp_services'], log: NodeRuntime['log']): void => {
  const online = Object.entries(services).filter(
    ([, { command, sandbox, sandbox_network: network }]) =>
      command !== undefined && sandbox !== 'none' && network,
  )
  if (online.length === 0) return
  const local = Object.entries(services).filter(([, { url }]) => url !== undefined && isLoopbackUrl(url))
  const what =
    local.length === 0
      ? 'programs on localhost'
      : `programs on localhost, including ${named(local.map(([id]) => id))}`
  const message = `${named(online.map(([id]) => id))} can connect to ${what}: bubblewrap can only block the network as a whole. Set \`sandbox_network: false\` for commands that need no network.`
  log(local.length === 0 ? 'info' : 'warn', 'process.loopback', {
    services: online.map(([id]) => id),
    message,
  })
}

/** Warns about services that are not isolated although their configuration allows or requires it. */
export const isolationText = (
  { mcp_services: services }: Config,
  { isolation, log }: Pick<NodeRuntime, 'isolation' | 'log'>,
): void => {
  const commands = Object.entries(services).filter(([, { command }]) => command !== undefined)
  const of = (sandbox: string): readonly string[] =>
    commands.filter(([, service]) => service.sandbox === sandbox).map(([id]) => id)
  const [open, isolated] = [of('auto'), of('bubblewrap')]
  if (open.length + isolated.length === 0) return
  const found = isolation()
  if ('program' in found) {
    sayLoopback(services, log)
    return
  }
  if (open.length > 0) {
    const message = `${named(open)} will run without isolation, with all permissions of this user: ${found.missing}. Set \`sandbox: none\` to silence this warning.`
    log('warn', 'process.unisolated', { services: open, message })
  }
  if (isolated.length > 0)
    log('warn', 'process.unisolated', {
      services: isolated,
      message: `${named(isolated)} cannot start, because \`sandbox: bubblewrap\` requires isolation: ${found.missing}.`,
    })
}

// Keys while it runs: l prints a new sign-in link, h lists the keys, q stops the gateway.

const help = '  l  new sign-in link      q  stop      h  help\n'

/** Reads keys from standard input, a terminal in the foreground, until the returned function is called. */
export const listenKeys = (gateway: Gateway): (() => void) => {
  const { stdin, stdout } = process
  const printLink = (): void => {
    gateway.links.mint().then(
      (secret) =>
        stdout.write(
          `  Sign-in link  ${gateway.directory.issuer}/?t=${secret}   (one-time link, valid 15 minutes)\n`,
        ),
      () => stdout.write('  Cannot create a link: the storage is not responding.\n'),
    )
  }
  const press = (text: string): void => {
    for (const key of text) {
      if (key === 'l' && gateway.links.enabled) printLink()
      else if (key === 'h') stdout.write(gateway.links.enabled ? help : help.slice(help.indexOf('q') - 2))
      else if (key === 'q' || key === '\u0003') process.kill(process.pid, 'SIGINT')
    }
  }
  // Reading from a terminal that is gone fails; SIGHUP reports it too.
  stdin.on('error', () => undefined)
  stdin.setRawMode(true)
  stdin.setEncoding('utf8')
  stdin.on('data', press)
  stdin.unref()
  return () => {
    stdin.off('data', press)
    stdin.setRawMode(false)
    stdin.pause()
  }
}

// What ends a running gateway, and what must not: signals, closed output, uncaught errors.

/** Exit codes of a gateway that ran . */
export const exitCodes = { inOrder: 0, forced: 2, unclean: 3 } as const

/** The terminal and the parent program may both send one Control-C; a second key press takes longer. */
const sameGestureMs = 100

/** Ends the process as soon as the log is written. */
export const exitAfter = (log: NodeLog, code: number): void => {
  const exit = (): never => process.exit(code)
  log.end().then(exit, exit)
}

export interface StopSignal {
  /** Whether there is a terminal. If so, SIGHUP means that it is gone and ends the gateway. */
  readonly terminal: boolean
  readonly log: NodeLog
  /** Called for SIGHUP without a terminal: reloads the configuration. */
  readonly again: () => void
}

/** Resolves with the first SIGTERM or SIGINT. A second one ends the process at once with exit code 2. */
export const untilSignal = ({ terminal, log, again }: StopSignal): Promise<NodeJS.Signals> =>
  new Promise((resolve) => {
    let since: number | undefined
    const end = (signal: NodeJS.Signals): void => {
      const now = performance.now()
      if (since !== undefined && now - since > sameGestureMs) {
        exitAfter(log, exitCodes.forced)
        return
      }
      since ??= now
      resolve(signal)
    }
    process.on('SIGTERM', end)
    process.on('SIGINT', end)
    process.on('SIGHUP', () => (terminal ? end('SIGHUP') : again()))
  })

/** A gateway keeps serving its clients when the reader of its output is gone. */
export const ignoreClosedOutput = (): void => {
  for (const stream of [process.stdout, process.stderr]) {
    stream.removeAllListeners('error')
    stream.on('error', () => undefined)
  }
}

/**
 * Logs uncaught errors. An exception ends the process, because its state is unknown then; an unhandled
 * rejection does not.
 */
export const logFaults = (log: NodeLog): void => {
  const why = (error: unknown): string =>
    error instanceof Error ? (error.stack ?? error.message) : String(error)
  process.on('unhandledRejection', (error) =>
    log.log('error', 'fault.unhandled-rejection', { why: why(error) }),
  )
  process.on('uncaughtException', (error) => {
    log.log('error', 'fault.uncaught-exception', { why: why(error) })
    exitAfter(log, exitCodes.unclean)
  })
}

// Whether this process is in the foreground of its terminal.

/**
 * Process group and the terminal's foreground group, as proc(5) says (after the name, which may hold
 * anything) or as ps(1) does.
 */
const groups = (): readonly [string | undefined, string | undefined] => {
  try {
    const [, , , group, , , foreground] = readFileSync('/proc/self/stat', 'utf8')
      .replace(/^.*\)/s, '')
      .split(' ')
    return [group, foreground]
  } catch {
    const [group, foreground] = (
      spawnSync('ps', ['-o', 'pgid=,tpgid=', '-p', String(process.pid)], { encoding: 'utf8' }).stdout ?? ''
    )
      .trim()
      .split(/\s+/)
    return [group, foreground]
  }
}

/**
 * The system stops a background job (`postern &`) that changes its terminal's settings or reads from it
 * (SIGTTOU, SIGTTIN).
 */
export const inForeground = (): boolean => {
  if (process.platform === 'win32') return true
  const [group, foreground] = groups()
  return group !== undefined && group === foreground
}

// Prints the standard error of a wrapped server, line by line.

/**
 * The log, which also prints `process.stderr` events at every level. Escape sequences of the server do not
 * reach the terminal.
 */
export const withStderr =
  (log: Log, write: (text: string) => void): Log =>
  (level, event, fields, audit) => {
    const text = event === 'process.stderr' ? fields?.['text'] : undefined
    if (typeof text === 'string')
      for (const line of text.split('\n')) if (line.trim() !== '') write(`  │ ${printable(line, 500)}\n`)
    log(level, event, fields, audit)
  }
