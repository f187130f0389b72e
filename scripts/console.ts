// How much CPU time each page of the console takes with 1,000 services, 5,000 users with a grant each, and 20 access rules:
// `npm run prove console`. CPU time, because the machine may be busy with something else. Fails if the median is over 100 ms.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Config, parseConfig } from '../src/config/schema.ts'
import { createGateway } from '../src/gateway.ts'
import { createRecords } from '../src/kit/records.ts'
import { createNodeRuntime } from '../src/node/runtime.ts'
import type { Grant } from '../src/oauth/grant.ts'
import { createBrowser } from '../test/runtimes/browser.ts'

const goalMs = 100
const rounds = 12
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
]

const config: Config = parseConfig({
  issuer: origin,
  local_users: [{ username: 'ana', password, groups: ['g1'] }],
  admins: ['local:ana'],
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
  const [first = 0, median = 0, most = 0] = [times[0], sorted[rounds / 2], sorted.at(-1)]
  if (median > goalMs) slow++
  console.log(
    `${path.padEnd(34)} first ${first.toFixed(0).padStart(4)}  median ${median.toFixed(0).padStart(4)}  most ${most.toFixed(0).padStart(4)} ms`,
  )
}
await runtime.close()
rmSync(dir, { recursive: true })
process.exit(slow === 0 ? 0 : 1)
