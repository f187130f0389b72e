// A kept connection that the server closes just when a call is sent: asked again on a fresh one where that
// may be done (RFC 9110 §9.2.2), else told as it is.
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type AskedFor, type ByteUpstream, openByteUpstream, whole } from '../runtimes/byte-upstream.ts'
import { type TestGateway, openInProcess, openOnSocket } from '../runtimes/runtimes.ts'
import { ana, type Caller, callerOf, tokenOf } from '../runtimes/people.ts'
import { call, modernCall, modernHeaders } from '../runtimes/proxied.ts'

const events = 'text/event-stream'
const annotated = [
  { name: 'read', annotations: { readOnlyHint: true } },
  { name: 'again', annotations: { idempotentHint: true, readOnlyHint: false } },
  { name: 'write', annotations: { readOnlyHint: false } },
  { name: 'odd', annotations: { readOnlyHint: 'true' } },
  { name: 'unsaid' },
]

/** With its body in this coding. */
const zipped = (answer: string): Buffer => {
  const body = gzipSync(answer)
  const head = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n'
  return Buffer.concat([Buffer.from(`${head}Content-Length: ${body.length}\r\n\r\n`), body])
}

const told = 'Raw closed the connection before it answered. The request may have been carried out.'

describe.each([
  ['in process', openInProcess],
  ['on a node socket', openOnSocket],
] as const)('%s', (where, open) => {
  let house: TestGateway
  let upstream: ByteUpstream
  let caller: Caller
  /**
   * Whether the next request finds its connection closed: one that has answered before, or any, where fetch
   * keeps them as it likes.
   */
  let closing = false
  let any = false
  let heard: AskedFor[] = []
  /** What the server lists, the form of that, and what it says to whoever listens. */
  let tools: readonly object[] = []
  let listed: (answer: string) => string | Buffer = whole
  let streamed: string | undefined

  beforeAll(async () => {
    const answered = new WeakSet<object>()
    upstream = await openByteUpstream((socket, asked) => {
      if (closing && (any || answered.has(socket))) {
        closing = false
        socket.resetAndDestroy()
        return
      }
      heard.push(asked)
      answered.add(socket)
      const result = { tools, resultType: 'complete' }
      const answer = JSON.stringify({ jsonrpc: '2.0', id: asked.id, result })
      if (asked.method === 'POST') socket.write(asked.name === '' ? listed(answer) : whole(answer))
      else socket.write(streamed === undefined ? whole('', 'text/plain', '405 No') : whole(streamed, events))
    })
    house = await open({
      upstream: `${upstream.origin}/mcp`,
      config: {
        local_users: [ana],
        mcp_services: {
          raw: { name: 'Raw', url: `${upstream.origin}/mcp`, upstream_auth: { type: 'none' } },
        },
      },
    })
    const resource = `${house.origin}/raw/mcp`
    caller = callerOf(house, resource, await tokenOf(house, ana, resource))
  }, 60_000)
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })
  beforeEach(async () => {
    closing = false
    await (await caller.post({ jsonrpc: '2.0', id: 1, method: 'ping' })).text()
    heard = []
    closing = true
    any = where === 'in process'
  })

  it.each(['tools/list', 'resources/list', 'prompts/list', 'ping', 'resources/read', 'completion/complete'])(
    'asks again for %s, once, and the caller hears nothing of it',
    async (method) => {
      const answer = await caller.post({ jsonrpc: '2.0', id: 2, method, params: {} })
      expect([answer.status, await answer.json()]).toMatchObject([200, { id: 2, result: { tools: [] } }])
      expect(heard).toHaveLength(1)
      expect(closing).toBe(false)
    },
  )

  it('asks again for a stream and for the end of a session', async () => {
    expect((await caller.get()).status).toBe(405)
    closing = true
    expect((await caller.delete()).status).toBe(405)
    expect(heard.map(({ method }) => method)).toEqual(['GET', 'DELETE'])
  })

  const list = async (params: object = {}): Promise<void> => {
    closing = false
    const answer = await caller.post({ jsonrpc: '2.0', id: 8, method: 'tools/list', params })
    expect(await answer.text()).toContain('"resultType":"complete"')
    heard = []
    closing = true
  }
  const calls = async (name: string): Promise<number> => {
    closing = false
    await (await caller.post({ jsonrpc: '2.0', id: 1, method: 'ping' })).text()
    closing = true
    const { status } = await caller.post(call(name, 9))
    closing = false
    return status
  }

  /** What passed is read behind it, so it may take a few turns. */
  const comesTo = async (name: string, status: number): Promise<void> => {
    let seen = 0
    for (let times = 0; times < 100 && seen !== status; times++) seen = await calls(name)
    expect([name, seen]).toEqual([name, status])
    heard = []
  }

  it.each([
    ['JSON', (answer: string) => whole(answer)],
    ['an event', (answer: string) => whole(`data: ${answer}\n\n`, events)],
    ['gzip', zipped],
  ])('asks again for a tool that says of itself that this changes nothing, in %s', async (_form, form) => {
    ;[tools, listed] = [annotated, form]
    try {
      await list()
      await comesTo('read', 200)
      const seen = []
      for (const { name } of annotated) seen.push([name, await calls(name)])
      expect(seen).toEqual([
        ['read', 200],
        ['again', 200],
        ['write', 502],
        ['odd', 502],
        ['unsaid', 502],
      ])
      expect(heard.map(({ name }) => name).filter((name) => name !== '')).toEqual(['read', 'again'])
    } finally {
      ;[tools, listed] = [[], whole]
    }
  })

  it('knows the tools of every page, and forgets what is not listed any more', async () => {
    const [read, again] = annotated as [object, object]
    tools = [read]
    await list()
    tools = [again]
    await list({ cursor: '2' })
    await comesTo('again', 200)
    expect(await calls('read')).toBe(200)
    await list()
    await comesTo('read', 502)
    expect(await calls('again')).toBe(200)
    tools = [{ ...again, annotations: {} }]
    await list({ cursor: '2' })
    await comesTo('again', 502)
    tools = [read, read, again]
    await list()
    await comesTo('again', 200)
    expect(await calls('read')).toBe(502)
    tools = []
  })

  it('forgets them when the server says that they have changed', async () => {
    tools = annotated
    await list()
    await comesTo('read', 200)
    closing = false
    streamed = 'data: {"jsonrpc":"2.0","method":"notifications\\/tools\\/list_changed"}\n\n'
    await (await caller.get()).text()
    streamed = undefined
    expect(await calls('read')).toBe(502)
    tools = []
  })

  it('never sends a tool call twice, and says that it may have been carried out', async () => {
    const answer = await caller.post(call('write', 3))
    expect([answer.status, await answer.json()]).toMatchObject([
      502,
      { jsonrpc: '2.0', id: 3, error: { code: 1502, message: told } },
    ])
    expect(heard).toEqual([])
    expect(house.log.filter(({ event }) => event === 'refused').at(-1)?.fields).toMatchObject({
      refusal: 'upstream.closed',
    })
  })

  it('never sends a batch twice that holds a tool call', async () => {
    const batch = [{ jsonrpc: '2.0', id: 4, method: 'tools/list' }, call('write', 5)]
    expect((await caller.post(batch, { 'mcp-protocol-version': '2025-03-26' })).status).toBe(502)
    expect(heard).toEqual([])
  })

  it('asks only once again: a server that closes every connection is told as such', async () => {
    const breaking = await openByteUpstream((socket) => socket.end())
    const other = await open({
      upstream: `${breaking.origin}/mcp`,
      config: {
        local_users: [ana],
        mcp_services: {
          raw: {
            name: 'Raw',
            url: `${breaking.origin}/mcp`,
            auth_required: false,
            upstream_auth: { type: 'none' },
          },
        },
      },
    })
    try {
      const answer = await callerOf(other, `${other.origin}/raw/mcp`, '').post({
        jsonrpc: '2.0',
        id: 6,
        method: 'tools/list',
      })
      expect([answer.status, await answer.json()]).toMatchObject([502, { id: 6, error: { message: told } }])
      // A fresh connection that fails is no matter of keeping connections; fetch does not say which it was.
      expect(breaking.connections()).toBe(where === 'on a node socket' ? 1 : 2)
    } finally {
      await other.close()
      await breaking.close()
    }
  })

  it('does the same where it is not known yet what the server speaks', async () => {
    any = true
    const { _meta } = modernCall().params
    const answer = await caller.post(
      { jsonrpc: '2.0', id: 7, method: 'tools/list', params: { _meta } },
      { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/list' },
    )
    expect([answer.status, await answer.json()]).toMatchObject([200, { id: 7, result: { tools: [] } }])
    expect([heard.length, closing]).toEqual([1, false])
    closing = true
    expect((await caller.post(modernCall('write'), modernHeaders('write'))).status).toBe(502)
  })
})
