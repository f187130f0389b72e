// `npm run prove fuzz`: structured hostile requests over every endpoint, and bytes that are none
// (fast-check). Nothing may crash, nothing may answer an unintended 5xx, nothing may stay in memory. REQUESTS
// and SEED repeat a run.
import fc from 'fast-check'
import { createBrowser } from '../test/runtimes/browser.ts'
import { logIn, person } from '../test/runtimes/login.ts'
import { startProcess, temporaryState } from '../test/runtimes/process.ts'
import { openUpstream } from '../test/runtimes/upstream.ts'
import { bytes } from './fuzz/bytes.ts'
import { fireBytes, fireRequest } from './fuzz/fire.ts'
import { type Loot, requests } from './fuzz/requests.ts'
import { watchMemory } from './harness/memory.ts'
import { createVerdicts } from './harness/verdict.ts'

const total = Number(process.env['REQUESTS'] ?? 10_000)
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)
/** Of all that is sent, the part that goes down a raw socket. */
const rawPart = 0.3
const atOnce = 8
/**
 * Memory is compared with what it was after this part of the requests, when everything has been loaded and
 * every cache has begun to fill.
 */
const warmPart = 0.4

const upstream = await openUpstream()
const state = temporaryState()
const memory = watchMemory(state.dir)
const services = { echo: { url: upstream.url }, open: { url: upstream.url, auth_required: false } }
const gateway = await startProcess({
  config: { local_users: [person], mcp_services: services, default_service: 'echo' },
  stateDir: state.dir,
  ...memory.options,
})
const { client, tokens, browser } = await logIn(gateway)
const loot: Loot = {
  origin: gateway.origin,
  clientId: client.id,
  redirectUri: client.redirectUri,
  accessToken: tokens.access_token,
  refreshToken: tokens.refresh_token,
  cookie: [...browser.cookies].map(([name, value]) => `${name}=${value}`).join('; '),
}
const { hostname, port } = new URL(gateway.origin)
const place = { hostname, port: Number(port) }

const seen = new Map<number, number>()
const wrong: string[] = []
const note = (status: number, what: () => string): void => {
  seen.set(status, (seen.get(status) ?? 0) + 1)
  if (status >= 500) wrong.push(`${status} ${what().slice(0, 600)}`)
}
const shoot = async (i: number, next: ReturnType<typeof draw>): Promise<void> => {
  if (typeof next === 'string') {
    const statuses = await fireBytes(place, next)
    for (const status of statuses.length === 0 ? [0] : statuses)
      note(status, () => `#${i} ${JSON.stringify(next)}`)
    return
  }
  const status = await fireRequest(place, next).catch((error: Error) => {
    wrong.push(`#${i} ${error.message} ${JSON.stringify(next)}`)
    return 0
  })
  note(status, () => `#${i} ${JSON.stringify(next)}`)
}
const structured = requests(loot)
const raw = bytes(loot)
const draw = (i: number) =>
  fc.sample<Parameters<typeof fireRequest>[1] | string>(i % 10 < rawPart * 10 ? raw : structured, {
    numRuns: 1,
    seed: seed + i,
  })[0] as Parameters<typeof fireRequest>[1] | string

const batch = async (from: number, to: number): Promise<void> => {
  let next = from
  const worker = async (): Promise<void> => {
    while (next < to) {
      const i = next++
      await shoot(i, draw(i))
    }
  }
  await Promise.all(Array.from({ length: atOnce }, worker))
}

// Every thread of the pool has checked passwords before memory is looked at: what each keeps of its first
// work is no growth.
const stranger = createBrowser(gateway.fetch, gateway.origin)
const page = await stranger.go('/login')
for (let round = 0; round < 4; round++)
  await Promise.all(
    Array.from({ length: 8 }, (_, i) =>
      stranger.submit(page, '/login', { username: `nobody-${round}-${i}`, password: 'guessed wrongly' }),
    ),
  )

const began = performance.now()
const middle = Math.floor(total * warmPart)
await batch(0, middle)
const before = await memory.of(gateway)
await batch(middle, total)
const after = await memory.of(gateway)
const seconds = ((performance.now() - began) / 1000).toFixed(1)
const alive = await gateway.fetch(`${gateway.origin}/health`).then(
  (response) => response.status === 200,
  () => false,
)
// The person and the client who were there before are still served.
const served = await gateway
  .fetch(`${gateway.origin}/oauth/token`, {
    method: 'POST',
    body: new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: tokens.refresh_token,
      client_id: client.id,
    }),
  })
  .then(
    (response) => response.status,
    () => 0,
  )
const faults = gateway.lines.filter((line) => /"level":"error"/.test(line) || !line.startsWith('{'))
const code = await gateway.end()
await upstream.close()
state.remove()

const growth = (after.rss / before.rss - 1) * 100
const mib = (value: number): string => value.toFixed(1)
const verdicts = createVerdicts('fuzz')
console.log(
  `${total} shots (${Math.round(rawPart * 100)} % as raw bytes), seed ${seed}, ${seconds} s: ${[...seen]
    .sort(([a], [b]) => a - b)
    .map(([status, times]) => `${times} × ${status === 0 ? 'closed' : status}`)
    .join(', ')}`,
)
verdicts.claim(
  alive && code === 0,
  'crashes',
  alive && code === 0 ? '0' : `health ${alive}, exit code ${code}`,
)
verdicts.claim(
  faults.length === 0,
  'faults, unhandled rejections and uncaught exceptions in the log',
  `${faults.length}`,
)
verdicts.claim(wrong.length === 0, 'unintended 5xx and requests without an answer', `${wrong.length}`)
verdicts.claim(served === 200, 'the client of before refreshes its token', `${served}`)
verdicts.claim(
  Math.abs(growth) <= 10,
  'resident memory after collecting garbage, from the first part to the end',
  `${mib(before.rss)} → ${mib(after.rss)} MiB (${growth.toFixed(1)} %); heap in use ${mib(before.heapUsed)} → ${mib(after.heapUsed)} MiB`,
)
for (const line of [...wrong, ...faults].slice(0, 20)) console.log(line.slice(0, 800))
verdicts.end()
