// `npm run prove faults`: what becomes of signed-in users while the storage of their gateway fails. Two processes on
// one Redis or PostgreSQL server (STORE), reached through a proxy that refuses connections, swallows what is sent, or cuts
// connections; then the server is killed under load, again and again, and starts from what it has on disk.
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createBrowser } from '../test/runtimes/browser.ts'
import { type CuttingProxy, type ProxyMode, openCuttingProxy } from '../test/runtimes/cutting-proxy.ts'
import {
  allow,
  authorizeUrl,
  type Client,
  person,
  redeem,
  refresh,
  register,
  type Tokens,
} from '../test/runtimes/login.ts'
import { type PosternProcess, startProcess, temporaryState } from '../test/runtimes/process.ts'
import { startPostgres } from '../test/runtimes/postgres-server.ts'
import { startRedis } from '../test/runtimes/redis-server.ts'
import { openUpstream } from '../test/runtimes/upstream.ts'
import { freePort } from './harness/free-port.ts'
import { createVerdicts } from './harness/verdict.ts'
import { findProgram } from './system-programs.mjs'

const awayMs = 1000 * Number(process.env['SECONDS'] ?? 60)
const kills = Number(process.env['KILLS'] ?? 20)
const users = Number(process.env['USERS'] ?? 100)

const type = process.env['STORE'] === 'postgres' ? 'postgres' : 'redis'
const [name, program] = type === 'redis' ? ['Redis', 'redis-server'] : ['PostgreSQL', 'postgres']

if (findProgram(program) === undefined) {
  console.error(`This needs ${program}: node scripts/bootstrap.mjs system installs it.`)
  process.exit(2)
}

const pause = (ms: number): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, ms))

/** One answer that a user got. */
interface Seen {
  readonly what: 'refresh' | 'call'
  readonly status: number
  readonly error: string | undefined
  readonly ms: number
  /** When it was asked for. */
  readonly at: number
}

interface User {
  readonly client: Client
  readonly process: number
  held: Tokens
  /** Of tokens that were acknowledged; the last is held. */
  readonly seen: Seen[]
}

// Two processes, behind one proxy.

const folder = mkdtempSync(join(tmpdir(), 'postern-faults-'))
const serverPort = await freePort()
const settings = ['fsync=on', 'synchronous_commit=on', 'full_page_writes=on']
/** `close` kills it. */
const startServer = async (fsync: 'everysec' | 'always'): Promise<{ close(): Promise<unknown> }> => {
  if (type === 'redis')
    return startRedis({ port: serverPort, folder, args: ['--appendonly', 'yes', '--appendfsync', fsync] })
  const { pid, ended } = await startPostgres({ port: serverPort, folder, settings })
  return {
    close() {
      // It ends its other processes at once, and starts with a recovery.
      process.kill(pid, 'SIGQUIT')
      return ended
    },
  }
}
let server = await startServer('everysec')
const proxy: CuttingProxy = await openCuttingProxy(serverPort)
const upstream = await openUpstream()
const states = [temporaryState(), temporaryState()]
const ports = [await freePort(), await freePort()]
const origin = `http://localhost:${ports[0]}`
const config = {
  issuer: origin,
  allowed_hosts: ports.map((port) => `localhost:${port}`),
  session_secret: createHash('sha256').update(folder).digest('base64url'),
  local_users: [person],
  // What is measured is the storage, not the limits.
  access_token_lifetime: '1h',
  storage: {
    type,
    [type]: {
      url:
        type === 'redis'
          ? `redis://127.0.0.1:${proxy.port}`
          : `postgres://postern@127.0.0.1:${proxy.port}/postgres`,
    },
  },
  mcp_services: { echo: { url: upstream.url } },
}
const gateways: PosternProcess[] = []
for (const [i, state] of states.entries())
  gateways.push(
    await startProcess({ config, stateDir: state.dir, port: ports[i] as number, signInLink: false }),
  )

// Whatever happens, nothing is left running.
process.once('exit', () => {
  for (const gateway of gateways) gateway.child.kill('SIGKILL')
})

