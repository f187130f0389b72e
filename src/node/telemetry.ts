// Traces and metrics of calls by OpenTelemetry, exported by OTLP over HTTP: the semantic conventions of MCP
// (open-telemetry/semantic-conventions-genai, docs/gen-ai/mcp.md). Loaded only where it is configured. What is
// recorded is put in a queue of bounded length; a receiver that is slow or away costs a call nothing.
import {
  type Attributes,
  DiagLogLevel,
  type Histogram,
  type Span as OtelSpan,
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  TraceFlags,
  type Tracer,
  createTraceState,
  diag,
  trace,
} from '@opentelemetry/api'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace'
import { logText } from '../kit/log.ts'
import type { Log, Operation, ParentSpan, Span, TraceFields, Tracing } from '../ports/runtime.ts'
import { createServiceNames, createToolNames, methodOf, mostServices } from './metric-names.ts'

export interface TelemetrySettings {
  readonly endpoint: string
  readonly headers: Readonly<Record<string, string>>
  readonly service_name: string
  readonly traces: boolean
  readonly metrics: boolean
  readonly sample_ratio: number
  readonly traceparent: Tracing['continues']
  readonly baggage: boolean
  /** Seconds. */
  readonly metric_interval: number
}

export interface TelemetryOptions {
  readonly settings: TelemetrySettings
  readonly version: string
  readonly log: Log
  /** Epoch ms. */
  readonly now: () => number
}

export interface Telemetry {
  readonly tracing: Tracing
  /** Exports what is left, for a second at most. Never rejects. */
  close(): Promise<void>
}

/** Seconds, as the conventions have them. */
const boundaries = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300]
/** Spans that wait to be exported; more are dropped and counted (`otel.sdk.processor.span.processed`). */
const mostWaiting = 2048
const exportMs = 10_000
const lastExportMs = 1000
/** How often the log says that the receiver takes nothing. */
const complaintMs = 60_000

/** The packages say what goes wrong with an export to a logger of their own. */
const reportFaults = ({ log, now }: TelemetryOptions): void => {
  let saidAt = -Infinity
  const say = (message: string): void => {
    if (now() - saidAt < complaintMs) return
    saidAt = now()
    log('warn', 'telemetry.failed', { why: logText(message).slice(0, 300) })
  }
  const quiet = (): void => undefined
  diag.setLogger(
    { error: say, warn: say, info: quiet, debug: quiet, verbose: quiet },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  )
}

const createProviders = (options: TelemetryOptions) => {
  const { settings, version } = options
  const { endpoint, headers, sample_ratio: ratio, metric_interval: interval } = settings
  const resource = resourceFromAttributes({
    'service.name': settings.service_name,
    'service.version': version,
  })
  const exporter = (path: string) => ({
    url: `${endpoint.replace(/\/+$/, '')}${path}`,
    headers: { ...headers },
    timeoutMillis: exportMs,
    concurrencyLimit: 2,
  })
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter(exporter('/v1/metrics')),
    exportIntervalMillis: interval * 1000,
    exportTimeoutMillis: Math.min(exportMs, interval * 1000),
    // All that the names allow: each service by method, revision and way of failing.
    cardinalityLimits: { default: 20 * mostServices },
  })
  const meters = new MeterProvider({ resource, readers: settings.metrics ? [reader] : [] })
  const spans = new BatchSpanProcessor({
    exporter: new OTLPTraceExporter(exporter('/v1/traces')),
    maxQueueSize: mostWaiting,
    exportTimeoutMillis: exportMs,
    selfObsMeterProvider: meters,
  })
  const traces = new TracerProvider({
    resource,
    sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(ratio) }),
    spanProcessors: [spans],
    spanLimits: { attributeValueLengthLimit: 256, attributeCountLimit: 24 },
  })
  return { meters, traces }
}

// What is said of an operation. Never a person, a client, a session, a token, an argument or the URI of a resource.

/** Clients choose them, and all that they identify is one request. */
const requestId = /^[\w.:-]{1,64}$/

const aboutOperation = (service: string, { method, version }: Operation): Attributes => ({
  'mcp.method.name': methodOf(method),
  'postern.service': service,
  ...(version !== undefined && { 'mcp.protocol.version': version }),
  ...(method === 'tools/call' && { 'gen_ai.operation.name': 'execute_tool' }),
})

const aboutRequest = ({ id, requestId: ours, batch }: Operation): Attributes => ({
  'postern.request_id': ours,
  ...(batch !== undefined && { 'postern.batch.size': batch }),
  ...(id !== undefined && id !== null && requestId.test(String(id)) && { 'jsonrpc.request.id': String(id) }),
})

const nameAttributes: Readonly<Record<string, string>> = {
  'tools/call': 'gen_ai.tool.name',
  'prompts/get': 'gen_ai.prompt.name',
}

const aboutServer = (url: string | undefined): Attributes => {
  const at = url === undefined ? null : URL.parse(url)
  if (!at) return {}
  const port = at.port === '' ? (/^(?:https|wss):$/.test(at.protocol) ? 443 : 80) : Number(at.port)
  return { 'server.address': at.hostname, 'server.port': port }
}

