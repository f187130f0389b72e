// The official SDK client where the person lets its app do less than it tries: it asks them twice at most, and a
// denial by the rules sends nobody to a browser.
import {
  type OAuthClientProvider,
  type OAuthTokens,
  Client,
  StreamableHTTPClientTransport,
  UnauthorizedError,
} from '@modelcontextprotocol/client'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createBrowser } from '../runtimes/browser.ts'
import { allow, authorizeUrl, redeem, register } from '../runtimes/login.ts'
import { ana } from '../runtimes/people.ts'
import { type RuledUpstream, openRuledUpstream } from '../runtimes/ruled-upstream.ts'
import { type TestGateway, openInProcess } from '../runtimes/runtimes.ts'

let upstream: RuledUpstream
let gateway: TestGateway
beforeAll(async () => {
  upstream = await openRuledUpstream()
  gateway = await openInProcess({
    upstream: upstream.url,
    config: {
      local_users: [ana],
      mcp_services: {
        ruled: { url: upstream.url, access: { groups: ['staff'], permissions: ['write'] } },
      },
    },
  })
})
afterAll(async () => {
  await gateway?.close()
  await upstream?.close()
})

it('asks the person twice and not again, and opens no browser for a denial', async () => {
  const resource = `${gateway.origin}/ruled/mcp`
  const browser = createBrowser(gateway.fetch, gateway.origin)
  const app = await register(gateway)
  const begun = authorizeUrl(gateway, app, { resource, scope: 'mcp offline_access' })
  const back = await allow(browser, begun.url, ana, { decision: 'allow', preset: 'read' })
  const redeemed = await redeem(gateway, app, back.searchParams.get('code') ?? '', begun.verifier)
  let tokens = (await redeemed.json()) as OAuthTokens
  const asked: URL[] = []
  const authProvider: OAuthClientProvider = {
    redirectUrl: app.redirectUri,
    clientMetadata: { redirect_uris: [app.redirectUri] },
    clientInformation: () => ({ client_id: app.id }),
    tokens: () => tokens,
    saveTokens: (saved) => void (tokens = saved),
    redirectToAuthorization: (url) => void asked.push(url),
    saveCodeVerifier: () => undefined,
    codeVerifier: () => '',
  }
  const client = new Client({ name: 'flow', version: '1' }, {})
  await client.connect(
    new StreamableHTTPClientTransport(new URL(resource), {
      authProvider,
      fetch: gateway.fetch as typeof fetch,
    }),
  )
  await client.listTools()
  const calling = (name: string) => client.callTool({ name, arguments: {} })

  await expect(calling('delete_all')).rejects.toThrow(
    'Access denied: delete_all needs execute; you have write.',
  )
  expect(asked).toEqual([])
  for (let times = 1; times <= 2; times++) {
    await expect(calling('create')).rejects.toThrow(UnauthorizedError)
    expect(asked.length).toBe(times)
    const said = await allow(browser, asked[times - 1]?.href ?? '', ana, { decision: 'deny' })
    expect(said.searchParams.get('error')).toBe('access_denied')
  }
  for (let times = 0; times < 2; times++)
    await expect(calling('create')).rejects.toThrow(
      'Access denied: create needs write access, which the user declined.',
    )
  expect([asked.length, upstream.called()]).toEqual([2, []])
  // What it may do goes on as before.
  expect((await calling('search')).content).toEqual([{ type: 'text', text: 'did tools/call search' }])
  await client.close()
})
