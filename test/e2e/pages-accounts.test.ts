// A person connects an account in a real browser without JavaScript: on the way of a client through two
// gateways that share the browser's cookies, and by the page of accounts.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, expect } from 'vitest'
import { linkIn } from '../runtimes/connecting.ts'
import { launchChromium, testInBrowser } from '../runtimes/chromium.ts'
import { openOnSocket, type TestGateway } from '../runtimes/runtimes.ts'
import { authorizeUrl, person, redeem, register } from '../runtimes/login.ts'
import { type Caller, callerOf } from '../runtimes/people.ts'
import { call } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

let echo: Upstream
let back: TestGateway
let front: TestGateway
let client: { readonly server: Server; readonly redirectUri: string }
let browser: Browser
let page: Page
let caller: Caller

beforeAll(async () => {
  echo = await openUpstream()
  back = await openOnSocket({ upstream: echo.url })
  front = await openOnSocket({
    upstream: echo.url,
    config: { mcp_services: { behind: { name: 'Behind', url: `${back.origin}/echo/mcp` } } },
  })
  client = await new Promise((resolve) => {
    const server = createServer((_, response) => response.end('Thank you'))
    server.listen(0, '127.0.0.1', () =>
      resolve({ server, redirectUri: `http://127.0.0.1:${(server.address() as AddressInfo).port}/cb` }),
    )
  })
  browser = await launchChromium()
  page = await (await browser.newContext({ javaScriptEnabled: false })).newPage()
  page.setDefaultTimeout(60_000)
})
afterAll(async () => {
  await browser.close()
  await Promise.all([front.close(), back.close()])
  await echo.close()
  client.server.close()
})

const signIn = async (): Promise<void> => {
  await page.getByLabel('Username').fill(person.username)
  await page.getByLabel('Password').fill(person.password)
  await page.getByRole('button', { name: 'Sign in' }).click()
}
const press = (name: string | RegExp): Promise<void> => page.getByRole('button', { name }).click()
const main = (): Promise<string> => page.locator('main').innerText()

testInBrowser(
  'the upstream’s own login is a step of the client’s, and everybody is where they were before [D6]',
  async () => {
    const app = await register(front, { client_name: 'App', redirect_uris: [client.redirectUri] })
    const asking = authorizeUrl(front, app, { resource: `${front.origin}/behind/mcp` })
    await page.goto(asking.url)
    await signIn()
    await page.getByRole('heading', { name: 'Allow App to use Behind?' }).waitFor()
    expect(await main()).toContain(`${new URL(back.origin).host} will also ask for your approval`)
    await press('Allow')
    // The other gateway's own pages: who signed in here is nobody there.
    await page.waitForURL(`${back.origin}/login**`)
    await signIn()
    await page.getByRole('heading', { name: /^Allow Postern at localhost:\d+ to use Echo\?$/ }).waitFor()
    await press('Allow')
    await page.waitForURL(`${client.redirectUri}**`)
    const code = new URL(page.url()).searchParams.get('code') ?? ''
    const { access_token: token } = (await (await redeem(front, app, code, asking.verifier)).json()) as {
      access_token: string
    }
    caller = callerOf(front, `${front.origin}/behind/mcp`, token)
    expect((await caller.post(call())).status).toBe(200)
  },
)

testInBrowser(
  'the page of accounts shows it, takes a second one under a name, and gives both back [D6]',
  async () => {
    await page.goto(`${front.origin}/`)
    expect(await main()).toMatch(/Behind[^]*Connected/)
    await page.getByRole('heading', { name: 'Behind' }).click()
    expect(await main()).toContain('Account connected.')
    await page.getByRole('link', { name: 'Manage accounts' }).click()
    expect(await main()).toMatch(/Your Behind account[\s\S]*You can return to your app[\s\S]*Connected/)
    await page.getByText('Connect another account').click()
    await page.getByLabel('Label').fill('Work')
    await press(/^Connect$/)
    await page.getByRole('heading', { name: /use Echo\?$/ }).waitFor()
    await press('Allow')
    await page.waitForURL(`${front.origin}/connect/behind`)
    expect(await main()).toMatch(/Your Behind accounts[\s\S]*Default[\s\S]*Work/)
    await press('Make default')
    expect((await caller.post(call())).status).toBe(200)
    for (const heading of ['Your Behind account', 'Connect your Behind account']) {
      await page.getByRole('button', { name: 'Disconnect' }).first().click()
      await page.getByRole('heading', { name: heading }).waitFor()
    }
    await page.goto(`${front.origin}/`)
    expect(await main()).toMatch(/Behind[^]*Account needed/)
    await page.getByRole('heading', { name: 'Behind' }).click()
    expect(await main()).toContain('Requires an account. Connect')
  },
)

testInBrowser(
  'the link in an answer leads to a working call again, and tells everybody else that it is not theirs [D6]',
  async () => {
    const link = linkIn(await (await caller.post(call(), { 'mcp-protocol-version': '2025-06-18' })).text())
    await page.goto(link)
    await press(`Continue to ${new URL(back.origin).host}`)
    await page.getByRole('heading', { name: /use Echo\?$/ }).waitFor()
    await press('Cancel')
    await page.getByRole('heading', { name: 'Account not connected' }).waitFor()
    await page.getByRole('link', { name: 'Try again' }).click()
    await press(`Continue to ${new URL(back.origin).host}`)
    await press('Allow')
    await page.waitForURL(`${front.origin}/connect/behind**`)
    expect(await main()).toContain('Connected. You can return to your app.')
    expect((await caller.post(call())).status).toBe(200)
    await page.goto(link.replace(/for=.*/, `for=${'x'.repeat(22)}`))
    await page.getByRole('heading', { name: 'This link is for another user' }).waitFor()
  },
)
