// Keys of what is counted and traced: metrics for Prometheus, and traces and metrics of OpenTelemetry.
import * as z from 'zod'
import { duration, httpUrl, text } from './key-types.ts'

export const metricsKeys = z
  .strictObject({
    host: text('Address to listen on. Anyone who can reach it can read the metrics.').default('127.0.0.1'),
    port: z
      .number()
      .int()
      .min(0)
      .max(65_535)
      .default(9464)
      .describe('Port to listen on. 0 picks a free port, which the log names (`metrics.listening`).'),
  })
  .describe(
    'Metrics for Prometheus, at `/metrics` on a port of their own. Without this section there are none. See [Metrics](../guide/metrics.md).',
  )

export const telemetryKeys = z
  .strictObject({
    endpoint: httpUrl()
      .default('http://127.0.0.1:4318')
      .describe(
        'Base URL of an OTLP receiver over HTTP, such as the OpenTelemetry Collector. `/v1/traces` and `/v1/metrics` are added to it.',
      ),
    headers: z
      .record(
        z.string().regex(/^[!#$%&'*+.^`|~\w-]+$/, 'must be a header name'),
        z.string().meta({ writeOnly: true }),
      )
      .default({})
      .describe('Headers to send to the receiver, such as a key.'),
    service_name: text('`service.name` of this gateway.').default('postern'),
    traces: z.boolean().default(true).describe('Export a trace of each call.'),
    metrics: z.boolean().default(true).describe('Export metrics of calls.'),
    sample_ratio: z
      .number()
      .min(0)
      .max(1)
      .default(1)
      .describe(
        'Share of the traces that begin here which are exported: 0.1 is a tenth of them. A trace that is continued is exported if its caller exports it.',
      ),
    traceparent: z
      .enum(['proxies', 'all', 'none'])
      .default('proxies')
      .describe(
        'Whose traces are continued, from `traceparent` in the request or in `params._meta` of its message. `proxies`: those that `trusted_proxies` bring. `all`: every caller’s. `none`: nobody’s; every call begins a trace.',
      ),
    baggage: z
      .boolean()
      .default(false)
      .describe('Send the `baggage` of callers on to servers. It may hold what servers must not know.'),
    metric_interval: duration('s', ['1m', '1s', '1h'], 'How often metrics are exported.'),
  })
  .describe(
    'Traces and metrics of calls for OpenTelemetry, exported by OTLP over HTTP. Without this section there are none. See [Traces](../guide/traces.md).',
  )
