// What administrators ask for, the API and the page beside it: the handlers and their routes.
import type { Handler, Route, Sessions } from '../ports/modules.ts'
import type { BoundClients } from '../ports/people.ts'
import { type AccessApi, createAccessApi } from './access-api.ts'
import { type AuditApi, type AuditApiDeps, createAuditApi } from './audit-api.ts'
import { type AccessPage, type AccessPageDeps, createAccessPage } from './access-page.ts'
import { type Console, type ConsoleDeps, createConsole } from './console.ts'
import { openApiRoute } from './openapi.ts'
import { type ProgramsApi, createProgramsApi } from './programs-api.ts'
import { type ReplayApiDeps, createReplayApi } from './replay-api.ts'
import type { RulesAdmin } from './stored-rules.ts'
import {
  type ServicesApi,
  type ServicesApiDeps,
  createAuthorization,
  createServicesApi,
} from './services-api.ts'

export interface AdminHandlers {
  readonly services: ServicesApi
  readonly access: AccessApi
  readonly accessPage: AccessPage
  readonly audit: AuditApi
  readonly programs: ProgramsApi
  readonly replay: Handler
  readonly console: Console
}

export interface FlowHandlers {
  /** GET /api/flows?user=&client=&service=&state=&since=&limit=, /api/flows/:id */
  readonly flows: Handler
}

export const createAdminHandlers = (
  deps: ServicesApiDeps &
    ReplayApiDeps &
    AccessPageDeps &
    AuditApiDeps &
    ConsoleDeps & {
      readonly rules: RulesAdmin
      readonly apiSessions: Sessions
      readonly boundClients: BoundClients
    },
): AdminHandlers => {
  // Programs send a token to the API; the pages are for browsers.
  const api = { ...deps, sessions: deps.apiSessions }
  return {
    services: createServicesApi(api),
    access: createAccessApi(deps.accessAdmin, deps.rules, createAuthorization(api)),
    accessPage: createAccessPage(deps),
    audit: createAuditApi(api),
    programs: createProgramsApi(api, createAuthorization(api)),
    ...createReplayApi(api, createAuthorization(api)),
    console: createConsole(deps),
  }
}

/** Services and the processes behind them. */
const serviceRoutes = (h: AdminHandlers): readonly Route[] => [
  {
    paths: ['/api/services'],
    description:
      'For administrators: list services, add a service (token for the API, or session cookie and X-CSRF-Token)',
    surface: 'json',
    cors: false,
    methods: { GET: h.services.list, POST: h.services.add },
  },
  {
    paths: ['/api/services/:id'],
    description: 'For administrators: show a service, remove an added service',
    surface: 'json',
    cors: false,
    methods: { GET: h.services.show, DELETE: h.services.remove },
  },
  {
    paths: ['/api/processes'],
    description:
      'For administrators: processes of stdio servers, recent failures, and their standard error output',
    surface: 'json',
    cors: false,
    methods: { GET: h.services.processes },
  },
]

/** Who may use what, and its end. */
const accessRoutes = (h: AdminHandlers): readonly Route[] => [
  {
    paths: ['/api/grants', '/api/grants/:id'],
    description:
      'For administrators: list grants (?user=, ?client=, ?domain=, ?service=), show one, end one or those listed (?dry_run=1 only counts, ?revoke_upstream=1 also removes accounts at MCP servers)',
    surface: 'json',
    cors: false,
    methods: { GET: h.access.grants, DELETE: h.access.end },
  },
  {
    paths: ['/api/blocks'],
    description:
      'For administrators: list blocks, block a user, a client, the clients of a domain, or those of a user, unblock (?user=, ?client=, ?domain=)',
    surface: 'json',
    cors: false,
    methods: { GET: h.access.blocks, POST: h.access.block, DELETE: h.access.unblock },
  },
  {
    paths: ['/api/lock'],
    description:
      'For administrators: what is locked or disabled, lock the gateway (every MCP request gets 503), unlock it',
    surface: 'json',
    cors: false,
    methods: { GET: h.access.closures, PUT: h.access.close, DELETE: h.access.open },
  },
  {
    paths: ['/api/services/:id/disabled'],
    description: 'For administrators: disable a service (every MCP request to it gets 503), enable it',
    surface: 'json',
    cors: false,
    methods: { PUT: h.access.close, DELETE: h.access.open },
  },
  {
    paths: ['/api/sessions'],
    description: 'For administrators: end all browser sessions and personal access tokens of a user (?user=)',
    surface: 'json',
    cors: false,
    methods: { DELETE: h.access.signOut },
  },
  {
    paths: ['/account/access'],
    description:
      'Access page for administrators: grants (?user=, ?client=, ?service=) and blocks, and their end (csrf, action=end with grant, end-all, block or unblock with user or client, sign-out with user)',
    surface: 'page',
    cors: false,
    methods: { GET: h.accessPage.page, POST: h.accessPage.act },
    issuerOnly: true,
  },
]

