// One person's way through the whole gateway in a real browser without JavaScript: asked to sign in, asked
// for consent, sent back, signed out.
import { spawn } from 'node:child_process'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, beforeAll, expect } from 'vitest'
import { launchChromium, testInBrowser } from '../runtimes/chromium.ts'
import { callerOf } from '../runtimes/people.ts'
import { commandLine } from '../runtimes/process.ts'
import { call } from '../runtimes/proxied.ts'
import { openOnSocket, type TestGateway } from '../runtimes/runtimes.ts'
import { authorizeUrl, person, redeem, register } from '../runtimes/login.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

let upstream: Upstream
/** The client's own end: hears the answer. */
let client: { readonly server: Server; readonly redirectUri: string }
let house: TestGateway
let browser: Browser
let context: BrowserContext
let page: Page

beforeAll(async () => {
  upstream = await openUpstream()
  client = await new Promise((resolve) => {
    const server = createServer((_, response) => response.end('Thank you'))
    server.listen(0, '127.0.0.1', () =>
      resolve({ server, redirectUri: `http://127.0.0.1:${(server.address() as AddressInfo).port}/cb` }),
    )
  })
  house = await openOnSocket({
    upstream: upstream.url,
    config: { device: { clients: ['postern-cli'], interval: '1s' } },
  })
  browser = await launchChromium()
  context = await browser.newContext({ javaScriptEnabled: false })
  page = await context.newPage()
  page.setDefaultTimeout(60_000)
})

afterAll(async () => {
  await browser.close()
  await house.close()
  await upstream.close()
  client.server.close()
})

const enrol = (name: string) => register(house, { client_name: name, redirect_uris: [client.redirectUri] })

/** Presses a button whose answer leaves for the client, and tells where it went. */
const leave = async (name: string): Promise<URL> => {
  await page.getByRole('button', { name }).click()
  await page.waitForURL(`${client.redirectUri}**`)
  return new URL(page.url())
}

testInBrowser(
  'a person signs in with a password, allows a client, and the code that arrives there is good [A14]',
  async () => {
    const journey = await enrol('Journey')
    const asking = authorizeUrl(house, journey, { resource: `${house.origin}/echo/mcp` })
    await page.goto(asking.url)
    expect(await page.locator('main').innerText()).toContain(
      'Journey wants to use Echo. Sign in to continue.',
    )
    await page.getByLabel('Username').fill(person.username)
    await page.getByLabel('Password').fill('not the password')
    await page.getByRole('button', { name: 'Sign in' }).click()
    expect(await page.getByRole('alert').innerText()).toContain('Invalid credentials')
    await page.getByLabel('Password').fill(person.password)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('heading', { name: 'Allow Journey to use Echo?' }).waitFor()
    expect(await page.locator('main').innerText()).toMatch(
      /ana@example\.com[\s\S]*127\.0\.0\.1:\d+[\s\S]*an app running on this computer/,
    )
    const back = await leave('Allow')
    expect(Object.fromEntries(back.searchParams)).toMatchObject({ state: asking.state, iss: house.origin })
    expect((await redeem(house, journey, back.searchParams.get('code') ?? '', asking.verifier)).status).toBe(
      200,
    )
  },
)

testInBrowser('Cancel tells the client so, and the question cannot be answered twice [H-E6]', async () => {
  const asking = authorizeUrl(house, await enrol('Cancelled'), { resource: `${house.origin}/echo/mcp` })
  await page.goto(asking.url)
  const question = page.url()
  const back = await leave('Cancel')
  expect(Object.fromEntries(back.searchParams)).toMatchObject({
    error: 'access_denied',
    state: asking.state,
    iss: house.origin,
  })
  await page.goto(question)
  expect(await page.getByRole('heading', { level: 1 }).innerText()).toBe('Request already completed')
  expect(await page.locator('main').innerText()).toMatch(/Reference for support\s+\S+ · \S+/)
})

testInBrowser('another account can be chosen, and the question waits for it', async () => {
  await page.goto(authorizeUrl(house, await enrol('Switching'), { resource: `${house.origin}/echo/mcp` }).url)
  await page.getByRole('link', { name: 'Switch account' }).click()
  await page.getByLabel('Username').fill(person.username)
  await page.getByLabel('Password').fill(person.password)
  await page.getByRole('button', { name: 'Sign in' }).click()
  await page.getByRole('heading', { name: 'Allow Switching to use Echo?' }).waitFor()
})

testInBrowser(
  'never redirects for an unknown client or redirect URI; the page says how to go on [A13] [H-D2, H-B21]',
  async () => {
    const known = await enrol('Known')
    const unknown = await page.goto(authorizeUrl(house, { ...known, id: 'client_gone' }).url)
    expect(unknown?.status()).toBe(400)
    expect(await page.locator('main').innerText()).toContain('rm -rf ~/.mcp-auth')
    const elsewhere = await page.goto(
      authorizeUrl(house, { ...known, redirectUri: `${known.redirectUri}s` }).url,
    )
    expect(elsewhere?.status()).toBe(400)
    expect(await page.locator('mark').innerText()).toBe('s')
  },
)

testInBrowser(
  'an MCP URL opened in the browser shows how to connect a client, and the services page does the same until the person signs out',
  async () => {
    const before = upstream.heard.length
    await page.goto(`${house.origin}/echo/mcp`)
    expect(await page.getByRole('heading', { level: 1 }).innerText()).toBe('Echo is an MCP server')
    expect(upstream.heard).toHaveLength(before)
    await page.getByRole('link', { name: 'Your services' }).click()
    expect(await page.locator('main').innerText()).toContain(
      `claude mcp add --transport http echo ${house.origin}/echo/mcp`,
    )
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByLabel('Username').waitFor()
    await page.goto(house.origin)
    await page.getByLabel('Username').waitFor()
  },
)

testInBrowser('a machine without a browser signs in by a code, entered in a browser elsewhere', async () => {
  // Nothing of this environment: no display, no browser, nothing to listen with.
  const program = spawn(process.execPath, [commandLine, 'login', `${house.origin}/echo/mcp`], {
    env: { HOME: '/nonexistent' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said = { out: '', err: '' }
  program.stdout.on('data', (piece: Buffer) => void (said.out += piece.toString()))
  program.stderr.on('data', (piece: Buffer) => void (said.err += piece.toString()))
  const ended = new Promise<number | null>((resolve) => program.once('exit', resolve))
  await expect.poll(() => said.err, { timeout: 30_000 }).toMatch(/user_code=[A-Z-]{9}/)
  const profile = await browser.newContext({ javaScriptEnabled: false })
  const elsewhere = await profile.newPage()
  await elsewhere.goto(/http\S+user_code=[A-Z-]{9}/.exec(said.err)?.[0] ?? '')
  await elsewhere.getByLabel('Username').fill(person.username)
  await elsewhere.getByLabel('Password').fill(person.password)
  await elsewhere.getByRole('button', { name: 'Sign in' }).click()
  await elsewhere.getByRole('button', { name: 'Continue' }).click()
  await elsewhere.getByRole('button', { name: 'Allow' }).click()
  await elsewhere.getByRole('heading', { name: 'Access granted' }).waitFor()
  expect(await ended).toBe(0)
  expect(said.out).toMatch(/^\S+\n$/)
  const caller = callerOf(house, `${house.origin}/echo/mcp`, said.out.trim())
  expect((await caller.post(call())).status).toBe(200)
  await profile.close()
})
