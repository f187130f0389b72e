// What a caller says of its trace, how a message carries one, and a receiver of traces that does not answer.
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Rpc, withMeta } from '../../src/mcp/json-rpc.ts'
import { openTelemetry } from '../../src/node/telemetry.ts'
import { readTraceparent, readTracestate } from '../../src/proxy/trace-context.ts'
import { type OtlpReceiver, openOtlpReceiver, plainAttributes } from '../runtimes/otlp-receiver.ts'

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736'
const spanId = '00f067aa0ba902b7'

describe('trace context', () => {
  it('is read as W3C Trace Context says, a later version by the parts that are known', () => {
    expect(readTraceparent(`00-${traceId}-${spanId}-01`)).toEqual({ traceId, spanId, sampled: true })
    expect(readTraceparent(`00-${traceId}-${spanId}-02`)).toEqual({ traceId, spanId, sampled: false })
    expect(readTraceparent(`cc-${traceId}-${spanId}-01-what-the-future`)).toEqual({
      traceId,
      spanId,
      sampled: true,
    })
    for (const value of [7, null, undefined, `00-${traceId}-${spanId}-1`, ` 00-${traceId}-${spanId}-01`])
      expect([value, readTraceparent(value)]).toEqual([value, undefined])
  })

  it.each([
    ['rojo=00f067aa0ba902b7,congo=t61rcWkgMzE', 'rojo=00f067aa0ba902b7,congo=t61rcWkgMzE'],
    [' a=1 ,\tb@c=2,', 'a=1,b@c=2'],
    ['a=1,a=2', undefined],
    ['A=1', undefined],
    ['a', undefined],
    ['a=', undefined],
    ['a=x=y', undefined],
    ['a=\u0001', undefined],
    ['', undefined],
    [Array.from({ length: 33 }, (_, i) => `k${i}=1`).join(','), undefined],
    [`a=${'x'.repeat(600)}`, undefined],
    [{}, undefined],
  ])('tracestate %j is read as %j', (value, read) => expect(readTracestate(value)).toBe(read))

  it('is put into any message, and everything else in it stays as it is', () => {
    const value = fc.jsonValue({ maxDepth: 3 })
    const meta = fc.dictionary(fc.string(), value)
    const params = fc
      .tuple(fc.dictionary(fc.string(), value), fc.option(meta, { nil: undefined }), fc.boolean())
      .map(([rest, of, first]) => (of ? (first ? { _meta: of, ...rest } : { ...rest, _meta: of }) : rest))
    fc.assert(
      fc.property(params, fc.constantFrom(0, 1, 4), (given, space) => {
        const { __proto__: _, ...clean } = given as Record<string, unknown>
        const message = { jsonrpc: '2.0', id: 1, method: 'tools/call', params: clean } as const
        const text = JSON.stringify(message, undefined, space)
        const said = withMeta(
          { text, message: JSON.parse(text) as Rpc },
          { traceparent: 'new', baggage: undefined },
        )
        const before = clean['_meta']
        const expected =
          before !== undefined && (typeof before !== 'object' || before === null || Array.isArray(before))
            ? undefined
            : { ...(before as object | undefined), traceparent: 'new' }
        if (!expected) return expect(said).toBeUndefined()
        delete (expected as Record<string, unknown>)['baggage']
        expect(JSON.parse(said?.text ?? '')).toEqual(
          JSON.parse(JSON.stringify({ ...message, params: { ...clean, _meta: expected } })),
        )
        expect(JSON.parse(JSON.stringify(said?.message))).toEqual(JSON.parse(said?.text ?? ''))
      }),
    )
  })
})

describe('a receiver of traces', () => {
  let receiver: OtlpReceiver
  beforeEach(async () => void (receiver = await openOtlpReceiver()))
  afterEach(() => receiver.close())

  it('that does not answer costs a bounded number of waiting spans; the others are counted', async () => {
    receiver.hold()
    const log: unknown[] = []
    const { tracing, close } = openTelemetry({
      settings: {
        ...{ endpoint: receiver.url, headers: {}, service_name: 'postern', traces: true, metrics: true },
        ...{ sample_ratio: 1, traceparent: 'none', baggage: false, metric_interval: 3600 },
      },
      version: '1',
      log: (...line) => void log.push(line),
      now: () => 0,
    })
    for (let i = 0; i < 5000; i++)
      tracing.tracer
        .begin({
          ...{
            service: 'echo',
            method: 'ping',
            name: undefined,
            id: i,
            batch: undefined,
            version: undefined,
          },
          ...{ requestId: `r${i}`, startedAt: 0, parent: undefined },
        })
        .end({ at: 40, error: undefined })
    const closed = close()
    await expect
      .poll(() => receiver.durations('mcp.server.operation.duration').length, { timeout: 20_000 })
      .toBe(1)
    receiver.release()
    await closed
    expect(receiver.durations('mcp.server.operation.duration').map(({ count }) => Number(count))).toEqual([
      5000,
    ])
    const dropped = receiver
      .counts('otel.sdk.processor.span.processed')
      .filter(({ attributes }) => plainAttributes(attributes)['error.type'] === 'queue_full')
    // One batch of 512 was being sent, and 2048 waited.
    expect(dropped.map(({ asInt, asDouble }) => Number(asInt ?? asDouble))).toEqual([2440])
  })
})
