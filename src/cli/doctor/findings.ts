// What `postern doctor` looks at, in order, and everything that it can find: what it means, how it is mended, who
// has to do it, and for which clients it matters. The same codes are explained in docs/guide/doctor.md.
import type { RefusalCode } from '../../kit/refusal.ts'
import { type RefusalActor, remedyOf } from '../../kit/refusal-actors.ts'

/** The steps from the network to the first call, in the order in which a client takes them. */
export const stepTitles = {
  reachable: 'Reachable',
  challenge: 'Challenge',
  resource: 'Resource metadata',
  server: 'Authorization server',
  registration: 'Client registration',
  authorize: 'Authorization endpoint',
  token: 'Token endpoint',
  browser: 'Clients in browsers',
  call: 'MCP',
  self: 'This gateway',
} as const

export type StepId = keyof typeof stepTitles

/**
 * Clients by what they need of a server: `cloud` connect from the internet, `browser` run in a page and are
 * bound by CORS.
 */
export const knownClients = [
  { name: 'claude.ai', needs: 'cloud' },
  { name: 'ChatGPT', needs: 'cloud' },
  { name: 'Claude Code', needs: 'local' },
  { name: 'Codex', needs: 'local' },
  { name: 'Cursor', needs: 'local' },
  { name: 'VS Code', needs: 'local' },
  { name: 'mcp-remote', needs: 'local' },
  { name: 'MCP Inspector', needs: 'browser' },
] as const

export type ClientName = (typeof knownClients)[number]['name']

/** Whom a finding stops. */
type Stops = 'all' | 'cloud' | 'browser' | 'none'

interface FindingKind {
  readonly severity: 'error' | 'warning'
  readonly stops: Stops
  /** What to do, and who: the operator of the server, unless it says otherwise. */
  readonly fix: string
}

const error = (stops: Stops, fix: string): FindingKind => ({ severity: 'error', stops, fix })
const warning = (stops: Stops, fix: string): FindingKind => ({ severity: 'warning', stops, fix })

/** Codes that begin with `flow.` are those of the flow record, for the same causes. */
export const findingKinds = {
  'doctor.name': error('all', 'Create a DNS record for this name, or correct the URL.'),
  'doctor.refused': error('all', 'Start the server, and check the port and the firewall.'),
  'doctor.timeout': error(
    'all',
    'Check the firewall and the reverse proxy: requests are dropped on the way.',
  ),
  'doctor.tls': error(
    'all',
    'Install a certificate for this name from a public authority, together with its intermediate certificates.',
  ),
  'doctor.tls-expires': warning('none', 'Renew the certificate.'),
  'doctor.network': error('all', 'Check that this computer can reach the server at all.'),
  'doctor.plain-http': error('all', 'Serve this URL over https. Clients send tokens only over https.'),
  'doctor.private-address': warning(
    'cloud',
    'Clients in the cloud need a public name. On this network the URL works as it is.',
  ),
  'doctor.ipv6-only': warning('cloud', 'Add an A record (IPv4).'),
  'doctor.port': warning('cloud', 'Serve the URL on port 443.'),
  'doctor.redirect': error(
    'all',
    'Use the URL that the redirect leads to. Clients drop the token at a redirect to another host.',
  ),
  'doctor.not-found': error('all', 'Check the path: most MCP servers are at /mcp.'),
  'doctor.server-error': error('all', 'See the log of the server, or of the reverse proxy in front of it.'),
  'doctor.slow': warning('cloud', 'Make the first answer faster. Some clients wait 10 seconds at most.'),
  'flow.edge-block': error(
    'cloud',
    'Let these clients pass in the firewall or bot protection in front of the server.',
  ),
  'doctor.challenge-status': error(
    'all',
    'Answer a request without a token with status 401 (MCP Authorization, RFC 6750 §3).',
  ),
  'flow.challenge-stripped': warning(
    'none',
    'Send WWW-Authenticate: Bearer resource_metadata="…" with the 401, and let the reverse proxy pass it (RFC 9728 §5.1).',
  ),
  'doctor.resource-missing': error(
    'all',
    'Publish protected resource metadata at /.well-known/oauth-protected-resource (RFC 9728 §3).',
  ),
  'flow.scheme-http': error(
    'all',
    'The reverse proxy ends TLS and the server was not told. In Postern, set `issuer` to the https URL.',
  ),
  'flow.resource-differs': error(
    'all',
    'Use the URL that the metadata names, or correct `resource` in the metadata (RFC 9728 §3.3).',
  ),
  'doctor.resource-servers': error('all', 'Name an authorization server in `authorization_servers`.'),
  'doctor.server-missing': error(
    'all',
    'Publish authorization server metadata under the issuer (RFC 8414 §3).',
  ),
  'doctor.issuer': error(
    'all',
    'Make `issuer` equal to the URL that the resource metadata names (RFC 8414 §3.3).',
  ),
  'doctor.pkce': error(
    'all',
    'Support S256 and say so in `code_challenge_methods_supported`. Clients stop without it.',
  ),
  'doctor.endpoints': error(
    'all',
    'Name the https URLs of the authorization and token endpoints in the metadata.',
  ),
  'doctor.no-refresh': warning(
    'none',
    'Support `refresh_token`, or people sign in again whenever a token expires.',
  ),
  'flow.registration-off': error(
    'all',
    'Support client ID metadata documents or dynamic client registration, or give each client an ID by hand.',
  ),
  'doctor.registration-limit': warning(
    'none',
    'Try again later. Many people of one client share an address: raise the limit.',
  ),
  'doctor.registration-refused': error('none', 'Accept this registration. It is what the client sends.'),
  'doctor.registration-answer': error('none', 'Answer a registration as RFC 7591 §3.2.1 says.'),
  'doctor.open-redirect': error(
    'none',
    'Never redirect for an unknown client_id or redirect_uri (RFC 6749 §4.1.2.1).',
  ),
  'doctor.authorize': error('all', 'See the log of the authorization server for the reason.'),
  'doctor.loopback-port': error(
    'none',
    'Accept any port of a loopback redirect URI (RFC 8252 §7.3): apps listen on a new port each time.',
  ),
  'doctor.token-open': error(
    'none',
    'The token endpoint issued a token for a code that it never issued. Take it offline.',
  ),
  'doctor.token-answer': error(
    'all',
    'Answer errors with status 400 or 401 and JSON with `error` (RFC 6749 §5.2).',
  ),
  'doctor.cors': warning(
    'browser',
    'Answer preflight requests, allow any origin, and expose WWW-Authenticate and Mcp-Session-Id.',
  ),
  'doctor.token-refused': error('none', 'Pass a token for this URL that has not expired.'),
  'doctor.mcp': error('all', 'Check that an MCP server answers at this URL, and its log.'),
  'doctor.configuration-invalid': error(
    'all',
    'Correct the configuration: the gateway does not start with it.',
  ),
  'doctor.configuration': warning('none', 'Correct the configuration.'),
  'doctor.connection': error('none', 'Correct the setting, or start the server that it names.'),
  'doctor.public-url': error(
    'all',
    'Set `issuer` to the URL that people use, start the gateway, and let requests to that URL reach it.',
  ),
  'doctor.clock': warning(
    'none',
    'Synchronize the clock of this computer. Signatures with times fail otherwise.',
  ),
  'doctor.disk': error('none', 'Free disk space: without it nothing new is stored, and sign-in fails.'),
} as const satisfies Readonly<Record<string, FindingKind>>

