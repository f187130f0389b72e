// A caller who leaves a call by fetch, where the runtime ends the fetch itself and nobody listens for it.
import { describe, expect, it } from 'vitest'
import { createMakeCall } from '../../src/proxy/fetch.ts'
import { createRespond } from '../../src/proxy/response-sink.ts'
import { timer } from '../../src/node/runtime.ts'
import type { Admission, AnswerHead, Fetch, Head, Outcome } from '../../src/ports/call.ts'
import { Refusal } from '../../src/kit/refusal.ts'

const failing = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(new DOMException('The caller left.', 'AbortError')))
  })

/** An answer whose body does not end before the caller leaves. */
const half = (signal: AbortSignal, headers: Record<string, string>): Response =>
  new Response(
    new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(new TextEncoder().encode('{"half":'))
        failing(signal).catch((error: unknown) => controller.error(error))
      },
    }),
    { headers },
  )

const begin = (answer: (signal: AbortSignal) => Promise<Response>) => {
  const ends: Outcome[] = []
  const asked = Promise.withResolvers<void>()
  const admission = {
    kind: 'admission',
    address: { service: { id: 'notes' } },
    upstream: { kind: 'http', origin: 'http://u.test', host: 'u.test', path: '/mcp' },
    method: 'POST',
    headers: [],
    identity: [],
    timeoutMs: 60_000,
    keepAliveMs: 60_000,
    answer: (status: number, headers: readonly string[]): AnswerHead => ({
      status,
      headers,
      events: headers.includes('text/event-stream'),
    }),
    streams: () => undefined,
    fault: () => new Refusal('upstream.closed'),
    again: () => undefined,
    end: (outcome: Outcome) => void ends.push(outcome),
  } as unknown as Admission
  const runtime = { now: Date.now, timer }
  const makeCall = createMakeCall(
    { admit: () => Promise.resolve(admission), respond: createRespond({ runtime }) },
    runtime,
  )
  const caller = new AbortController()
  const fetch: Fetch = Object.assign(
    (_: RequestInfo | URL, init?: RequestInit) => {
      asked.resolve()
      return answer(init?.signal as AbortSignal)
    },
    { endsWithRequest: true },
  )
  const call = makeCall({
    head: {} as Head,
    readBody: () => Promise.reject(new Error('read')),
    fetchFor: () => fetch,
    signal: caller.signal,
  })
  return { call, caller, ends, asked: asked.promise }
}

describe('a caller who leaves is written down as such', () => {
  it('before the server has answered', async () => {
    const { call, caller, ends, asked } = begin(failing)
    await asked
    caller.abort(new Error('left'))
    await expect(call).rejects.toThrow('left')
    expect(ends).toEqual([{ result: 'aborted', status: 0, bytesOut: 0 }])
  })

  it('in the middle of an answer that is waited for', async () => {
    const { call, caller, ends, asked } = begin((signal) =>
      Promise.resolve(half(signal, { 'content-type': 'application/json', 'content-length': '20' })),
    )
    await asked
    await new Promise((resolve) => void setImmediate(resolve))
    caller.abort(new Error('left'))
    await expect(call).rejects.toThrow('left')
    expect(ends).toMatchObject([{ result: 'aborted', status: 0, bytesOut: 0 }])
  })

  it('in the middle of an event stream', async () => {
    const { call, caller, ends } = begin((signal) =>
      Promise.resolve(half(signal, { 'content-type': 'text/event-stream' })),
    )
    const reader = (await call).body!.getReader()
    await reader.read()
    caller.abort(new Error('left'))
    await expect(reader.read()).rejects.toThrow('left')
    expect(ends).toMatchObject([{ result: 'aborted', status: 200, bytesOut: 8 }])
  })

  it('and a server that fails while the caller stays as one that failed', async () => {
    const { call, ends } = begin(() => Promise.reject(new Error('refused')))
    await expect(call).rejects.toThrow(new Refusal('upstream.closed').message)
    expect(ends).toMatchObject([{ result: 'failed', code: 'upstream.closed' }])
  })
})
