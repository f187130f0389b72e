// `npm run prove slowloris`: two thousand connections that send next to nothing, or read next to nothing, or
// say nothing at all, while good clients go on working; then more connections than the process has files for.
// Takes about forty seconds. SOCKETS sets their number.
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { createBrowser } from '../test/runtimes/browser.ts'
import { allow, authorizeUrl, logIn, person, redeem, register, type Tokens } from '../test/runtimes/login.ts'
import { type PosternProcess, startProcess, temporaryState } from '../test/runtimes/process.ts'
import { openUpstream } from '../test/runtimes/upstream.ts'
import { createVerdicts } from './harness/verdict.ts'

const sockets = Number(process.env['SOCKETS'] ?? 2000)
/** Promised ends of a head and of a body, ms. */
const headMs = 15_000
const bodyMs = 30_000
const goodPerSecond = 50
/** A dribbling client sends a byte this often, ms: often enough that no limit on silence would help. */
const dribbleMs = 2_000

const verdicts = createVerdicts('slowloris')
/** What slow readers ask for does not fit into the buffers between here and them. */
const large = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, result: 'x'.repeat(8_388_608) }))
const small = Buffer.from(JSON.stringify({ jsonrpc: '2.0', id: 1, result: {} }))
const upstream = await openUpstream((_request, response, body) => {
  response.setHeader('content-type', 'application/json')
  response.end(body.includes('"large"') ? large : small)
})
const mallory = { username: 'mallory', password: 'something longer' }
// Who is slow has as many calls as they like, and so is slow everywhere at once.
const config = {
  local_users: [person, mallory],
  max_concurrent_calls: 5000,
  mcp_services: { echo: { url: upstream.url } },
}

const pause = (ms: number): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, ms))

const tokensOf = async (gateway: PosternProcess, who: typeof person): Promise<Tokens> => {
  const client = await register(gateway)
  const asking = authorizeUrl(gateway, client, { resource: `${gateway.origin}/echo/mcp` })
  const back = await allow(createBrowser(gateway.fetch, gateway.origin), asking.url, who)
  return (await (
    await redeem(gateway, client, back.searchParams.get('code') ?? '', asking.verifier)
  ).json()) as Tokens
}

interface Slow {
  readonly closedAfter: Promise<number>
  /** The first line of what the server said; empty when it said nothing. */
  said(): string
  readonly socket: Socket
}

const slow = (port: number, begin: string, dribble: string): Slow => {
  const socket = connect(port, '127.0.0.1')
  const began = performance.now()
  let timer: NodeJS.Timeout | undefined
  // A connection for which the other side's queue was full is one at this end alone, and nobody ever closes
  // it.
  const given = setTimeout(() => void socket.destroy(), bodyMs + 5_000)
  socket.on('error', () => undefined)
  socket.once('connect', () => {
    if (begin !== '') socket.write(begin)
    if (dribble !== '') timer = setInterval(() => void socket.write(dribble), dribbleMs)
  })
  let heard = ''
  socket.on('data', (chunk) => void (heard ||= chunk.toString('latin1').split('\r\n', 1)[0] ?? ''))
  const closedAfter = new Promise<number>((resolve) =>
    socket.once('close', () => {
      clearInterval(timer)
      clearTimeout(given)
      resolve(performance.now() - began)
    }),
  )
  return { closedAfter, said: () => heard, socket }
}

const message = (what: string): string =>
  JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: what, arguments: {} } })