export type FindingCode = keyof typeof findingKinds

export interface Finding {
  readonly code: FindingCode
  /** What was seen: one sentence with the URL or value. */
  readonly evidence: string
  /** Of the error that the gateway answers for the same reason. */
  readonly refusal?: RefusalCode
  /** The clients that it stops, where it is not the kind that says so. */
  readonly clients?: readonly ClientName[]
}

/** How it is mended: where the gateway answers an error for the same reason, as flows say of that error. */
export const fixOf = ({ code, refusal }: Finding): string =>
  refusal === undefined ? findingKinds[code].fix : remedyOf(refusal).fix

/** Who must act, by the same error. */
export const actorOf = ({ refusal }: Finding): RefusalActor | undefined =>
  refusal === undefined ? undefined : remedyOf(refusal).acts

export interface DoctorStep {
  readonly id: StepId
  /** `fail`: at least one finding is an error. */
  readonly result: 'pass' | 'warn' | 'fail' | 'skip'
  /** What was seen, or why it was skipped: one sentence. */
  readonly say: string
  readonly findings: readonly Finding[]
}

/** A step that was taken. */
export const stepOf = (id: StepId, say: string, findings: readonly Finding[] = []): DoctorStep => {
  const failed = findings.some(({ code }) => findingKinds[code].severity === 'error')
  return { id, result: failed ? 'fail' : findings.length > 0 ? 'warn' : 'pass', say, findings }
}

export const skipped = (id: StepId, say: string): DoctorStep => ({ id, result: 'skip', say, findings: [] })

const isStopped = (client: (typeof knownClients)[number], { code, clients }: Finding): boolean => {
  const { stops } = findingKinds[code]
  return clients?.includes(client.name) ?? (stops === 'all' || stops === client.needs)
}

/** Which clients the findings stop, and which they let pass. */
export const clientsBy = (
  findings: readonly Finding[],
): { readonly fail: readonly ClientName[]; readonly work: readonly ClientName[] } => {
  const stopped = (client: (typeof knownClients)[number]): boolean =>
    findings.some((finding) => isStopped(client, finding))
  return {
    fail: knownClients.filter(stopped).map(({ name }) => name),
    work: knownClients.filter((client) => !stopped(client)).map(({ name }) => name),
  }
}

/** What to mend first: the first error, or else the first warning. */
export const primaryOf = (steps: readonly DoctorStep[]): Finding | undefined => {
  const all = steps.flatMap(({ findings }) => findings)
  return all.find(({ code }) => findingKinds[code].severity === 'error') ?? all[0]
}
