// Error pages: for each refusal that can reach a browser, its title, who must act and what to do. In English; the page
// says it in the reader's language (problem.ts).
// The sentence itself is the refusal's own; it is the same in the page, the JSON twin and the documentation.
import type { RefusalCode } from '../kit/refusal.ts'
import type { Actor, Hop, ProblemView } from '../ports/pages.ts'
import type { PlainMessage } from './language.ts'
import { type Recipe, forget } from './problem.ts'

/** Where it broke, how each client is put right, and where to go on. */
interface More {
  readonly hops?: readonly (Hop & { readonly name: PlainMessage })[]
  readonly recipes?: readonly Recipe[]
  readonly onward?: { readonly label: PlainMessage; readonly href: string }
}

interface Problem extends More {
  readonly who: Actor
  readonly title: PlainMessage
  readonly steps: readonly PlainMessage[]
}

const problem =
  (who: Actor) =>
  (title: PlainMessage, steps: readonly PlainMessage[], more: More = {}): Problem => ({
    title,
    who,
    steps,
    ...more,
  })

// By who must act.
const you = problem('you')
const app = problem('app')
const admin = problem('admin')
const nobody = problem('nobody')

// What several of them have in common.

/** You, this gateway, and a third that failed. */
const brokeAt = (name: PlainMessage): NonNullable<More['hops']> => [
  { name: 'You', state: 'ok' },
  { name: 'Postern', state: 'ok' },
  { name, state: 'failed' },
]
const brokeHere: NonNullable<More['hops']> = [
  { name: 'You', state: 'ok' },
  { name: 'Postern', state: 'failed' },
]

const provider = brokeAt('Identity provider')
const appSite = brokeAt('App’s website')
const storage = { hops: brokeAt('Storage') }
const upstream = brokeAt('Authorization server')
const signIn = { label: 'Open the sign-in page', href: '/login' } as const
const home = { label: 'Go to home page', href: '/' } as const
const services = { label: 'Your services', href: '/' } as const

const fromTheApp = 'Return to the app and connect again.'
const later = 'Wait a moment, then reload this page.'
const seeLog = 'Administrator: the log has the reason under the reference below.'
const tellAdmin = 'If the problem persists, send your administrator the reference below.'

const badRequest = app('Invalid request from the app', [
  fromTheApp,
  'If it happens again, report this to the app’s developer.',
])
const badForm = you('Nothing was saved', ['Go back, reload the page, then submit the form again.'])
const startAgain = (title: PlainMessage): Problem => you(title, [fromTheApp])

