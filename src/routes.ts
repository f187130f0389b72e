// The table of routes: every endpoint of the gateway that is not a proxied call, by path and method.
import { type AdminHandlers, type FlowHandlers, adminRoutes } from './admin/routes.ts'
import type { Connections } from './connections/connections.ts'
import { type Scim, scimRoutes } from './identity/scim.ts'
import type { SignIn } from './identity/sign-in.ts'
import type { TokensPage } from './oauth/tokens-page.ts'
import type { ConnectedApps } from './oauth/connected-apps.ts'
import type { Consent } from './oauth/consent.ts'
import { mostConsentBytes } from './oauth/consented.ts'
import type { DeviceHandlers } from './oauth/device-page.ts'
import type { MetadataHandlers } from './oauth/metadata.ts'
import type { Handler, Route } from './ports/modules.ts'
import { forwardAuthRoute } from './proxy/forward-auth.ts'
import type { ServicesList, Status } from './status.ts'

export interface Handlers extends AdminHandlers, FlowHandlers {
  readonly metadata: MetadataHandlers
  readonly register: Handler
  readonly manage: Handler
  readonly authorize: Handler
  readonly consent: Consent
  readonly connections: Connections
  readonly apps: ConnectedApps
  readonly accountTokens: TokensPage
  readonly token: Handler
  /** Where devices may ask (RFC 8628). */
  readonly device?: DeviceHandlers
  readonly revoke: Handler
  readonly introspect: Handler
  readonly signIn: SignIn
  readonly backChannelLogout: Handler
  readonly scim: Scim
  readonly status: Status
  readonly servicesList: ServicesList
  /** Where forward auth is configured. */
  readonly verify?: Handler
  readonly encode: Handler
  readonly assets: (path: string) => Response | undefined
}

const wellKnown = (name: string): string[] => [
  `/.well-known/${name}`,
  `/.well-known/${name}/*`,
  `/:service/mcp/.well-known/${name}`,
]

const metadataRoutes = (h: Handlers): readonly Route[] => [
  {
    paths: [...wellKnown('oauth-authorization-server'), ...wellKnown('openid-configuration')],
    description: 'Authorization server metadata (RFC 8414)',
    surface: 'json',
    cors: true,
    methods: { GET: h.metadata.authorizationServer },
    hosts: 'known',
  },
  {
    paths: wellKnown('oauth-protected-resource'),
    description:
      'Protected resource metadata of an MCP endpoint (RFC 9728). At the root, ?service_id= selects the service',
    surface: 'json',
    cors: true,
    methods: { GET: h.metadata.protectedResource },
    hosts: 'known',
  },
  {
    paths: ['/oauth/jwks', '/jwks'],
    description: 'Public signing keys (RFC 7517)',
    surface: 'json',
    cors: true,
    methods: { GET: h.metadata.jwks },
  },
  {
    paths: ['/audit/jwks'],
    description: 'Public keys of the signatures in the audit trail (RFC 7517), where one is kept',
    surface: 'json',
    cors: false,
    methods: { GET: h.status.auditKeys },
  },
]

const authorizationRoutes = (h: Handlers): readonly Route[] => [
  {
    paths: ['/oauth/authorize', '/authorize'],
    description: 'Authorization endpoint (RFC 6749, RFC 7636, RFC 8707, RFC 9207)',
    surface: 'page',
    cors: false,
    changesState: true,
    methods: { GET: h.authorize, POST: h.authorize },
    issuerOnly: true,
  },
  {
    paths: ['/oauth/consent'],
    description: 'Consent page, and the decision: flow, csrf, decision=allow or deny',
    surface: 'page',
    cors: false,
    changesState: true,
    methods: { GET: h.consent.page, POST: h.consent.decide },
    maxBody: mostConsentBytes,
  },
]

/** RFC 7591 and RFC 7592. */
const registrationRoutes = (h: Handlers): readonly Route[] => [
  {
    paths: ['/oauth/register', '/register'],
    description: 'Dynamic client registration (RFC 7591), JSON or form',
    surface: 'oauth',
    cors: true,
    methods: { POST: h.register },
  },
  {
    paths: ['/oauth/register/:id', '/register/:id'],
    description: 'Client configuration endpoint, with the registration access token (RFC 7592)',
    surface: 'oauth',
    cors: true,
    methods: { GET: h.manage, PUT: h.manage, DELETE: h.manage },
  },
]

