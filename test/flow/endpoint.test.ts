// Where a server's endpoint is: the URL as the operator wrote it, `/mcp` and then `/` for one without a path,
// and where a redirect within the origin leads.
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { ana, type Caller, callerOf, tokenOf } from '../runtimes/people.ts'
import { call, modernCall, modernHeaders } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'c', version: '1' } },
}

describe.each(runtimes)('%s', (_where, open) => {
  let house: TestGateway
  const upstreams: Upstream[] = []
  const asked: string[] = []

  /** Answers at one path, and elsewhere by `elsewhere`: a status, or a status and where it leads. */
  const serverAt = async (
    paths: readonly string[],
    elsewhere: (url: string, origin: string) => readonly [status: number, location?: string],
  ): Promise<string> => {
    const upstream: Upstream = await openUpstream((request, response, body) => {
      asked.push(`${request.method} ${request.url}`)
      const [status, location] = paths.includes((request.url ?? '').replace(/\?.*/, ''))
        ? [200]
        : elsewhere(request.url ?? '', new URL(upstream.url).origin)
      if (status !== 200) {
        response
          .writeHead(status, location === undefined ? { 'content-type': 'application/json' } : { location })
          .end(location === undefined ? '{"error":"not here"}' : undefined)
        return
      }
      if (request.method !== 'POST') {
        response.writeHead(405).end()
        return
      }
      const { id, method } = JSON.parse(body) as { id?: unknown; method: string }
      if (id === undefined) response.writeHead(202).end()
      else
        response.writeHead(200, { 'content-type': 'application/json' }).end(
          JSON.stringify({
            jsonrpc: '2.0',
            id,
            result: {
              resultType: 'complete',
              method,
              protocolVersion: '2025-06-18',
              capabilities: {},
              serverInfo: { name: 's', version: '1' },
            },
          }),
        )
    })
    upstreams.push(upstream)
    return new URL(upstream.url).origin
  }

  beforeAll(async () => {
    const slash = await serverAt(['/mcp/'], (url) =>
      url.startsWith('/mcp') ? [307, url.replace('/mcp', '/mcp/')] : [404],
    )
    const permanent = await serverAt(['/v2/mcp'], () => [308, '/v2/mcp'])
    const circle = await serverAt([], (url) => [307, url === '/a' ? '/b' : '/a'])
    const away = await serverAt([], () => [307, 'http://user:secret@elsewhere.example/mcp?x=1'])
    const found = await serverAt([], () => [302, '/login?next=%2Fmcp'])
    const root = await serverAt(['/'], () => [404])
    const page = await serverAt(['/mcp'], () => [404])
    const none = await serverAt([], () => [404])
    const wild = await serverAt(['/mcp', '/'], () => [404])
    const services = {
      slash: `${slash}/mcp`,
      query: `${slash}/mcp?key=1`,
      permanent: `${permanent}/mcp`,
      circle: `${circle}/mcp`,
      away: `${away}/mcp`,
      found: `${found}/mcp`,
      bare: root,
      written: `${root}/`,
      usual: page,
      none,
      wildroot: `${wild}/`,
    }
    house = await open({
      upstream: `${none}/mcp`,
      config: {
        local_users: [ana],
        mcp_services: Object.fromEntries(
          Object.entries(services).map(([id, url]) => [
            id,
            { url, auth_required: id !== 'usual', upstream_auth: { type: 'none' } },
          ]),
        ),
      },
    })
  }, 120_000)
  afterAll(async () => {
    await house.close()
    await Promise.all(upstreams.map((upstream) => upstream.close()))
  })
  afterEach(() => void (asked.length = 0))

  const at = async (service: string): Promise<Caller> => {
    const caller = callerOf(
      house,
      `${house.origin}/${service}/mcp`,
      service === 'usual' ? '' : await tokenOf(house, ana, `${house.origin}/${service}/mcp`),
    )
    asked.length = 0
    return caller
  }
  const whys = (): readonly string[] =>
    house.log.filter(({ event }) => event === 'refused').map(({ fields }) => String(fields['why']))

  it('follows 307 within the origin once, for every kind of call, and remembers where it led', async () => {
    const caller = await at('slash')
    expect((await caller.post(call())).status).toBe(200)
    expect((await caller.post(call())).status).toBe(200)
    expect((await caller.post(initialize)).status).toBe(200)
    expect((await caller.post(modernCall(), modernHeaders())).status).toBe(200)
    expect(asked).toEqual(['POST /mcp', 'POST /mcp/', 'POST /mcp/', 'POST /mcp/', 'POST /mcp/'])
  })

  it('forgets after ten minutes where a redirect led', async () => {
    const caller = await at('slash')
    await caller.post(call())
    asked.length = 0
    house.advance(601_000)
    expect((await caller.post(call())).status).toBe(200)
    expect(asked).toEqual(['POST /mcp', 'POST /mcp/'])
  })

  it('keeps the operator’s query and the caller’s on the way', async () => {
    const caller = await at('query')
    const more = callerOf(house, `${caller.url}?mine=2`, caller.token)
    expect((await more.post(initialize)).status).toBe(200)
    expect((await more.post(call())).status).toBe(200)
    expect(asked.at(-1)).toBe('POST /mcp/?key=1&mine=2')
    expect(asked.filter((one) => !one.startsWith('POST /mcp/?'))).toHaveLength(1)
  })

  it('follows 308 to another path', async () => {
    const caller = await at('permanent')
    expect((await caller.post(initialize)).status).toBe(200)
    expect(asked).toEqual(['POST /mcp', 'POST /v2/mcp'])
  })

  it('gives up on a circle, and says where it last led', async () => {
    const caller = await at('circle')
    expect((await caller.post(call())).status).toBe(502)
    expect(asked).toHaveLength(3)
    expect(whys().at(-1)).toMatch(/^circle answered 307 with Location: \/[ab]$/)
  })

  it.each([
    ['away', 'away answered 307 with Location: http://elsewhere.example/mcp?x=1'],
    ['found', 'found answered 302 with Location: /login?next=%2Fmcp'],
  ])('refuses every other redirect and tells the operator where it leads: %s', async (service, why) => {
    const caller = await at(service)
    const answer = await caller.post(call())
    expect([answer.status, answer.headers.get('location')]).toEqual([502, null])
    expect(await answer.text()).not.toContain('elsewhere.example')
    expect(asked).toEqual(['POST /mcp'])
    expect(whys().at(-1)).toBe(why)
  })

  it('takes a URL that ends with a slash as it is written', async () => {
    for (const service of ['written', 'wildroot']) {
      const caller = await at(service)
      expect((await caller.post(initialize)).status).toBe(200)
      expect((await caller.post(call())).status).toBe(200)
      expect(asked).toEqual(['POST /', 'POST /'])
    }
  })

  it('tries /mcp, then /, where the URL has no path, and stays where the server is', async () => {
    const caller = await at('bare')
    expect((await caller.post(call())).status).toBe(200)
    expect((await caller.post(initialize)).status).toBe(200)
    expect((await caller.get()).status).toBe(405)
    expect((await caller.post(call())).status).toBe(200)
    expect(asked).toEqual(['POST /mcp', 'POST /', 'POST /', 'GET /', 'POST /'])
  })

  it('stays at /mcp where that answers', async () => {
    const caller = await at('usual')
    expect((await caller.post(initialize)).status).toBe(200)
    expect((await caller.get()).status).toBe(405)
    expect((await caller.post(call())).status).toBe(200)
    expect(asked).toEqual(['POST /mcp', 'GET /mcp', 'POST /mcp'])
  })

  it('answers with what /mcp said where there is nothing at / either, and does not search again at once', async () => {
    const caller = await at('none')
    const answer = await caller.post(call())
    expect([answer.status, await answer.text()]).toEqual([404, '{"error":"not here"}'])
    expect(asked).toEqual(['POST /mcp', 'POST /', 'POST /mcp'])
    await caller.post(call())
    expect(asked).toHaveLength(4)
  })
})
