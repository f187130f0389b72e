// What `postern` prints when it has started: a short banner for a person, one JSON line for a program.
import type { Config } from '../config/schema.ts'
import type { Gateway } from '../gateway.ts'
import { clientRecipes } from '../kit/client-recipes.ts'
import type { NodeRuntime } from '../node/runtime.ts'
import type { Address } from '../ports/services.ts'

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
}

const tilde = (path: string): string =>
  process.env['HOME'] && path.startsWith(`${process.env['HOME']}/`)
    ? `~${path.slice(process.env['HOME'].length)}`
    : path

const colour = (): boolean =>
  !process.env['NO_COLOR'] && (process.stdout.isTTY || Boolean(process.env['FORCE_COLOR']))

const paint = (code: number, text: string): string => (colour() ? `\u001B[${code}m${text}\u001B[0m` : text)

const isLocal = (origin: string): boolean =>
  ['localhost', '127.0.0.1', '[::1]'].includes(new URL(origin).hostname)

/** The address of each service, without the default address. */
const serviceAddresses = ({ directory }: Gateway): readonly Address[] =>
  directory.services.flatMap(
    (service) => directory.addresses.find((address) => address.service.id === service.id) ?? [],
  )

/** The first line of standard output, for programs. */
export const listeningEvent = ({
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
    facts.command('validate'),
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
    ...(isLocal(directory.issuer)
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

const loopback = /^(?:localhost|.*\.localhost|127(?:\.\d+){3}|\[::1\])$/

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
  const local = Object.entries(services).filter(
    ([, { url }]) => url !== undefined && loopback.test(new URL(url).hostname),
  )
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
