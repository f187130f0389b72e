// How a gateway with commands behind it ends as a process: calls finish, streams and subscriptions end in
// order, and no process is left.
import { randomBytes } from 'node:crypto'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { findProgram, inCI } from '../../scripts/system-programs.mjs'
import { logIn, person } from '../runtimes/login.ts'
import { callerOf } from '../runtimes/people.ts'
import { type PosternProcess, startProcess, temporaryState } from '../runtimes/process.ts'
import { isAlive, serverScript, until } from '../stdio/world.ts'

const meta = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
}
const modern = (method: string, name?: string) => ({
  'mcp-protocol-version': '2026-07-28',
  'mcp-method': method,
  ...(name === undefined ? {} : { 'mcp-name': name }),
})

describe('SIGTERM to a gateway with commands', () => {
  let state: ReturnType<typeof temporaryState>
  let gateway: PosternProcess
  beforeAll(async () => {
    state = temporaryState()
    gateway = await startProcess({
      config: {
        local_users: [person],
        mcp_services: {
          small: { command: process.execPath, args: [serverScript, '--modern'], sandbox: 'none' },
        },
      },
      stateDir: state.dir,
    })
  }, 60_000)
  afterAll(async () => {
    await gateway?.end('SIGKILL')
    state?.remove()
  })

  it('lets calls finish, ends streams and subscriptions in order, leaves no process, and exits 0 [C11] [C17]', async () => {
    const resource = `${gateway.origin}/small/mcp`
    const { tokens } = await logIn(gateway, resource)
    const caller = callerOf(gateway, resource, tokens.access_token)
    const begun = await caller.post({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
    })
    const session = {
      'mcp-session-id': begun.headers.get('mcp-session-id') ?? '',
      'mcp-protocol-version': '2025-11-25',
    }
    const stream = await caller.get(session)
    const subscription = await caller.post(
      {
        jsonrpc: '2.0',
        id: 'sub',
        method: 'subscriptions/listen',
        params: { _meta: meta, notifications: { toolsListChanged: true } },
      },
      modern('subscriptions/listen'),
    )
    const ofTool = async (name: string): Promise<number> => {
      const params = { name, arguments: {}, _meta: meta }
      const said = (await (
        await caller.post({ jsonrpc: '2.0', id: 2, method: 'tools/call', params }, modern('tools/call', name))
      ).json()) as { result: { content: { text: string }[] } }
      return (JSON.parse(said.result.content[0]?.text ?? '{}') as { pid: number }).pid
    }
    const pid = await ofTool('echo')
    const call = caller.post(
      { jsonrpc: '2.0', id: 3, method: 'tools/call', params: { name: 'wait', arguments: { ms: 1000 } } },
      session,
    )
    // On one pipe nothing overtakes: the server has the call when this is answered.
    await (await caller.post({ jsonrpc: '2.0', id: 4, method: 'ping' }, session)).text()
    const exit = gateway.end('SIGTERM')
    const answer = await call
    expect([answer.status, await answer.text()]).toEqual([
      200,
      expect.stringContaining('{\\"waited\\":1000}'),
    ])
    expect(await stream.text()).toMatch(/^(?:id: \S+\nretry: 500\ndata: \n\n)?$/)
    expect(await subscription.text()).toMatch(/"id":"sub","result":\{"resultType":"complete"[\s\S]*\n\n$/)
    expect(await exit).toBe(0)
    await until(() => !isAlive(pid), 'the end of its process')
  }, 60_000)
})

describe.skipIf(findProgram('bwrap') === undefined && !inCI())(
  'an isolated command of a gateway that is installed below /opt',
  () => {
    it('never reads the configuration, the files it names, or .env beside its script [B8]', async () => {
      const folder = mkdtempSync('/opt/postern-e2e-')
      onTestFinished(() => rmSync(folder, { recursive: true }))
      const at = (name: string): string => join(folder, name)
      copyFileSync(serverScript, at('server.ts'))
      writeFileSync(at('package.json'), '{"type":"module"}')
      writeFileSync(at('secret.txt'), randomBytes(32).toString('base64'))
      writeFileSync(at('.env'), '# secret\n')
      writeFileSync(
        at('postern.json'),
        JSON.stringify({
          mcp_services: {
            small: {
              command: process.execPath,
              args: [at('server.ts')],
              shared: true,
              auth_required: false,
              sandbox: 'bubblewrap',
            },
          },
        }),
      )
      mkdirSync(at('state'))
      const gateway = await startProcess({
        stateDir: at('state'),
        cwd: folder,
        flags: ['--config', 'postern.json'],
        env: { SESSION_SECRET_FILE: at('secret.txt') },
      })
      onTestFinished(() => gateway.end().then(() => undefined))
      const post = (body: object, headers: Record<string, string> = {}) =>
        fetch(`${gateway.origin}/small/mcp`, {
          method: 'POST',
          headers: {
            'content-type': 'application/json',
            accept: 'application/json, text/event-stream',
            ...headers,
          },
          body: JSON.stringify({ jsonrpc: '2.0', id: 1, ...body }),
        })
      const begun = await post({
        method: 'initialize',
        params: {
          protocolVersion: '2025-06-18',
          capabilities: {},
          clientInfo: { name: 'test', version: '1' },
        },
      })
      const session = { 'mcp-session-id': begun.headers.get('mcp-session-id') ?? '' }
      const read = async (path: string): Promise<string> =>
        (await post({ method: 'tools/call', params: { name: 'read', arguments: { path } } }, session)).text()
      expect(await read(at('package.json'))).toContain('module')
      for (const name of ['postern.json', 'secret.txt', '.env', 'state/root.key', 'state/postern.db'])
        expect([name, await read(at(name))]).toEqual([name, expect.stringContaining('ENOENT')])
    }, 60_000)
  },
)
