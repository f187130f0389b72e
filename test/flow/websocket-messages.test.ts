// Messages of one WebSocket to another: each passes the checks of a call before the server hears it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestGateway, openInWorkerd, openOnSocket } from '../runtimes/runtimes.ts'
import { form, logIn } from '../runtimes/login.ts'
import { ana, tokenOf } from '../runtimes/people.ts'
import { until } from '../runtimes/proxied.ts'
import { dialSocket, type Spoken } from '../runtimes/socket-client.ts'
import { openSocketUpstream, type SocketUpstream } from '../runtimes/socket-upstream.ts'

describe.each([
  ['on a node socket', openOnSocket],
  ['in workerd', openInWorkerd],
] as const)('Messages to a WebSocket server %s', (_name, open) => {
  let house: TestGateway
  let server: SocketUpstream
  let token = ''

  const dial = (
    path: string,
    headers: Record<string, string> = { authorization: `Bearer ${token}` },
  ): Promise<Spoken> => dialSocket(`${house.origin.replace('http', 'ws')}${path}`, { headers })

  const whoami = { jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 'whoami', arguments: {} } }

  beforeAll(async () => {
    server = await openSocketUpstream()
    house = await open({
      upstream: 'http://127.0.0.1:9/mcp',
      config: { mcp_services: { sock: { url: server.url } } },
    })
    token = await tokenOf(house, ana, `${house.origin}/sock/mcp`)
  })
  afterAll(async () => {
    await house?.close()
    await server?.close()
  })

  it('are judged one by one: a revision that is not let through never reaches the server [C21, C12]', async () => {
    const { socket, said } = await dial('/sock/mcp')
    const before = server.said.length
    const meta = { 'io.modelcontextprotocol/clientCapabilities': {} }
    const claiming = (id: number, version: string) => ({
      ...whoami,
      id,
      params: { ...whoami.params, _meta: { ...meta, 'io.modelcontextprotocol/protocolVersion': version } },
    })
    const folded = `{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"whoami"},"param\u017f":{"name":"drop"}}`
    for (const message of [
      claiming(1, '2027-01-01'),
      { ...whoami, id: 2, params: { _meta: { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' } } },
    ])
      socket.send(JSON.stringify(message))
    socket.send(folded)
    socket.send(JSON.stringify(claiming(4, '2026-07-28')))
    await until(() => said.length === 4, 'four answers')
    const answers = new Map(
      said.map((message) => [message.id, message.error?.code ?? message.result !== undefined]),
    )
    expect([answers.get(1), answers.get(2), answers.get(4)]).toEqual([-32_022, -32_602, true])
    expect(said.map(({ error }) => error?.code)).toContain(-32_600)
    expect(server.said.slice(before).map((text) => (JSON.parse(text) as { id: unknown }).id)).toEqual([4])
  })

  it('are refused where they name the task of another app or user [B7]', async () => {
    const own = await dial('/sock/mcp')
    const stranger = await dial('/sock/mcp', {
      authorization: `Bearer ${await tokenOf(house, ana, `${house.origin}/sock/mcp`)}`,
    })
    own.socket.send(JSON.stringify({ ...whoami, params: { name: 'spawn', arguments: {}, task: {} } }))
    await until(() => own.said.length === 1, 'the task')
    const before = server.said.length
    const question = { jsonrpc: '2.0', id: 8, method: 'tasks/get', params: { taskId: 'task-1' } }
    stranger.socket.send(JSON.stringify(question))
    await until(() => stranger.said.length === 1, 'the refusal')
    expect(stranger.said[0]?.error).toMatchObject({ code: -32_602, data: { code: 'task.unknown' } })
    expect(server.said.length).toBe(before)
    own.socket.send(JSON.stringify(question))
    await until(() => own.said.length === 2, 'the answer')
    // The server's: it tells the headers that it got.
    const told = own.said[1]?.result as { content: readonly { text: string }[] }
    expect(own.said[1]?.id).toBe(8)
    expect(JSON.parse(told.content[0]?.text ?? '')).toMatchObject({ 'x-user-id': 'ana' })
    for (const { socket } of [own, stranger]) socket.close()
  })

  it('end with the access: the next one is told so, and the server never hears it [C21] [H-O4]', async () => {
    const { client, tokens } = await logIn(house, `${house.origin}/sock/mcp`)
    const { socket, said, closing } = await dial('/sock/mcp', {
      authorization: `Bearer ${tokens.access_token}`,
    })
    socket.send(JSON.stringify(whoami))
    await until(() => said.length === 1, 'an answer')
    await house.fetch(
      `${house.origin}/oauth/revoke`,
      form({ token: tokens.refresh_token, client_id: client.id }),
    )
    let late = 0
    // What was found out about a grant is kept for half a second at most; from then on no message passes.
    const asking = setInterval(() => socket.send(JSON.stringify({ ...whoami, id: `late-${++late}` })), 100)
    const { code } = await closing
    clearInterval(asking)
    expect(code).toBe(4401)
    const refused = said.filter(({ error }) => error)
    expect(refused.map(({ error }) => error?.code)).toEqual([1401])
    expect(server.said.filter((text) => text.includes(String(refused[0]?.id)))).toEqual([])
  })

  it('wait for as many answers as a caller may have calls, and no more [C21] [H-R9]', async () => {
    const { socket, said } = await dial('/sock/mcp')
    for (let id = 0; id < 70; id++) socket.send(JSON.stringify({ ...whoami, id, params: { name: 'hang' } }))
    await until(() => said.length === 6, 'six refusals')
    expect(said.map(({ id, error }) => [id, error?.code])).toEqual(
      [64, 65, 66, 67, 68, 69].map((id) => [id, 1429]),
    )
    socket.send(
      JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 5 } }),
    )
    socket.send(JSON.stringify({ ...whoami, id: 'again' }))
    await until(() => said.length === 7, 'an answer')
    expect(said.at(-1)).toMatchObject({ id: 'again', result: {} })
    socket.close()
  })
})
