// A service somebody wants to add while the gateway runs: what is wrong with it beside all others, and what stands there, before anybody relies on it.
import { loadConfig } from '../config/load.ts'
import { type Config, type ServiceConfig, configSchema } from '../config/schema.ts'
import { faultText } from '../config/tree.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Outbound, Runtime } from '../ports/runtime.ts'
import type { Directory } from '../ports/services.ts'
import { type Added, isWithoutPath, withPath } from './from-config.ts'
import { type ProbeStep, probeServer } from './probe.ts'

/** Asks the command's server as if it were on HTTP; what it rejects with is the bridge's. */
export type DryRun = (
  id: string,
  service: ServiceConfig,
) => { readonly outbound: Outbound; readonly end: () => void }

export interface Addition {
  readonly id: string
  /** As in `mcp_services` of the configuration. */
  readonly service: Readonly<Record<string, unknown>>
  /** Person key, or `cli`. */
  readonly by: string
  /** Whoever adds it sits at the gateway's own computer and may run programs there anyway. */
  readonly commands?: boolean
  /** The same for a server on a private network, and with what it is looked at; without it the runtime's guarded outbound is used, and public addresses alone are ever connected to. */
  readonly anywhere?: Outbound
  readonly told?: (step: ProbeStep) => void
  /** Keeps it even when nothing useful answers there yet. */
  readonly force?: boolean
}

export interface KnownServices {
  readonly config: Config
  readonly added: readonly Added[]
  readonly directory: Directory
  readonly runtime: Pick<Runtime, 'outbound' | 'transports' | 'spawn'>
  readonly attempt: DryRun
}

export const parseServiceConfig = (id: string, service: unknown): ServiceConfig | undefined =>
  configSchema.safeParse({ mcp_services: { [id]: service } }).data?.mcp_services[id]

/** Where the service's endpoint is, path included. */
const upstreamUrl = ({ url = '', transport }: ServiceConfig): string =>
  URL.canParse(url) ? withPath(url, transport) : url

/** The other place of a URL without a path. */
const rootOf = ({ url = '', transport }: ServiceConfig): string | undefined =>
  URL.canParse(url) && isWithoutPath(url) && transport !== 'sse' ? new URL(url).href : undefined

/** Text that came from a loaded configuration stands for itself when it is loaded again. */
const literal = (value: unknown): unknown => {
  if (typeof value === 'string') return value.replaceAll('${', '$${')
  if (Array.isArray(value)) return value.map(literal)
  return typeof value === 'object' && value !== null
    ? Object.fromEntries(Object.entries(value).map(([key, part]) => [key, literal(part)]))
    : value
}

/** What is wrong with such a service beside all others, as sentences: the very rules of the configuration file. */
const faultsOf = async (
  id: string,
  service: object,
  { config, added, directory, runtime }: KnownServices,
): Promise<readonly string[]> => {
  const { session_secret: _, previous_secrets: __, mcp_services: others, ...rest } = config
  const registered = Object.fromEntries(added.map((each) => [each.id, literal(each.config)]))
  const document = {
    ...(literal(rest) as object),
    issuer: directory.issuer,
    mcp_services: { ...registered, ...(literal(others) as object), [id]: service },
  }
  const loaded = await loadConfig({
    file: { path: id, text: JSON.stringify(document) },
    env: {},
    workers: runtime.spawn === undefined,
  })
  const own = loaded.ok
    ? []
    : loaded.faults.filter(
        ({ key }) =>
          key === '' ||
          key === `mcp_services.${id}` ||
          key.startsWith(`mcp_services.${id}.`) ||
          key.startsWith(`mcp_services.${id}[`),
      )
  return own.map((fault) => faultText({ ...fault, origin: { from: 'default' } }))
}

const noCommand =
  'Commands cannot be added here. Use `postern services add` or the configuration file on the gateway’s computer, or set `admin_commands: true`.'

const noPrograms = 'This gateway cannot start programs. Add the URL of an MCP server instead of a command.'

/** Throws `service.invalid` and `service.taken`. */
export const validateAddition = async (
  { id, service, commands, anywhere, told = () => undefined }: Addition,
  around: KnownServices,
): Promise<readonly ProbeStep[]> => {
  if ('command' in service && !around.runtime.spawn)
    throw new Refusal('service.invalid', `${id}: commands need a runtime that starts programs`, {
      say: noPrograms,
    })
  if ('command' in service && !commands && !around.config.admin_commands)
    throw new Refusal('service.invalid', `${id}: command given, but admin_commands is false`, {
      say: noCommand,
    })
  if (around.directory.service(id)) throw new Refusal('service.taken', `service ID ${id} already exists`)
  const wrong = await faultsOf(id, service, around)
  const config = parseServiceConfig(id, service)
  if (wrong.length > 0 || !config)
    throw new Refusal('service.invalid', wrong.join('; '), wrong.length > 0 ? { say: wrong.join(' ') } : {})
  if (config.command === undefined) {
    const { outbound, transports } = around.runtime
    // Without TLS only where somebody at the gateway's own computer says so, as over HTTP.
    if (!anywhere && /^ws:/i.test(config.url ?? ''))
      throw new Refusal('service.unusable', `${id}: plain ws:// URL`, {
        say: 'Use a wss:// URL. Plain ws:// is allowed only when the service is added on the gateway’s computer.',
      })
    return probeServer(
      upstreamUrl(config),
      {
        ...(anywhere ? { outbound: anywhere, transports } : { outbound, transports: transports.publicOnly }),
        elsewhere: rootOf(config),
      },
      told,
    )
  }
  const { outbound, end } = around.attempt(id, config)
  try {
    return await probeServer('http://command.invalid/mcp', { outbound }, told)
  } finally {
    end()
  }
}
