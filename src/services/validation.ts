// A service that somebody wants to add while the gateway runs: it is checked by the rules of the
// configuration, then its server is probed.
import { loadConfig } from '../config/load.ts'
import { type Config, type ServiceConfig, configSchema } from '../config/schema.ts'
import { faultText } from '../config/tree.ts'
import { Refusal, rpcErrorText } from '../kit/refusal.ts'
import type { Outbound, Runtime } from '../ports/runtime.ts'
import type { Directory, DispatchStdio, StdioCall } from '../ports/services.ts'
import type { Bridges } from '../stdio/bridges.ts'
import { type Added, isWithoutPath, withPath } from './from-config.ts'
import type { ProbeStep } from './probe-steps.ts'
import { probeServer } from './probe.ts'

/** Starts the command of a service and reaches its server as if it were on HTTP. `end` ends the process. */
export type DryRun = (
  id: string,
  service: ServiceConfig,
) => { readonly outbound: Outbound; readonly end: () => void }

/** The URL under which a dry run reaches a command. */
export const commandUrl = 'http://command.invalid/mcp'

type CallStdio = (
  carry: DispatchStdio,
  request: Request,
  about: Pick<StdioCall, 'principal' | 'refused' | 'sessionId'>,
) => Promise<Response>

/** The command runs as a bridge of its own, which no caller reaches. */
export const createDryRun =
  (bridges: Bridges, callStdio: CallStdio): DryRun =>
  (id, service) => {
    const upstream = bridges.of(id, service)
    return {
      async outbound(url, { method = 'GET', headers = {}, body } = {}) {
        if (upstream.kind !== 'bridge') throw new TypeError('not a command')
        const response = await callStdio(
          upstream.carry,
          new Request(url, { method, headers, ...(body === undefined ? {} : { body }) }),
          { principal: undefined, refused: (refusal, id) => rpcErrorText(refusal, id, '') },
        )
        return {
          status: response.status,
          headers: response.headers,
          body: new Uint8Array(await response.arrayBuffer()),
        }
      },
      end: () => bridges.end(upstream),
    }
  }

export interface Addition {
  readonly id: string
  /** As in `mcp_services` of the configuration. */
  readonly service: Readonly<Record<string, unknown>>
  /** Person key, or `cli`. */
  readonly by: string
  /** The service is added on the gateway's own computer, where its user may run programs anyway. */
  readonly commands?: boolean
  /**
   * The same for a server on a private network: the outbound that reaches it. Absent: the guarded outbound of
   * the runtime, and only public addresses ever.
   */
  readonly anywhere?: Outbound
  readonly onStep?: (step: ProbeStep) => void
  /** Keeps the service even if its server is not usable yet. */
  readonly force?: boolean
}

export interface KnownServices {
  readonly config: Config
  readonly added: readonly Added[]
  readonly directory: Directory
  readonly runtime: Pick<Runtime, 'outbound' | 'transports' | 'spawn' | 'timer'>
  readonly dryRun: DryRun
}

export const parseServiceConfig = (id: string, service: unknown): ServiceConfig | undefined =>
  configSchema.safeParse({ mcp_services: { [id]: service } }).data?.mcp_services[id]

/** The endpoint of the service, path included. */
const upstreamUrl = ({ url = '', transport }: ServiceConfig): string =>
  URL.canParse(url) ? withPath(url, transport) : url

/** The other URL that a URL without a path may mean. */
const rootOf = ({ url = '', transport }: ServiceConfig): string | undefined =>
  URL.canParse(url) && isWithoutPath(url) && transport !== 'sse' ? new URL(url).href : undefined

/** Escapes text of a loaded configuration, so that loading it again changes nothing. */
const literal = (value: unknown): unknown => {
  if (typeof value === 'string') return value.replaceAll('${', '$${')
  if (Array.isArray(value)) return value.map(literal)
  return typeof value === 'object' && value !== null
    ? Object.fromEntries(Object.entries(value).map(([key, part]) => [key, literal(part)]))
    : value
}

/** The faults of such a service beside all others, as sentences, by the rules of the configuration file. */
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

const checkAllowed = (
  { id, service, commands }: Addition,
  { config, directory, runtime }: KnownServices,
): void => {
  if ('command' in service && !runtime.spawn)
    throw new Refusal('service.invalid', `${id}: commands need a runtime that starts programs`, {
      say: noPrograms,
    })
  if ('command' in service && !commands && !config.admin_commands)
    throw new Refusal('service.invalid', `${id}: command given, but admin_commands is false`, {
      say: noCommand,
    })
  if (directory.service(id)) throw new Refusal('service.taken', `service ID ${id} already exists`)
}

const probeUrl = (
  { id, anywhere, onStep = () => undefined }: Addition,
  config: ServiceConfig,
  { runtime: { outbound, transports, timer } }: KnownServices,
): Promise<readonly ProbeStep[]> => {
  // Without TLS only where somebody on the gateway's own computer asks for it, as over HTTP.
  if (!anywhere && /^ws:/i.test(config.url ?? ''))
    throw new Refusal('service.unusable', `${id}: plain ws:// URL`, {
      say: 'Use a wss:// URL. Plain ws:// is allowed only when the service is added on the gateway’s computer.',
    })
  return probeServer(
    upstreamUrl(config),
    {
      ...(anywhere ? { outbound: anywhere, transports } : { outbound, transports: transports.publicOnly }),
      timer,
      alternative: rootOf(config),
    },
    onStep,
  )
}

const probeCommand = async (
  { id, onStep = () => undefined }: Addition,
  config: ServiceConfig,
  { dryRun, runtime: { timer } }: KnownServices,
): Promise<readonly ProbeStep[]> => {
  const { outbound, end } = dryRun(id, config)
  try {
    return await probeServer(commandUrl, { outbound, timer }, onStep)
  } finally {
    end()
  }
}

/** Throws `service.invalid`, `service.taken` and `service.unusable`. */
export const validateAddition = async (
  addition: Addition,
  known: KnownServices,
): Promise<readonly ProbeStep[]> => {
  const { id, service } = addition
  checkAllowed(addition, known)
  const faults = await faultsOf(id, service, known)
  const config = parseServiceConfig(id, service)
  if (faults.length > 0 || !config)
    throw new Refusal(
      'service.invalid',
      faults.join('; '),
      faults.length > 0 ? { say: faults.join(' ') } : {},
    )
  return config.command === undefined
    ? probeUrl(addition, config, known)
    : probeCommand(addition, config, known)
}
