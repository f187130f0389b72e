// How Postern ends as a process: with calls in flight, with streams and idle connections open, when told
// twice, and when nobody reads what it says.
import { once } from 'node:events'
import { Agent, type ClientRequest, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { logIn, person, type Tokens } from '../runtimes/login.ts'
import { type PosternProcess, startProcess, temporaryState } from '../runtimes/process.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

let state: ReturnType<typeof temporaryState>
let upstream: Upstream
let gateway: PosternProcess
/** Answers that the upstream was asked for and has not given, in the order the calls came. */
let held: ServerResponse[]
let asked: () => void

const port = (): number => Number(new URL(gateway.origin).port)
const config = () => ({
  local_users: [person],
  mcp_services: { echo: { url: upstream.url, upstream_auth: { type: 'none' } } },
})

beforeEach(async () => {
  state = temporaryState()
  held = []
  asked = () => undefined
  upstream = await openUpstream((_request, response) => {
    held.push(response)
    asked()
  })
  gateway = await startProcess({ config: config(), stateDir: state.dir })
})
afterEach(async () => {
  await gateway.end('SIGKILL')
  await upstream.close()
  state.remove()
})

/** The upstream has been asked this often. */
const asks = (times: number): Promise<void> =>
  new Promise((resolve) => {
    asked = () => {
      if (held.length >= times) resolve()
    }
    asked()
  })

const opened = (socket: Socket): Promise<Socket | undefined> =>
  new Promise((resolve) => {
    socket.once('connect', () => resolve(socket))
    socket.once('error', () => resolve(undefined))
  })

/** Resolves once nobody gets a new connection any more. */
const stopsListening = async (): Promise<void> => {
  for (
    let socket = await opened(connect(port(), '127.0.0.1'));
    socket;
    socket = await opened(connect(port(), '127.0.0.1'))
  )
    socket.destroy()
}

const message = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name: 'echo', arguments: {} },
})
const headersFor = ({ access_token }: Tokens): Record<string, string> => ({
  authorization: `Bearer ${access_token}`,
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
})

const answered = (sent: ClientRequest): Promise<IncomingMessage> =>
  once(sent, 'response').then(([response]) => response as IncomingMessage)
const send = (method: string, headers: Record<string, string>, agent: Agent | false = false): ClientRequest =>
  request(`${gateway.origin}/echo/mcp`, { method, headers, agent })