const call = ({ fetch, origin }: PosternProcess, { access_token }: Tokens): Promise<Response> =>
  fetch(`${origin}/echo/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${access_token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    },
    body: message('small'),
  })

const percentile = (values: readonly number[], part: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * part))] ??
  Number.NaN

/** Good clients at a steady pace until stopped; every second one over a connection of its own. */
const goodClients = (gateway: PosternProcess, tokens: Tokens) => {
  const times: number[] = []
  const failures: string[] = []
  const ask = async (i: number): Promise<void> => {
    const before = performance.now()
    const response = await (i % 2 === 0
      ? call(gateway, tokens)
      : gateway.fetch(`${gateway.origin}/.well-known/oauth-authorization-server`, {
          headers: { connection: 'close' },
        }))
    await response.arrayBuffer()
    if (response.status === 200) times.push(performance.now() - before)
    else failures.push(String(response.status))
  }
  const going = new Set<Promise<void>>()
  let i = 0
  const timer = setInterval(() => {
    const one = ask(i++)
      .catch((error: Error) => void failures.push(error.message))
      .finally(() => going.delete(one))
    going.add(one)
  }, 1000 / goodPerSecond)
  return {
    async stop() {
      clearInterval(timer)
      await Promise.all(going)
      return { times, failures }
    },
  }
}

const told = (times: readonly number[], those: readonly Slow[]): string => {
  const said = [...new Set(those.map((one) => one.said() || 'nothing'))].join(', ')
  return `${times.length} closed after ${(Math.min(...times) / 1000).toFixed(1)} to ${(Math.max(...times) / 1000).toFixed(1)} s with ${said}`
}

const besiege = async (): Promise<void> => {
  const state = temporaryState()
  const gateway = await startProcess({ config, stateDir: state.dir })
  const port = Number(new URL(gateway.origin).port)
  const { tokens } = await logIn(gateway)
  const slowTokens = await tokensOf(gateway, mallory)
  const alone = goodClients(gateway, tokens)
  await pause(2000)
  const before = percentile((await alone.stop()).times, 0.99)
  const head = `POST /oauth/token HTTP/1.1\r\nHost: localhost:${port}\r\n`
  const many = (part: number, begin: string, dribble: string): Slow[] =>
    Array.from({ length: Math.floor(sockets * part) }, () => slow(port, begin, dribble))
  const good = goodClients(gateway, tokens)
  const heads = many(0.4, head, 'X')
  const bodies = many(
    0.3,
    `${head}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n\r\n`,
    'a',
  )
  const calls = many(
    0.05,
    `POST /echo/mcp HTTP/1.1\r\nHost: localhost:${port}\r\nAuthorization: Bearer ${slowTokens.access_token}\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n`,
    ' ',
  )
  const silent = many(0.25, '', '')
  const [headTimes, silentTimes] = await Promise.all([
    Promise.all(heads.map(({ closedAfter }) => closedAfter)),
    Promise.all(silent.map(({ closedAfter }) => closedAfter)),
  ])
  const bodyTimes = await Promise.all([...bodies, ...calls].map(({ closedAfter }) => closedAfter))
  const { times, failures } = await good.stop()
  verdicts.claim(
    Math.max(...headTimes, ...silentTimes) <= headMs,
    'heads that never end, and silence, are cut off within 15 s',
    told([...headTimes, ...silentTimes], [...heads, ...silent]),
  )
  verdicts.claim(
    Math.max(...bodyTimes) <= bodyMs,
    'bodies that never end are cut off within 30 s',
    told(bodyTimes, [...bodies, ...calls]),
  )
  verdicts.claim(
    failures.length === 0 && percentile(times, 0.99) < Math.max(200, before * 2),
    'meanwhile good clients are served',
    `${times.length} answers, p50 ${percentile(times, 0.5).toFixed(1)} ms, p99 ${percentile(times, 0.99).toFixed(1)} ms (${before.toFixed(1)} ms before), ${failures.length} failures ${failures.slice(0, 3).join(', ')}`,
  )
  await slowReaders(gateway, tokens, slowTokens)
  const code = await gateway.end()
  verdicts.claim(code === 0, 'the gateway ends in order afterwards', `exit code ${code}`)
  state.remove()
}

const residentMiB = ({ pid }: PosternProcess): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1024

/** Each asks for 8 MiB and reads nothing: what is held for it here is bounded, and nobody else waits. */
const slowReaders = async (gateway: PosternProcess, tokens: Tokens, slowTokens: Tokens): Promise<void> => {
  const readers = 100
  const port = Number(new URL(gateway.origin).port)
  const body = message('large')
  const before = residentMiB(gateway)
  const request = `POST /echo/mcp HTTP/1.1\r\nHost: localhost:${port}\r\nAuthorization: Bearer ${slowTokens.access_token}\r\nContent-Type: application/json\r\nAccept: application/json, text/event-stream\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  const good = goodClients(gateway, tokens)
  const open: Socket[] = []
  // One after the other: what the system's own buffers take of each, some MiB, goes through the gateway at
  // once.
  for (let i = 0; i < readers; i++) {
    const socket = connect(port, '127.0.0.1', () => socket.write(request))
    socket.on('error', () => undefined)
    socket.pause()
    open.push(socket)
    await pause(25)
  }
  await pause(1000)
  const { times, failures } = await good.stop()
  const grown = residentMiB(gateway) - before
  for (const socket of open) socket.destroy()
  const each = grown / readers
  verdicts.claim(
    each <= 1 && failures.length === 0 && percentile(times, 0.99) < 1000,
    `${readers} clients that ask for 8 MiB and read nothing are held at under 1 MiB each`,
    `${each.toFixed(2)} MiB each, good clients p99 ${percentile(times, 0.99).toFixed(1)} ms, ${failures.length} failures ${failures.slice(0, 3).join(', ')}`,
  )
}

