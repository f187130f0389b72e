// The table of faults: what goes wrong from the first request of an app to the consent.
import {
  type Fault,
  asking,
  atProvider,
  both,
  json,
  opens,
  posted,
  registers,
  visitor,
} from './fault-cases.ts'
import { createBrowser } from './browser.ts'
import { asked, begin, redirectUri, through } from './faulty-world.ts'

export const faultsOfLogins: readonly Fault[] = [
  // The identity provider.
  {
    fault: 'the name of the identity provider is unknown',
    code: 'provider.unreachable',
    acts: 'operator',
    why: /ENOTFOUND away\.idp\.test/,
    met: both,
    doctor: 'oauth_providers.away.issuer',
    run: atProvider('away'),
  },
  {
    fault: 'the identity provider answers with an error page',
    code: 'provider.unreachable',
    acts: 'operator',
    why: /502/,
    met: both,
    run: atProvider('broken'),
  },
  {
    fault: 'the client secret has expired',
    code: 'provider.client',
    acts: 'operator',
    why: /invalid_client.*AADSTS7000215/,
    met: both,
    run: atProvider('secret'),
  },
  {
    fault: 'the issuer is misspelt',
    code: 'provider.issuer',
    acts: 'operator',
    why: /metadata says https:\/\/misspelt\.idp\.test\/tenant, configured is https:\/\/misspelt\.idp\.test/,
    met: both,
    doctor: 'oauth_providers.misspelt.issuer',
    run: atProvider('misspelt'),
  },
  {
    fault: 'the clocks differ by an hour',
    code: 'provider.clock',
    acts: 'operator',
    why: /exp of the ID token is 36\d\d s in the past/,
    met: both,
    run: atProvider('slow'),
  },
  {
    fault: 'the ID token is for another client',
    code: 'provider.untrusted',
    acts: 'operator',
    why: /somebody-else/,
    met: both,
    run: atProvider('forged'),
  },
  {
    fault: 'the user cancels at the identity provider',
    code: 'provider.denied',
    acts: 'user',
    why: /access_denied/,
    met: both,
    run: atProvider('denying', { error: 'access_denied' }),
  },
  {
    fault: 'the account is of another domain',
    code: 'person.not-allowed',
    acts: 'user',
    why: /allowed_domains: eve@other\.example is not in it/,
    met: both,
    run: atProvider('stranger'),
  },
  {
    fault: 'the identity provider sends no verified address',
    code: 'person.not-allowed',
    acts: 'operator',
    why: /allowed_domains: the provider sent no email address/,
    met: both,
    flow: 'provider.no-email',
    run: atProvider('nameless'),
  },
  {
    fault: 'the user has too many groups to be sent',
    code: 'person.not-allowed',
    acts: 'operator',
    why: /did not send them/,
    met: both,
    flow: 'provider.groups-overage',
    run: atProvider('crowded'),
  },
  {
    fault: 'no rule names a group of the user',
    code: 'person.not-allowed',
    acts: 'operator',
    why: /none of its groups \(visitors\)/,
    met: both,
    flow: 'provider.groups-unmapped',
    run: atProvider('unmapped'),
  },
  {
    fault: 'the identity provider sends no groups',
    code: 'person.not-allowed',
    acts: 'operator',
    why: /the provider sent none; see groups_claim/,
    met: both,
    run: atProvider('groupless'),
  },
  {
    fault: 'the user comes back in another browser',
    code: 'login.other-browser',
    acts: 'user',
    why: /callback_browser_mismatch/,
    met: both,
    flow: 'none',
    async run(world, as) {
      const began = await begin(world.another())
      const other = createBrowser(began.at.fetch, began.at.origin)
      return {
        answer: await through(
          { ...began, browser: { ...began.browser, go: visitor(began.browser, other) } },
          'denying',
          as,
        ),
      }
    },
  },
  {
    fault: 'the sign-in at the provider took too long',
    code: 'login.state-unknown',
    acts: 'user',
    why: /state/,
    met: both,
    flow: 'none',
    run: opens(`/oauth/callback?code=c&state=${'s'.repeat(43)}`),
  },
  {
    fault: 'the link to a provider is misspelt',
    code: 'provider.unknown',
    acts: 'user',
    why: /nowhere/,
    met: both,
    flow: 'none',
    run: async (world, as) => {
      const { browser, page: shown } = await begin(world.another())
      const { action, pairs } = shown.form('/login/away')
      const body = new URLSearchParams(pairs.map(([name, value]) => [name, value])).toString()
      return {
        answer: await browser.go(action.replace('/login/away', '/login/nowhere'), posted(action, body, as)),
      }
    },
  },
  // The app.
  {
    fault: 'the registration of the app is gone',
    code: 'client.unknown',
    acts: 'user',
    why: /client_id gone not registered/,
    met: both,
    flow: 'none',
    run: async (world, as) => ({
      answer: (await begin(world.another(), {}, asked(as), { id: 'gone', redirectUri })).page,
    }),
  },
  {
    fault: 'the app sends a redirect URI that it has not registered',
    code: 'redirect.mismatch',
    acts: 'app',
    why: /https:\/\/evil\.test\/cb/,
    met: both,
    run: asking({ redirect_uri: 'https://evil.test/cb' }),
  },
  {
    fault: 'the website of the app answers no document',
    code: 'client.document',
    acts: 'app',
    why: /.+/,
    met: both,
    run: async (world, as) => {
      const client = { id: 'https://notes.test/client.json', redirectUri }
      return { answer: (await begin(world.another(), {}, asked(as), client)).page, client: 'newest' }
    },
  },
  {
    fault: 'the website of the app cannot be reached',
    code: 'client.document-unreachable',
    acts: 'operator',
    why: /ENOTFOUND gone\.test/,
    met: both,
    run: async (world, as) => {
      const client = { id: 'https://gone.test/client.json', redirectUri }
      return { answer: (await begin(world.another(), {}, asked(as), client)).page, client: 'newest' }
    },
  },
  {
    fault: 'the app asks for a service that is not there',
    code: 'resource.unknown',
    acts: 'user',
    why: /nowhere/,
    met: both,
    run: asking({ resource: 'http://localhost:8080/nowhere/mcp' }),
  },
  {
    fault: 'the app asks for the https URL of a service on http',
    code: 'resource.unknown',
    acts: 'user',
    why: /https:\/\/localhost:8080\/echo\/mcp/,
    met: both,
    flow: 'flow.resource-differs',
    run: asking({ resource: 'https://localhost:8080/echo/mcp' }),
  },
  {
    fault: 'the app does not use PKCE',
    code: 'pkce.missing',
    acts: 'app',
    why: /.*/,
    met: both,
    run: asking({ code_challenge: '' }),
  },
  {
    fault: 'the app uses PKCE without a digest',
    code: 'pkce.method',
    acts: 'app',
    why: /plain/,
    met: both,
    run: asking({ code_challenge_method: 'plain' }),
  },
  {
    fault: 'the app asks for a token in the redirect',
    code: 'response.type',
    acts: 'app',
    why: /token/,
    met: both,
    run: asking({ response_type: 'token' }),
  },
  {
    fault: 'the app registers no redirect URI that can be used',
    code: 'registration.redirect',
    acts: 'app',
    why: /.+/,
    met: json,
    flow: 'none',
    run: registers({ redirect_uris: ['http://notes.example/cb'] }),
  },
  {
    fault: 'the app registers without redirect URIs',
    code: 'registration.redirect',
    acts: 'app',
    why: /.*/,
    met: json,
    flow: 'none',
    run: registers({ redirect_uris: [] }),
  },
  // The decision.
  {
    fault: 'the request for consent has expired',
    code: 'flow.expired',
    acts: 'user',
    why: /.+/,
    met: both,
    flow: 'none',
    run: opens(`/oauth/consent?flow=${'f'.repeat(32)}`),
  },
  {
    fault: 'the browser sends no cookies',
    code: 'flow.other-browser',
    acts: 'user',
    why: /flow cookie missing/,
    met: both,
    flow: 'flow.cookies',
    async run(world, as) {
      const { at, client, page: shown } = await begin(world.another())
      const flow = /flow=([\w-]+)/.exec(shown.url)?.[1] ?? ''
      const bare = createBrowser(at.fetch, at.origin)
      return { answer: await bare.go(`/oauth/consent?flow=${flow}`, asked(as)), client: client.id }
    },
  },
]