describe('SIGTERM', () => {
  it('lets running calls finish, ends open streams cleanly, takes nobody new, and exits 0 [H-T4]', async () => {
    const { tokens } = await logIn(gateway)
    const calls = Array.from({ length: 20 }, () => answered(send('POST', headersFor(tokens)).end(message)))
    await asks(20)
    const streams = Array.from({ length: 20 }, () =>
      answered(send('GET', { ...headersFor(tokens), accept: 'text/event-stream' }).end()),
    )
    await asks(40)
    const [waiting, streaming] = [held.slice(0, 20), held.slice(20)]
    for (const response of streaming)
      response
        .writeHead(200, { 'content-type': 'text/event-stream' })
        .write('data: {"jsonrpc":"2.0","method":"notifications/message"}\n\n')
    const open = (await Promise.all(streams)).map((response) => text(response))
    const exit = gateway.end('SIGTERM')
    await stopsListening()
    // The streams end while the calls are still going; an answer that was cut off would reject.
    for (const stream of await Promise.all(open)) expect(stream).toMatch(/^data: .*\n\n$/)
    for (const response of waiting) response.end(JSON.stringify({ jsonrpc: '2.0', id: 1, result: {} }))
    const answers = await Promise.all(calls)
    expect(answers.map(({ statusCode }) => statusCode)).toEqual(answers.map(() => 200))
    expect(await Promise.all(answers.map((answer) => text(answer)))).toEqual(
      answers.map(() => '{"jsonrpc":"2.0","id":1,"result":{}}'),
    )
    expect(answers.map(({ headers }) => headers.connection)).toEqual(answers.map(() => 'close'))
    expect(await exit).toBe(0)
  })

  it('lets an upload and an event stream that are under way finish', async () => {
    const { tokens } = await logIn(gateway)
    const uploading = send('POST', headersFor(tokens))
    uploading.write(message.slice(0, 10))
    const streaming = answered(send('POST', headersFor(tokens)).end(message))
    await asks(1)
    held[0]?.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: {"progress":1}\n\n')
    const stream = text(await streaming)
    const exit = gateway.end('SIGTERM')
    await stopsListening()
    uploading.end(message.slice(10))
    await asks(2)
    held[1]?.end('{}')
    held[0]?.end('data: {"progress":2}\n\n')
    expect([(await answered(uploading)).statusCode, await stream]).toEqual([
      200,
      'data: {"progress":1}\n\ndata: {"progress":2}\n\n',
    ])
    expect(await exit).toBe(0)
  })

  it('answers what a client sends on a connection it held open, and says that it was the last', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const ask = async () => {
      const response = await answered(request(`${gateway.origin}/healthz`, { agent }).end())
      await text(response)
      return [response.statusCode, response.headers.connection]
    }
    expect(await ask()).toEqual([200, 'keep-alive'])
    const exit = gateway.end('SIGTERM')
    await stopsListening()
    expect(await ask()).toEqual([200, 'close'])
    expect(await exit).toBe(0)
    agent.destroy()
  })

  it('waits for nobody who says nothing, or half a sentence', async () => {
    const silent = await Promise.all(Array.from({ length: 10 }, () => opened(connect(port(), '127.0.0.1'))))
    silent[0]?.write('POST /oauth/token HTTP/1.1\r\nHost: loc')
    // Answered after the half request was read: the kernel hands over bytes in the order of connections only
    // within one.
    await text(await answered(request(`${gateway.origin}/healthz`, { agent: false }).end()))
    const closed = silent.map((socket) => once(socket as Socket, 'close'))
    const before = performance.now()
    expect(await gateway.end('SIGTERM')).toBe(0)
    expect(performance.now() - before).toBeLessThan(5_000)
    await Promise.all(closed)
  })

  it('ends the streams of a service in this process too', async () => {
    await gateway.end()
    gateway = await startProcess({ stateDir: state.dir, config: { local_users: [person] } })
    const { tokens } = await logIn(
      gateway,
      `${gateway.origin}/demo/mcp`,
      createBrowser(gateway.fetch, gateway.origin),
    )
    const url = `${gateway.origin}/demo/mcp`
    const initialize = {
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '0' } },
    }
    const begun = await fetch(url, {
      method: 'POST',
      headers: headersFor(tokens),
      body: JSON.stringify(initialize),
    })
    const session = begun.headers.get('mcp-session-id') ?? ''
    await begun.text()
    const stream = await fetch(url, {
      headers: { ...headersFor(tokens), accept: 'text/event-stream', 'mcp-session-id': session },
    })
    expect([session === '', stream.status]).toEqual([false, 200])
    const whole = stream.text()
    expect(await gateway.end('SIGTERM')).toBe(0)
    await expect(whole).resolves.toEqual(expect.any(String))
  })

  it('right after the first line of output ends in order', async () => {
    for (let round = 0; round < 5; round++) {
      expect(await gateway.end('SIGTERM')).toBe(0)
      gateway = await startProcess({ config: config(), stateDir: state.dir })
    }
  })

  it('leaves the log whole: the last call is in it', async () => {
    const { tokens } = await logIn(gateway)
    const call = answered(send('POST', headersFor(tokens)).end(message))
    await asks(1)
    const exit = gateway.end()
    await stopsListening()
    held[0]?.end('{}')
    await text(await call)
    await exit
    const events = gateway.lines.map((line) => (JSON.parse(line) as { event: string }).event)
    expect(events.filter((event) => event === 'call')).toHaveLength(1)
  })
})

describe('a second signal', () => {
  it.each([
    ['SIGTERM', 'SIGTERM'],
    ['SIGINT', 'SIGINT'],
    ['SIGTERM', 'SIGINT'],
  ] as const)('(%s, then %s) ends it at once with exit code 2', async (first, second) => {
    const { tokens } = await logIn(gateway)
    const call = answered(send('POST', headersFor(tokens)).end(message)).catch(() => undefined)
    await asks(1)
    const exit = gateway.end(first)
    // Whoever sends two at once means one; so the second follows until it is heard.
    const insist = setInterval(() => void gateway.end(second), 50)
    expect(await exit).toBe(2)
    clearInterval(insist)
    await call
  })
})

describe('a gateway that nobody watches any more', () => {
  const works = async () => (await gateway.fetch(`${gateway.origin}/nowhere`)).status

  it('outlives the reader of its output', async () => {
    gateway.child.stdout?.destroy()
    gateway.child.stderr?.destroy()
    for (let i = 0; i < 50; i++) expect(await works()).toBe(404)
    expect(await gateway.end()).toBe(0)
  })

  it('outlives SIGHUP where it has no terminal', async () => {
    for (let i = 0; i < 3; i++) {
      process.kill(gateway.pid, 'SIGHUP')
      expect(await works()).toBe(404)
    }
    expect(await gateway.end()).toBe(0)
    expect(gateway.lines.some((line) => line.includes('config.unchanged'))).toBe(true)
  })
})
