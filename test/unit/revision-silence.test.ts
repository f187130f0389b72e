// Servers that hold the stream of a response open without writing to it: the silence has a limit, and any
// byte starts it again.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { utf8 } from '../../src/kit/bytes.ts'
import { type Refusal, rpcErrorText } from '../../src/kit/refusal.ts'
import type { Rpc } from '../../src/mcp/json-rpc.ts'
import { runLegacyCall } from '../../src/proxy/revisions/legacy-call.ts'
import { failCall, newModernCall, sendCall } from '../../src/proxy/revisions/modern-call.ts'
import {
  type Caller,
  type Server,
  type UpstreamRequest,
  readMessages,
  responseTo,
  send,
} from '../../src/proxy/revisions/exchange.ts'
import { timer } from '../../src/node/runtime.ts'

beforeEach(() => void vi.useFakeTimers({ now: 0 }))
afterEach(() => void vi.useRealTimers())

const timeoutMs = 300_000
const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms)

/** A server whose answers are streams that the test writes. */
const world = () => {
  const streams: ReadableStreamDefaultController<Uint8Array>[] = []
  const state = { cancelled: 0, bodies: [] as Rpc[] }
  const direct = async (request: Request): Promise<Response> => {
    if (request.method === 'POST') state.bodies.push((await request.json()) as Rpc)
    const body = new ReadableStream<Uint8Array>({
      start: (made) => void streams.push(made),
      cancel: () => void state.cancelled++,
    })
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
  }
  const server = {
    service: { id: 'echo', name: 'Echo', timeoutMs },
    runtime: { now: () => 0, timer, random: (n: number) => new Uint8Array(n) },
    direct,
    keepAliveMs: 10 * timeoutMs,
    lasting: true,
  } as unknown as Server
  const caller: Caller = {
    principal: undefined,
    owner: 'ana',
    url: 'https://mcp.test/mcp',
    headers: new Headers({ 'x-request-id': 'r1' }),
    signal: new AbortController().signal,
    asked: { method: 'POST', requestId: 'r1' },
    refused: (refusal, id) => rpcErrorText(refusal, id, 'r1'),
  }
  return {
    server,
    caller,
    post: (request: UpstreamRequest = {}) => send(server, caller, { body: '{}', ...request }),
    state,
    say: (text: string, at = -1) => streams.at(at)?.enqueue(utf8(text)),
    end: () => streams.at(-1)?.close(),
  }
}

const outcomeOf = (work: Promise<unknown>) => {
  const outcome: { value?: unknown; error?: unknown } = {}
  work.then(
    (value) => (outcome.value = value),
    (error: unknown) => (outcome.error = error),
  )
  return outcome
}
const timedOut = {
  jsonrpc: '2.0',
  id: 7,
  error: {
    code: 1504,
    message: 'Request to Echo timed out',
    data: { code: 'upstream.timeout', request_id: 'r1' },
  },
}

