// A browser, a gateway that is nothing but its pages, and a web client on another origin.
import { serve, type ServerType } from '@hono/node-server'
import type { AddressInfo } from 'node:net'
import type { BrowserContextOptions, Page } from 'playwright-core'
import { createAssets } from '../../src/pages/assets.ts'
import { createConsolePages } from '../../src/pages/console/pages.ts'
import { createPages } from '../../src/pages/views.ts'
import { launchChromium } from '../runtimes/chromium.ts'
import { consoleStates } from './console-states.ts'
import { pageStates } from './states.ts'

const about = { issuer: 'https://mcp.example.com', version: '0.1.0' }
const states: Readonly<Record<string, () => Response>> = {
  ...pageStates(createPages(about)),
  ...consoleStates(createConsolePages(about)),
}

export const stateNames: readonly string[] = Object.keys(states)

export interface Stage {
  /** Origin of the pages: `/{state}` shows a state, a form is answered with the way back to the client. */
  readonly gateway: string
  /**
   * Origin of the client: `/` connects in a popup, `/callback` hears the answer, `/frame` frames the consent
   * page.
   */
  readonly client: string
  /** Forms that were sent, oldest first. */
  readonly posts: readonly { readonly path: string; readonly origin: string | null; readonly body: string }[]
  open(
    name: string,
    options?: BrowserContextOptions,
  ): Promise<{ readonly page: Page; close(): Promise<void> }>
  close(): Promise<void>
}

const listen = (
  fetch: (request: Request) => Response | Promise<Response>,
): Promise<{ server: ServerType; origin: string }> =>
  new Promise((resolve) => {
    const server = serve({ fetch, hostname: '127.0.0.1', port: 0 }, () =>
      resolve({ server, origin: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }),
    )
  })

const clientPage = (markup: string): Response =>
  new Response(`<!doctype html><title>Client</title>${markup}`, {
    headers: { 'content-type': 'text/html; charset=utf-8' },
  })

const openClient = (gateway: () => string) =>
  listen((request) => {
    const { pathname, search } = new URL(request.url)
    if (pathname === '/callback')
      return clientPage(
        `<script>document.title = ${JSON.stringify(search)}; if (opener) opener.postMessage('it is back', '*')</script>`,
      )
    if (pathname === '/frame') return clientPage(`<iframe src="${gateway()}/consent-document"></iframe>`)
    return clientPage(`<p></p><button onclick="window.open('${gateway()}/consent-document')">Connect</button>
<script>addEventListener('message', (event) => { document.querySelector('p').textContent = event.data })</script>`)
  })

export const openStage = async (): Promise<Stage> => {
  const assets = createAssets()
  const posts: { path: string; origin: string | null; body: string }[] = []
  const client = await openClient(() => gateway.origin)
  const gateway = await listen(async (request) => {
    const { pathname } = new URL(request.url)
    if (request.method === 'POST') {
      posts.push({ path: pathname, origin: request.headers.get('origin'), body: await request.text() })
      return new Response(null, {
        status: 303,
        headers: { location: `${client.origin}/callback?code=c&state=s` },
      })
    }
    return (
      assets(pathname) ??
      states[decodeURIComponent(pathname.slice(1))]?.() ??
      new Response(null, { status: 404 })
    )
  })
  const browser = await launchChromium()
  return {
    gateway: gateway.origin,
    client: client.origin,
    posts,
    async open(name, options = {}) {
      const context = await browser.newContext({ viewport: { width: 1280, height: 720 }, ...options })
      const page = await context.newPage()
      page.setDefaultTimeout(60_000)
      await page.goto(name.startsWith('http') ? name : `${gateway.origin}/${name}`)
      return { page, close: () => context.close() }
    },
    async close() {
      await browser.close()
      for (const { server } of [gateway, client]) server.close()
    },
  }
}
