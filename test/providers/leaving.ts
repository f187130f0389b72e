// A browser on its way to a provider and back, and what it then reads.
import type { Browser, Page } from '../runtimes/browser.ts'

export const asJson = { headers: { accept: 'application/json' } }

/** The code of the refusal that was answered to a request with `asJson`. */
export const codeOf = (page: Page): unknown => (JSON.parse(page.body) as { code: unknown }).code

export const signedIn = (browser: Browser): boolean => browser.cookies.has(browser.session)

/** Presses the provider's button on the sign-in page at `at`; answers the URL at the provider. */
export const leave = async (browser: Browser, id: string, at = '/login'): Promise<string> => {
  const out = await browser.submit(await browser.go(at), `/login/${id}`, {})
  if (out.status !== 0) throw new Error(`${id} was not left for: ${out.status} ${out.body.slice(0, 500)}`)
  return out.url
}

export interface Heard {
  readonly authorize: Record<string, string>[]
  readonly token: Record<string, string>[]
  readonly discovery: number
  readonly jwks: number
}

/** What an issuer of the hostile provider was asked so far. */
export const heardBy = async (provider: { readonly url: string }, lie: string): Promise<Heard> =>
  (await fetch(`${provider.url}/${lie}/heard`)).json() as Promise<Heard>
