// Everything about signing in and out, joined: the page, passwords, providers, the link of the terminal.
import type { Audit, DescribeFlow, Handler, KeepTokens, Limit } from '../ports/modules.ts'
import type { Pages } from '../ports/pages.ts'
import type { Runtime } from '../ports/runtime.ts'
import { createLinkSignIn, createSignInPage, createSignOut } from './handlers.ts'
import { createLoginCsrf } from './login-csrf.ts'
import { createProviderSignIn } from './provider-callback.ts'
import { createCompleteSignIn } from './return-to.ts'
import type { BrowserSessions } from './session.ts'
import { type SignInOptionsDeps, createSignInOptions } from './sign-in-options.ts'

export interface SignInDeps extends SignInOptionsDeps {
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
  const joined = {
    ...deps,
    browsers: createLoginCsrf(deps),
    offers: createSignInOptions(deps),
    arrive: createCompleteSignIn(deps),
  }
  return {
    ...createSignInPage(joined),
    ...createProviderSignIn(joined),
    link: createLinkSignIn(joined),
    logout: createSignOut(joined),
  }
}
