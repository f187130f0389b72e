// Who must act after a refusal, and what to do: the same in flows, in what the doctor finds, and on pages.

/** Who has to act for it to go on. */
export type RefusalActor = 'app' | 'operator' | 'user' | 'server' | 'nobody'

const developer = 'Report this to the app’s developer.'
const back = 'Return to the app and connect again.'
const again = 'Wait a moment, then try again.'
const blocks = 'Unblock the user or the app: postern blocks ls.'

/** By the beginning of the code: the first that fits. */
const actors: readonly (readonly [prefix: string, acts: RefusalActor, fix: string])[] = [
  [
    'client.unknown',
    'user',
    'In the app, remove this server and add it again, so that the app registers anew.',
  ],
  ['client.document-unreachable', 'operator', 'Let the gateway reach the app’s website.'],
  ['redirect.mismatch', 'app', 'The app must use a redirect URI that it registered.'],
  ['pkce.', 'app', 'The app must send the code verifier of the same attempt.'],
  ['code.blocked', 'operator', blocks],
  ['code.', 'app', 'Connect again in the app. If it happens again, report this to the app’s developer.'],
  ['refresh.', 'app', 'Connect again in the app.'],
  [
    'request.host',
    'operator',
    'Set issuer to the URL that users open, and let the proxy pass the Host header.',
  ],
  ['request.origin', 'operator', 'If the page may call this gateway, add its origin to cors.'],
  ['request.plain-http', 'operator', 'Let the proxy in front use HTTPS, and set issuer and trusted_proxies.'],
  ['request.timeout', 'nobody', again],
  ['mcp.version', 'app', 'Update the app.'],
  ['token.', 'app', 'Connect again in the app.'],
  ['proof.time', 'user', 'Set the clock of the computer that the app runs on.'],
  ['resource.', 'user', 'Use the URL of the service as the home page shows it.'],
  ['provider.denied', 'user', 'Sign in again, or ask the administrator of the identity provider for access.'],
  ['provider.unknown', 'user', back],
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
  [
    'person.not-allowed',
    'user',
    'Sign in with another account. If this account should be allowed, add it to the allow list.',
  ],
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
  ['account.form', 'user', 'Open Connected apps again, then repeat the step.'],
  ['account.', 'operator', 'Compare the request with the services and permissions of the account.'],
  ['access.blocked', 'operator', blocks],
  ['access.none', 'operator', 'Check the access rules: postern policy explain.'],
  ['admin.required', 'operator', 'Add the user or the group under admins in the configuration.'],
  ['auditor.required', 'operator', 'Add the user or the group under auditors in the configuration.'],
  ['admin.last', 'user', 'Add another administrator under admins first.'],
  ['sign-in.busy', 'nobody', again],
  ['sign-in.', 'user', 'Check the username and the password.'],
  ['login.link-spent', 'operator', 'Print a new link on the gateway’s host: postern admin link.'],
  ['login.', 'user', back],
  ['flow.', 'user', back],
  ['consent.denied', 'user', 'Connect again in the app and allow access.'],
  ['consent.', 'user', back],
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
  ['connection.', 'user', back],
  ['upstream.consent', 'user', 'Connect the account on the home page.'],
  ['upstream.credential', 'operator', 'Set upstream_auth of the service to what the MCP server expects.'],
  ['upstream.', 'server', 'Check that the MCP server is running and reachable: postern validate --connect.'],
  ['outbound.failed', 'server', 'Wait until the other server responds.'],
  ['process.', 'operator', 'Check the command of the service: postern validate --connect.'],
  ['policy.', 'operator', 'Check the access rules: postern policy explain.'],
  [
    'pin.refresh',
    'server',
    'Check that the MCP server is running and reachable: postern validate --connect.',
  ],
  ['storage.', 'operator', 'Check the storage: its disk, its permissions, the root secret.'],
  ['audit.unavailable', 'operator', 'Check the disk and the permissions of the audit trail.'],
  ['gateway.locked', 'operator', 'Unlock the gateway: postern unlock.'],
  ['gateway.', 'operator', 'The log has the cause: the gateway is not configured, or could not start.'],
  ['service.disabled', 'operator', 'Enable the service: postern services enable.'],
  ['fault', 'operator', 'The log has the cause under the request ID.'],
  ['rate.', 'nobody', 'Wait a moment. If it happens again, the app repeats requests too fast.'],
  ['calls.', 'nobody', 'Wait a moment. If it happens again, the app repeats requests too fast.'],
]

export const remedyOf = (code: string): { readonly acts: RefusalActor; readonly fix: string } => {
  const [, acts, fix] = actors.find(([prefix]) => code.startsWith(prefix)) ?? ['', 'app' as const, developer]
  return { acts, fix }
}
