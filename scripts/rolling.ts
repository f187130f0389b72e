// `npm run prove rolling`: two processes (WORKERS=2: of two workers each) on one SQLite file, 200 requests a second over both in turn, while
// one after the other is told to end and started again. No request may fail. A client goes to the other
// process when a connection is refused, and repeats nothing else.
import { connect } from 'node:net'
import { createBrowser } from '../test/runtimes/browser.ts'
import {
  allow,
  authorizeUrl,
  type Client,
  logIn,
  type LoginTarget,
  person,
  redeem,
  refresh,
  type Tokens,
} from '../test/runtimes/login.ts'
import { type PosternProcess, startProcess, temporaryState } from '../test/runtimes/process.ts'
import { openUpstream } from '../test/runtimes/upstream.ts'
import { freePort } from './harness/free-port.ts'
import { createVerdicts } from './harness/verdict.ts'

const perSecond = Number(process.env['RATE'] ?? 200)
/** How often each of the two is restarted. */
const restarts = Number(process.env['RESTARTS'] ?? 4)
const holders = 20
const workers = Number(process.env['WORKERS'] ?? 1)

const pause = (ms: number): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, ms))

const upstream = await openUpstream()
const state = temporaryState()
const ports = [await freePort(), await freePort()] as const
const origin = `http://localhost:${ports[0]}`
const config = {
  issuer: origin,
  allowed_hosts: [`localhost:${ports[1]}`],
  local_users: [person],
  max_concurrent_calls: 1000,
  workers,
  mcp_services: { echo: { url: upstream.url } },
}
const begin = (which: 0 | 1): Promise<PosternProcess> =>
  startProcess({ config, stateDir: state.dir, port: ports[which] })
const processes = [await begin(0), await begin(1)]

const refusals = { count: 0 }
const isRefused = (error: unknown): boolean => {
  const { cause } = error as { cause?: { code?: string; errors?: readonly { code?: string }[] } }
  return cause?.code === 'ECONNREFUSED' || (cause?.errors ?? []).some(({ code }) => code === 'ECONNREFUSED')
}
let turn = 0
/** The balancer: both in turn, the other one where nobody listens. */
const house: LoginTarget = {
  origin,
  async fetch(url, init) {
    const first = turn++ % 2
    for (const which of [first, 1 - first, first]) {
      const target = new URL(url)
      target.port = String(ports[which as 0 | 1])
      try {
        return await fetch(target, { redirect: 'manual', ...init })
      } catch (error) {
        if (!isRefused(error)) throw error
        refusals.count++
      }
    }
    throw new Error('nobody listens')
  },
}

interface Holder {
  readonly client: Client
  tokens: Tokens
  busy: boolean
}

const failures = new Map<string, number>()
const counts = { call: 0, metadata: 0, refresh: 0, login: 0 }
const times: number[] = []
const run = async (kind: keyof typeof counts, work: () => Promise<string | undefined>): Promise<void> => {
  const before = performance.now()
  const wrong = await work().catch(
    (error: Error & { readonly cause?: { readonly code?: string; readonly message?: string } }) =>
      `${error.message} ${error.cause?.code ?? error.cause?.message ?? ''}`.slice(0, 300),
  )
  counts[kind]++
  times.push(performance.now() - before)
  if (wrong !== undefined) failures.set(`${kind}: ${wrong}`, (failures.get(`${kind}: ${wrong}`) ?? 0) + 1)
}
const expecting = async (response: Response): Promise<string | undefined> => {
  const text = await response.text()
  return response.status === 200 ? undefined : `${response.status} ${text.slice(0, 200)}`
}

const call = (holder: Holder): Promise<void> =>
  run('call', async () =>
    expecting(
      await house.fetch(`${origin}/echo/mcp`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${holder.tokens.access_token}`,
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
        },
        body: JSON.stringify({
          jsonrpc: '2.0',
          id: 1,
          method: 'tools/call',
          params: { name: 'echo', arguments: {} },
        }),
      }),
    ),
  )
const renew = (holder: Holder): Promise<void> =>
  run('refresh', async () => {
    const response = await refresh(house, holder.client, holder.tokens.refresh_token)
    if (response.status !== 200) return expecting(response)
    holder.tokens = (await response.json()) as Tokens
    return undefined
  })
const metadata = (): Promise<void> =>
  run('metadata', async () =>
    expecting(await house.fetch(`${origin}/.well-known/oauth-authorization-server`)),
  )
const login = (client: Client): Promise<void> =>
  run('login', async () => {
    const asking = authorizeUrl(house, client)
    const back = await allow(createBrowser(house.fetch, origin), asking.url)
    return expecting(await redeem(house, client, back.searchParams.get('code') ?? '', asking.verifier))
  })

const people: Holder[] = []
for (let i = 0; i < holders; i++) people.push({ ...(await logIn(house)), busy: false })

let shot = 0
const going = new Set<Promise<void>>()
const shoot = (): Promise<void> => {
  const i = shot++
  const holder = people[i % people.length] as Holder
  if (i % perSecond === 0) return login(holder.client)
  if (i % 10 === 0) return metadata()
  if (i % 5 !== 1 || holder.busy) return call(holder)
  holder.busy = true
  return renew(holder).finally(() => (holder.busy = false))
}
const began = performance.now()
const timer = setInterval(() => {
  // What a busy machine delayed is made up for, so that the pace is kept on the whole.
  for (const due = ((performance.now() - began) / 1000) * perSecond; shot < due;) {
    const one = shoot().finally(() => going.delete(one))
    going.add(one)
  }
}, 5)

const exits: (number | null)[] = []
const drains: number[] = []
await pause(1000)
for (let i = 0; i < restarts * 2; i++) {
  const which = (i % 2) as 0 | 1
  const before = performance.now()
  exits.push(await (processes[which] as PosternProcess).end('SIGTERM'))
  drains.push(performance.now() - before)
  processes[which] = await begin(which)
  await pause(1000)
}
clearInterval(timer)
await Promise.all(going)
const seconds = (performance.now() - began) / 1000
// Somebody who never speaks is no reason to wait for at the end.
const silent = connect(ports[0], '127.0.0.1')
silent.on('error', () => undefined)
for (const one of processes) exits.push(await one.end('SIGTERM'))
await upstream.close()
state.remove()

const failed = [...failures.values()].reduce((sum, times) => sum + times, 0)
const sorted = times.toSorted((a, b) => a - b)
const verdicts = createVerdicts('rolling')
console.log(
  `${times.length} requests in ${seconds.toFixed(1)} s (${(times.length / seconds).toFixed(0)} a second): ${counts.call} calls, ${counts.refresh} refreshes, ${counts.metadata} × metadata, ${counts.login} whole logins; ${restarts * 2} restarts; ${refusals.count} connections refused and made to the other process; p50 ${sorted[Math.floor(sorted.length / 2)]?.toFixed(1)} ms, p99 ${sorted[Math.floor(sorted.length * 0.99)]?.toFixed(1)} ms`,
)
verdicts.claim(failed === 0, 'failed requests', `${failed}`)
verdicts.claim(
  exits.every((code) => code === 0),
  'every process ended in order',
  `exit codes ${exits.join(' ')}; SIGTERM to exit ${Math.min(...drains).toFixed(0)} to ${Math.max(...drains).toFixed(0)} ms`,
)
for (const [what, count] of failures) console.log(`${count} × ${what}`)
verdicts.end()
