// `npm run prove chaos`: kill -9 of the gateway at fifty random instants under load, with clients that log
// in, refresh and call all the while. Counts what must be nought: acknowledged grants lost, codes spent
// twice, clients with a refresh token sent back to a browser.
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createBrowser } from '../test/runtimes/browser.ts'
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
import { openUpstream } from '../test/runtimes/upstream.ts'
import { createVerdicts } from './harness/verdict.ts'

const kills = Number(process.env['KILLS'] ?? 50)
/** Clients that refresh and call, and clients that log in again and again. */
const refreshers = 40
const visitors = 10

const count = {
  refreshes: 0,
  calls: 0,
  logins: 0,
  unanswered: 0,
  answersLost: 0,
  pushed: 0,
  spentTwice: 0,
  lost: 0,
  killedInStart: 0,
}
const unexpected = new Map<string, number>()
const odd = (what: string): void => void unexpected.set(what, (unexpected.get(what) ?? 0) + 1)

let gateway: PosternProcess
let over = false

const pause = (ms: number): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * Repeats a request until the gateway answers it: what a client does whose connection died. 503 means the
 * same.
 */
const untilAnswered = async (
  shoot: () => Promise<Response>,
): Promise<{ response: Response; tries: number }> => {
  for (let tries = 1; ; tries++) {
    const response = await shoot().catch(() => undefined)
    if (response && response.status !== 503) return { response, tries }
    await response?.body?.cancel().catch(() => undefined)
    count.unanswered++
    await pause(25)
  }
}

/** A whole answer, or undefined when the connection died inside it. */
const body = async <T>(response: Response): Promise<T | undefined> =>
  (await response.json().catch(() => undefined)) as T | undefined

const call = (tokens: Tokens): Promise<Response> =>
  gateway.fetch(`${gateway.origin}/echo/mcp`, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${tokens.access_token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
    },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name: 'echo', arguments: {} },
    }),
  })

const refresher = async (client: Client, tokens: Tokens): Promise<Tokens> => {
  let held = tokens
  while (!over) {
    const { response } = await untilAnswered(() => refresh(gateway, client, held.refresh_token))
    const answer = await body<Tokens & { error?: string }>(response)
    if (!answer) continue
    if (response.status !== 200) {
      if (answer.error === 'invalid_grant' || answer.error === 'invalid_client') {
        count.pushed++
        return held
      }
      odd(`refresh ${response.status} ${answer.error}`)
      continue
    }
    held = answer
    count.refreshes++
    const called = await untilAnswered(() => call(held))
    await called.response.body?.cancel().catch(() => undefined)
    if (called.response.status === 200) count.calls++
    else odd(`call ${called.response.status}`)
    // Fifty clients of one machine, not one machine at its limit.
    await pause(10 + Math.random() * 40)
  }
  return held
}

/**
 * Logs in again and again; a code whose answer died with the gateway is tried once more and may then be
 * refused, but never answered twice.
 */
const visitor = async (client: Client): Promise<Tokens[]> => {
  const held: Tokens[] = []
  // One browser, signed in once: what follows is the code's way alone.
  const browser = createBrowser((url, init) => gateway.fetch(url, init), gateway.origin)
  while (!over) {
    const asking = authorizeUrl(gateway, client)
    const back = await allow(browser, asking.url).catch(() => undefined)
    const code = back?.searchParams.get('code')
    if (!code) {
      await pause(25)
      continue
    }
    const { response, tries } = await untilAnswered(() => redeem(gateway, client, code, asking.verifier))
    const answer = await body<Tokens>(response)
    if (response.status === 200 && answer) {
      count.logins++
      const second = await untilAnswered(() => redeem(gateway, client, code, asking.verifier))
      if (second.response.status === 200) count.spentTwice++
      await second.response.body?.cancel().catch(() => undefined)
      held.push(answer)
      // A second exchange that comes late, because the gateway was away, ends the grant as a stolen code
      // should (RFC 9700 §4.14): not a grant that was lost.
      if (second.tries > 1) held.pop()
    } else if (tries > 1 || !answer) count.answersLost++
    else odd(`code ${response.status}`)
  }
  return held
}