/** Access rules beside those of the configuration, and others that might be. */
const ruleRoutes = (h: AdminHandlers): readonly Route[] => [
  {
    paths: ['/api/access'],
    description:
      'For administrators: list stored access rules, add one, remove parts of a record (?userId=, ?servers=, ?permissions=, ?groups=)',
    surface: 'json',
    cors: false,
    methods: { GET: h.access.rules, POST: h.access.addRule, DELETE: h.access.removeRule },
  },
  {
    paths: ['/api/access/:id'],
    description: 'For administrators: show a stored access rule, remove it',
    surface: 'json',
    cors: false,
    methods: { GET: h.access.rules, DELETE: h.access.removeRule },
  },
  {
    paths: ['/api/policy/replay'],
    description:
      'For administrators: what other access rules would have said of the calls in the audit trail',
    surface: 'json',
    cors: false,
    methods: { POST: h.replay },
  },
]

/** Programs: their accounts and tokens, and grants that come back by themselves. */
const programRoutes = ({ programs }: AdminHandlers): readonly Route[] => [
  {
    paths: ['/api/grants/:id/end'],
    description: 'For administrators: end a grant. One that needs no user comes back with its next request',
    surface: 'json',
    cors: false,
    methods: { POST: programs.endGrant },
  },
  {
    paths: ['/api/grants/:id/block'],
    description: 'For administrators: end a grant and keep its client out for this user',
    surface: 'json',
    cors: false,
    methods: { POST: programs.blockGrant },
  },
  {
    paths: ['/api/grants/:id/unblock'],
    description: 'For administrators: lift the block of a grant',
    surface: 'json',
    cors: false,
    methods: { POST: programs.unblockGrant },
  },
  {
    paths: ['/api/tokens'],
    description: 'For administrators: list personal access tokens (?user=)',
    surface: 'json',
    cors: false,
    methods: { GET: programs.tokens },
  },
  {
    paths: ['/api/tokens/:id'],
    description: 'For administrators: end a personal access token (?leaked=1: strangers know it)',
    surface: 'json',
    cors: false,
    methods: { DELETE: programs.endToken },
  },
  {
    paths: ['/api/client-bindings'],
    description:
      'For administrators: list the clients that registered themselves and act as service accounts, bind one, unbind one (?client=)',
    surface: 'json',
    cors: false,
    methods: { GET: programs.bindings, POST: programs.bind, DELETE: programs.unbind },
  },
  {
    paths: ['/api/assertion-issuers'],
    description: 'For administrators: list whose assertions are accepted, and for what',
    surface: 'json',
    cors: false,
    methods: { GET: programs.issuers },
  },
  {
    paths: ['/api/service-accounts', '/api/service-accounts/:id'],
    description: 'For administrators: list service accounts with their clients and last use, show one',
    surface: 'json',
    cors: false,
    methods: { GET: programs.accounts },
  },
]

/** What tools say of themselves. */
const toolRoutes = (h: AdminHandlers): readonly Route[] => [
  {
    paths: ['/api/tools'],
    description:
      'For administrators: list pinned tools and prompts (?service=, ?state=), show one with its definitions (?tool=, ?prompt=), approve or block one',
    surface: 'json',
    cors: false,
    methods: { GET: h.access.tools, POST: h.access.decide },
  },
]

const flowRoutes = ({ flows }: FlowHandlers): readonly Route[] => [
  {
    paths: ['/api/flows', '/api/flows/:id'],
    description:
      'List recorded flows, show one: for administrators all (?user=, ?client=, ?service=, ?state=, ?since=, ?limit=), for other users their own',
    surface: 'json',
    cors: false,
    methods: { GET: flows },
  },
]

