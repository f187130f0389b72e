// What a start loads: time and memory go with every module, and most gateways need only some of them.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { logIn, person } from '../runtimes/login.ts'
import {
  type PosternProcess,
  type ProcessOptions,
  startProcess,
  temporaryState,
} from '../runtimes/process.ts'
import { openUpstream } from '../runtimes/upstream.ts'

let state: ReturnType<typeof temporaryState>
beforeEach(() => {
  state = temporaryState()
})
afterEach(() => state.remove())

const file = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

/** Names of the packages that the process had loaded by its end, and the gateway's own rooms. */
const loadedBy = async (
  options: Partial<ProcessOptions>,
  use: (gateway: PosternProcess) => Promise<unknown> = () => Promise.resolve(),
): Promise<Set<string>> => {
  const list = join(state.dir, 'modules.json')
  const command = [process.execPath, '--import', file('./loaded-modules.ts'), file('../../src/cli/main.ts')]
  const gateway = await startProcess({
    ...options,
    stateDir: state.dir,
    command,
    env: { LOADED_MODULES: list },
  })
  await use(gateway)
  expect(await gateway.end()).toBe(0)
  const urls = JSON.parse(readFileSync(list, 'utf8')) as string[]
  return new Set(
    urls.flatMap(
      (url) =>
        /\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? /\/src\/([^/]+)\//.exec(url)?.[1] ?? [],
    ),
  )
}

const onlyForSome = [
  'undici',
  'ws',
  '@redis/client',
  'pg',
  'yaml',
  'demo',
  '@modelcontextprotocol/server',
  '@modelcontextprotocol/core',
]

it('the default start loads no outbound client, no WebSockets, no YAML parser and no MCP SDK', async () => {
  const loaded = await loadedBy({})
  expect(loaded).toContain('hono')
  expect(onlyForSome.filter((name) => loaded.has(name))).toEqual([])
})

it('the first call of the demo loads it', async () => {
  const loaded = await loadedBy({ config: { local_users: [person] } }, async (gateway) => {
    const { tokens } = await logIn(gateway, `${gateway.origin}/demo/mcp`)
    const response = await gateway.fetch(`${gateway.origin}/demo/mcp`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${tokens.access_token}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
      },
      body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
    })
    expect(response.status).toBe(200)
  })
  expect(['demo', '@modelcontextprotocol/server'].filter((name) => !loaded.has(name))).toEqual([])
})

it('a login and a proxied call need neither the outbound client nor the MCP SDK', async () => {
  const upstream = await openUpstream()
  const loaded = await loadedBy(
    {
      config: {
        local_users: [person],
        mcp_services: { echo: { url: upstream.url, upstream_auth: { type: 'none' } } },
      },
    },
    async (gateway) => {
      const { tokens } = await logIn(gateway)
      const response = await gateway.fetch(`${gateway.origin}/echo/mcp`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${tokens.access_token}`,
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
        },
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
      })
      expect(response.status).toBe(200)
    },
  )
  await upstream.close()
  expect(onlyForSome.filter((name) => name !== 'yaml' && loaded.has(name))).toEqual([])
})
