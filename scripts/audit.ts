// `npm run prove audit`: the audit trail under load and under kill -9. A million events are searched and
// verified while more arrive; and a gateway is killed at many instants, after which every call that was answered
// in time is in the trail, and the chains are whole.
import { request, Agent } from 'node:http'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openAuditWriter } from '../src/node/audit-file.ts'
import { openAuditReader } from '../src/node/audit-reader.ts'
import { readSearch } from '../src/stores/audit.ts'
import { startProcess, temporaryState } from '../test/runtimes/process.ts'
import { openUpstream } from '../test/runtimes/upstream.ts'
import { proveSinks } from './audit-sinks.ts'
import { trailRow } from './harness/trail-rows.ts'
import { createVerdicts } from './harness/verdict.ts'

const million = Number(process.env['ROWS'] ?? 1_000_000)
const kills = Number(process.env['KILLS'] ?? 50)
const verdicts = createVerdicts('audit')
const pause = (ms: number): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, ms))

// A million rows.

const day = 86_400_000
const end = Date.parse('2026-11-29T12:00:00Z')
const folder = mkdtempSync(join(tmpdir(), 'postern-audit-'))
const path = join(folder, 'audit.db')

const writer = openAuditWriter(path, {
  now: end - 8 * day,
  version: '1',
  retentionMs: 400 * day,
  id: 'prove',
})
const filling = performance.now()
for (let i = 0; i < million; i += 500)
  writer.append(
    Array.from({ length: 500 }, (_, j) =>
      trailRow(i + j, end - 8 * day + Math.floor(((i + j) / million) * 8 * day)),
    ),
  )
const filled = performance.now()
console.log(`${million} rows in ${Math.round((filled - filling) / 1000)} s`)
while (writer.tidy(end));
console.log(`indexes in ${Math.round((performance.now() - filled) / 1000)} s`)

const searches: readonly (readonly string[])[] = [
  ['user:person77'],
  ['user:okta:person77'],
  ['user:okta:person77', 'service:service3'],
  ['user:okta:nobody'],
  ['client:https://app7.example/client.json', 'decision:denied'],
  ['service:service3'],
  ['service:service3,service4', 'tool:tool_17'],
  ['tool:tool_19*'],
  ['tool:none'],
  ['request:request-500000'],
  ['request:request-none'],
  ['ip:192.0.2.7'],
  ['ip:198.51.100.1'],
  ['grant:grant777'],
  ['decision:denied'],
  ['code:policy.*'],
  ['code:upstream.timeout'],
  ['-decision:allowed', 'user:okta:person400'],
  ['kind:grant.refreshed', 'user:okta:person50'],
  ['-kind:call'],
  ['kind:sign-in'],
  ['ms:>890'],
  ['ms:>5000'],
  ['status:500'],
  ['since:2026-11-25', 'until:2026-11-26', 'service:service1'],
  ['since:2026-11-25', 'until:2026-11-26', 'user:okta:person3'],
  ['until:2026-11-22T13:00', 'decision:denied'],
  ['person4999'],
  ['tool_19'],
  ['nowhere'],
]

const arriving = { going: true, rows: 0 }
const arrive = async (): Promise<void> => {
  while (arriving.going) {
    writer.append(Array.from({ length: 100 }, (_, j) => trailRow(arriving.rows + j, end)))
    arriving.rows += 100
    await pause(100)
  }
}
const arrived = arrive()
const reader = openAuditReader(path)
if (!reader) throw new Error('no trail')
const times: { readonly ms: number; readonly terms: string }[] = []
for (let round = 0; round < 3; round++)
  for (const terms of searches) {
    const from = performance.now()
    reader.search(readSearch(terms, end), 50)
    times.push({ ms: performance.now() - from, terms: terms.join(' ') })
    await pause(5)
  }
