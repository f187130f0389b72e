// Error pages: for each refusal that can reach a browser, its title, who must act and what to do.
// The sentence itself is the refusal's own; it is the same in the page, the JSON twin and the documentation.
import type { RefusalCode } from '../kit/refusal.ts'
import type { ProblemView } from '../ports/pages.ts'
import { connectionProblems } from './connection-problems.ts'
import {
  type Problem,
  appSite,
  badForm,
  badRequest,
  brokeAt,
  brokeHere,
  forget,
  fromTheApp,
  home,
  later,
  provider,
  services,
  signIn,
  startAgain,
  tellAdmin,
  unknownProblem,
} from './problem-steps.ts'

export const problems = {
  'request.malformed': {
    title: 'Bad request',
    who: 'you',
    steps: ['Go back and open the page again.'],
    onward: home,
  },
  'request.host': {
    title: 'Bad request',
    who: 'admin',
    steps: [
      'Check the URL in the address bar.',
      'Administrator: make the reverse proxy forward the Host header unchanged.',
    ],
  },
  'request.host-unknown': {
    title: 'Unknown host name',
    who: 'admin',
    steps: [
      'Use the URL that your administrator gave you.',
      'Administrator: set `issuer` to the public URL, or add this host to `allowed_hosts`.',
    ],
  },
  'request.plain-http': {
    title: 'HTTPS required',
    who: 'you',
    steps: ['Open the same URL with `https://`, then submit the form again.'],
  },
  'request.method': {
    title: 'Method not allowed',
    who: 'you',
    steps: ['Start again from the home page or from the app.'],
    onward: home,
  },
  'request.media-type': badForm,
  'request.too-large': { title: 'Request too large', who: 'app', steps: [fromTheApp] },
  'request.timeout': { title: 'Request timeout', who: 'nobody', steps: [later] },
  'request.repeated': badRequest,
  'request.object': badRequest,
  'request.object-uri': badRequest,
  'request.registration': badRequest,
  'admin.required': {
    title: 'Administrator access required',
    who: 'admin',
    steps: ['Administrator: add the user or group under `admins` in the configuration.'],
    onward: services,
  },
  'route.unknown': {
    title: 'Page not found',
    who: 'you',
    steps: ['Check the URL. MCP URLs end in `/mcp`. The home page lists them.'],
    onward: home,
  },
  'sign-in.busy': {
    title: 'Too many sign-in attempts at once',
    who: 'nobody',
    steps: ['Wait a few seconds, then try again.'],
  },
  'rate.limited': { title: 'Too many requests', who: 'nobody', steps: ['Wait a minute, then try again.'] },
  'storage.unavailable': {
    title: 'Storage unavailable',
    who: 'nobody',
    steps: [later, tellAdmin],
    hops: brokeAt('Storage'),
  },
  'storage.sealed': {
    title: 'Stored data cannot be decrypted',
    who: 'admin',
    steps: [
      'No data is lost. Your apps work again once this is fixed.',
      'Administrator: the log names the missing key (`record.unreadable`).',
    ],
    hops: brokeAt('Storage'),
  },
  fault: {
    title: 'Something went wrong (internal error)',
    who: 'admin',
    steps: [
      'Try again once.',
      'If it happens again, send your administrator the reference below. It identifies the entry in the log.',
    ],
    hops: brokeHere,
  },
  'outbound.refused': {
    title: 'Blocked address',
    who: 'app',
    steps: ['Report this to the app’s developer or your administrator.'],
    hops: brokeAt('Another server'),
  },
  'outbound.failed': {
    title: 'Another server did not respond',
    who: 'nobody',
    steps: [later, tellAdmin],
    hops: brokeAt('Another server'),
  },

  'login.form': {
    title: 'Sign in again',
    who: 'you',
    steps: ['Open the sign-in page again and sign in within ten minutes.', 'Allow cookies for this site.'],
    onward: signIn,
  },
  'login.required': { title: 'Sign-in required', who: 'you', steps: [], onward: signIn },
  'login.link-spent': {
    title: 'This sign-in link has expired or was already used',
    who: 'admin',
    steps: [
      'Ask your administrator for a new link.',
      'Administrator: print one on the gateway’s host with `postern admin link` (`npm start -- admin link` in a source checkout).',
    ],
    onward: signIn,
  },
  'login.state-unknown': {
    title: 'Sign-in expired',
    who: 'you',
    steps: ['If you were connecting an app, return to it and connect again.', 'Otherwise, sign in again.'],
    onward: signIn,
  },
  'login.other-browser': {
    title: 'Started in another browser',
    who: 'you',
    steps: [
      'Continue in the browser and window where you started. Private windows have their own cookies.',
      'Or connect again from the app.',
      'If somebody sent you a link to this page, close it. They may be trying to get you to sign in for them.',
    ],
  },
  'provider.unknown': { title: 'Sign-in method not found', who: 'you', steps: [], onward: signIn },
  'provider.denied': {
    title: 'Sign-in denied',
    who: 'you',
    steps: [
      'If you canceled, sign in again.',
      'Otherwise, ask your administrator whether your account has access to this gateway.',
    ],
    hops: provider,
    onward: signIn,
  },
  'provider.untrusted': {
    title: 'Sign-in failed validation',
    who: 'admin',
    steps: ['Try again once.', tellAdmin, 'Administrator: the log says what did not match.'],
    hops: provider,
    onward: signIn,
  },
  'provider.unreachable': {
    title: 'Identity provider unavailable',
    who: 'nobody',
    steps: ['Wait a moment, then sign in again.', tellAdmin],
    hops: provider,
    onward: signIn,
  },
  'provider.client': {
    title: 'The identity provider rejected this gateway',
    who: 'admin',
    steps: [
      'Send your administrator the reference below.',
      'Administrator: check `client_id`, `client_secret` and the redirect URI at the provider. The log names the provider and its error.',
    ],
    hops: provider,
  },
  'provider.issuer': {
    title: 'The identity provider’s issuer does not match',
    who: 'admin',
    steps: [
      'Send your administrator the reference below.',
      'Administrator: set `issuer` to the value that the provider publishes. The log names both.',
    ],
    hops: provider,
  },
  'provider.clock': {
    title: 'Clocks out of sync',
    who: 'admin',
    steps: [
      'Send your administrator the reference below.',
      'Administrator: sync both clocks with NTP. The log says by how many seconds they differ.',
    ],
    hops: provider,
  },
  'person.not-allowed': {
    title: 'Account not allowed',
    who: 'you',
    steps: ['Sign in with another account.', 'Or ask your administrator to allow this account.'],
    onward: { label: 'Use another account', href: '/login?switch=1' },
  },
  'person.wrong-provider': {
    title: 'This service requires another sign-in method',
    who: 'you',
    steps: [
      'Sign in with an account that this service accepts.',
      'Or ask your administrator which accounts it accepts.',
    ],
    onward: { label: 'Use another account', href: '/login?switch=1' },
  },

  'client.unknown': {
    title: 'Unknown app',
    who: 'you',
    steps: ['Delete the old registration in the app. The app then registers again automatically.'],
    recipes: forget,
  },
  'client.document': {
    title: 'Invalid client metadata document',
    who: 'app',
    steps: [
      'Report this to the app’s developer.',
      'Developer: serve JSON of at most 5 kB at the exact `client_id` URL, without redirects. It must include `client_id`, `client_name` and `redirect_uris`.',
    ],
    hops: appSite,
  },
  'client.document-unreachable': {
    title: 'The client metadata document cannot be fetched',
    who: 'admin',
    steps: [
      'Try again in a moment.',
      'Administrator: allow outbound requests to that host (set `HTTPS_PROXY` if you use a proxy). Or set `client_metadata_documents: false`, so that apps register instead.',
    ],
    hops: appSite,
  },
  'redirect.mismatch': {
    title: 'Redirect URI not registered',
    who: 'app',
    steps: [
      'If somebody sent you this link, close the page.',
      'If this is your app, register the redirect URI exactly as requested. Only the port of a loopback URI may differ.',
      'Otherwise, delete the registration in the app and connect again.',
    ],
  },
  'response.type': badRequest,
  'response.mode': badRequest,
  'pkce.missing': badRequest,
  'pkce.method': badRequest,
  'pkce.challenge': badRequest,
  'resource.unknown': {
    title: 'Unknown service',
    who: 'you',
    steps: ['Compare the MCP URL in the app with the URL on the home page.'],
    onward: home,
  },

  'flow.expired': startAgain('Request expired'),
  'flow.other-browser': {
    title: 'Started in another browser',
    who: 'you',
    steps: [
      'Continue in the browser where you started. Private windows have their own cookies.',
      'Allow cookies for this site.',
      'Or connect again from the app.',
      'If somebody sent you this link, close the page.',
    ],
  },
  'flow.used': {
    title: 'Request already completed',
    who: 'you',
    steps: ['If the app is connected, close this page.', 'Otherwise, return to the app and connect again.'],
  },
  'consent.form': {
    title: 'Nothing was saved',
    who: 'you',
    steps: [
      'Open the page again from the app, then choose Allow or Cancel.',
      'If another site sent you here, close this page.',
    ],
  },
  'consent.required': startAgain('Approval required'),
  ...connectionProblems,
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
  ...(entries[code] ?? unknownProblem),
})
