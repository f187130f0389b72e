// How a gateway with commands behind it ends as a process: calls finish, streams and subscriptions end in order, and no process is left.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { logIn, person } from '../houses/login.ts'
import { callerOf } from '../houses/people.ts'
import { type PosternProcess, startProcess, temporaryState } from '../houses/process.ts'
import { isAlive, serverScript, until } from '../stdio/world.ts'

const meta = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} }
const modern = (method: string, name?: string) => ({ 'mcp-protocol-version': '2026-07-28', 'mcp-method': method, ...(name === undefined ? {} : { 'mcp-name': name }) })

describe('SIGTERM to a gateway with commands', () => {
  let state: ReturnType<typeof temporaryState>
  let gateway: PosternProcess
  beforeAll(async () => {
    state = temporaryState()
    gateway = await startProcess({ config: { local_users: [person], mcp_services: { small: { command: process.execPath, args: [serverScript, '--modern'], sandbox: 'none' } } }, stateDir: state.dir })
  }, 30_000)
  afterAll(async () => {
    await gateway?.end('SIGKILL')
    state?.remove()
  })

  it('lets calls finish, ends streams and subscriptions in order, leaves no process, and exits 0 [C11] [C17]', async () => {
    const resource = `${gateway.origin}/small/mcp`
    const { tokens } = await logIn(gateway, resource)
    const caller = callerOf(gateway, resource, tokens.access_token)
    const begun = await caller.post({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } } })
    const session = { 'mcp-session-id': begun.headers.get('mcp-session-id') ?? '', 'mcp-protocol-version': '2025-11-25' }
    const stream = await caller.get(session)
    const subscription = await caller.post({ jsonrpc: '2.0', id: 'sub', method: 'subscriptions/listen', params: { _meta: meta, notifications: { toolsListChanged: true } } }, modern('subscriptions/listen'))
    const ofTool = async (name: string): Promise<number> => {
      const params = { name, arguments: {}, _meta: meta }
      const said = (await (await caller.post({ jsonrpc: '2.0', id: 2, method: 'tools/call', params }, modern('tools/call', name))).json()) as { result: { content: { text: string }[] } }
      return (JSON.parse(said.result.content[0]?.text ?? '{}') as { pid: number }).pid
    }
    const pid = await ofTool('echo')
    const call = caller.post({ jsonrpc: '2.0', id: 3, method: 'tools/call', params: { name: 'wait', arguments: { ms: 1000 } } }, session)
    // On one pipe nothing overtakes: the server has the call when this is answered.
    await (await caller.post({ jsonrpc: '2.0', id: 4, method: 'ping' }, session)).text()
    const exit = gateway.end('SIGTERM')
    const answer = await call
    expect([answer.status, await answer.text()]).toEqual([200, expect.stringContaining('{\\"waited\\":1000}')])
    expect(await stream.text()).toMatch(/^(?:id: \S+\nretry: 500\ndata: \n\n)?$/)
    expect(await subscription.text()).toMatch(/"id":"sub","result":\{"resultType":"complete"[\s\S]*\n\n$/)
    expect(await exit).toBe(0)
    await until(() => !isAlive(pid), 'the end of its process')
  }, 30_000)
})