const through = (i: number) => ({
  origin,
  fetch: (url: string, init?: RequestInit) =>
    (gateways[i] as PosternProcess).fetch(url.replace(origin, `http://localhost:${ports[i]}`), init),
})

// Users, who refresh and call.

const logIn = async (i: number): Promise<User> => {
  const at = through(i % 2)
  const client = await register(at)
  const asking = authorizeUrl(at, client, { resource: `${origin}/echo/mcp` })
  const back = await allow(createBrowser(at.fetch, origin), asking.url)
  const response = await redeem(at, client, back.searchParams.get('code') ?? '', asking.verifier)
  return { client, process: i % 2, held: (await response.json()) as Tokens, seen: [] }
}

const call = (i: number, { access_token }: Tokens): Promise<Response> =>
  through(i).fetch(`${origin}/echo/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${access_token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
  })

const step = async (user: User, what: Seen['what']): Promise<void> => {
  const at = performance.now()
  const response = await (what === 'refresh'
    ? refresh(through(user.process), user.client, user.held.refresh_token)
    : call(user.process, user.held))
  const body = (await response.json().catch(() => undefined)) as (Tokens & { error?: unknown }) | undefined
  const ms = performance.now() - at
  const error = typeof body?.error === 'string' ? body.error : undefined
  user.seen.push({ what, status: response.status, error, ms, at })
  if (what === 'refresh' && response.status === 200 && body) user.held = body
}

/** Refreshes and calls until it is over, about once a second. */
const live = async (user: User, over: () => boolean): Promise<void> => {
  while (!over()) {
    await step(user, 'refresh')
    await step(user, 'call')
    await pause(500 + Math.random() * 1000)
  }
}

const crowd: User[] = []
for (let tries = 0; crowd.length < users; tries++)
  try {
    crowd.push(await logIn(crowd.length))
  } catch (error) {
    // A busy computer is not what this is about.
    if (tries > users) throw error
  }
const verdicts = createVerdicts('faults')

const tally = (seen: readonly Seen[]): string => {
  const counts = new Map<string, number>()
  for (const { status, error } of seen) {
    const name = error === undefined ? String(status) : `${status} ${error}`
    counts.set(name, (counts.get(name) ?? 0) + 1)
  }
  return [...counts].map(([name, n]) => `${n} × ${name}`).join(', ')
}

const spread = (seen: readonly Seen[]): string => {
  const ms = seen.map((one) => one.ms).toSorted((a, b) => a - b)
  const at = (share: number): string => `${Math.round(ms[Math.floor(share * (ms.length - 1))] ?? 0)} ms`
  return `half within ${at(0.5)}, 99 % within ${at(0.99)}, slowest ${at(1)}`
}

/** Nobody has to open a browser: every user goes on with the tokens that they hold. */
const allGoOn = async (when: string): Promise<void> => {
  for (const user of crowd) user.seen.length = 0
  for (const what of ['refresh', 'call'] as const)
    for (const user of crowd)
      for (let tries = 0; tries < 10; tries++) {
        await step(user, what)
        // A client asks again after 503; a busy computer is not what this is about.
        if (user.seen.at(-1)?.status !== 503) break
        user.seen.pop()
        await pause(1000)
      }
  const seen = crowd.flatMap((user) => user.seen)
  verdicts.claim(
    seen.every(({ status }) => status === 200),
    `${when}, every user goes on without signing in`,
    `${users} users: ${tally(seen)}`,
  )
}

// The storage is away.

const away = async (mode: ProxyMode, name: string): Promise<void> => {
  for (const user of crowd) user.seen.length = 0
  let over = false
  const lives = crowd.map((user) => live(user, () => over))
  await pause(2000)
  const from = performance.now()
  proxy.set(mode)
  await pause(awayMs)
  const until = performance.now()
  proxy.set('pass')
  await pause(8000)
  over = true
  await Promise.all(lives)
  const seen = crowd.flatMap((user) => user.seen)
  const during = seen.filter(({ at, ms }) => at > from + 50 && at + ms < until)
  const refused = during.filter(({ what }) => what === 'refresh')
  const slowest = Math.max(...refused.map(({ ms }) => ms))
  verdicts.claim(
    refused.length >= users &&
      refused.every(({ status, error }) => status === 503 && error === 'temporarily_unavailable'),
    `${name} for ${awayMs / 1000} s, the token endpoint says so`,
    tally(refused),
  )
  verdicts.claim(slowest <= 1000, `${name}, the token endpoint answers within 1 s`, spread(refused))
  const calls = seen.filter(({ what }) => what === 'call')
  verdicts.claim(
    calls.every(({ status }) => status === 200 || status === 503),
    `${name}, no call is let through unchecked, and none asks for a sign-in`,
    tally(calls),
  )
  const backs = crowd.map(
    (user) =>
      (user.seen.find(({ what, status, at }) => what === 'refresh' && status === 200 && at >= until)?.at ??
        Infinity) - until,
  )
  // A user asks about once a second.
  const lastFailure = Math.max(
    0,
    ...seen.filter(({ status, at }) => status !== 200 && at > until).map(({ at, ms }) => at + ms - until),
  )
  verdicts.claim(
    lastFailure <= 5000 && Math.max(...backs) < Infinity,
    `${name}, everything works within 5 s after it is back`,
    `last refusal ${Math.round(lastFailure)} ms after`,
  )
  await allGoOn(name)
}

// Connections are cut before a message arrives, and after it was carried out.

const lossy = async (): Promise<void> => {
  for (const user of crowd) user.seen.length = 0
  let over = false
  proxy.cut(() => (Math.random() < 0.96 ? 'none' : Math.random() < 0.5 ? 'before' : 'after'))
  const lives = crowd.map((user) => live(user, () => over))
  await pause(awayMs)
  over = true
  await Promise.all(lives)
  proxy.cut(() => 'none')
  const seen = crowd.flatMap((user) => user.seen)
  verdicts.claim(
    seen.every(({ status }) => status === 200 || status === 503),
    `${proxy.cuts()} connections cut before or after a message, nobody is asked to sign in`,
    tally(seen),
  )
  await allGoOn('after lost answers')
}

// The server is killed, and starts from its file.

const killed = async (): Promise<void> => {
  await server.close()
  server = await startServer('always')
  for (const user of crowd) user.seen.length = 0
  let over = false
  const lives = crowd.map((user) => live(user, () => over))
  let longest = 0
  for (let kill = 0; kill < kills; kill++) {
    await pause(500 + Math.random() * 1000)
    await server.close()
    await pause(Math.random() * 500)
    server = await startServer('always')
    const back = performance.now()
    await Promise.all(
      crowd.slice(0, 2).map(async (user) => {
        // By a request of its own: the user's own are under way.
        while ((await call(user.process, user.held)).status !== 200) await pause(20)
      }),
    )
    longest = Math.max(longest, performance.now() - back)
  }
  over = true
  await Promise.all(lives)
  const seen = crowd.flatMap((user) => user.seen)
  verdicts.claim(
    seen.every(({ status }) => status === 200 || status === 503),
    `${name} killed ${kills} times under load, nobody is asked to sign in`,
    tally(seen),
  )
  verdicts.claim(longest <= 5000, 'after each, calls work within 5 s', `longest ${Math.round(longest)} ms`)
  await allGoOn(`after ${kills} kills`)
}

await away('refuse', `${name} refuses connections`)
await away('silence', `${name} says nothing`)
await lossy()
await killed()
const errors = gateways.flatMap(({ lines }) => lines).filter((line) => /"event":"fault"/.test(line))
verdicts.claim(
  errors.length === 0,
  'no fault in the log of either process',
  `${errors.length} ${errors[0] ?? ''}`,
)
await Promise.all(gateways.map((gateway) => gateway.end()))
await proxy.close()
await server.close()
await upstream.close()
for (const state of states) state.remove()
rmSync(folder, { recursive: true, force: true })
verdicts.end()