/** A process that may open few files, and more connections than that. */
const crowd = async (): Promise<void> => {
  const state = temporaryState()
  const main = fileURLToPath(new URL('../src/cli/main.ts', import.meta.url))
  const command = ['/bin/sh', '-c', 'ulimit -n 1024; exec "$0" "$@"', process.execPath, main]
  const gateway = await startProcess({ config, stateDir: state.dir, command })
  const port = Number(new URL(gateway.origin).port)
  const { tokens } = await logIn(gateway)
  const idle = Array.from({ length: 2000 }, () => slow(port, '', ''))
  await pause(1000)
  // The connection that this client has had from before carries it through.
  const answers = new Map<number, number>()
  for (let i = 0; i < 100; i++) {
    const status = await call(gateway, tokens).then(
      async (response) => (await response.arrayBuffer(), response.status),
      () => 0,
    )
    answers.set(status, (answers.get(status) ?? 0) + 1)
  }
  const anew = (): Promise<number> =>
    gateway.fetch(`${gateway.origin}/healthz`, { headers: { connection: 'close' } }).then(
      ({ status }) => status,
      () => 0,
    )
  const newcomers: number[] = []
  for (let i = 0; i < 100; i++) newcomers.push(await anew())
  await Promise.race([Promise.all(idle.map(({ closedAfter }) => closedAfter)), pause(headMs)])
  for (const { socket } of idle) socket.destroy()
  const afterwards = await Promise.all(Array.from({ length: 20 }, anew))
  verdicts.claim(
    [...answers.keys()].every((status) => status === 200),
    '2,000 silent connections to a process of 1,024 files: who is connected is served',
    [...answers].map(([status, times]) => `${times} × ${status}`).join(', '),
  )
  verdicts.claim(
    newcomers.every((status) => status === 200),
    'so is who comes anew',
    `${newcomers.filter((status) => status === 200).length} of ${newcomers.length}`,
  )
  verdicts.claim(
    afterwards.every((status) => status === 200),
    'and when they are cut off everybody is',
    `${afterwards.filter((status) => status === 200).length} of ${afterwards.length}`,
  )
  const code = await gateway.end()
  verdicts.claim(code === 0, 'the gateway ends in order afterwards', `exit code ${code}`)
  state.remove()
}

const began = performance.now()
await Promise.all([besiege(), process.platform === 'win32' ? undefined : crowd()])
await upstream.close()
console.log(`${sockets} slow connections, ${((performance.now() - began) / 1000).toFixed(1)} s`)
verdicts.end()