const upstream = await openUpstream()
const state = temporaryState()
const config = { local_users: [person], mcp_services: { echo: { url: upstream.url } } }
gateway = await startProcess({ config, stateDir: state.dir })
const port = Number(new URL(gateway.origin).port)
const client = await register(gateway)

/** Starts it again; now and then it is killed before it listens, too. */
const again = async (): Promise<PosternProcess> => {
  while (Math.random() < 0.25) {
    let timer: NodeJS.Timeout | undefined
    const started = startProcess({
      config,
      stateDir: state.dir,
      port,
      born: (child) => (timer = setTimeout(() => child.kill('SIGKILL'), Math.random() * 350)),
    })
    const up = await started.catch(() => undefined)
    clearTimeout(timer)
    // It was quicker than the killer.
    if (up) return up
    count.killedInStart++
  }
  return startProcess({ config, stateDir: state.dir, port })
}

const logIn = async (): Promise<Tokens> => {
  const asking = authorizeUrl(gateway, client)
  const back = await allow(createBrowser(gateway.fetch, gateway.origin), asking.url)
  return (await (
    await redeem(gateway, client, back.searchParams.get('code') ?? '', asking.verifier)
  ).json()) as Tokens
}

/**
 * An instant at which the gateway is at work, however slow this machine is at the moment: some random way
 * into a random request.
 */
const inTheMiddle = async (): Promise<void> => {
  const before = count.refreshes + count.calls + count.logins
  const answers = 1 + Math.floor(Math.random() * 150)
  for (
    let waited = 0;
    waited < 4000 && count.refreshes + count.calls + count.logins - before < answers;
    waited += 5
  )
    await pause(5)
  await pause(Math.random() * 25)
}

const grants: Tokens[] = []
for (let i = 0; i < refreshers; i++) grants.push(await logIn())
const load = grants.map((tokens) => refresher(client, tokens))
const guests = Array.from({ length: visitors }, () => visitor(client))
const began = performance.now()
for (let kill = 0; kill < kills; kill++) {
  await inTheMiddle()
  await gateway.end('SIGKILL')
  gateway = await again()
}
over = true
const survivors = await Promise.all(load)
const visits = (await Promise.all(guests)).flat()
const seconds = ((performance.now() - began) / 1000).toFixed(1)
for (const tokens of [...survivors, ...visits])
  if ((await refresh(gateway, client, tokens.refresh_token)).status !== 200) count.lost++
const faults = gateway.lines.filter((line) => /"level":"error"/.test(line))
const code = await gateway.end()
const database = new DatabaseSync(join(state.dir, 'postern.db'))
const integrity = (database.prepare('PRAGMA integrity_check').get() as { integrity_check: string })
  .integrity_check
database.close()
await upstream.close()
state.remove()

const verdicts = createVerdicts('chaos')
console.log(
  `${kills} kills -9 while it served and ${count.killedInStart} while it started, in ${seconds} s; ${refreshers} clients refreshed ${count.refreshes} times and called ${count.calls} times, ${visitors} logged in ${count.logins} times; ${count.unanswered} requests found nobody and were sent again`,
)
verdicts.claim(
  count.lost === 0,
  'acknowledged grants lost',
  `${count.lost} of ${survivors.length + visits.length}`,
)
verdicts.claim(count.spentTwice === 0, 'codes spent twice', `${count.spentTwice} of ${count.logins}`)
verdicts.claim(
  count.pushed === 0,
  'clients with a refresh token pushed to a browser',
  `${count.pushed} of ${refreshers}`,
)
verdicts.claim(
  unexpected.size === 0,
  'answers that no client expects',
  unexpected.size === 0 ? '0' : [...unexpected].map(([what, times]) => `${times} × ${what}`).join(', '),
)
verdicts.claim(
  integrity === 'ok' && code === 0 && faults.length === 0,
  'the database is whole and the last process ends in order',
  `integrity ${integrity}, exit ${code}, ${faults.length} errors in its log ${faults.slice(0, 2).join(' ')}`,
)
console.log(
  `logins whose answer died with the process, so that the code was spent and the client began anew: ${count.answersLost}`,
)
verdicts.end()