export const problems = {
  'request.malformed': you('Bad request', ['Go back and open the page again.'], { onward: home }),
  'request.host': admin('Bad request', [
    'Check the URL in the address bar.',
    'Administrator: make the reverse proxy forward the Host header unchanged.',
  ]),
  'request.host-unknown': admin('Unknown host name', [
    'Use the URL that your administrator gave you.',
    'Administrator: set `issuer` to the public URL, or add this host to `allowed_hosts`.',
  ]),
  'request.plain-http': admin('HTTPS required', [
    'Open the same URL with `https://`, then submit the form again.',
    'Administrator: set `issuer` to the https URL, and list the reverse proxy in `trusted_proxies`.',
  ]),
  'request.method': you('Method not allowed', ['Start again from the home page or from the app.'], {
    onward: home,
  }),
  'request.media-type': badForm,
  'request.too-large': app('Request too large', [fromTheApp]),
  'request.timeout': nobody('Request timeout', [later]),
  'request.repeated': badRequest,
  'request.object': badRequest,
  'request.object-uri': badRequest,
  'request.registration': badRequest,
  'admin.required': admin(
    'Administrator access required',
    ['Administrator: add the user or group under `admins` in the configuration.'],
    { onward: services },
  ),
  'admin.last': you('Last administrator', [
    'Add another administrator under `admins` first.',
    'To block the last one all the same, use `postern blocks add` with `--force`.',
  ]),
  'route.unknown': you(
    'Page not found',
    ['Check the URL. MCP URLs end in `/mcp`. The home page lists them.'],
    { onward: home },
  ),
  'sign-in.busy': nobody('Too many sign-in attempts at once', ['Wait a few seconds, then try again.']),
  'rate.limited': nobody('Too many requests', ['Wait a minute, then try again.']),
  'storage.unavailable': admin('Storage unavailable', [later, tellAdmin, seeLog], storage),
  'storage.sealed': admin(
    'Stored data cannot be decrypted',
    [
      'No data is lost. Your apps work again once this is fixed.',
      'Administrator: the log names the missing key (`record.unreadable`).',
    ],
    storage,
  ),
  fault: admin(
    'Something went wrong (internal error)',
    [
      'Try again once.',
      'If it happens again, send your administrator the reference below. It identifies the entry in the log.',
    ],
    { hops: brokeHere },
  ),
  'outbound.refused': app('Blocked address', ['Report this to the app’s developer or your administrator.'], {
    hops: brokeAt('Another server'),
  }),
  'outbound.failed': nobody('Another server did not respond', [later, tellAdmin], {
    hops: brokeAt('Another server'),
  }),

  // signing in
  'login.form': you(
    'Sign in again',
    ['Open the sign-in page again and sign in within ten minutes.', 'Allow cookies for this site.'],
    { onward: signIn },
  ),
  'login.required': you('Sign-in required', [], { onward: signIn }),
  'login.link-spent': admin(
    'This sign-in link has expired or was already used',
    [
      'Ask your administrator for a new link.',
      'Administrator: print one on the gateway’s host with `postern admin link` (`npm start -- admin link` in a source checkout).',
    ],
    { onward: signIn },
  ),
  'login.state-unknown': you(
    'Sign-in expired',
    ['If you were connecting an app, return to it and connect again.', 'Otherwise, sign in again.'],
    { onward: signIn },
  ),
  'login.other-browser': you('Started in another browser', [
    'Continue in the browser and window where you started. Private windows have their own cookies.',
    'Or connect again from the app.',
    'If somebody sent you a link to this page, close it. They may be trying to get you to sign in for them.',
  ]),
  'provider.unknown': you('Sign-in method not found', [], { onward: signIn }),
  'provider.denied': you(
    'Sign-in denied',
    [
      'If you canceled, sign in again.',
      'Otherwise, ask your administrator whether your account has access to this gateway.',
    ],
    { hops: provider, onward: signIn },
  ),
  'provider.untrusted': admin(
    'Sign-in failed validation',
    ['Try again once.', tellAdmin, 'Administrator: the log says what did not match.'],
    { hops: provider, onward: signIn },
  ),
  'provider.unreachable': admin(
    'Identity provider unavailable',
    ['Wait a moment, then sign in again.', tellAdmin, seeLog],
    { hops: provider, onward: signIn },
  ),
  'provider.client': admin(
    'The identity provider rejected this gateway',
    [
      'Send your administrator the reference below.',
      'Administrator: check `client_id`, `client_secret` and the redirect URI at the provider. The log names the provider and its error.',
    ],
    { hops: provider },
  ),
  'provider.issuer': admin(
    'The identity provider’s issuer does not match',
    [
      'Send your administrator the reference below.',
      'Administrator: set `issuer` to the value that the provider publishes. The log names both.',
    ],
    { hops: provider },
  ),
  'provider.clock': admin(
    'Clocks out of sync',
    [
      'Send your administrator the reference below.',
      'Administrator: sync both clocks with NTP. The log says by how many seconds they differ.',
    ],
    { hops: provider },
  ),
  'person.not-allowed': you(
    'Account not allowed',
    ['Sign in with another account.', 'Or ask your administrator to allow this account.'],
    { onward: { label: 'Use another account', href: '/login?switch=1' } },
  ),
  'person.blocked': admin(
    'Account blocked',
    [
      'Contact your administrator.',
      'Administrator: `postern blocks ls` lists blocks, `postern blocks rm` lifts one.',
    ],
    { onward: { label: 'Use another account', href: '/login?switch=1' } },
  ),
  'person.deactivated': admin(
    'Account deactivated',
    [
      'Contact the administrator of your company directory.',
      'Administrator: activate the user at the identity provider. It tells this gateway over SCIM; `postern blocks` does not list the user.',
    ],
    { onward: { label: 'Use another account', href: '/login?switch=1' } },
  ),
  'access.blocked': admin('Access blocked', [
    'Contact your administrator.',
    'Administrator: `postern blocks ls` lists blocks, `postern blocks rm` lifts one.',
  ]),
  'access.none': admin('No access to this service', [
    'Ask your administrator for access, or use another account.',
    'Administrator: `postern policy explain` shows which access rule is missing.',
  ]),
  'account.form': you(
    'Nothing was changed',
    ['Open Connected apps again, then repeat the step.', 'If another site sent you here, close this page.'],
    { onward: { label: 'Connected apps', href: '/account/apps' } },
  ),
  'person.wrong-provider': you(
    'This service requires another sign-in method',
    [
      'Sign in with an account that this service accepts.',
      'Or ask your administrator which accounts it accepts.',
    ],
    { onward: { label: 'Use another account', href: '/login?switch=1' } },
  ),

  // the app that connects
  'client.unknown': you(
    'Unknown app',
    ['Delete the old registration in the app. The app then registers again automatically.'],
    { recipes: forget },
  ),
  'client.document': app(
    'Invalid client metadata document',
    [
      'Report this to the app’s developer.',
      'Developer: serve JSON of at most 5 kB at the exact `client_id` URL, without redirects. It must include `client_id`, `client_name` and `redirect_uris`.',
    ],
    { hops: appSite },
  ),
  'client.document-unreachable': admin(
    'The client metadata document cannot be fetched',
    [
      'Try again in a moment.',
      'Administrator: allow outbound requests to that host (set `HTTPS_PROXY` if you use a proxy). Or set `client_metadata_documents: false`, so that apps register instead.',
    ],
    { hops: appSite },
  ),
  'redirect.mismatch': app('Redirect URI not registered', [
    'If somebody sent you this link, close the page.',
    'If this is your app, register the redirect URI exactly as requested. Only the port of a loopback URI may differ.',
    'Otherwise, delete the registration in the app and connect again.',
  ]),
  'response.type': badRequest,
  'response.mode': badRequest,
  'pkce.missing': badRequest,
  'pkce.method': badRequest,
  'pkce.challenge': badRequest,
  'resource.unknown': you(
    'Unknown service',
    ['Compare the MCP URL in the app with the URL on the home page.'],
    { onward: home },
  ),

  // one authorization
  'flow.expired': startAgain('Request expired'),
  'flow.other-browser': you('Started in another browser', [
    'Continue in the browser where you started. Private windows have their own cookies.',
    'Allow cookies for this site.',
    'Or connect again from the app.',
    'If somebody sent you this link, close the page.',
  ]),
  'flow.used': you('Request already completed', [
    'If the app is connected, close this page.',
    'Otherwise, return to the app and connect again.',
  ]),
  'consent.form': you('Nothing was saved', [
    'Open the page again from the app, then choose Allow or Cancel.',
    'If another site sent you here, close this page.',
  ]),
  'consent.required': startAgain('Approval required'),

  // connecting an account at the authorization server of an MCP server
  'upstream.credential': admin(
    'The MCP server rejected the gateway’s credentials',
    [
      'Administrator: set `upstream_auth` for the service, such as `type: static` with the `token` or `headers` that the server expects. The log has the server’s response under the reference below.',
    ],
    { hops: brokeAt('MCP server') },
  ),
  'connection.unreachable': nobody(
    'The MCP server’s authorization server is unavailable',
    ['Wait a moment, then try again.', tellAdmin],
    { hops: upstream },
  ),
  'connection.untrusted': admin(
    'The MCP server’s OAuth metadata is inconsistent',
    [
      'No code or token was sent.',
      'Administrator: the log has the mismatch under the reference below. If this is intended, allow it in `upstream_auth` for the service.',
    ],
    { hops: upstream },
  ),
  'connection.registration': admin(
    'This gateway is not registered with the MCP server',
    [
      'Administrator: register the gateway with the authorization server, using the redirect URI above. Then set `client_id` and `issuer` in `upstream_auth` for the service.',
    ],
    { hops: upstream },
  ),
  'connection.denied': you(
    'Account not connected',
    [
      'If you canceled, try again.',
      'Otherwise, ask the operator of the MCP server whether your account has access.',
    ],
    { hops: upstream },
  ),
  'connection.company-denied': admin(
    'Access denied by your company',
    ['Ask the administrator of your company’s identity provider for access to the MCP server.'],
    { hops: provider },
  ),
  'connection.sign-in-again': you('Sign in again', [fromTheApp], { hops: provider, onward: signIn }),
  'connection.state': startAgain('Connection attempt expired'),
  'connection.other-browser': you('Started in another browser', [
    'Start again in the browser where you are signed in to this gateway.',
    'If somebody sent you a link to this page, close it. They may be trying to connect their account to yours.',
  ]),
  'connection.other-person': you(
    'This link is for another user',
    ['Sign in as the user of the app.', 'Or connect your own account from the services page.'],
    { onward: services },
  ),
  'connection.form': badForm,
  'connection.unknown': you('Service not found', ['The home page lists all services.'], { onward: home }),
} as const satisfies Partial<Record<RefusalCode, Problem>>

const entries: Readonly<Partial<Record<string, Problem>>> = problems

/**
 * The page for a refusal, but for what only the occurrence knows (status, facts, request id). `say` is the
 * refusal's public sentence.
 */
export const problemFor = (
  code: string,
  say: string,
): Omit<ProblemView, 'status' | 'facts' | 'requestId'> => ({
  code,
  what: say,
  ...(entries[code] ?? you('Request failed', [fromTheApp, tellAdmin])),
})
