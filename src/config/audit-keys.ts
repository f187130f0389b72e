// The keys of the audit trail: of the gateway, and of a service.
import * as z from 'zod'
import { duration, secret, serviceId } from './key-types.ts'

const auditSink = z
  .strictObject({
    url: z
      .string()
      .regex(
        /^(?:stdout:|file:\/\/\/[^?#]+|syslog\+(?:udp|tcp|tls):\/\/(?:[\w.-]+|\[[0-9a-fA-F:.]+\])(?::\d{1,5})?|https?:\/\/[^\s#]+)$/,
        'must be stdout:, file:///…, syslog+udp://…, syslog+tcp://…, syslog+tls://… or the http(s):// URL of an OpenTelemetry collector',
      )
      .describe(
        'Where to: `stdout:` or `file:///path` (JSON Lines), `syslog+udp://host:514`, `syslog+tcp://host:601` or `syslog+tls://host:6514` (RFC 5424), or an OpenTelemetry collector (`https://host/v1/logs`, OTLP as JSON).',
      ),
    headers: z
      .record(
        z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'must be an HTTP header name'),
        secret('Value.'),
      )
      .default({})
      .describe('For a collector: headers to send, for example `Authorization`.'),
    syslog_id: z
      .string()
      .regex(/^[A-Za-z0-9._-]{1,20}@\d{1,11}$/, 'must be a name and an enterprise number, e.g. postern@32473')
      .default('postern@32473')
      .describe('For syslog: SD-ID of the structured data.'),
  })
  .describe('A place to which all audit events are sent.')

const anchors = z
  .strictObject({
    url: z
      .string()
      .regex(/^(?:file:\/\/\/[^?#]+|https?:\/\/[^\s#]+)$/, 'must be file:///… or an http(s):// URL')
      .describe('`file:///path`, or a URL that takes JSON Lines in a `POST`.'),
    headers: auditSink.shape.headers.describe('For a URL: headers to send, for example `Authorization`.'),
  })
  .optional()
  .describe(
    'A place outside this machine to which only signed anchors are sent, about one a minute. `postern audit verify --anchors` checks the trail against them.',
  )

export const auditKeys = z
  .strictObject({
    enabled: z
      .boolean()
      .default(true)
      .describe('Keep the audit trail. `false`: audit events are written to the log only.'),
    retention: duration(
      's',
      ['400d', '1d', '3650d'],
      'How long events are kept. They are removed a day at a time, and the trail records each removal.',
    ),
    body_retention: duration(
      's',
      ['30d', '1d', '3650d'],
      'How long arguments and results are kept that a service keeps (`mcp_services.<id>.audit.bodies`).',
    ),
    durability: z
      .enum(['process', 'disk'])
      .default('process')
      .describe(
        '`process`: events that are written survive the end of the process. `disk`: they survive a power failure too, because each commit waits for the disk.',
      ),
    on_pressure: z
      .enum(['keep', 'oldest'])
      .default('keep')
      .describe(
        'While less than 5 % of the disk is free. `keep`: go on until it is full. `oldest`: remove the oldest segments to make room, which the trail records.',
      ),
    spill: z
      .string()
      .regex(/^(?:\/|[A-Za-z]:[\\/])/, 'must be an absolute path')
      .optional()
      .describe(
        'Directory on another disk. While the audit trail cannot be written, events are kept there as JSON Lines, up to 256 MiB, and are read back in their order when it can. Without it they wait in memory, up to 20,000 events or 16 MiB.',
      ),
    sinks: z
      .record(serviceId, auditSink)
      .default({})
      .describe('Places to which all audit events are sent as well, by ID.'),
    anchors,
  })
  .describe(
    'Audit trail: a searchable, tamper-evident record of sign-ins, consents, grants and calls, in `audit.db` in the state directory (on Workers: in a Durable Object). Without this section there is none. See [Audit trail](../guide/audit-trail.md).',
  )

const bodies = z
  .strictObject({
    arguments: z.boolean().default(false).describe('Keep the arguments of tool calls.'),
    results: z
      .boolean()
      .default(false)
      .describe('Keep the results of tool calls. The server is then asked not to compress them.'),
    cap: z
      .number()
      .int()
      .min(64)
      .max(65_536)
      .default(4096)
      .describe('Characters of JSON that are kept of each. Longer ones are cut.'),
    redact: z
      .array(
        z
          .string()
          .regex(
            /^(?!(?:.*\*\*){2})[^.\s]+(?:\.[^.\s]+)*$/,
            'must be names with dots between, `*` for one name and at most one `**` for any number of them',
          ),
      )
      .max(50)
      .default(['**.password', '**.secret', '**.token', '**.api_key', '**.apikey', '**.authorization'])
      .describe(
        'Values that are replaced by `[redacted]`: paths in the arguments and in the result, in any case. `*` is one name, `**` any number.',
      ),
  })
  .describe(
    'Keep arguments or results of tool calls beside the audit trail, for `body_retention`. Only auditors may read them.',
  )

export const serviceAuditKeys = z
  .strictObject({
    required: z
      .boolean()
      .default(false)
      .describe('Reject calls with a 503 (`audit.unavailable`) while the audit trail cannot be written.'),
    bodies: bodies.optional(),
  })
  .optional()
  .describe('The service and the audit trail.')