const parentContext = (parent: ParentSpan | undefined) => {
  if (!parent) return ROOT_CONTEXT
  const { traceId, spanId, sampled, tracestate } = parent
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: sampled ? TraceFlags.SAMPLED : TraceFlags.NONE,
    isRemote: true,
    ...(tracestate !== undefined && { traceState: createTraceState(tracestate) }),
  })
}

const fieldsOf = (span: OtelSpan): TraceFields => {
  const { traceId, spanId, traceFlags, traceState } = span.spanContext()
  const tracestate = traceState?.serialize()
  return {
    traceparent: `00-${traceId}-${spanId}-${(traceFlags & TraceFlags.SAMPLED) === 0 ? '00' : '01'}`,
    ...(tracestate && { tracestate }),
  }
}

const fail = (span: OtelSpan | undefined, error: string | undefined): void => {
  if (error === undefined) return
  span?.setAttribute('error.type', error)
  span?.setStatus({ code: SpanStatusCode.ERROR })
}

/** Where spans and durations of operations go. */
interface Recorder {
  /** Absent: no traces. */
  readonly tracer: Tracer | undefined
  readonly durations: Readonly<Record<'client' | 'server', Histogram>>
  readonly serviceOf: (id: unknown) => string
  readonly tools: ReturnType<typeof createToolNames>
}

interface Sent {
  readonly at: number
  readonly about: Attributes
  readonly span: OtelSpan | undefined
}

/** The part of an operation in which the server works. */
const beginSent = (
  { tracer }: Recorder,
  { method, requestId: ours }: Operation,
  about: Attributes,
  parent: OtelSpan | undefined,
  { at, transport, url }: Parameters<Span['send']>[0],
): Sent => {
  const way = { ...about, ...(transport && { 'network.transport': transport }) }
  const attributes = { ...way, ...aboutServer(url), 'postern.request_id': ours }
  const start = { kind: SpanKind.CLIENT, attributes, startTime: new Date(at) }
  const span = parent && tracer?.startSpan(methodOf(method), start, trace.setSpan(ROOT_CONTEXT, parent))
  return { at, about: way, span }
}

/** Of tools and prompts that servers have answered for, the name is said. */
const nameSpans = (
  { tools }: Recorder,
  { method, name }: Operation,
  service: string,
  error: string | undefined,
  spans: readonly (OtelSpan | undefined)[],
): void => {
  const attribute = nameAttributes[method]
  if (attribute === undefined || name === undefined) return
  if (error === undefined) tools.learn(service, name)
  const known = tools.known(service, name)
  if (known === undefined) return
  for (const span of spans) span?.updateName(`${method} ${known}`).setAttribute(attribute, known)
}

const begin = (recorder: Recorder, operation: Operation): Span => {
  const { tracer, durations, serviceOf } = recorder
  const { method, startedAt, parent } = operation
  const service = serviceOf(operation.service)
  const about = aboutOperation(service, operation)
  const received = { ...about, 'network.transport': 'tcp' }
  const start = {
    kind: SpanKind.SERVER,
    attributes: { ...received, ...aboutRequest(operation) },
    startTime: new Date(startedAt),
  }
  const span = tracer?.startSpan(methodOf(method), start, parentContext(parent))
  let sent: Sent | undefined
  return {
    send(to) {
      sent = beginSent(recorder, operation, about, span, to)
      return sent.span && fieldsOf(sent.span)
    },
    end({ at, error }) {
      const spans = [sent?.span, span]
      const failed = error === undefined ? {} : { 'error.type': error }
      durations.server.record((at - startedAt) / 1000, { ...received, ...failed })
      if (sent) durations.client.record((at - sent.at) / 1000, { ...sent.about, ...failed })
      nameSpans(recorder, operation, service, error, spans)
      for (const one of spans) {
        fail(one, error)
        one?.end(new Date(at))
      }
    },
  }
}

export const openTelemetry = (options: TelemetryOptions): Telemetry => {
  const { settings, version } = options
  reportFaults(options)
  const { meters, traces } = createProviders(options)
  const meter = meters.getMeter('postern', version)
  const histogram = (side: 'client' | 'server', description: string): Histogram =>
    meter.createHistogram(`mcp.${side}.operation.duration`, {
      unit: 's',
      description,
      advice: { explicitBucketBoundaries: boundaries },
    })
  const recorder = {
    tracer: settings.traces ? traces.getTracer('postern', version) : undefined,
    durations: {
      server: histogram('server', 'From a message of a client to the end of its answer.'),
      client: histogram('client', 'From what a server was sent to the end of its answer.'),
    },
    serviceOf: createServiceNames(),
    tools: createToolNames(),
  }
  return {
    tracing: {
      tracer: { begin: (operation) => begin(recorder, operation) },
      continues: settings.traceparent,
      baggage: settings.baggage,
    },
    async close() {
      const late = new Promise<void>((resolve) => void setTimeout(resolve, lastExportMs).unref())
      const all = Promise.allSettled([traces.shutdown(), meters.shutdown({ timeoutMillis: lastExportMs })])
      await Promise.race([all, late])
    },
  }
}
