// Services that another process added: seen by whatever comes next, also where no timer runs between
// requests.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, it } from 'vitest'
import { parseConfig } from '../../src/config/schema.ts'
import { type Gateway, createGateway } from '../../src/gateway.ts'
import { type NodeRuntime, createNodeRuntime } from '../../src/node/runtime.ts'

const stateDir = mkdtempSync(join(tmpdir(), 'postern-supply-'))
const runtimes: NodeRuntime[] = []
const log: { readonly event: string; readonly fields: Readonly<Record<string, unknown>> }[] = []
let ahead = 0
const origin = 'http://localhost:8080'

const open = async (more: Parameters<typeof parseConfig>[0] = {}): Promise<Gateway> => {
  const config = parseConfig({ domain_root: 'root.localhost', ...(more as object) })
  const runtime = await createNodeRuntime({
    config,
    stateDir,
    version: '0',
    now: () => Date.now() + ahead,
    log: (_, event, fields = {}) => void log.push({ event, fields }),
  })
  runtimes.push(runtime)
  return createGateway({ config, runtime, issuer: origin })
}
afterAll(async () => {
  for (const runtime of runtimes) await runtime.close()
  rmSync(stateDir, { recursive: true, force: true })
})

const nowhere = () => Promise.resolve({ status: 404, headers: new Headers(), body: new Uint8Array() })
const addition = {
  id: 'fresh',
  service: { url: 'https://mcp.atlassian.com/v1/mcp', auth_required: false },
  by: 'cli',
  force: true,
  anywhere: nowhere,
}
const visit = { requestId: 'r', ip: '127.0.0.1' }

it('is met by a request and by a WebSocket that come right after, and gone for both', async () => {
  const [here, there] = [await open(), await open()]
  const asked = () =>
    there.handle(
      new Request(`${origin}/fresh/mcp`, { headers: { accept: 'text/html', host: 'localhost:8080' } }),
      visit,
      fetch,
    )
  const dialled = () =>
    there
      .admitSocket({
        method: 'GET',
        target: '/fresh/sse',
        host: 'localhost:8080',
        rawHeaders: ['Host', 'localhost:8080'],
        ...visit,
      })
      .then(
        () => 'open',
        (error: { code: string; why: string }) => `${error.code} ${error.why}`,
      )
  expect([(await asked()).status, await dialled()]).toEqual([404, 'route.unknown /fresh/sse'])
  await here.registry.add(addition)
  ahead += 1000
  // Found, and no place for a WebSocket: the check behind the one that does not know the service.
  expect(await dialled()).toBe('route.unknown /fresh/sse')
  expect(there.directory.service('fresh')?.id).toBe('fresh')
  expect((await asked()).status).toBe(200)
  await here.registry.remove('fresh')
  ahead += 1000
  await dialled()
  expect(there.directory.service('fresh')).toBeUndefined()
  expect((await asked()).status).toBe(404)
})

it('gives way to the configuration, by name and by host, and the log says so', async () => {
  const gateway = await open()
  await gateway.registry.add(addition)
  expect(gateway.directory.services.map(({ id }) => id)).toEqual(['fresh'])
  log.length = 0
  const next = parseConfig({
    domain_root: 'root.localhost',
    mcp_services: {
      fresh: { url: 'https://own.example/mcp', auth_required: false },
      jira: { url: 'https://mcp.atlassian.com/v1/mcp' },
    },
  })
  gateway.registry.reconfigure(next)
  expect(
    gateway.directory.services.map(({ id, upstream }) => [id, upstream.kind === 'http' && upstream.url]),
  ).toEqual([
    ['fresh', 'https://own.example/mcp'],
    ['jira', 'https://mcp.atlassian.com/v1/mcp'],
  ])
  gateway.registry.reconfigure(
    parseConfig({
      domain_root: 'root.localhost',
      mcp_services: { jira: { url: 'https://mcp.atlassian.com/v1/mcp' } },
    }),
  )
  expect(
    gateway.directory.locate('/v1/mcp', 'nvrxaltborwgc43tnfqw4ltdn5wq-enc.root.localhost:8080')?.address
      .service.id,
  ).toBe('jira')
  expect(
    log
      .filter(({ event }) => event === 'service.shadowed')
      .map(({ fields }) => [fields['service'], fields['why']]),
  ).toEqual([
    ['fresh', 'a service in the configuration has the same ID and takes precedence'],
    ['fresh', 'nvrxaltborwgc43tnfqw4ltdn5wq-enc is also the host of jira, which takes precedence'],
  ])
  await gateway.registry.remove('fresh')
})