/** RFC 8628. */
const deviceRoutes = (device: DeviceHandlers): readonly Route[] => [
  {
    paths: ['/oauth/device_authorization', '/oauth/device'],
    description: 'Device authorization endpoint (RFC 8628), where `device` is configured',
    surface: 'oauth',
    cors: true,
    methods: { POST: device.authorize },
  },
  {
    paths: ['/device'],
    description:
      'Page for the code that a device shows, where `device` is configured (csrf, user_code). ?user_code= fills it in',
    surface: 'page',
    cors: false,
    methods: { GET: device.page, POST: device.enter },
    issuerOnly: true,
  },
]

/** Endpoints that OAuth clients call themselves. */
const clientRoutes = (h: Handlers, registration: boolean): readonly Route[] => [
  {
    paths: ['/oauth/token', '/token'],
    description:
      'Token endpoint: authorization_code, refresh_token and, if a client has it, client_credentials, a device code or token exchange (RFC 8693)',
    surface: 'oauth',
    cors: true,
    methods: { POST: h.token },
  },
  ...(registration ? registrationRoutes(h) : []),
  {
    paths: ['/oauth/revoke', '/revoke'],
    description: 'Token revocation (RFC 7009)',
    surface: 'oauth',
    cors: true,
    methods: { POST: h.revoke },
  },
  {
    paths: ['/oauth/introspect', '/introspect'],
    description: 'Token introspection (RFC 7662)',
    surface: 'oauth',
    cors: true,
    methods: { POST: h.introspect },
  },
]

/** Users and their accounts at upstream servers. */
const accountRoutes = (h: Handlers): readonly Route[] => [
  {
    paths: ['/oauth/callback', '/oauth/callback/:provider', '/callback', '/authorize/callback'],
    description:
      'Redirect URI for identity providers. Register the first one with them, or the one in `redirect_path`',
    surface: 'page',
    cors: false,
    changesState: true,
    methods: {
      GET: (request, context) =>
        (h.connections.isReturn(request) ? h.connections.callback : h.signIn.callback)(request, context),
    },
  },
  {
    paths: ['/connect/callback/:id', '/connect/callback'],
    description:
      'Redirect URI for upstream authorization servers. Each has a separate one. The second is the one of version 0.1.0, which `redirect_uri` may still name',
    surface: 'page',
    cors: false,
    changesState: true,
    methods: { GET: h.connections.callback },
  },
  {
    paths: ['/connect/:service'],
    description:
      'Accounts page: a user’s accounts at the server behind a service (connect, choose, disconnect)',
    surface: 'page',
    cors: false,
    changesState: true,
    methods: { GET: h.connections.page, POST: h.connections.act },
    issuerOnly: true,
  },
  {
    paths: ['/oauth/start'],
    description: 'Also the accounts page. ?server= is the service ID or the host of its server',
    surface: 'page',
    cors: false,
    changesState: true,
    methods: { GET: h.connections.start },
    issuerOnly: true,
  },
  {
    paths: ['/oauth/client-metadata/:id', '/oauth/client-metadata.json'],
    description:
      'The gateway’s Client ID Metadata Document, one for each upstream authorization server. The second is the one of version 0.1.0',
    surface: 'json',
    cors: true,
    methods: { GET: h.connections.document },
  },
]

/** What users have allowed, and end. */
const ownAccessRoutes = (h: Handlers): readonly Route[] => [
  {
    paths: ['/account/apps'],
    description:
      'Connected apps: what a user has allowed, and how to end it (csrf, action=end with client, end-all or sign-out)',
    surface: 'page',
    cors: false,
    methods: { GET: h.apps.page, POST: h.apps.act },
    issuerOnly: true,
  },
  {
    paths: ['/account/tokens'],
    description:
      'Personal access tokens of a user: create one, which is shown once, and end them (csrf, action=create with the fields of the form, or end with token)',
    surface: 'page',
    cors: false,
    methods: { GET: h.accountTokens.page, POST: h.accountTokens.act },
    issuerOnly: true,
  },
]

