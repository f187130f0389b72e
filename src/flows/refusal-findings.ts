// Findings of steps that were refused: the refusal itself, and what more can be said of it.
import { type RefusalCode, refusals } from '../kit/refusal.ts'
import type { FlowActor, FlowFinding, FlowRecord, FlowStep } from '../ports/flow-record.ts'
import { type FindingRule, appOf, find, lastOf, whyOf } from './findings.ts'

// Refusals, by who must act: the first prefix that fits. Each has the sentence that the app or the user got.

const actors: readonly (readonly [prefix: string, acts: FlowActor, fix: string])[] = [
  [
    'client.unknown',
    'user',
    'In the app, remove this server and add it again, so that the app registers anew.',
  ],
  ['client.document-unreachable', 'operator', 'Let the gateway reach the app’s website.'],
  ['client.', 'app', 'Report this to the app’s developer.'],
  ['registration.', 'app', 'Report this to the app’s developer.'],
  ['redirect.mismatch', 'app', 'The app must use a redirect URI that it registered.'],
  ['pkce.', 'app', 'The app must send the code verifier of the same attempt.'],
  ['code.blocked', 'operator', 'Unblock the user or the app: postern blocks ls.'],
  ['code.', 'app', 'Connect again in the app. If it happens again, report this to the app’s developer.'],
  ['refresh.', 'app', 'Connect again in the app.'],
  [
    'request.host',
    'operator',
    'Set issuer to the URL that users open, and let the proxy pass the Host header.',
  ],
  ['request.origin', 'operator', 'If the page may call this gateway, add its origin to cors.'],
  ['request.plain-http', 'operator', 'Let the proxy in front use HTTPS, and set issuer and trusted_proxies.'],
  ['mcp.version', 'app', 'Update the app.'],
  ['token.', 'app', 'Connect again in the app.'],
  ['proof.time', 'user', 'Set the clock of the computer that the app runs on.'],
  ['proof.', 'app', 'Report this to the app’s developer.'],
  ['resource.', 'app', 'Use the URL of the service as the home page shows it.'],
  ['provider.denied', 'user', 'Sign in again, or ask the administrator of the identity provider for access.'],
  ['provider.client', 'operator', 'Replace client_id and client_secret in oauth_providers.'],
  [
    'provider.issuer',
    'operator',
    'Set issuer in oauth_providers to what the identity provider calls itself.',
  ],
  ['provider.clock', 'operator', 'Synchronise the clocks of the gateway and of the identity provider.'],
  ['provider.unreachable', 'operator', 'Let the gateway reach the identity provider.'],
  ['provider.', 'operator', 'Compare the settings in oauth_providers with those at the identity provider.'],
  ['person.wrong-provider', 'user', 'Sign in with the provider that this service asks for.'],
  ['person.blocked', 'operator', 'Unblock the user: postern blocks ls.'],
  ['person.deactivated', 'operator', 'Activate the user at the identity provider, which says so over SCIM.'],
  ['person.', 'operator', 'Add the account to the allow list, or tell the user to use another account.'],
  [
    'device.reported',
    'operator',
    'Ask the user how the code reached them: somebody may have tried to get access as this user.',
  ],
  ['device.denied', 'user', 'Connect again in the app and allow access.'],
  ['device.', 'user', 'Start the sign-in on the device again.'],
  [
    'assertion.',
    'operator',
    'Compare what the issuer sends with assertion_issuers, and the user with the allow lists.',
  ],
  ['account.', 'operator', 'Compare the request with the services and permissions of the account.'],
  ['access.blocked', 'operator', 'Unblock the user or the app: postern blocks ls.'],
  ['sign-in.', 'user', 'Check the username and the password.'],
  ['login.', 'user', 'Return to the app and connect again.'],
  ['flow.', 'user', 'Return to the app and connect again.'],
  ['consent.denied', 'user', 'Connect again in the app and allow access.'],
  ['consent.', 'user', 'Return to the app and connect again.'],
  ['connection.denied', 'user', 'Try again and allow access at the MCP server’s authorization server.'],
  ['connection.registration', 'operator', 'Register the gateway there and set client_id in upstream_auth.'],
  ['connection.untrusted', 'operator', 'Compare the server’s metadata with upstream_auth.'],
  ['connection.unreachable', 'server', 'Wait until the server’s authorization server responds.'],
  [
    'connection.company-denied',
    'operator',
    'Allow the user, and this gateway’s client, to use the MCP server at the identity provider.',
  ],
  ['connection.sign-in-again', 'user', 'Sign in again with the identity provider, then repeat the call.'],
  ['connection.', 'user', 'Return to the app and connect again.'],
  ['upstream.consent', 'user', 'Connect the account on the home page.'],
  ['upstream.', 'server', 'Check that the MCP server is running and reachable: postern validate --connect.'],
  ['process.', 'operator', 'Check the command of the service: postern validate --connect.'],
  ['policy.', 'operator', 'Check the access rules: postern policy explain.'],
  ['storage.', 'operator', 'Check the storage: its disk, its permissions, the root secret.'],
  ['fault', 'operator', 'The log has the cause under the request ID.'],
  ['rate.', 'app', 'Wait a moment. If it happens again, the app repeats requests too fast.'],
]

