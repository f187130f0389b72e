// Upstreams that break off, stall or answer nonsense, at every point of an exchange: what their callers hear,
// and that nobody else hears any of it.
import type { Socket } from 'node:net'
import { Worker } from 'node:worker_threads'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ByteUpstream, openByteUpstream, type Script, whole } from '../runtimes/byte-upstream.ts'
import { type TestGateway, runtimes, openOnSocket } from '../runtimes/runtimes.ts'
import { ana, type Caller, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { createListeners } from '../unit/listeners.ts'

/**
 * 502 that says a connection was made and closed; 504; 502 for what is no answer; an answer that is cut off
 * before it looks whole; a redirect.
 */
type Heard = 'closed' | 'timeout' | 'nonsense' | 'cut' | 'redirect'

const events = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n'
const chunk = (text: string): string => `${Buffer.byteLength(text, 'latin1').toString(16)}\r\n${text}\r\n`
const half =
  'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"jsonrpc":"2.0","id":7,"resu'
const euro = Buffer.from('€').toString('latin1').slice(0, 2)
const soon = (work: () => void): void => void setImmediate(work)
const say =
  (text: string, then: (socket: Socket) => void = () => undefined): Script =>
  (socket) =>
    void socket.write(Buffer.from(text, 'latin1'), () => soon(() => then(socket)))
const drip = (socket: Socket): void => {
  const timer = setInterval(() => (socket.destroyed ? clearInterval(timer) : socket.write('x')), 20)
}

/** What the upstream does when a whole request has come. */
const faults: Readonly<Record<string, readonly [Script, Heard]>> = {
  'resets the connection': [(socket) => socket.resetAndDestroy(), 'closed'],
  'closes without a word': [(socket) => socket.end(), 'closed'],
  'says nothing': [() => undefined, 'timeout'],
  'stalls in the status line': [say('HTTP/1.1 20'), 'timeout'],
  'stalls between two header fields': [
    say('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'),
    'timeout',
  ],
  'sends its header fields byte by byte': [say('HTTP/1.1 200 OK\r\nX-Slow: ', drip), 'timeout'],
  'says only that it will continue': [say('HTTP/1.1 100 Continue\r\n\r\n'), 'timeout'],
  'resets in the header fields': [
    say('HTTP/1.1 200 OK\r\nContent-', (socket) => socket.resetAndDestroy()),
    'closed',
  ],
  'sends header fields without end': [
    say(`HTTP/1.1 200 OK\r\n${'X-Much: y\r\n'.repeat(20_000)}\r\n`),
    'nonsense',
  ],
  'speaks no HTTP': [say('SSH-2.0-OpenSSH_9\r\n'), 'nonsense'],
  'resets in the body': [say(half, (socket) => socket.resetAndDestroy()), 'cut'],
  'closes in the body': [say(half, (socket) => socket.end()), 'cut'],
  'stalls in the body': [say(half), 'cut'],
  'closes in a chunked body': [
    say(
      `HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n${chunk('{"half":')}`,
      (socket) => socket.end(),
    ),
    'cut',
  ],
  'counts its chunks wrongly': [
    say(
      'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"half":1}\r\n',
    ),
    'cut',
  ],
  'resets in an event': [
    say(`${events}${chunk('data: {"half":')}`, (socket) => socket.resetAndDestroy()),
    'cut',
  ],
  'closes in half a character': [
    say(`${events}${chunk(`data: {"price":"${euro}`)}`, (socket) => socket.end()),
    'cut',
  ],
  ...Object.fromEntries(
    [301, 302, 303, 307, 308].map((status): [string, readonly [Script, Heard]] => [
      `redirects to a private address with ${status}`,
      [
        (socket, { name }) =>
          void socket.write(
            whole('', 'text/plain', `${status} Away`, `Location: ${name.split(' to ')[2] ?? ''}\r\n`),
          ),
        'redirect',
      ],
    ]),
  ),
}

const refusals: Readonly<
  Record<Exclude<Heard, 'cut'>, readonly [status: number, code: number, message: string | RegExp]>
> = {
  closed: [502, 1502, 'Raw closed the connection before it answered. The request may have been carried out.'],
  timeout: [504, 1504, 'Request to Raw timed out'],
  nonsense: [502, 1502, 'The MCP server sent an invalid HTTP response.'],
  redirect: [
    502,
    1502,
    'The MCP server responded with a redirect, which the gateway does not follow. The administrator must configure the final URL.',
  ],
}

const whoami = (socket: Socket, { person, id }: Parameters<Script>[1]): void =>
  void socket.write(whole(JSON.stringify({ jsonrpc: '2.0', id, result: { person } })))

const listeners = createListeners()
afterAll(() => listeners.close())

describe.each(runtimes)('%s', (where, open) => {
  let house: TestGateway
  let upstream: ByteUpstream
  let caller: Caller
  let next: Caller
  let other: Caller
  let inside: Awaited<ReturnType<typeof listeners.trap>>

  beforeAll(async () => {
    inside = await listeners.trap()
    upstream = await openByteUpstream((socket, asked) =>
      (faults[asked.name.split(' to http')[0] as string]?.[0] ?? whoami)(socket, asked),
    )
    house = await open({
      upstream: `${upstream.origin}/other`,
      config: {
        local_users: [ana, yamada],
        max_concurrent_calls: 64,
        // The same server twice: whoever is waited for in vain, and whoever must not be cut off by a busy machine.
        mcp_services: {
          raw: { name: 'Raw', url: `${upstream.origin}/mcp`, timeout: 1000 },
          calm: { name: 'Calm', url: `${upstream.origin}/mcp` },
        },
      },
    })
    const at = async (service: string, who: typeof ana): Promise<Caller> => {
      const resource = `${house.origin}/${service}/mcp`
      return callerOf(house, resource, await tokenOf(house, who, resource))
    }
    caller = await at('raw', ana)
    next = await at('calm', ana)
    other = await at('calm', yamada)
  }, 120_000)
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  const nameOf = async (who: Caller, id: unknown): Promise<unknown> => {
    const answer = (await (await who.post(call('whoami', id))).json()) as {
      id: unknown
      result: { person: string }
    }
    return [answer.id, answer.result.person]
  }
  /** Yamada's own answers, while Ana's break. */
  const undisturbed = async (): Promise<void> => {
    const answers = await Promise.all([0, 1, 2, 3].map((id) => nameOf(other, id)))
    expect(answers).toEqual([0, 1, 2, 3].map((id) => [id, 'taro@example.com']))
  }

  it.each(Object.entries(faults).map(([name, [, heard]]) => [name, heard] as const))(
    'never lets an upstream that %s look whole, hang or reach anybody else: %s [H-M13] [H-R10] [H-K7]',
    async (name, heard) => {
      const asked = name.startsWith('redirects') ? `${name} to http://127.0.0.1:${inside.port}/` : name
      const since = performance.now()
      const [answer] = await Promise.all([caller.post(call(asked, 'mine')), undisturbed()])
      const text = await answer.text().catch((error: unknown) => error as Error)
      expect(performance.now() - since).toBeLessThan(10_000)
      if (heard === 'cut' && answer.status === 200) expect(text).toBeInstanceOf(Error)
      else if (where === 'in process' && name === 'says only that it will continue') {
        // Node's own fetch takes an answer to a question nobody asked for an error.
        expect(answer.status).toBe(502)
      } else {
        // A short answer of known length may have been awaited: nothing of it was passed on.
        const [status, code, message] =
          heard === 'cut'
            ? refusals[name.startsWith('stalls') ? 'timeout' : 'nonsense']
            : where === 'on a node socket' || heard === 'timeout' || heard === 'redirect'
              ? refusals[heard]
              : ([502, 1502, /./] as const)
        expect([answer.status, answer.headers.get('location'), JSON.parse(String(text))]).toMatchObject([
          status,
          null,
          {
            jsonrpc: '2.0',
            id: 'mine',
            error: { code, message: typeof message === 'string' ? message : expect.stringMatching(message) },
          },
        ])
      }
      // Whose connection broke is nobody else's: the next calls of both are answered.
      await undisturbed()
      expect(await nameOf(next, 'next')).toEqual(['next', 'ana@example.com'])
      expect(inside.seen.connections).toBe(0)
      expect(house.log.filter(({ fields }) => fields['refusal'] === 'fault')).toEqual([])
    },
  )
})

describe('never depends on an upstream that will not be connected to, on a node socket', () => {
  const withService = async (url: string, use: (anybody: Caller) => Promise<void>): Promise<void> => {
    const house = await openOnSocket({
      upstream: url,
      config: { mcp_services: { raw: { name: 'Raw', url, timeout: 300, auth_required: false } } },
    })
    try {
      await use(callerOf(house, `${house.origin}/raw/mcp`, ''))
    } finally {
      await house.close()
    }
  }

  it('never waits longer than its time for an upstream that takes no connection [H-R10]', async () => {
    // It listens, and its thread sleeps: what the kernel has no room for in the queue is never answered.
    const code = `const { parentPort } = require('node:worker_threads'); require('node:net').createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }, function () { parentPort.postMessage(this.address().port); setTimeout(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0), 10) })`
    const sleeper = new Worker(code, { eval: true })
    const port = await new Promise<number>((resolve) => sleeper.once('message', resolve))
    try {
      await withService(`http://127.0.0.1:${port}/mcp`, async (anybody) => {
        const since = performance.now()
        const answers = await Promise.all(Array.from({ length: 8 }, () => anybody.post(call())))
        expect(performance.now() - since).toBeLessThan(1500)
        for (const answer of answers)
          expect([answer.status, await answer.json()]).toMatchObject([
            504,
            { id: 7, error: { code: 1504, message: 'Request to Raw timed out' } },
          ])
      })
    } finally {
      await sleeper.terminate()
    }
  })

  it('never waits longer than its time for a handshake of TLS that does not come [H-R10]', async () => {
    const silent = await openByteUpstream(() => undefined)
    await withService(`${silent.origin.replace('http', 'https')}/mcp`, async (anybody) => {
      const answer = await anybody.post(call())
      expect([answer.status, await answer.json()]).toMatchObject([
        504,
        { id: 7, error: { code: 1504, message: 'Request to Raw timed out' } },
      ])
    })
    await silent.close()
  })

  it('never speaks to an upstream that resets every connection as soon as it is made, and tells so', async () => {
    const resetting = await openByteUpstream(whoami, (socket) => socket.resetAndDestroy())
    await withService(`${resetting.origin}/mcp`, async (anybody) => {
      for (let i = 0; i < 3; i++) {
        const answer = await anybody.post(call())
        expect([answer.status, await answer.json()]).toMatchObject([
          502,
          { id: 7, error: { code: 1502, message: 'Cannot connect to Raw' } },
        ])
      }
    })
    await resetting.close()
  })
})
