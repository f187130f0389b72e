// An OTLP receiver over HTTP on loopback that tells what it heard: JSON, gzipped or not.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'

type Value = Readonly<Record<string, unknown>>
interface Attribute {
  readonly key: string
  readonly value: Value
}
interface ExportedSpan {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly kind: number
  readonly startTimeUnixNano: string
  readonly endTimeUnixNano: string
  readonly attributes: readonly Attribute[]
  readonly status: { readonly code: number }
  readonly traceState?: string
}
interface DataPoint {
  readonly attributes: readonly Attribute[]
}
interface DurationPoint extends DataPoint {
  readonly count: string | number
  readonly explicitBounds: readonly number[]
}
interface CountPoint extends DataPoint {
  readonly asInt?: string | number
  readonly asDouble?: number
}
interface Scoped {
  readonly resource: { readonly attributes: readonly Attribute[] }
  readonly scopeSpans?: readonly { readonly spans: readonly ExportedSpan[] }[]
  readonly scopeMetrics?: readonly {
    readonly metrics: readonly {
      readonly name: string
      readonly unit: string
      readonly histogram?: { readonly dataPoints: readonly DurationPoint[] }
      readonly sum?: { readonly dataPoints: readonly CountPoint[] }
    }[]
  }[]
}

/** Attributes as an object of their values. */
export const plainAttributes = (attributes: readonly Attribute[]): Readonly<Record<string, unknown>> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))

export const openOtlpReceiver = async () => {
  const received: { readonly path: string; readonly headers: object; readonly body: string }[] = []
  let status = 200
  /** Answers to traces, while they are held back. */
  let held: (() => void)[] | undefined
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('end', () => {
      const bytes = Buffer.concat(parts)
      const body = (request.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes).toString()
      received.push({ path: request.url ?? '', headers: request.headers, body })
      const answer = (): void =>
        void response.writeHead(status, { 'content-type': 'application/json' }).end('{"partialSuccess":{}}')
      if (held && request.url === '/v1/traces') held.push(answer)
      else answer()
    })
  })
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  const scoped = (path: string, member: string): readonly Scoped[] =>
    received
      .filter((one) => one.path === path)
      .flatMap(({ body }) => (JSON.parse(body) as Readonly<Record<string, readonly Scoped[]>>)[member] ?? [])
  const metrics = (name: string) =>
    scoped('/v1/metrics', 'resourceMetrics')
      .flatMap(({ scopeMetrics = [] }) => scopeMetrics.flatMap((one) => one.metrics))
      .filter((metric) => metric.name === name)
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    hold: () => void (held = []),
    release: () => {
      const waiting = held ?? []
      held = undefined
      for (const answer of waiting) answer()
    },
    answer: (next: number) => void (status = next),
    resources: () =>
      scoped('/v1/traces', 'resourceSpans').map(({ resource }) => plainAttributes(resource.attributes)),
    spans: () =>
      scoped('/v1/traces', 'resourceSpans').flatMap(({ scopeSpans = [] }) =>
        scopeSpans.flatMap((one) => one.spans),
      ),
    durations: (name: string) => metrics(name).flatMap(({ histogram }) => histogram?.dataPoints ?? []),
    counts: (name: string) => metrics(name).flatMap(({ sum }) => sum?.dataPoints ?? []),
    close: () => {
      server.close()
      server.closeAllConnections()
    },
  }
}

export type OtlpReceiver = Awaited<ReturnType<typeof openOtlpReceiver>>