const says: Readonly<Partial<Record<string, string>>> = {
  'sign-in.failed': 'Invalid credentials.',
  'device.reported': 'The user did not start what a device asked for, and denied it.',
}

/** The finding of a refusal, in its own sentence. */
export const refused = (code: string): FlowFinding => {
  const [, acts, fix] = actors.find(([prefix]) => code.startsWith(prefix)) ?? [
    '',
    'app' as const,
    'Report this to the app’s developer.',
  ]
  const say = says[code] ?? (code in refusals ? refusals[code as RefusalCode].say : code)
  return { code, acts, say, fix }
}

const refusedWith = (flow: FlowRecord, ...codes: readonly string[]): FlowStep | undefined => {
  const last = lastOf(flow)
  return last?.result === 'refused' && codes.includes(last.code ?? '') ? last : undefined
}

// The last step was refused: what can be said beyond its code.

const emailMissing = /^allowed_(?:emails|domains): (?!.* is (?:not in it|a personal))/

export const refusalRules: readonly FindingRule[] = [
  {
    code: 'flow.resource-differs',
    acts: 'app',
    fix: 'Use the URL of the service as the home page shows it.',
    find(flow) {
      const step = refusedWith(flow, 'resource.unknown')
      const meant = step?.answer['service_url']
      if (!step || meant === undefined) return undefined
      return `${appOf(flow)} asks for ${String(step.request['resource'])}, and the service is ${String(meant)}.`
    },
  },
  {
    code: 'flow.registration-off',
    acts: 'operator',
    fix: 'Configure the app under clients, or set dynamic_registration to true.',
    find: (flow) =>
      lastOf(flow)?.step === 'register' && refusedWith(flow, 'route.unknown')
        ? 'Apps cannot register themselves at this gateway.'
        : undefined,
  },
  {
    code: 'flow.scheme-http',
    acts: 'operator',
    fix: 'Set issuer to the HTTPS URL, and list the proxy in trusted_proxies.',
    find: (flow) =>
      refusedWith(flow, 'request.plain-http')
        ? 'The proxy in front says that the caller used plain HTTP.'
        : undefined,
  },
  {
    code: 'flow.cookies',
    acts: 'user',
    fix: 'Allow cookies for this gateway, then connect again in the app.',
    find(flow) {
      const step = refusedWith(flow, 'flow.other-browser')
      const begun = find(flow, 'authorize')
      const isSame = step?.ip === begun?.ip && step?.request['agent'] === begun?.request['agent']
      return step && begun && isSame && whyOf(step) === 'flow cookie missing'
        ? 'The browser sent no cookies.'
        : undefined
    },
  },
  {
    code: 'provider.no-email',
    acts: 'operator',
    fix: 'If the provider verifies email addresses without saying so, set email_verified: trust; or allow groups.',
    find(flow) {
      const step = refusedWith(flow, 'person.not-allowed')
      return step && emailMissing.test(whyOf(step))
        ? 'Users are allowed by email address, and the identity provider sent no verified one.'
        : undefined
    },
  },
  {
    code: 'provider.groups-overage',
    acts: 'operator',
    fix: 'At the identity provider, send only the groups that are assigned to the application.',
    find(flow) {
      const step = refusedWith(flow, 'person.not-allowed')
      return step && whyOf(step).includes('did not send them')
        ? 'The user has too many groups, and the identity provider sent none of them.'
        : undefined
    },
  },
  {
    code: 'provider.groups-unmapped',
    acts: 'operator',
    fix: 'Add one of these groups to allowed_groups.',
    find(flow) {
      const step = refusedWith(flow, 'person.not-allowed')
      const [, groups] = /^allowed_groups: none of its groups \(([^)]+)\)/.exec(step ? whyOf(step) : '') ?? []
      if (groups === undefined || groups.startsWith('the provider')) return undefined
      const n = groups.split(', ').length
      return `The identity provider sent ${n} ${n === 1 ? 'group' : 'groups'}, and no rule names one.`
    },
  },
]
