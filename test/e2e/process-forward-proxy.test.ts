// The product as a process on a network that lets nothing out but through a forward proxy: the environment
// alone says so.
import { afterEach, beforeEach, expect, it } from 'vitest'
import { type ForwardProxyServer, openForwardProxy } from '../runtimes/forward-proxy.ts'
import { type PosternProcess, startProcess, temporaryState } from '../runtimes/process.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

let state: ReturnType<typeof temporaryState>
let upstream: Upstream
let proxy: ForwardProxyServer
let running: PosternProcess | undefined
beforeEach(async () => {
  state = temporaryState()
  upstream = await openUpstream()
  proxy = await openForwardProxy({
    route: (target) => (target === 'mcp.company.invalid:80' ? Number(new URL(upstream.url).port) : undefined),
  })
})
afterEach(async () => {
  await running?.end('SIGKILL')
  running = undefined
  await Promise.all([proxy.close(), upstream.close()])
  state.remove()
})

const config = { mcp_services: { far: { url: 'http://mcp.company.invalid/mcp', auth_required: false } } }
const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'c', version: '1' } },
}
const post = (from: PosternProcess, message: unknown): Promise<Response> =>
  from.fetch(`${from.origin}/far/mcp`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' },
    body: JSON.stringify(message),
  })

it('reaches a server whose name only the proxy knows', async () => {
  running = await startProcess({
    stateDir: state.dir,
    config,
    env: { HTTP_PROXY: proxy.url, NO_PROXY: 'other.example' },
  })
  for (const message of [
    initialize,
    { jsonrpc: '2.0', id: 2, method: 'tools/call', params: { name: 'x', arguments: {} } },
  ])
    expect((await post(running, message)).status).toBe(200)
  expect(proxy.asked).toEqual(['POST http://mcp.company.invalid/mcp', 'POST http://mcp.company.invalid/mcp'])
})

it('connects directly where NO_PROXY says so', async () => {
  running = await startProcess({
    stateDir: state.dir,
    config,
    env: { http_proxy: proxy.url, no_proxy: '.company.invalid' },
  })
  expect((await post(running, initialize)).status).toBe(502)
  expect(proxy.asked).toEqual([])
})

it('does not start with a proxy that it cannot use, and does not repeat its password', async () => {
  const started = startProcess({
    stateDir: state.dir,
    config,
    env: { HTTPS_PROXY: 'socks5://user:word@proxy.example:1080' },
  })
  const said = await started.then(
    () => '',
    (error: Error) => error.message,
  )
  expect(said).toContain('postern ended with 1')
  expect(said).toContain(
    'HTTPS_PROXY must be the URL of an HTTP proxy such as http://proxy.example.com:3128. SOCKS proxies are not supported.',
  )
  expect(said).not.toContain('word')
})
