// The main job: a client that knows one URL ends with a tool call that reaches the MCP server as the person
// who allowed it.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { logIn, refresh } from '../runtimes/login.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const call = (token?: string): RequestInit => ({
  method: 'POST',
  headers: {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  },
  body: JSON.stringify({
    jsonrpc: '2.0',
    id: 7,
    method: 'tools/call',
    params: { name: 'whoami', arguments: {} },
  }),
})

describe.each(runtimes)('%s', (_name, open) => {
  let upstream: Upstream
  let house: TestGateway
  beforeAll(async () => {
    upstream = await openUpstream()
    house = await open({ upstream: upstream.url })
  })
  afterAll(async () => {
    await house.close()
    await upstream.close()
  })

  it('answers a call without a token with the challenge that leads to the login, and the upstream hears nothing [B2]', async () => {
    const response = await house.fetch(`${house.origin}/echo/mcp`, call())
    expect(response.status).toBe(401)
    const challenge = response.headers.get('www-authenticate') ?? ''
    expect(challenge).toContain(
      `resource_metadata="${house.origin}/.well-known/oauth-protected-resource/echo/mcp"`,
    )
    expect(challenge).not.toContain('error=')
    expect(await response.json()).toEqual({
      error: 'unauthorized',
      error_description: 'Authentication required for this MCP service',
      code: 'token.missing',
      request_id: response.headers.get('x-request-id'),
    })
    expect(upstream.heard).toHaveLength(0)
  })

  it('takes a client from the challenge to a tool call that carries the person and not the token [A1] [B1] [B5]', async () => {
    const metadata = (await (
      await house.fetch(`${house.origin}/.well-known/oauth-protected-resource/echo/mcp`)
    ).json()) as { resource: string; authorization_servers: string[] }
    expect(metadata.resource).toBe(`${house.origin}/echo/mcp`)
    expect(metadata.authorization_servers).toEqual([house.origin])
    const { client, tokens } = await logIn(house, metadata.resource)
    const response = await house.fetch(metadata.resource, call(tokens.access_token))
    expect(response.status).toBe(200)
    const { result } = (await response.json()) as { result: { headers: Record<string, string> } }
    expect(result.headers).toMatchObject({
      'x-user-id': 'ana',
      'x-user-email': 'ana@example.com',
      'x-user-name': 'Ana Example',
      'x-user-provider': 'local',
      'x-user-groups': 'staff',
    })
    expect(JSON.stringify(upstream.heard)).not.toContain(tokens.access_token)
    const again = await refresh(house, client, tokens.refresh_token)
    expect(again.status).toBe(200)
  })

  it('answers a person who opens the MCP address in a browser with a page, and still challenges clients', async () => {
    const page = await createBrowser(house.fetch, house.origin).go('/echo/mcp')
    expect(page.status).toBe(200)
    expect(page.body).toContain('claude mcp add')
    expect((await house.fetch(`${house.origin}/echo/mcp`)).status).toBe(401)
  })

  it('says on every answer which request it was', async () => {
    for (const path of ['/health', '/nowhere', '/login', '/echo/mcp', '/oauth/token', '/.well-known/nothing'])
      expect((await house.fetch(`${house.origin}${path}`)).headers.get('x-request-id')).toMatch(/^[\w-]{8,}$/)
  })
})
