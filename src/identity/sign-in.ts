// Composition of sign-in: the page, passwords, providers, the magic link, signing out.
import type { Audit, DescribeFlow, Handler, SaveProviderTokens, Limit } from '../ports/modules.ts'
import type { Pages } from '../ports/pages.ts'
import type { Runtime } from '../ports/runtime.ts'
import { createLinkSignIn, createSignInPage, createSignOut } from './handlers.ts'
import type { LocalPeople } from './local-users.ts'
import { createLoginCsrf } from './login-csrf.ts'
import type { LoginLinks } from './login-link.ts'
import { createProviderSignIn } from './provider-callback.ts'
import type { IdentityProvider } from './providers/provider.ts'
import { createCompleteSignIn } from './return-to.ts'
import type { BrowserSessions } from './session.ts'
import { createSignInOptions } from './sign-in-options.ts'

export interface SignInDeps {
  readonly runtime: Pick<Runtime, 'now' | 'random' | 'store' | 'keys' | 'log' | 'digest'>
  readonly providers: ReadonlyMap<string, IdentityProvider>
  readonly people: LocalPeople
  readonly links: LoginLinks
  readonly sessions: BrowserSessions
  readonly pages: Pages
  readonly describeFlow: DescribeFlow
  readonly keepTokens: SaveProviderTokens
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
  const { runtime, sessions, people, providers, links, pages, limit, record, origins } = deps
  const csrf = createLoginCsrf({ runtime, origins })
  const optionsFor = createSignInOptions(deps)
  const completeSignIn = createCompleteSignIn({ sessions, record })
  return {
    ...createSignInPage({
      runtime,
      sessions,
      people,
      optionsFor,
      csrf,
      completeSignIn,
      pages,
      limit,
      record,
    }),
    ...createProviderSignIn({
      runtime,
      providers,
      optionsFor,
      csrf,
      completeSignIn,
      keepTokens: deps.keepTokens,
      limit,
      record,
    }),
    link: createLinkSignIn({ links, describeFlow: deps.describeFlow, completeSignIn, limit }),
    logout: createSignOut({ sessions, record, origins }),
  }
}