const auditRoutes = ({ audit }: AdminHandlers): readonly Route[] => [
  {
    paths: ['/api/audit'],
    description:
      'Search the audit trail (?q=, ?limit=, ?cursor=): auditors all events, other users their own',
    surface: 'json',
    cors: false,
    methods: { GET: audit.search },
  },
  {
    paths: ['/api/audit/export'],
    description: 'Export events of the audit trail (?q=, ?format=jsonl or csv), oldest first',
    surface: 'json',
    cors: false,
    methods: { GET: audit.export },
  },
  {
    paths: ['/api/audit/bodies/:hash'],
    description: 'For auditors: arguments and result of a tool call, where its service keeps them',
    surface: 'json',
    cors: false,
    methods: { GET: audit.body },
  },
  {
    paths: ['/api/audit/verify'],
    description: 'For auditors: check that no event of the audit trail was changed or removed',
    surface: 'json',
    cors: false,
    methods: { POST: audit.verify },
  },
]

/** The pages of the console: where they are, what is on them, and whether they have forms. */
const consolePages: readonly (readonly [paths: readonly string[], description: string, acts: boolean])[] = [
  [['/console'], 'Console for administrators: overview (csrf, action=unlock)', true],
  [['/console/services'], 'Console: list of services (?q=, ?only=, ?page=)', false],
  [
    ['/console/add'],
    'Console: add services (csrf, action=add with source: a URL, a command or an mcpServers block; id), with each step of their check as it happens',
    true,
  ],
  [
    ['/console/services/:id'],
    'Console: one service (?tab=), and its end (csrf, action=disable, enable, or remove for one that was added)',
    true,
  ],
  [
    ['/console/access'],
    'Console: definitions of tools that changed, who may call which tool (?service=, ?set=), and why (?person=, ?tool=), the decision (csrf, action=approve with digest or block, service, kind, name), and changes (action=review or save)',
    true,
  ],
  [
    ['/console/people'],
    'Console: users with access (?q=, ?page=), one of them (?user=), and the end of access (csrf, action=end with grant, end-all, block, unblock or sign-out with user)',
    true,
  ],
  [
    ['/console/clients'],
    'Console: clients with access (?q=, ?page=), one of them (?client=), and the end of access (csrf, action=end with grant, end-all, block or unblock with client)',
    true,
  ],
  [
    ['/console/sessions'],
    'Console: browser sessions (?q=, ?page=), and the end of one (csrf, action=end with session)',
    true,
  ],
  [
    ['/console/connections'],
    'Console: accounts of users at MCP servers (?q=, ?only=needs-user, ?page=), and the end of one (csrf, action=end with connection, account)',
    true,
  ],
  [['/console/search'], 'Console: services, users, clients, flows and pages that match (?q=)', false],
  [
    ['/console/tokens'],
    'Console: personal access tokens (?q=, ?page=), and the end of one (csrf, action=end with token, leaked)',
    true,
  ],
  [
    ['/console/accounts'],
    'Console: service accounts, issuers of assertions, and what becomes of one (csrf, action=test with assertion, client_id, resource, scope; action=bind or unbind with client, account)',
    true,
  ],
  [
    ['/console/activity'],
    'Console: search of the audit trail (?q=, ?period=, ?from=), and one event (?row=)',
    false,
  ],
  [
    ['/console/flows', '/console/flows/:id'],
    'Console: recorded flows (?state=, ?service=, ?user=, ?client=, ?stopped=), one step by step',
    false,
  ],
  [
    ['/console/settings'],
    'Console: what is set and where it came from, and tests (csrf, action=test with key: issuer, oauth_providers.ID)',
    true,
  ],
]

const consoleRoutes = ({ console }: AdminHandlers): readonly Route[] =>
  consolePages.map(([paths, description, acts]) => ({
    paths,
    description,
    surface: 'page',
    cors: false,
    methods: { GET: console.page, ...(acts && { POST: console.act }) },
    issuerOnly: true,
  }))

export const adminRoutes = (h: AdminHandlers & FlowHandlers): readonly Route[] => {
  const api = [
    ...serviceRoutes(h),
    ...accessRoutes(h),
    ...ruleRoutes(h),
    ...programRoutes(h),
    ...flowRoutes(h),
    ...toolRoutes(h),
    ...auditRoutes(h),
  ]
  return [...api, openApiRoute(api), ...consoleRoutes(h)]
}
