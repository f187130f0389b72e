// A server that comes to speak another transport under the same URL: what its answers to earlier callers
// showed is not believed for ever, so nobody has to restart the gateway.
import type { IncomingMessage, ServerResponse } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { ana, type Caller, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2024-11-05', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
}

describe.each(runtimes)('%s', (_name, open) => {
  let house: TestGateway
  let upstream: Upstream
  let speaks: 'sse' | 'streamable'
  let stream: ServerResponse | undefined
  const answerTo = (body: string, text: string): string =>
    JSON.stringify({
      jsonrpc: '2.0',
      id: (JSON.parse(body) as { id?: number }).id,
      result: { protocolVersion: '2024-11-05', capabilities: {}, serverInfo: { name: text, version: '1' } },
    })
  const legacy = (request: IncomingMessage, response: ServerResponse, body: string): void => {
    if (request.method === 'GET' && request.url === '/mcp') {
      stream = response
      response
        .writeHead(200, { 'content-type': 'text/event-stream' })
        .write('event: endpoint\ndata: /messages\n\n')
    } else if (request.method === 'POST' && request.url === '/messages') {
      response.writeHead(202).end()
      if (body.includes('"id"')) stream?.write(`event: message\ndata: ${answerTo(body, 'sse')}\n\n`)
    } else response.writeHead(405).end()
  }
  beforeAll(async () => {
    speaks = 'sse'
    upstream = await openUpstream((request, response, body) => {
      if (speaks === 'sse') legacy(request, response, body)
      else if (request.method !== 'POST' || request.url !== '/mcp') response.writeHead(404).end()
      else if (body.includes('"id"'))
        response.writeHead(200, { 'content-type': 'application/json' }).end(answerTo(body, 'streamable'))
      else response.writeHead(202).end()
    })
    house = await open({ upstream: upstream.url, config: { local_users: [ana, yamada] } })
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  const callerFor = async (who = ana): Promise<Caller> =>
    callerOf(house, `${house.origin}/echo/mcp`, await tokenOf(house, who, `${house.origin}/echo/mcp`))
  const opened = async (caller: Caller): Promise<string> => {
    const text = await (await caller.post(initialize)).text()
    return /"name":"(\w+)"/.exec(text)?.[1] ?? text
  }

  it('is found out about anew, whichever way it changed', async () => {
    const [mine, theirs] = [await callerFor(), await callerFor(yamada)]
    expect([await opened(mine), await opened(theirs)]).toEqual(['sse', 'sse'])
    speaks = 'streamable'
    stream?.destroy()
    // Whoever comes first may meet the change; everybody after that is served.
    await opened(mine)
    expect([await opened(mine), await opened(theirs)]).toEqual(['streamable', 'streamable'])
    speaks = 'sse'
    house.advance(601_000)
    const [later, others] = [await callerFor(), await callerFor(yamada)]
    expect([await opened(later), await opened(others)]).toEqual(['sse', 'sse'])
  })
})