const signInRoutes = (h: Handlers): readonly Route[] => [
  {
    paths: ['/login'],
    description: 'Sign-in page, and sign-in with username and password',
    surface: 'page',
    cors: false,
    changesState: true,
    methods: { GET: h.signIn.page, POST: h.signIn.password },
    issuerOnly: true,
  },
  {
    paths: ['/login/:provider'],
    description:
      'Sign-in page of one identity provider, for a service that needs a new sign-in (max_age), and start of a sign-in with it',
    surface: 'page',
    cors: false,
    changesState: true,
    methods: { GET: h.signIn.page, POST: h.signIn.begin },
    issuerOnly: true,
  },
  {
    paths: ['/oauth/backchannel-logout/:provider'],
    description: 'For identity providers: a user signed out there (OpenID Connect Back-Channel Logout 1.0)',
    surface: 'oauth',
    cors: false,
    methods: { POST: h.backChannelLogout },
  },
  {
    paths: ['/logout'],
    description: 'End the browser session',
    surface: 'page',
    cors: false,
    methods: { POST: h.signIn.logout },
  },
  {
    paths: ['/'],
    description:
      'JSON about the gateway for programs. The signed-in user’s services for browsers. ?t= opens a one-time sign-in link',
    surface: 'page',
    cors: false,
    methods: {
      GET: (request, context) =>
        (new URL(request.url).searchParams.has('t') ? h.signIn.link : h.status.home)(request, context),
    },
    issuerOnly: true,
  },
]

const statusRoutes = (h: Handlers): readonly Route[] => [
  {
    paths: ['/health'],
    description:
      'Status, version, storage and audit trail of the gateway, and the status of each service (unknown until its first call). 503 if the storage does not respond, never because of a service; degraded with 200 while the audit trail cannot be written, or records are in memory in place of the configured storage. With a single stdio server, also serverId and userId',
    surface: 'json',
    cors: false,
    methods: { GET: h.status.health },
    hosts: 'any',
  },
  {
    paths: ['/health/:service'],
    description:
      'Status of one service (same as /health?server=), with serverId and userId. 503 if its server is unreachable or its command cannot be started',
    surface: 'json',
    cors: false,
    methods: { GET: h.status.health },
    hosts: 'any',
  },
  {
    paths: ['/healthz'],
    description: 'Liveness check',
    surface: 'json',
    cors: false,
    methods: { GET: h.status.live },
    hosts: 'any',
  },
  {
    paths: ['/readyz'],
    description: 'Readiness check: 503 while draining or without storage',
    surface: 'json',
    cors: false,
    methods: { GET: h.status.ready },
    hosts: 'any',
  },
  {
    paths: ['/services'],
    description: 'List of services by ID. Includes their URLs for signed-in users and on a loopback gateway',
    surface: 'json',
    cors: true,
    methods: { GET: h.servicesList.services },
  },
  {
    paths: ['/services/:id'],
    description: 'One service, in the same form',
    surface: 'json',
    cors: true,
    methods: { GET: h.servicesList.service },
  },
  {
    paths: ['/encode'],
    description: 'Encoded hostname for a server’s domain (?domain=), as JSON or a page',
    surface: 'both',
    cors: false,
    methods: { GET: h.encode },
  },
]

/**
 * All routes. Aliases at the root serve clients that fall back to the default endpoints of MCP 2025-03-26.
 * `registration`: whether dynamic registration is open; otherwise its endpoints do not exist.
 */
export const routeTable = ({
  handlers,
  registration,
}: {
  readonly handlers: Handlers
  readonly registration: boolean
}): readonly Route[] => [
  ...metadataRoutes(handlers),
  ...authorizationRoutes(handlers),
  ...clientRoutes(handlers, registration),
  ...(handlers.device ? deviceRoutes(handlers.device) : []),
  ...accountRoutes(handlers),
  ...ownAccessRoutes(handlers),
  ...signInRoutes(handlers),
  ...statusRoutes(handlers),
  ...(handlers.verify ? [forwardAuthRoute(handlers.verify)] : []),
  ...scimRoutes(handlers.scim),
  ...adminRoutes(handlers),
]