describe('a response whose stream is silent', () => {
  it('fails with upstream.timeout after the limit and not before, and is cancelled', async () => {
    const { post, state, say } = world()
    const outcome = outcomeOf(post().then((response) => readMessages(response, () => undefined)))
    await pass(0)
    say('data: {"jsonrpc":"2.0","method":"notifications/progress"}\n\n')
    await pass(timeoutMs - 1)
    expect([outcome.error, state.cancelled]).toEqual([undefined, 0])
    await pass(1)
    const { code, why, say: said } = outcome.error as Refusal
    expect([code, why, said, state.cancelled]).toEqual([
      'upstream.timeout',
      'echo: nothing for 300000 ms',
      'Request to Echo timed out',
      1,
    ])
  })

  it('does not fail while any byte comes in time: comments, and parts of events', async () => {
    const { post, say, end } = world()
    const heard: Rpc[] = []
    const outcome = outcomeOf(
      post().then((response) => readMessages(response, (message) => void heard.push(message))),
    )
    for (const piece of [
      ': alive\n\n',
      ': alive\n\n',
      'data: {"jsonrpc":"2.0",',
      '"id":7,"result":{}}\n\n',
    ]) {
      await pass(timeoutMs - 1)
      say(piece)
    }
    await pass(0)
    end()
    await pass(0)
    expect([heard, 'error' in outcome, 'value' in outcome]).toEqual([
      [{ jsonrpc: '2.0', id: 7, result: {} }],
      false,
      true,
    ])
  })

  it('does not fail while the server waits for the client, or while the reader is slow', async () => {
    const { post, say, end } = world()
    let asked = true
    const slow = Promise.withResolvers<void>()
    const outcome = outcomeOf(
      post({ waits: () => asked }).then((response) => readMessages(response, () => slow.promise)),
    )
    await pass(3 * timeoutMs)
    expect(outcome).toEqual({})
    asked = false
    say('data: {"jsonrpc":"2.0","method":"notifications/message"}\n\n')
    await pass(3 * timeoutMs)
    expect(outcome).toEqual({})
    slow.resolve()
    end()
    await pass(0)
    expect(outcome).toEqual({ value: undefined })
  })

  it('has no limit if it is a subscription or the GET stream', async () => {
    const { post, server, caller } = world()
    const outcomes = [post({ subscribes: true }), send(server, caller, {})].map((work) =>
      outcomeOf(work.then((response) => readMessages(response, () => undefined))),
    )
    await pass(10 * timeoutMs)
    expect(outcomes).toEqual([{}, {}])
  })

  it('is complete if only the blank line and the end are missing', async () => {
    const { post, say, server } = world()
    const outcome = outcomeOf(post().then((response) => responseTo(server, response, 'a')))
    await pass(0)
    say('data: {"jsonrpc":"2.0","id":"a","result":{"n":1}}\n')
    await pass(timeoutMs)
    expect(outcome).toEqual({ value: { jsonrpc: '2.0', id: 'a', result: { n: 1 } } })
  })

  it('is cancelled one second after the JSON-RPC response, which is passed on at once', async () => {
    const { post, state, say, server } = world()
    const outcome = outcomeOf(post().then((response) => responseTo(server, response, 'a')))
    await pass(0)
    say('data: {"jsonrpc":"2.0","id":"a","result":{"n":1}}\n\n')
    await pass(0)
    expect([outcome, state.cancelled]).toEqual([{ value: { jsonrpc: '2.0', id: 'a', result: { n: 1 } } }, 0])
    await pass(1000)
    expect(state.cancelled).toBe(1)
  })
})

describe('a call through the revision bridge to a silent server', () => {
  it('ends with a timeout error on the stream of a modern client', async () => {
    const { server, caller, state } = world()
    const message: Rpc = {
      jsonrpc: '2.0',
      id: 7,
      method: 'tools/call',
      params: { name: 'hang', arguments: {} },
    }
    let over = 0
    const session = {
      key: undefined,
      initialized: { version: '2025-11-25', capabilities: {}, server: {} },
      headers: [],
      capabilities: {},
      stream: undefined,
      paramHeaders: new Map(),
      subscribed: new Map(),
      caller,
      logLevel: undefined,
      usedAt: 0,
      writtenAt: 0,
    }
    const call = newModernCall(session, { server, caller, message, hold: () => undefined })
    call.onOver = () => void over++
    const { response: pending } = call
    sendCall(call).catch((error: unknown) => failCall(call, error))
    await pass(timeoutMs)
    const response = await pending.response
    expect([response.status, response.headers.get('content-type'), await response.text()]).toEqual([
      200,
      'text/event-stream',
      `event: message\ndata: ${JSON.stringify(timedOut)}\n\n`,
    ])
    expect([over, state.cancelled, state.bodies.map(({ method }) => method)]).toEqual([1, 1, ['tools/call']])
  })

  it('rejects with the same refusal for a legacy client', async () => {
    const { server, caller } = world()
    const session = {
      owner: 'ana',
      writtenAt: 0,
      clientInfo: {},
      capabilities: {},
      version: '2025-11-25',
      changes: {},
      subscribed: [],
      subscribable: false,
    }
    const call = {
      server,
      caller,
      sessionId: 's',
      session,
      message: { jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 'hang' } },
      elicitations: undefined,
      toolHeaders: { headersOf: () => Promise.resolve([]), add: () => undefined },
      write: () => undefined,
    }
    const outcome = outcomeOf(runLegacyCall(call))
    await pass(timeoutMs)
    expect(JSON.parse(caller.refused(outcome.error as Refusal, 7))).toEqual(timedOut)
  })
})
