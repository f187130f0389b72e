// People who connect accounts: through the login of a client, or by the link that a call was answered with.
import { type Browser, createBrowser, type Page } from './browser.ts'
import type { TestGateway } from './runtimes.ts'
import { authorizeUrl, type Client, person, redeem, register } from './login.ts'
import { type Caller, callerOf, type Somebody } from './people.ts'

/** One redirect of a server that asks nobody anything. */
export const through = async (url: string): Promise<string> => {
  const response = await fetch(url, { redirect: 'manual' })
  await response.body?.cancel()
  const location = response.headers.get('location')
  if (location === null) throw new Error(`no redirect from ${url}: ${response.status}`)
  return location
}

/**
 * A person's way through the upstream's own pages: from the URL the gateway sent them to, to the gateway's
 * callback.
 */
export type Way = (url: string) => Promise<string>

const signedIn = async (browser: Browser, page: Page, who: Somebody): Promise<Page> =>
  page.status !== 0 && page.body.includes('name="password"')
    ? browser.submit(page, '/login', { username: who.username, password: who.password })
    : page

export interface Connected {
  readonly caller: Caller
  readonly browser: Browser
  readonly client: Client
  /** The consent page as it was shown. */
  readonly consent: Page
}

/** Wherever the browser is sent outside the gateway and not to the client, `way` is walked, once. */
const onward = async (browser: Browser, page: Page, way: Way, origin: string): Promise<Page> => {
  if (page.status !== 0 || page.url.startsWith('http://127.0.0.1:5000/')) return page
  const back = await way(page.url)
  return back.startsWith(origin) ? browser.go(back) : page
}

/**
 * A login of a fresh client for the resource, the upstream's question included; the pages are whole where it
 * ends in a page of the gateway.
 */
export const logInThrough = async (
  house: TestGateway,
  service: string,
  options: { readonly who?: Somebody; readonly way?: Way; readonly browser?: Browser } = {},
): Promise<Connected & { readonly end: Page }> => {
  const { who = person, way = through, browser = createBrowser(house.fetch, house.origin) } = options
  const resource = `${house.origin}/${service}/mcp`
  const client = await register(house)
  const asking = authorizeUrl(house, client, { resource })
  const consent = await signedIn(browser, await browser.go(asking.url), who)
  const end =
    consent.status === 0
      ? consent
      : await onward(
          browser,
          await browser.submit(consent, '/oauth/consent', { decision: 'allow' }),
          way,
          house.origin,
        )
  const code = new URL(end.url).searchParams.get('code')
  const token =
    code === null || end.status !== 0
      ? ''
      : ((await (await redeem(house, client, code, asking.verifier)).json()) as { access_token: string })
          .access_token
  return { caller: callerOf(house, resource, token), browser, client, consent, end }
}

/** Opens the page of a link, signs in where asked, and presses its button; the page it ends at. */
export const connectAt = async (
  house: TestGateway,
  url: string,
  options: {
    readonly who?: Somebody
    readonly way?: Way
    readonly browser?: Browser
    readonly fields?: Record<string, string>
  } = {},
): Promise<Page> => {
  const {
    who = person,
    way = through,
    browser = createBrowser(house.fetch, house.origin),
    fields = {},
  } = options
  const page = await signedIn(browser, await browser.go(url), who)
  const action = new URL(page.url).pathname
  return onward(browser, await browser.submit(page, action, fields), way, house.origin)
}

/** The link in an answer, whichever form it has. */
export const linkIn = (text: string): string =>
  /https?:\/\/[^\s"\\]+\/connect\/[^\s"\\]+/.exec(text)?.[0] ?? ''
