// The official SDK client, of either major version, where the person lets its app do less than it tries: it asks them
// twice at most, and a denial by the rules sends nobody to a browser.
import assert from 'node:assert/strict'
import type { OAuthClientProvider, OAuthTokens } from '@modelcontextprotocol/client'
import { createBrowser } from './browser.ts'
import { allow, authorizeUrl, redeem, register } from './login.ts'
import { ana } from './people.ts'
import { openRuledUpstream } from './ruled-upstream.ts'
import { openInProcess } from './runtimes.ts'

interface SdkClient {
  connect(transport: never): Promise<void>
  listTools(): Promise<unknown>
  callTool(call: {
    readonly name: string
    readonly arguments: Record<string, unknown>
  }): Promise<{ readonly content?: unknown }>
  close(): Promise<void>
}

/** What both versions export. */
export interface Sdk {
  readonly Client: new (
    about: { readonly name: string; readonly version: string },
    options: object,
  ) => SdkClient
  readonly StreamableHTTPClientTransport: new (url: URL, options: object) => unknown
  readonly UnauthorizedError: new (...given: never[]) => Error
}

export const openStepUpWorld = async () => {
  const upstream = await openRuledUpstream()
  const access = { groups: ['staff'], permissions: ['write' as const] }
  const gateway = await openInProcess({
    upstream: upstream.url,
    config: { local_users: [ana], mcp_services: { ruled: { url: upstream.url, access } } },
  })
  return {
    upstream,
    gateway,
    async close() {
      await gateway.close()
      await upstream.close()
    },
  }
}
type StepUpWorld = Awaited<ReturnType<typeof openStepUpWorld>>

/** Throws what was not as it should be. */
export const declineTwice = async (sdk: Sdk, { upstream, gateway }: StepUpWorld): Promise<void> => {
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
  const options = { authProvider, fetch: gateway.fetch }
  /** Version 1 gives up on a connection after the first challenge: an app connects anew after each answer. */
  const connected = async () => {
    const client = new sdk.Client({ name: 'flow', version: '1' }, {})
    await client.connect(new sdk.StreamableHTTPClientTransport(new URL(resource), options) as never)
    await client.listTools()
    return { client, calling: (name: string) => client.callTool({ name, arguments: {} }) }
  }

  for (let times = 1; times <= 2; times++) {
    const { client, calling } = await connected()
    await assert.rejects(calling('delete_all'), /Access denied: delete_all needs execute; you have write\./)
    assert.equal(asked.length, times - 1)
    await assert.rejects(calling('create'), sdk.UnauthorizedError)
    assert.equal(asked.length, times)
    // What it may do already is asked for again, so that nothing of it is lost.
    assert.deepEqual(asked.at(-1)?.searchParams.get('scope')?.split(' ').toSorted(), [
      ...['mcp', 'mcp:read', 'mcp:write', 'offline_access'],
    ])
    const said = await allow(browser, asked.at(-1)?.href ?? '', ana, { decision: 'deny' })
    assert.equal(said.searchParams.get('error'), 'access_denied')
    await client.close()
  }
  const { client, calling } = await connected()
  for (let times = 0; times < 2; times++)
    await assert.rejects(
      calling('create'),
      /Access denied: create needs write access, which the user declined\./,
    )
  assert.deepEqual([asked.length, upstream.called()], [2, []])
  // What it may do goes on as before.
  assert.deepEqual((await calling('search')).content, [{ type: 'text', text: 'did tools/call search' }])
  await client.close()
}
