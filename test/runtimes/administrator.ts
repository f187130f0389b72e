// A person who is signed in in a browser and speaks to the gateway's own interface as its pages do.
import { type Browser, createBrowser, type Page } from './browser.ts'
import type { TestGateway } from './runtimes.ts'
import type { Somebody } from './people.ts'

export interface Administrator {
  readonly browser: Browser
  readonly csrf: string
  /** A request of its own page: JSON, the form token, the gateway's own origin; `headers` win. */
  ask(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Page>
}

export const signInAs = async (house: TestGateway, who: Somebody): Promise<Administrator> => {
  const browser = createBrowser(house.fetch, house.origin)
  await browser.submit(await browser.go(`${house.origin}/login`), '/login', {
    username: who.username,
    password: who.password,
  })
  const home = await browser.go(`${house.origin}/`)
  const csrf = /name="csrf" value="([^"]+)"/.exec(home.body)?.[1] ?? ''
  return {
    browser,
    csrf,
    ask: (method, path, body, headers = {}) =>
      browser.go(`${house.origin}${path}`, {
        method,
        headers: {
          accept: 'application/json',
          origin: house.origin,
          ...(body === undefined ? {} : { 'content-type': 'application/json' }),
          'x-csrf-token': csrf,
          ...headers,
        },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      }),
  }
}
