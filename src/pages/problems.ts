// What a person reads when the gateway says no: for each refusal that can reach a page, its title, who must act and what to do.
// The sentence itself is the refusal's own; it is the same in the page, the JSON twin and the documentation.
import type { RefusalCode } from '../kit/refusal.ts'
import type { Actor, Hop, ProblemView } from '../ports/pages.ts'

type Recipes = NonNullable<ProblemView['recipes']>

interface Problem {
  readonly title: string
  readonly who: Actor
  readonly steps: readonly string[]
  readonly hops?: readonly Hop[]
  readonly recipes?: Recipes
  readonly onward?: NonNullable<ProblemView['onward']>
}

/** You, this gateway, and a third that failed. */
const brokeAt = (name: string): readonly Hop[] => [
  { name: 'You', state: 'ok' },
  { name: 'Postern', state: 'ok' },
  { name, state: 'failed' },
]
const brokeHere: readonly Hop[] = [
  { name: 'You', state: 'ok' },
  { name: 'Postern', state: 'failed' },
]

const provider = brokeAt('Sign-in provider')
const appSite = brokeAt('The app’s website')
const upstream = brokeAt('Its sign-in')
const signIn = { label: 'Open the sign-in page', href: '/login' }
const home = { label: 'Your services', href: '/' }

const fromTheApp = 'Go back to the app and connect again.'
const later = 'Wait a moment, then load this page again.'
const tellAdmin = 'If it does not pass, tell the administrator, with the reference below.'

/** How each client forgets a registration that this gateway no longer knows. */
const forget: Recipes = [
  { client: 'Claude Code', say: 'Type /mcp, choose the server and Clear authentication; or remove it and add it again.' },
  { client: 'claude.ai, ChatGPT', say: 'Remove the connector in the settings and add it again.' },
  { client: 'Claude Desktop', say: 'The same. If it connects through mcp-remote, also run', command: 'rm -rf ~/.mcp-auth' },
  { client: 'VS Code', say: 'In the command palette: Authentication: Remove Dynamic Authentication Providers. Then start the server again.' },
  { client: 'Cursor', say: 'In the MCP settings, remove the server and add it again.' },
  { client: 'Codex', say: 'Log out, then in again (demo is the name you gave the server):', command: 'codex mcp logout demo && codex mcp login demo' },
  { client: 'Your own app', say: 'Send the registration request again and use the new client_id; or publish a client metadata document, which needs no registration.' },
]

const badRequest: Problem = { title: 'The app asked in a way that cannot work', who: 'app', steps: [fromTheApp, 'If it happens again, tell the maker of the app what stands above.'] }
const badForm: Problem = { title: 'Nothing was sent', who: 'you', steps: ['Go back, load the page again, then answer it there.'] }
const startAgain = (title: string): Problem => ({ title, who: 'you', steps: [fromTheApp] })

