// A server that holds the stream of an answer open and says nothing: its silence has a limit where the gateway itself reads the answer, and life in any byte starts it again.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { utf8 } from '../../src/kit/bytes.ts'
import { type Refusal, rpcErrorText } from '../../src/kit/refusal.ts'
import type { Rpc } from '../../src/mcp/json-rpc.ts'
import {
  type Caller,
  answerOf,
  createRevisionReply,
  createSendNotification,
  readReplies,
} from '../../src/proxy/revisions/exchange.ts'
import { runLegacyCall } from '../../src/proxy/revisions/legacy-call.ts'
import { createModernCall } from '../../src/proxy/revisions/modern-call.ts'

beforeEach(() => void vi.useFakeTimers({ now: 0 }))
afterEach(() => void vi.useRealTimers())

const timeoutMs = 300_000
const pass = (ms: number): Promise<unknown> => vi.advanceTimersByTimeAsync(ms)

/** A server whose answers are streams that the test writes. */
const world = () => {
  const streams: ReadableStreamDefaultController<Uint8Array>[] = []
  const state = { cancelled: 0, bodies: [] as Rpc[] }
  const ask = async (request: Request): Promise<Response> => {
    if (request.method === 'POST') state.bodies.push((await request.json()) as Rpc)
    const body = new ReadableStream<Uint8Array>({
      start: (made) => void streams.push(made),
      cancel: () => void state.cancelled++,
    })
    return new Response(body, { headers: { 'content-type': 'text/event-stream' } })
  }
  const tell = createSendNotification({ ask, service: 'echo', name: 'Echo', timeoutMs })
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
    tell,
    caller,
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

describe('an answer whose stream falls silent', () => {
  it('fails with upstream.timeout after the whole limit and not before, and the server hears that nobody reads', async () => {
    const { tell, caller, state, say } = world()
    const outcome = outcomeOf(
      tell(caller, [], '{}').then((response) => readReplies(response, () => undefined)),
    )
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

  it('lives as long as any byte comes in time: comments, and halves of events', async () => {
    const { tell, caller, say, end } = world()
    const heard: Rpc[] = []
    const outcome = outcomeOf(
      tell(caller, [], '{}').then((response) => readReplies(response, (message) => void heard.push(message))),
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

  it('is waited for while the server itself waits for the client, and while the reader takes its time', async () => {
    const { tell, caller, say, end } = world()
    let asked = true
    const slow = Promise.withResolvers<void>()
    const outcome = outcomeOf(
      tell({ ...caller, waits: () => asked }, [], '{}').then((response) =>
        readReplies(response, () => slow.promise),
      ),
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

  it('is not limited for a subscription, and for the standing stream of GET', async () => {
    const { tell, caller } = world()
    const outcomes = [tell({ ...caller, subscribes: true }, [], '{}'), tell(caller, [])].map((work) =>
      outcomeOf(work.then((response) => readReplies(response, () => undefined))),
    )
    await pass(10 * timeoutMs)
    expect(outcomes).toEqual([{}, {}])
  })

  it('is taken for what it said, where only the blank line and the end are missing', async () => {
    const { tell, caller, say } = world()
    const outcome = outcomeOf(tell(caller, [], '{}').then((response) => answerOf(response, 'a')))
    await pass(0)
    say('data: {"jsonrpc":"2.0","id":"a","result":{"n":1}}\n')
    await pass(timeoutMs)
    expect(outcome).toEqual({ value: { jsonrpc: '2.0', id: 'a', result: { n: 1 } } })
  })

  it('is not waited for behind the answer: the answer goes on at once, and the stream is left after a second', async () => {
    const { tell, caller, state, say } = world()
    const outcome = outcomeOf(tell(caller, [], '{}').then((response) => answerOf(response, 'a')))
    await pass(0)
    say('data: {"jsonrpc":"2.0","id":"a","result":{"n":1}}\n\n')
    await pass(0)
    expect([outcome, state.cancelled]).toEqual([{ value: { jsonrpc: '2.0', id: 'a', result: { n: 1 } } }, 0])
    await pass(1000)
    expect(state.cancelled).toBe(1)
  })
})

describe('a call between the revisions whose server falls silent', () => {
  it('is answered by the error of a timeout to a client of 2026-07-28, on the stream that it reads', async () => {
    const { tell, caller, state } = world()
    const message: Rpc = {
      jsonrpc: '2.0',
      id: 7,
      method: 'tools/call',
      params: { name: 'hang', arguments: {} },
    }
    const reply = createRevisionReply({
      keepAliveMs: 10 * timeoutMs,
      signal: caller.signal,
      gone: () => undefined,
    })
    let over = 0
    const about = { version: '2025-11-25', capabilities: {}, server: {} }
    const session = {
      about,
      capabilities: {},
      stream: undefined,
      level: undefined,
      fields: [],
      mirrors: new Map(),
      caller,
    }
    createModernCall({
      tell,
      service: 'echo',
      session,
      message,
      caller,
      reply,
      name: 'n1',
      hold: () => undefined,
      over: () => void over++,
    })
      .run()
      .catch(() => undefined)
    await pass(timeoutMs)
    const response = await reply.response
    expect([response.status, response.headers.get('content-type'), await response.text()]).toEqual([
      200,
      'text/event-stream',
      `data: ${JSON.stringify(timedOut)}\n\n`,
    ])
    expect([over, state.cancelled, state.bodies.map(({ method }) => method)]).toEqual([1, 1, ['tools/call']])
  })

  it('rejects with the same refusal for a client of 2025', async () => {
    const { tell, caller } = world()
    const session = {
      owner: 'ana',
      writtenAt: 0,
      client: {},
      capabilities: {},
      version: '2025-11-25',
      level: undefined,
      notices: {},
      watched: [],
      watchable: false,
    }
    const tools = { fields: () => Promise.resolve([]), learn: () => undefined }
    const call = {
      caller,
      id: 's',
      session,
      message: { jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 'hang' } },
      say: () => undefined,
    }
    const outcome = outcomeOf(
      runLegacyCall(
        { tell, tools, service: 'echo', random: (n) => new Uint8Array(n), questions: undefined },
        call,
      ),
    )
    await pass(timeoutMs)
    expect(JSON.parse(caller.refused(outcome.error as Refusal, 7))).toEqual(timedOut)
  })
})
