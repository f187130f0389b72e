// Everything about signing in and out, joined: the page, passwords, providers, the link of the terminal.
import type { KeepTokens } from '../ports/connections.ts'
import type { Pages } from '../ports/pages.ts'
import type { Audit, DescribeFlow, Handler, Limit } from '../ports/rooms.ts'
import type { Runtime } from '../ports/runtime.ts'
import { createArrival } from './arrival.ts'
import { createBrowsers } from './browser.ts'
import { createLinkSignIn } from './link-sign-in.ts'
import { createOffers, type OffersDeps } from './offer.ts'
import { createProviderSignIn } from './provider-sign-in.ts'
import type { BrowserSessions } from './session.ts'
import { createSignInPage } from './sign-in-page.ts'
import { createSignOut } from './sign-out.ts'

export interface SignInDeps extends OffersDeps {
  readonly runtime: Runtime
  readonly sessions: BrowserSessions
  readonly pages: Pages
  readonly describeFlow: DescribeFlow
  readonly keepTokens: KeepTokens
  readonly limit: Limit
  readonly record: Audit
  /** Origins that are this gateway. */
  readonly origins: readonly string[]
}

export interface SignIn {
  /** GET /login */
  readonly page: Handler
  /** POST /login */
  readonly password: Handler
  /** POST /login/:provider */
  readonly begin: Handler
  /** GET /oauth/callback, /oauth/callback/:provider, /callback */
  readonly callback: Handler
  /** POST /logout */
  readonly logout: Handler
  /** GET /?t=… */
  readonly link: Handler
}

export const createSignIn = (deps: SignInDeps): SignIn => {
  const joined = { ...deps, browsers: createBrowsers(deps), offers: createOffers(deps), arrive: createArrival(deps) }
  return { ...createSignInPage(joined), ...createProviderSignIn(joined), link: createLinkSignIn(joined), logout: createSignOut(joined) }
}
