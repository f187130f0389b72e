// A person's way through access rules in a real browser: GitHub signs them in, they let an app read, the app asks
// for more, and they end its access.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect } from 'vitest'
import { type RunningProvider, runProvider } from '../providers/process.ts'
import { launchChromium, testInBrowser } from '../runtimes/chromium.ts'
import { authorizeUrl, redeem, register } from '../runtimes/login.ts'
import { callerOf } from '../runtimes/people.ts'
import { type RuledUpstream, openRuledUpstream } from '../runtimes/ruled-upstream.ts'
import { openOnSocket, type TestGateway } from '../runtimes/runtimes.ts'

let github: RunningProvider
let upstream: RuledUpstream
let app: { readonly server: Server; readonly redirectUri: string }
let house: TestGateway
let browser: Browser
let page: Page

beforeAll(async () => {
  ;[github, upstream, browser] = await Promise.all([
    runProvider('test/providers/github.ts', {}),
    openRuledUpstream(),
    launchChromium(),
  ])
  app = await new Promise((resolve) => {
    const server = createServer((_, response) => response.end('Thank you'))
    server.listen(0, '127.0.0.1', () =>
      resolve({ server, redirectUri: `http://127.0.0.1:${(server.address() as AddressInfo).port}/cb` }),
    )
  })
  house = await openOnSocket({
    upstream: upstream.url,
    config: {
      local_users: [],
      oauth_providers: {
        github: {
          type: 'github',
          base_url: github.url,
          client_id: github.clientId,
          client_secret: github.clientSecret,
          scopes: ['read:user', 'user:email', 'read:org'],
          extra_params: { login: 'octocat' },
        },
      },
      mcp_services: {
        ruled: {
          name: 'Ruled',
          url: upstream.url,
          access: { groups: ['acme'], permissions: ['write'] },
        },
      },
    },
  })
  page = await browser.newPage()
  page.setDefaultTimeout(60_000)
}, 60_000)

afterAll(async () => {
  await browser.close()
  await Promise.all([house.close(), github.close(), upstream.close()])
  app.server.close()
})

const call = (name: string) => ({
  jsonrpc: '2.0',
  id: 1,
  method: 'tools/call',
  params: { name, arguments: {} },
})

testInBrowser('an app reads, is refused, asks for more, and loses its access', async () => {
  const resource = `${house.origin}/ruled/mcp`
  const client = await register(house, { client_name: 'Reader', redirect_uris: [app.redirectUri] })
  /** The way from the app to the person and back, and the app's new token. */
  const connect = async (scope: Record<string, string>, answer: () => Promise<void>) => {
    const asking = authorizeUrl(house, client, { resource, ...scope })
    await page.goto(asking.url)
    await answer()
    await page.getByRole('button', { name: 'Allow' }).click()
    await page.waitForURL(`${app.redirectUri}**`)
    const code = new URL(page.url()).searchParams.get('code') ?? ''
    const tokens = (await (await redeem(house, client, code, asking.verifier)).json()) as {
      access_token: string
    }
    return callerOf(house, resource, tokens.access_token)
  }

  const reading = await connect({}, async () => {
    await page.getByRole('button', { name: 'GitHub' }).click()
    await page.getByRole('heading', { name: 'Allow Reader to use Ruled?' }).waitFor()
    expect(await page.getByRole('radio', { name: 'Recommended' }).isChecked()).toBe(true)
    await page.getByRole('radio', { name: 'Read only' }).check()
    expect(await page.locator('.perm.write .state').innerText()).toBe('Not included')
  })
  const read = (await (await reading.post(call('search'))).json()) as { result?: unknown }
  expect(read.result).toEqual({ content: [{ type: 'text', text: 'did tools/call search' }] })
  // No consent gives what the rules do not.
  const denied = (await (await reading.post(call('delete_all'))).json()) as { error: { data: object } }
  expect(denied.error.data).toMatchObject({
    code: 'policy.permission',
    rule: 'services.ruled.access',
    need: 'execute',
  })

  const challenged = await reading.post(call('create'))
  const scope = /scope="([^"]*)"/.exec(challenged.headers.get('www-authenticate') ?? '')?.[1] ?? ''
  expect([challenged.status, scope]).toEqual([403, 'mcp mcp:read mcp:write'])
  const writing = await connect({ scope }, async () => {
    await page.getByRole('heading', { name: 'Give Reader more access to Ruled?' }).waitFor()
    expect(await page.getByRole('checkbox').evaluateAll((boxes) => boxes.length)).toBeGreaterThan(0)
    expect(await page.locator('.perm.write .state').innerText()).toBe('New')
  })
  expect((await writing.post(call('create'))).status).toBe(200)

  await page.goto(`${house.origin}/account/apps`)
  expect(await page.getByRole('heading', { name: 'Reader' }).count()).toBe(1)
  await page.getByText('End access', { exact: true }).first().click()
  await page.getByRole('button', { name: 'End access' }).first().click()
  await page.getByText('No app has access.').waitFor()
  const after = await writing.post(call('search'))
  expect([after.status, after.headers.get('www-authenticate')?.includes('error="invalid_token"')]).toEqual([
    401,
    true,
  ])
  expect(upstream.called()).toEqual(['search', 'create'])
})
