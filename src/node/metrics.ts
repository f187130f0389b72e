// Metrics in the text format of Prometheus, on a port of their own. They are counted from what the log and the audit
// trail are told, so a gateway without them does nothing for them. Labels come from closed lists: no series exists for
// a person, a client, a path or a tool.
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { AggregatorRegistry, Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client'
import { isLoopbackHost } from '../kit/addresses.ts'
import { refusals } from '../kit/refusal.ts'
import type { Log } from '../ports/runtime.ts'
import { createServiceNames, methodOf, mostServices } from './metric-names.ts'

type Fields = Readonly<Record<string, unknown>>

const grantKinds: ReadonlySet<unknown> = new Set([
  'client_credentials',
  'device',
  'id_jag',
  'personal',
  'test',
  'workload',
])
/** Seconds: from an answer out of memory to a tool that works for half a minute. */
const buckets = [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]

const amount = (value: unknown): number => (typeof value === 'number' && value > 0 ? value : 0)

/** Of a call as the audit trail knows it. */
const outcomeOf = ({ result, is_error: isError, refusal }: Fields): string => {
  if (isError === true) return 'tool_error'
  if (typeof result === 'string') return result
  return refusal === undefined ? 'answered' : 'refused'
}

const createMeters = (registry: Registry) => {
  const counter = <Label extends string>(name: string, help: string, labelNames: readonly Label[] = []) =>
    new Counter({ name: `postern_${name}_total`, help, labelNames, registers: [registry] })
  // Of several processes the worst counts.
  const gauge = <Label extends string>(name: string, help: string, labelNames: readonly Label[] = []) =>
    new Gauge({ name: `postern_${name}`, help, labelNames, registers: [registry], aggregator: 'min' })
  return {
    calls: counter('calls', 'Messages of MCP clients, by how they ended.', ['service', 'method', 'outcome']),
    // OpenTelemetry's mcp.server.operation.duration, as Prometheus writes it.
    durations: new Histogram({
      name: 'mcp_server_operation_duration_seconds',
      help: 'Seconds from a request to the end of its answer.',
      labelNames: ['service', 'method'],
      buckets,
      registers: [registry],
    }),
    refused: counter('refused', 'Refused requests, by refusal code.', ['code']),
    signIns: counter('sign_ins', 'Users who signed in.'),
    registered: counter('clients_registered', 'Clients that registered themselves.'),
    consents: counter('consents', 'Answers on the consent page.', ['decision']),
    tokens: counter('tokens_issued', 'Access tokens issued, by grant.', ['grant']),
    revoked: counter('grants_ended', 'Grants that were ended.'),
    replays: counter('replays', 'Codes and refresh tokens that were used again.', ['kind']),
    connections: counter('upstream_connections', 'What became of accounts at MCP servers.', ['event']),
    processes: counter('stdio_processes_started', 'Stdio servers that were started.'),
    lost: counter('audit_lost_events', 'Events that the audit trail could not keep.'),
    logged: counter('log_events', 'Warnings and errors in the log.', ['level']),
    reloaded: gauge(
      'config_last_reload_successful',
      'Whether the last reload of the configuration was used.',
    ),
    storeUp: gauge('store_up', 'Whether the storage responds.'),
    // Registered when there is a trail.
    trailUp: new Gauge({
      name: 'postern_audit_up',
      help: 'Whether the audit trail can be written.',
      registers: [],
      aggregator: 'min',
    }),
    serviceUp: gauge('service_up', 'Whether the server of a service responds; absent until its first call.', [
      'service',
    ]),
    about: gauge('build_info', 'Version of the gateway and of Node.', ['version', 'runtime']),
  }
}

type Meters = ReturnType<typeof createMeters>

/** What each event of the log adds. */
const createRules = (meters: Meters): Readonly<Record<string, (fields: Fields) => void>> => {
  const serviceOf = createServiceNames()
  const call = (fields: Fields): void => {
    const labels = { service: serviceOf(fields['service']), method: methodOf(fields['method']) }
    meters.calls.inc({ ...labels, outcome: outcomeOf(fields) })
    if (fields['duration_ms'] !== undefined)
      meters.durations.observe(labels, amount(fields['duration_ms']) / 1000)
  }
  const connection = (event: string) => (): void => meters.connections.inc({ event })
  const reload = (value: number) => (): void => meters.reloaded.set(value)
  return {
    call,
    'websocket.message': call,
    refused: ({ refusal }) =>
      meters.refused.inc({ code: Object.hasOwn(refusals, String(refusal)) ? String(refusal) : 'other' }),
    'sign-in': () => meters.signIns.inc(),
    'client.registered': () => meters.registered.inc(),
    'consent.allowed': () => meters.consents.inc({ decision: 'allowed' }),
    'consent.denied': () => meters.consents.inc({ decision: 'denied' }),
    'grant.issued': ({ kind }) =>
      meters.tokens.inc({ grant: grantKinds.has(kind) ? String(kind) : 'authorization_code' }),
    'exchange.issued': () => meters.tokens.inc({ grant: 'exchange' }),
    'grant.refreshed': () => meters.tokens.inc({ grant: 'refresh_token' }),
    'grant.revoked': () => meters.revoked.inc(),
    'access.ended': ({ grants }) => meters.revoked.inc(amount(grants)),
    'code.replayed': () => meters.replays.inc({ kind: 'code' }),
    'refresh.reuse': () => meters.replays.inc({ kind: 'refresh_token' }),
    'connection.made': connection('made'),
    'connection.failed': connection('failed'),
    'connection.removed': connection('removed'),
    'upstream.refresh-failed': connection('refresh_failed'),
    'process.started': () => meters.processes.inc(),
    'audit.lost': ({ rows }) => meters.lost.inc(amount(rows)),
    'config.reloaded': reload(1),
    'config.unchanged': reload(1),
    'config.refused': reload(0),
  }
}

/** What `/health` answers. */
interface Health {
  readonly storage?: { readonly healthy?: boolean }
  readonly audit?: { readonly healthy?: boolean }
  readonly services?: Readonly<Record<string, { readonly status?: string }>>
}

const setHealth = (registry: Registry, meters: Meters, { storage, audit, services = {} }: Health): void => {
  meters.storeUp.set(storage?.healthy === true ? 1 : 0)
  if (audit) {
    registry.registerMetric(meters.trailUp)
    meters.trailUp.set(audit.healthy === true ? 1 : 0)
  }
  meters.serviceUp.reset()
  for (const [service, { status }] of Object.entries(services).slice(0, mostServices))
    if (status !== 'unknown') meters.serviceUp.set({ service }, status === 'healthy' ? 1 : 0)
}

interface Address {
  readonly host: string
  readonly port: number
}

interface About {
  readonly version: string
  readonly runtime: string
}

export interface Metrics {
  /** The same log, counted. */
  observe(log: Log): Log
  /** What is asked at each scrape: the body of `/health`. */
  watch(health: () => Promise<unknown>): void
  /** Where they are, with the port that was chosen; absent where another process serves them. */
  readonly url?: string
  close(): void
}

export interface ServedMetrics extends Metrics {
  readonly url: string
}

/** What is counted here, with nobody to ask for it yet. */
interface Counting extends Omit<Metrics, 'url'> {
  readonly registry: Registry
  /** All metrics with their values, to be added up with those of other processes. */
  values(): Promise<object[]>
  /** The same as text. */
  text(): Promise<string>
}

export const createCounting = (about: About): Counting => {
  const registry = new Registry()
  const meters = createMeters(registry)
  const rules = createRules(meters)
  collectDefaultMetrics({ register: registry })
  // Gauges with the name of a counter, which say what nodejs_active_… says by type.
  for (const kind of ['handles', 'requests', 'resources'])
    registry.removeSingleMetric(`nodejs_active_${kind}_total`)
  meters.about.set({ ...about }, 1)
  meters.reloaded.set(1)
  // A series that begins with its first replay has not increased by it: no alert would tell of that one.
  for (const kind of ['code', 'refresh_token']) meters.replays.inc({ kind }, 0)
  let health = (): Promise<unknown> => Promise.resolve({})
  const refresh = async (): Promise<void> => setHealth(registry, meters, (await health()) as Health)
  return {
    registry,
    observe:
      (log) =>
      (level, event, fields = {}, audit, json) => {
        log(level, event, fields, audit, json)
        if (Object.hasOwn(rules, event)) rules[event]?.(fields)
        if (level === 'warn' || level === 'error') meters.logged.inc({ level })
      },
    watch(ask) {
      health = ask
    },
    async values() {
      await refresh()
      return registry.getMetricsAsJSON()
    },
    async text() {
      await refresh()
      return registry.metrics()
    },
    close: () => undefined,
  }
}

/**
 * Whether a page in a browser on this computer may have sent it, under a name that leads here (DNS rebinding):
 * one that asks a loopback address by another name.
 */
const isForeign = ({ headers, socket }: IncomingMessage): boolean =>
  isLoopbackHost(socket.localAddress ?? '') &&
  !isLoopbackHost(URL.parse(`http://${headers.host ?? ''}`)?.hostname ?? '')

const createAnswer =
  (text: () => Promise<string>) =>
  async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const refuse = (status: number, words: string, headers = {}): void =>
      void response
        .writeHead(status, { 'content-type': 'text/plain; charset=utf-8', ...headers })
        .end(`${words}\n`)
    if (isForeign(request)) return refuse(403, 'Use a loopback address.')
    if (request.url?.split('?', 1)[0] !== '/metrics') return refuse(404, 'The metrics are at /metrics.')
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return refuse(405, 'Use GET.', { allow: 'GET, HEAD' })
    const said = await text()
    response
      .writeHead(200, { 'content-type': Registry.PROMETHEUS_CONTENT_TYPE, 'cache-control': 'no-store' })
      .end(said)
  }

/** Rejects with the error of listening. */
const serveText = async ({ host, port }: Address, text: () => Promise<string>) => {
  const answer = createAnswer(text)
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy())
  })
  server.maxConnections = 32
  server.requestTimeout = 10_000
  server.headersTimeout = 5_000
  server.listen(port, host)
  await once(server, 'listening')
  server.unref()
  const { port: chosen } = server.address() as AddressInfo
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${chosen}/metrics`,
    close() {
      server.close()
      server.closeAllConnections()
    },
  }
}

/** Rejects with the error of listening. */
export const openMetrics = async ({
  about,
  ...address
}: Address & { readonly about: About }): Promise<ServedMetrics> => {
  const { observe, watch, text } = createCounting(about)
  return { observe, watch, ...(await serveText(address, text)) }
}

/** Of several processes, added up. `ask`: what each of them counts. Rejects with the error of listening. */
export const openSummedMetrics = ({
  ask,
  ...address
}: Address & { readonly ask: () => Promise<object[][]> }): Promise<{ readonly url: string; close(): void }> =>
  serveText(address, async () =>
    AggregatorRegistry.aggregate(
      (await ask()) as Parameters<typeof AggregatorRegistry.aggregate>[0],
    ).metrics(),
  )