export const problems = {
  'request.malformed': { title: 'This request makes no sense here', who: 'you', steps: ['Open the page again from where you came.'], onward: home },
  'request.host': { title: 'This request makes no sense here', who: 'app', steps: ['Check the address in the address bar, and any proxy in between.'] },
  'request.host-unknown': {
    title: 'Wrong address for this gateway',
    who: 'admin',
    steps: ['Use the address the administrator gave you.', 'Administrator: set `issuer` to the public URL, or add this host to `allowed_hosts`.'],
  },
  'request.plain-http': { title: 'This gateway is reached by https only', who: 'you', steps: ['Open the same address with `https://`, and send the form again there.'] },
  'request.method': { title: 'This address is not for that', who: 'you', steps: ['Start from your services, or from the app.'], onward: home },
  'request.media-type': badForm,
  'request.too-large': { title: 'Too much was sent', who: 'app', steps: [fromTheApp] },
  'request.timeout': { title: 'The request took too long', who: 'nobody', steps: [later] },
  'request.repeated': badRequest,
  'request.object': badRequest,
  'request.object-uri': badRequest,
  'request.registration': badRequest,
  'admin.required': { title: 'For administrators', who: 'admin', steps: ['Ask an administrator, or to be listed under `admins` in the configuration.'], onward: home },
  'route.unknown': { title: 'Nothing here', who: 'you', steps: ['Check the address. MCP servers are at addresses that end in `/mcp`; your services page lists them.'], onward: home },
  'sign-in.busy': { title: 'Too many sign-ins at once', who: 'nobody', steps: ['Wait a few seconds, then try once more.'] },
  'rate.limited': { title: 'Too many tries', who: 'nobody', steps: ['Wait a minute, then try once more.'] },
  'storage.unavailable': { title: 'The gateway cannot reach its storage', who: 'nobody', steps: [later, tellAdmin], hops: brokeAt('Its storage') },
  'storage.sealed': {
    title: 'The gateway cannot open its stored data',
    who: 'admin',
    steps: ['Nothing is lost: your apps stay connected and work again once this is repaired.', 'Administrator: the log names the missing key (`record.unreadable`).'],
    hops: brokeAt('Its storage'),
  },
  fault: { title: 'The gateway made a mistake', who: 'admin', steps: ['Try again once.', 'If it happens again, give the administrator the reference below: it finds the record in the log.'], hops: brokeHere },
  'outbound.refused': { title: 'An address that this gateway does not visit', who: 'app', steps: ['Tell the maker of the app, or the administrator, what stands above.'], hops: brokeAt('Another server') },
  'outbound.failed': { title: 'Another server did not answer', who: 'nobody', steps: [later, tellAdmin], hops: brokeAt('Another server') },

  'login.form': { title: 'Please sign in again', who: 'you', steps: ['Open the sign-in page again and use it within ten minutes. Cookies must be allowed for this site.'], onward: signIn },
  'login.required': { title: 'Sign in first', who: 'you', steps: [], onward: signIn },
  'login.link-spent': { title: 'This sign-in link has done its work', who: 'you', steps: ['Each link works once, for 15 minutes. If you are signed in already, go on.', 'For a new one, run `postern admin link` where the gateway runs (`npm start -- admin link` in a clone of its source).'], onward: home },
  'login.state-unknown': { title: 'This sign-in is over', who: 'you', steps: ['If you were connecting an app, go back to it and connect again.', 'Otherwise sign in again.'], onward: signIn },
  'login.other-browser': {
    title: 'Started in another browser',
    who: 'you',
    steps: ['Finish in the browser where you started, and in the same window: private windows keep their own cookies.', 'Or connect again from the app.', 'If somebody sent you a link to this page, close it: they may have wanted you to sign in for them.'],
  },
  'provider.unknown': { title: 'No such way to sign in', who: 'you', steps: [], onward: signIn },
  'provider.denied': { title: 'The sign-in provider said no', who: 'you', steps: ['If you cancelled, sign in again.', 'If you did not, ask the administrator whether your account may use this gateway.'], hops: provider, onward: signIn },
  'provider.untrusted': { title: 'The sign-in could not be trusted', who: 'admin', steps: ['Try once more.', tellAdmin, 'The log says what did not match.'], hops: provider, onward: signIn },
  'provider.unreachable': { title: 'The sign-in provider does not answer', who: 'nobody', steps: ['Wait a moment, then sign in again.', tellAdmin], hops: provider, onward: signIn },
  'provider.client': {
    title: 'The sign-in provider does not accept this gateway',
    who: 'admin',
    steps: ['Contact your administrator, with the reference below.', 'Administrator: check `client_id`, `client_secret` and the redirect URI at the provider. The log names the provider and its error.'],
    hops: provider,
  },
  'provider.issuer': {
    title: 'The sign-in provider is not set up correctly',
    who: 'admin',
    steps: ['Contact your administrator, with the reference below.', 'Administrator: set `issuer` to the one that the provider publishes. The log names both.'],
    hops: provider,
  },
  'provider.clock': {
    title: 'A clock is wrong',
    who: 'admin',
    steps: ['Contact your administrator, with the reference below.', 'Administrator: let both computers set their clocks by NTP. The log says by how many seconds they differ.'],
    hops: provider,
  },
  'person.not-allowed': { title: 'This account may not sign in here', who: 'you', steps: ['Sign in with another account, if you have one that belongs here.', 'Otherwise ask the administrator to let this account in.'], onward: { label: 'Use another account', href: '/login?switch=1' } },
  'person.wrong-provider': { title: 'This service is for other accounts', who: 'you', steps: ['Sign in with an account of the kind that this service is for, or ask the administrator.'], onward: { label: 'Use another account', href: '/login?switch=1' } },

  'client.unknown': { title: 'This gateway does not know the app', who: 'you', steps: ['Let the app forget its old registration; it then registers again by itself.'], recipes: forget },
  'client.document': { title: 'The app cannot be identified', who: 'app', steps: ['Tell the maker of the app what stands above.', 'Maker: the document must be JSON at exactly its own `client_id`, with `client_name` and `redirect_uris`, at most 5 kB, without redirects.'], hops: appSite },
  'client.document-unreachable': {
    title: 'The app cannot be identified right now',
    who: 'admin',
    steps: ['Try again in a moment.', 'Administrator: let this gateway reach that host (`HTTPS_PROXY` where a proxy leads out), or set `client_metadata_documents: false` so that apps register instead.'],
    hops: appSite,
  },
  'redirect.mismatch': {
    title: 'The app asked to be answered at an unknown address',
    who: 'app',
    steps: ['Nothing was sent. If somebody sent you this link, close the page.', 'If it is your own app, register the address exactly as it is sent; only the port of a loopback address may differ.', 'Otherwise let the app forget its registration and connect again.'],
  },
  'response.type': badRequest,
  'response.mode': badRequest,
  'pkce.missing': badRequest,
  'pkce.method': badRequest,
  'pkce.challenge': badRequest,
  'resource.unknown': { title: 'The app asked for a service that is not here', who: 'you', steps: ['Compare the MCP URL in the app with the one on your services page.'], onward: home },

  'flow.expired': startAgain('This question has expired'),
  'flow.other-browser': { title: 'Started in another browser', who: 'you', steps: ['Go on in the browser where you started; private windows keep their own cookies.', 'Allow cookies for this site.', 'Or connect again from the app. If somebody sent you this link, close the page.'] },
  'flow.used': { title: 'Already answered', who: 'you', steps: ['If the app says it is connected, close this page.', 'If it does not, go back to it and connect again.'] },
  'consent.form': { title: 'Nothing was decided', who: 'you', steps: ['Open the question again from the app, and answer it on that page.', 'If another site sent you here, close this page.'] },
  'consent.required': startAgain('You have to be asked first'),

  'upstream.credential': {
    title: 'The MCP server refused the gateway',
    who: 'admin',
    steps: [
      'Administrator: set `upstream_auth` of the service, e.g. `type: static` with the `token` or `headers` that the server expects. The log says under the reference below what the server answered.',
    ],
    hops: brokeAt('MCP server'),
  },
  'connection.unreachable': { title: 'The sign-in of the MCP server does not answer', who: 'nobody', steps: ['Wait a moment, then try again.', tellAdmin], hops: upstream },
  'connection.untrusted': {
    title: 'The sign-in of the MCP server cannot be trusted',
    who: 'admin',
    steps: ['No code and no token was sent anywhere.', 'Administrator: the log says under the reference below what does not fit. Where it is right all the same, say so under `upstream_auth` of the service.'],
    hops: upstream,
  },
  'connection.enrolment': {
    title: 'The MCP server does not know this gateway',
    who: 'admin',
    steps: [
      'Administrator: register the gateway with that authorization server, with the redirect URI above, and write `client_id` (and `issuer`) under `upstream_auth` of the service.',
    ],
    hops: upstream,
  },
  'connection.denied': { title: 'No account was connected', who: 'you', steps: ['If you cancelled, try again.', 'If you did not, ask the operator of the MCP server whether your account may use it.'], hops: upstream },
  'connection.state': startAgain('This connecting is over'),
  'connection.other-browser': { title: 'Started in another browser', who: 'you', steps: ['Nothing was connected.', 'Start again in the browser in which you are signed in here.', 'If somebody sent you a link to this page, close it: they may have wanted to give you an account of theirs.'] },
  'connection.other-person': { title: 'This link is for somebody else', who: 'you', steps: ['Sign in as the person who uses the app, or connect an account of your own from your services.'], onward: home },
  'connection.form': badForm,
  'connection.unknown': { title: 'No such service', who: 'you', steps: ['Your services page lists those that there are.'], onward: home },
} as const satisfies Partial<Record<RefusalCode, Problem>>

const entries: Readonly<Partial<Record<string, Problem>>> = problems

const unknown: Problem = { title: 'That did not work', who: 'you', steps: [fromTheApp, tellAdmin] }

/** The page for a refusal, but for what only the occurrence knows (status, facts, request id). `say` is the refusal's public sentence. */
export const problemFor = (code: string, say: string): Omit<ProblemView, 'status' | 'facts' | 'requestId'> => ({ code, what: say, ...(entries[code] ?? unknown) })