times.sort((one, other) => one.ms - other.ms)
const at = (part: number) => times[Math.ceil(times.length * part) - 1] ?? { ms: 0, terms: '' }
verdicts.claim(
  at(0.95).ms <= 300,
  `30 searches of ${million} rows take at most 300 ms (p95) while 1,000 rows a second arrive`,
  `median ${at(0.5).ms.toFixed(1)} ms, p95 ${at(0.95).ms.toFixed(0)} ms (${at(0.95).terms}), longest ${at(1).ms.toFixed(0)} ms (${at(1).terms})`,
)
arriving.going = false
await arrived
const verifying = performance.now()
const whole = reader.verify()
const verified = performance.now() - verifying
verdicts.claim(whole.fault === undefined, 'the trail is whole', `${whole.rows} rows`)
verdicts.claim(
  verified <= 15_000,
  'a million rows are verified within 15 s',
  `${(verified / 1000).toFixed(1)} s`,
)
reader.close()
writer.close(end)
rmSync(folder, { recursive: true })

// Killed.

interface Answered {
  readonly request: string
  readonly at: number
}

const body = JSON.stringify({
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name: 'x', arguments: { n: 1 } },
})

/** Calls without a pause, until the gateway is gone. */
const callOn = async (origin: string, agent: Agent, answered: Answered[]): Promise<void> => {
  for (;;) {
    const seen = await new Promise<string | undefined>((resolve) => {
      const call = request(
        `${origin}/echo/mcp`,
        {
          agent,
          method: 'POST',
          headers: { 'content-type': 'application/json', 'accept': 'application/json, text/event-stream' },
        },
        (answer) => {
          answer.resume()
          answer.once('end', () => resolve(String(answer.headers['x-request-id'])))
          answer.once('error', () => resolve(undefined))
        },
      )
      call.once('error', () => resolve(undefined))
      call.end(body)
    })
    if (seen === undefined) return
    answered.push({ request: seen, at: performance.now() })
  }
}

const upstream = await openUpstream()
const state = temporaryState()
const config = { audit: {}, mcp_services: { echo: { url: upstream.url, auth_required: false } } }
let calls = 0
let lost = 0
let oldestLost = 0
let late = 0
let broken = 0
let adopted = 0
for (let round = 0; round < kills; round++) {
  const gateway = await startProcess({ config, stateDir: state.dir, env: { NO_PROXY: '*' } })
  const agent = new Agent({ keepAlive: true, maxSockets: 16 })
  const answered: Answered[] = []
  const callers = Array.from({ length: 16 }, () => callOn(gateway.origin, agent, answered))
  // Another instant of the writer's rhythm each time.
  await pause(1300 + ((round * 37) % 200))
  process.kill(gateway.pid, 'SIGKILL')
  const killed = performance.now()
  await Promise.all(callers)
  agent.destroy()
  await gateway.end()
  let trail = openAuditReader(join(state.dir, 'audit.db'))
  if (trail && trail.waiting() > 0) {
    // What a busy gateway has kept as it came becomes rows of the next process.
    trail.close()
    adopted++
    const next = await startProcess({ config, stateDir: state.dir, env: { NO_PROXY: '*' } })
    await next.end()
    trail = openAuditReader(join(state.dir, 'audit.db'))
  }
  const kept = new Set<string | null>()
  for (const { request: id } of trail?.all(readSearch([], Date.now())) ?? []) kept.add(id)
  if (trail?.verify().fault) broken++
  trail?.close()
  calls += answered.length
  for (const { request: id, at: when } of answered) {
    if (kept.has(id)) continue
    lost++
    oldestLost = Math.max(oldestLost, killed - when)
    if (killed - when > 1000) late++
  }
}
verdicts.claim(
  late === 0,
  `after ${kills} times kill -9 every call that was answered more than a second before is in the trail`,
  `${calls} calls, ${lost} of the last moments lost, the oldest of them ${Math.round(oldestLost)} ms old; ${adopted} times some waited for rows`,
)
verdicts.claim(broken === 0, 'the chains are whole after each of them', `${kills - broken} of ${kills}`)
await upstream.close()
state.remove()

// Sent elsewhere.

const sent = mkdtempSync(join(tmpdir(), 'postern-rsyslog-'))
await proveSinks(verdicts, sent)
rmSync(sent, { recursive: true })
verdicts.end()
