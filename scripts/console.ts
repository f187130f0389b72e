// How much CPU time each page of the console takes with 1,000 services, 5,000 users with a grant each, 20 access rules,
// and a million events in the audit trail: `npm run prove console`. CPU time of all threads, because the machine may be
// busy with something else. Fails if the 95th percentile is over 100 ms. ROWS=100000: with fewer events.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Config, parseConfig } from '../src/config/schema.ts'
import { createGateway } from '../src/gateway.ts'
import { createRecords } from '../src/kit/records.ts'
import { openAuditWriter } from '../src/node/audit-file.ts'
import { createNodeRuntime, trailFile } from '../src/node/runtime.ts'
import type { Grant } from '../src/oauth/grant.ts'
import { createBrowser } from '../test/runtimes/browser.ts'
import { trailRow } from './harness/trail-rows.ts'

const goalMs = 100
const rounds = 20
const million = Number(process.env['ROWS'] ?? 1_000_000)
const trailDays = 40
const origin = 'http://localhost:9'
const password = 'a long enough password'
const paths = [
  '/console',
  '/console/services',
  '/console/access',
  '/console/tokens',
  '/console/accounts',
  '/console/clients',
  '/console/people',
  '/console/people?user=local:u7',
  '/console/sessions',
  '/console/connections',
  '/console/search?q=u77',
  '/console/settings',
  '/console/flows',
  ...['1h', '24h', '7d', '30d'].map((period) => `/console/activity?period=${period}`),
  ...[
    'decision:denied',
    'service:service3',
    'client:https://app7.example/client.json',
    '-kind:call',
    'user:okta:person77',
    'user:person77',
    'tool:tool_17',
    'code:policy.*',
    'status:>=400',
    'ms:>890',
    'ip:198.51.100.1',
    'service:service3 decision:denied',
    'tool_19',
    'nowhere',
    '-user:okta:person7',
  ].map((query) => `/console/activity?period=30d&q=${encodeURIComponent(query)}`),
]

const config: Config = parseConfig({
  issuer: origin,
  local_users: [{ username: 'ana', password, groups: ['g1'] }],
  admins: ['local:ana'],
  auditors: ['local:ana'],
  audit: { retention: '400d' },
  flows: {},
  mcp_services: Object.fromEntries(
    Array.from({ length: 1000 }, (_, i) => [`s${i}`, { url: `https://s${i}.example/mcp` }]),
  ),
  access: { allow: Array.from({ length: 20 }, (_, i) => ({ groups: [`g${i}`], services: ['s*'] })) },
})

/** Every tenth is a personal access token. */
const grantOf = (i: number, now: number): Grant => ({
  id: `${String(i).padStart(9, '0')}${'x'.repeat(22)}`,
  state: 'live',
  person: { provider: 'local', subject: `u${i}`, email: `u${i}@example.com`, groups: ['g1', 'g2'] },
  clientId: i % 10 === 0 ? `personal:tk_${i}` : `c${i % 300}`,
  clientName: `Client ${i % 300}`,
  resource: `${origin}/s${i % 1000}/mcp`,
  scopes: ['mcp'],
  refreshable: true,
  salt: 'abcdefgh'.repeat(4),
  createdAt: now - i,
  redirectUri: 'https://client.example/cb',
  generation: 1,
  usedAt: {},
  keyIds: { 1: 'k' },
  ...(i % 10 === 0 && { kind: 'personal', token: { digest: 'd', expiresAt: now + 1e9 } }),
})

const dir = mkdtempSync(join(tmpdir(), 'postern-console-'))
const fillTrail = (): void => {
  const [now, day] = [Date.now(), 86_400_000]
  const begun = now - trailDays * day
  const writer = openAuditWriter(trailFile(dir), {
    ...{ now: begun, version: '0', retentionMs: 400 * day, id: 'filled' },
  })
  for (let i = 0; i < million; i += 500)
    writer.append(
      Array.from({ length: 500 }, (_, j) =>
        trailRow(i + j, begun + Math.floor(((i + j) / million) * trailDays * day)),
      ),
    )
  while (writer.tidy(now));
  writer.close(now)
}
fillTrail()
const runtime = await createNodeRuntime({ config, stateDir: dir, log: () => undefined, version: '0' })
const gateway = createGateway({ config, runtime, issuer: origin })
await gateway.warm()
const records = createRecords<Grant>(runtime, 'grant:')
for (let i = 0; i < 5000; i++) {
  const grant = grantOf(i, runtime.now())
  await records.put(grant.id, grant, { ttlMs: 86_400_000 })
}
const browser = createBrowser(
  (url, init) => gateway.fetch(new Request(url, init), { requestId: 'x', ip: '127.0.0.1' }),
  origin,
)
await browser.submit(await browser.go(`${origin}/login`), '/login', { username: 'ana', password })

/** Milliseconds of CPU time. */
const timeOf = async (path: string): Promise<number> => {
  const began = process.cpuUsage()
  const { status } = await browser.go(origin + path)
  if (status !== 200) throw new Error(`${path} answered ${status}`)
  const { user, system } = process.cpuUsage(began)
  return (user + system) / 1000
}

let slow = 0
for (const path of paths) {
  const times: number[] = []
  for (let i = 0; i < rounds; i++) times.push(await timeOf(path))
  const sorted = times.toSorted((a, b) => a - b)
  const [first = 0, median = 0, p95 = 0] = [times[0], sorted[rounds / 2], sorted[rounds * 0.95 - 1]]
  if (p95 > goalMs) slow++
  console.log(
    `${decodeURIComponent(path).padEnd(72)} first ${first.toFixed(0).padStart(4)}  median ${median.toFixed(0).padStart(4)}  p95 ${p95.toFixed(0).padStart(4)} ms`,
  )
}
await runtime.close()
rmSync(dir, { recursive: true })
process.exit(slow === 0 ? 0 : 1)
