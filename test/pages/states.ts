// Every page in every state worth looking at, as data: the browser tests walk it, the preview serves it.
import { type RefusalCode, refusals } from '../../src/kit/refusal.ts'
import { problemFor, problems } from '../../src/pages/problem-texts.ts'
import type {
  AccessView,
  AccountTokensView,
  ClientView,
  ConnectUpstreamView,
  ConnectedAppsView,
  ConsentLevels,
  ConsentView,
  HomeView,
  LoginView,
  Pages,
} from '../../src/ports/pages.ts'

export const requestId = '01JZ8Q4T6V9KX2M7'

export const claude: ClientView = {
  id: 'https://claude.ai/oauth/claude-code-client-metadata',
  name: 'Claude Code',
  kind: 'document',
  host: 'claude.ai',
}
const chatGpt: ClientView = {
  id: 'https://chatgpt.com/oauth/client.json',
  name: 'ChatGPT',
  kind: 'document',
  host: 'chatgpt.com',
}
const cursor: ClientView = { id: 'c_7Q4zM1', name: 'Cursor', kind: 'dynamic' }
const portal: ClientView = { id: 'team-portal', name: 'Team Portal', kind: 'registered' }

export const ana = {
  provider: 'google',
  subject: '1138',
  name: 'Ana Example',
  email: 'ana@example.com',
  groups: ['engineering'],
}

export const jira = {
  id: 'jira',
  name: 'Jira tools',
  description: 'Issues, boards and comments of the team.',
  resource: 'https://mcp.example.com/jira/mcp',
}

const hosted = {
  uri: 'https://chatgpt.com/connector/oauth/v1_9b2e7a60',
  host: 'chatgpt.com',
  loopback: false,
  native: false,
}

export const consent: ConsentView = {
  client: chatGpt,
  redirect: hosted,
  service: jira,
  person: ana,
  scopes: [{ name: 'mcp', fresh: true }],
  staysMs: 30 * 86_400_000,
  flow: 'f_Zk3',
  csrf: 'x9f2',
  switchAccount: '/login?flow=f_Zk3&switch=1',
}

const loopback = {
  uri: 'http://localhost:3118/callback',
  host: 'localhost:3118',
  loopback: true,
  native: false,
}
const native = {
  uri: 'cursor://anysphere.cursor-mcp/oauth/callback',
  host: 'cursor:',
  loopback: false,
  native: true,
}

const jiraTools = [
  ['search_issues', 'Find issues with JQL', 'read'],
  ['get_issue', 'Read one issue with its comments', 'read'],
  ['list_projects', 'List the projects you can see', 'read'],
  ['list_boards', 'List boards', 'read'],
  ['create_issue', 'Create an issue', 'write'],
  ['update_issue', 'Change fields of an issue', 'write'],
  ['transition_issue', 'Move an issue to another status', 'write'],
  ['add_comment', 'Comment as you', 'write'],
  ['delete_issue', 'Delete an issue for good', 'execute'],
  ['delete_comment', 'Delete a comment for good', 'execute'],
] as const

/** Of a person who may write. */
export const writer: ConsentLevels = {
  more: false,
  ceiling: 'write',
  chosen: 'write',
  tools: jiraTools.map(([name, about, need]) => ({
    name,
    about,
    need,
    ticked: need !== 'execute',
    ...(need === 'execute' && {
      locked: { allowed: false, code: 'policy.permission', need, have: 'write' } as const,
    }),
  })),
}

/** Of a person who may everything. */
export const administrator: ConsentLevels = {
  more: false,
  ceiling: 'admin',
  chosen: 'write',
  tools: [
    ...jiraTools.map(([name, about, need]) => ({ name, about, need, ticked: need !== 'execute' })),
    { name: 'purge_project', about: 'Remove a project and all of its issues', need: 'admin', ticked: false },
    {
      name: 'export_all',
      need: 'read',
      ticked: false,
      locked: { allowed: false, code: 'policy.denied', reason: 'Nobody takes everything along.' },
    },
  ],
}

/** Names that would fool a reader, a parser or a layout. */
export const hostileNames = {
  markup: '<img src=x onerror=alert(1)><script>alert(2)</script>',
  override: 'Claude \u202Egro.live\u202C\u2066\u200B\u200F official',
  zalgo: `C${'\u0301\u0310\u0322'.repeat(40)}laude`,
  lookalike: '\u0421laude',
  lines: `Claude${'\n'.repeat(200)}Verified by your administrator`,
  badge: '\u2713 Verified domain claude.ai \u{1F512}',
  long: 'Claude '.repeat(1500),
  unbroken: 'W'.repeat(10_000),
  arabic: '\u0645\u0633\u0627\u0639\u062F \u0627\u0644\u0628\u0631\u0645\u062C\u0629',
  empty: '\u200B\u2060 \u00AD',
} as const

export const hostile = (name: string): ConsentView => ({
  ...consent,
  client: { id: `x"><b>${name}`.slice(0, 400), name, kind: 'dynamic' },
  redirect: {
    uri: `https://claude.ai.${'long-'.repeat(30)}evil.example/cb?${'a=%22%3E&'.repeat(150)}"><script>`,
    host: `claude.ai.${'long-'.repeat(30)}evil.example`,
    loopback: false,
    native: false,
  },
  service: { ...jira, name: `Jira ${name}`.slice(0, 3000), description: name },
  person: { ...ana, name, email: `${name}@example.com` },
  scopes: [
    { name: 'mcp', fresh: true },
    { name: `"><i>${name}`.slice(0, 200), fresh: true },
  ],
})

const login: LoginView = {
  providers: [],
  password: false,
  link: false,
  hidden: { flow: 'f_Zk3', csrf: 'x9f2' },
}
const asking = { client: cursor, service: 'Jira tools' }
const google = { id: 'google', name: 'Google' }

const served = { ...jira, url: jira.resource, authRequired: true }
const demo = {
  id: 'demo',
  name: 'Demo',
  description: 'A small MCP server to try things with.',
  url: 'http://localhost:8080/demo/mcp',
  authRequired: true,
}
const home: HomeView = {
  person: ana,
  csrf: 'x9f2',
  services: [served],
  reachable: true,
  encodes: false,
  admin: false,
}

const connected = {
  name: 'default',
  issuer: 'https://auth.jira.example.com',
  scopes: ['read:issues', 'write:issues', 'offline_access'],
  wanted: [],
  connectedAt: Date.UTC(2026, 10, 3),
  renewedAt: Date.UTC(2026, 10, 19),
  ended: false,
  chosen: true,
}
const connecting: ConnectUpstreamView = {
  service: jira,
  host: 'mcp.jira.example.com',
  asks: 'account',
  introduces: true,
  person: ana,
  csrf: 'x9f2',
  switchAccount: '/login?switch=1&return_to=%2Fconnect%2Fjira',
  accounts: [],
}

const connectStates = (pages: Pages) => {
  const show = (view: Partial<ConnectUpstreamView>) => () => pages.connectUpstream({ ...connecting, ...view })
  return {
    'connect-upstream-first': show({ returnTo: '/oauth/consent?flow=f_Zk3' }),
    'connect-upstream-open': show({ asks: 'open' }),
    'connect-upstream-optional': show({ asks: 'optional' }),
    'connect-upstream-unknown': show({ asks: 'unknown' }),
    'connect-upstream-one': show({ accounts: [connected] }),
    'connect-upstream-several': show({
      accounts: [connected, { ...connected, name: 'Work', chosen: false, scopes: [] }],
    }),
    'connect-upstream-ended': show({
      accounts: [{ ...connected, ended: true }],
      returnTo: '/oauth/consent?flow=f_Zk3',
    }),
    'connect-upstream-wanted': show({ accounts: [{ ...connected, wanted: ['admin:issues'] }] }),
    'connect-upstream-hostile': show({
      service: { ...jira, name: hostileNames.markup, description: hostileNames.lines },
      host: `${'long-'.repeat(30)}evil.example`,
      person: { ...ana, name: hostileNames.override },
      accounts: [
        {
          ...connected,
          name: hostileNames.markup,
          issuer: `https://x/"><script>`,
          scopes: Array.from({ length: 40 }, () => '"><i>scope'),
          wanted: [hostileNames.unbroken],
        },
      ],
      returnTo: '//evil.example',
    }),
  }
}

const apps: ConnectedAppsView['apps'] = [
  {
    client: claude,
    redirects: ['localhost:3118'],
    services: ['Jira tools', 'Files'],
    since: Date.UTC(2026, 10, 3),
    lastUsed: Date.UTC(2026, 10, 29),
    from: '198.51.100.7',
  },
  {
    client: cursor,
    redirects: ['cursor:'],
    services: ['GitHub'],
    since: Date.UTC(2026, 8, 9),
    lastUsed: Date.UTC(2026, 10, 27),
    from: '2001:db8:12:34::/64',
  },
  {
    client: portal,
    redirects: ['portal.example.com'],
    services: ['Jira tools'],
    since: Date.UTC(2026, 7, 1),
  },
]

const appsStates = (pages: Pages) => {
  const show = (those: ConnectedAppsView['apps']) => () =>
    pages.connectedApps({
      person: ana,
      csrf: 'x9f2',
      switchAccount: '/login?switch=1&return_to=%2Faccount%2Fapps',
      apps: those,
    })
  const made = (name: string) => ({
    client: { id: `x"><b>${name}`.slice(0, 400), name, kind: 'dynamic' as const },
    redirects: [`claude.ai.${'long-'.repeat(30)}evil.example`, `"><script>`, 'a', 'b'],
    services: Array.from({ length: 20 }, () => name),
    since: 0,
    lastUsed: 0,
    from: name,
  })
  return {
    'apps-none': show([]),
    'apps-one': show(apps.slice(0, 1)),
    'apps-several': show(apps),
    'apps-device': show([
      {
        client: { id: 'postern-cli', name: 'Postern CLI', kind: 'registered' },
        redirects: [],
        device: { from: '198.51.100.7', approvedFrom: '203.0.113.20' },
        services: ['Jira tools'],
        since: Date.UTC(2026, 10, 29),
      },
    ]),
    'apps-hostile': show(Object.values(hostileNames).map(made)),
  }
}

const tokens: AccountTokensView['tokens'] = [
  {
    id: 'o0ZldFXcCFxA',
    name: 'Nightly report',
    user: 'google:1138',
    kind: 'personal',
    services: ['Jira tools', 'Files'],
    permission: 'read',
    createdAt: Date.UTC(2026, 10, 4),
    expiresAt: Date.UTC(2026, 11, 4),
    lastUsedAt: Date.UTC(2026, 10, 29, 3),
  },
  {
    id: 'Qk2dFXcC0ZlA',
    name: 'Tests',
    user: 'google:1138',
    kind: 'test',
    services: ['Files'],
    permission: 'execute',
    createdAt: Date.UTC(2026, 10, 30),
    expiresAt: Date.UTC(2026, 10, 30, 1),
  },
]

const tokenForm: NonNullable<AccountTokensView['form']> = {
  id: 'Zz0ZldFXcCFx',
  services: [
    { id: 'jira', name: 'Jira tools', ruled: true, level: 'write' },
    { id: 'files', name: 'Files', ruled: true, level: 'execute' },
  ],
  permissions: ['read', 'write', 'execute'],
  lifetimes: [3600, 86_400, 7 * 86_400, 30 * 86_400, 90 * 86_400],
  name: '',
  chosen: [],
  permission: 'read',
  lifetime: 30 * 86_400,
}

const tokenStates = (pages: Pages) => {
  const show = (more: Partial<AccountTokensView>) => () =>
    pages.accountTokens({
      person: ana,
      csrf: 'x9f2',
      switchAccount: '/login?switch=1&return_to=%2Faccount%2Ftokens',
      now: Date.UTC(2026, 10, 30),
      tokens,
      form: tokenForm,
      ...more,
    })
  const again = { form: undefined as never, signInAgain: '/login?switch=1&return_to=%2Faccount%2Ftokens' }
  const made = {
    token: 'ppat_o0ZldFXcCFxA_QxUOqmVkPhuYucox6uK7RvZjWFaDWLrb03SgSt',
    name: 'Nightly report',
    expiresAt: Date.UTC(2026, 11, 4),
    service: 'jira',
    url: jira.resource,
  }
  const hostile = Object.values(hostileNames)
  return {
    'tokens-none': show({ tokens: [] }),
    'tokens-several': show({}),
    'tokens-again': show(again),
    'tokens-made': show({ made }),
    'tokens-problem': show({
      form: {
        ...tokenForm,
        name: 'Nightly report',
        chosen: ['jira', 'files'],
        permission: 'execute',
        problem: 'At jira this user has no more than write access.',
      },
    }),
    'tokens-hostile': show({
      tokens: hostile.map((name, i) => ({
        ...(tokens[0] as (typeof tokens)[number]),
        id: `Hh0ZldFXc${String(i).padStart(3, '0')}`,
        name,
        services: Array.from({ length: 20 }, () => name),
      })),
      made: { ...made, name: hostile[0] ?? '', url: `https://mcp.example.com/${'long-'.repeat(30)}/mcp` },
      note: hostile.join(' '),
      form: {
        ...tokenForm,
        name: hostile.join('"><b>'),
        problem: hostile.join(' '),
        services: hostile.map((name, i) => ({ id: `s${i}`, name, ruled: true, level: 'read' as const })),
      },
    }),
  }
}

const accessGrants: AccessView['grants'] = [
  {
    id: 'q7Gk1dDhBq2vZ8x0mT4sYw7nRcE5uLpJ',
    user: 'google:1032',
    email: 'ana@example.com',
    client: 'https://claude.ai/oauth/client.json',
    client_name: 'Claude',
    client_kind: 'document',
    service: 'jira',
    resource: 'https://mcp.example.com/jira/mcp',
    scopes: ['mcp:read', 'mcp:write'],
    kind: 'code',
    redirect_host: 'claude.ai',
    created_at: '2026-11-03T09:12:00.000Z',
    last_used_at: '2026-11-29T14:01:07.000Z',
    last_used_from: '160.79.104.12',
  },
  {
    id: 'Gk1dDhBq2vZ8x0mT4sYw7nRcE5uLpJ3f',
    user: 'local:ben',
    client: 'client_Zk3xQ1bT7vR9mW2nY5cJ8A',
    client_name: 'Cursor',
    client_kind: 'dynamic',
    service: 'files',
    resource: 'https://mcp.example.com/files/mcp',
    scopes: [],
    kind: 'code',
    redirect_host: 'cursor:',
    created_at: '2026-09-09T18:40:00.000Z',
    last_used_at: '2026-11-27T08:15:00.000Z',
    last_used_from: 'loopback',
  },
  {
    id: 'h2vZ8x0mT4sYw7nRcE5uLpJ3fGk1dDhB',
    user: 'local:ben',
    client: 'portal',
    client_name: 'Portal',
    client_kind: 'registered',
    resource: 'https://mcp.example.com/reports/mcp',
    scopes: ['mcp:read'],
    kind: 'code',
    redirect_host: 'portal.example.com',
    created_at: '2026-08-01T07:00:00.000Z',
  },
  {
    id: 'k2vZ8x0mT4sYw7nRcE5uLpJ3fGk1dDhB',
    user: 'service:nightly',
    client: 'nightly-job',
    client_name: 'Nightly job',
    client_kind: 'registered',
    service: 'jira',
    resource: 'https://mcp.example.com/jira/mcp',
    scopes: ['mcp', 'mcp:read'],
    kind: 'client_credentials',
    redirect_host: '',
    created_at: '2026-11-01T07:00:00.000Z',
  },
]

const accessStates = (pages: Pages) => {
  const show =
    (more: Partial<AccessView> = {}) =>
    () =>
      pages.access({
        person: ana,
        csrf: 'x9f2',
        filter: {},
        services: [
          { id: 'files', name: 'Files' },
          { id: 'jira', name: 'Jira tools' },
        ],
        total: { grants: 3, users: 2, clients: 3, more: false },
        grants: accessGrants,
        page: { at: 1, count: 1 },
        blocks: [],
        ...more,
      })
  const made = (name: string, i: number): AccessView['grants'][number] => ({
    ...accessGrants[0]!,
    id: `"><b>${i}`,
    user: name,
    email: name,
    client: `x"><b>${name}`,
    client_name: name,
    service: name,
    scopes: Array.from({ length: 20 }, () => name),
    kind: 'code',
    redirect_host: `claude.ai.${'long-'.repeat(30)}evil.example`,
    last_used_from: name,
  })
  const hostile = Object.values(hostileNames)
  return {
    'access-none': show({ grants: [], total: { grants: 0, users: 0, clients: 0, more: false } }),
    'access-all': show({
      page: { at: 2, count: 20 },
      total: { grants: 1000, users: 214, clients: 38, more: true },
      blocks: [
        { user: 'deniz@example.com', by: 'google:1032', at: Date.UTC(2026, 10, 20) },
        { client: 'https://app.example/client.json', by: 'cli', at: Date.UTC(2026, 10, 21) },
      ],
    }),
    'access-user': show({
      filter: { user: 'local:ben' },
      grants: accessGrants.slice(1),
      total: { grants: 2, users: 1, clients: 2, more: false },
    }),
    'access-nothing-found': show({
      filter: { user: 'local:nobody', client: 'x', service: 'jira' },
      grants: [],
      total: { grants: 0, users: 0, clients: 0, more: false },
    }),
    'access-hostile': show({
      filter: { user: hostileNames.unbroken, client: hostileNames.markup, service: hostileNames.override },
      services: hostile.map((name) => ({ id: name, name })),
      grants: hostile.map(made),
      blocks: hostile.map((name) => ({ user: name, client: name, by: name, at: 0 })),
    }),
  }
}

const problemState =
  (pages: Pages, code: RefusalCode, more: Partial<Parameters<Pages['problem']>[0]> = {}) =>
  () =>
    pages.problem({
      ...problemFor(code, refusals[code].say),
      status: refusals[code].status,
      facts: [],
      requestId,
      ...more,
    })

const device = { askedAt: Date.UTC(2026, 10, 29, 12, 4), from: '198.51.100.7', elsewhere: true }
const onDevice: ConsentView = (() => {
  const { redirect: _, ...rest } = consent
  return { ...rest, client: { id: 'postern-cli', name: 'Postern CLI', kind: 'registered' } }
})()

const deviceStates = (pages: Pages) => {
  const shown = { person: ana, csrf: 'c_1', switchAccount: '/login?switch=1&return_to=%2Fdevice' }
  const client: ClientView = { id: 'postern-cli', name: 'Postern CLI', kind: 'registered' }
  return {
    'device': () => pages.device({ ...shown, linked: false }),
    'device-linked': () => pages.device({ ...shown, code: 'WDJB-MJHT', linked: true }),
    'device-wrong': () =>
      pages.device({
        ...shown,
        code: 'WDJB-MJHT',
        linked: false,
        problem: refusals['device.code'].say,
      }),
    'copy-redirect': () =>
      pages.copyRedirect({
        client: claude,
        href: `http://localhost:3118/callback?code=pc_${'x7Gk1dDhBq2vZ8x0mT4sYw7nRcE5uLpJ'.repeat(2)}&state=s_81&iss=https%3A%2F%2Fmcp.example.com`,
      }),
    'device-allowed': () => pages.deviceDone({ client, allowed: true }),
    'device-denied': () => pages.deviceDone({ client, allowed: false }),
  }
}

const consentStates = (pages: Pages) => {
  const show = (view: ConsentView) => () => pages.consent(view)
  return {
    'consent-document': show(consent),
    'consent-loopback': show({ ...consent, client: claude, redirect: loopback }),
    'consent-dynamic-native': show({ ...consent, client: cursor, redirect: native }),
    'consent-registered': show({
      ...consent,
      client: portal,
      redirect: {
        ...hosted,
        uri: 'https://portal.example.com/oauth/done',
        host: 'portal.example.com',
      },
    }),
    'consent-upstream': show({ ...consent, upstream: { host: 'mcp.jira.example.com' } }),
    'consent-step-up': show({
      ...consent,
      scopes: [
        { name: 'mcp', fresh: false },
        { name: 'jira:write', fresh: true },
        { name: 'offline_access', fresh: true },
      ],
    }),
    'consent-short': (() => {
      const { staysMs: _, ...rest } = consent
      return show({
        ...rest,
        accessMs: 3_600_000,
        person: { provider: 'local', subject: 'owner', groups: [] },
      })
    })(),
    'consent-elsewhere': show({
      ...consent,
      redirect: { uri: 'https://relay.example/cb', host: 'relay.example', loopback: false, native: false },
    }),
    'consent-other-computer': show({ ...consent, client: claude, redirect: loopback, copyable: true }),
    'consent-device': show({ ...onDevice, device: { ...device, elsewhere: false } }),
    'consent-device-elsewhere': show({ ...onDevice, device }),
    'consent-device-levels': show({ ...onDevice, device, access: writer }),
    'consent-levels': show({ ...consent, client: claude, redirect: loopback, access: writer }),
    'consent-levels-admin': show({ ...consent, access: administrator }),
    'consent-levels-reader': show({
      ...consent,
      access: {
        ...writer,
        ceiling: 'read',
        chosen: 'read',
        tools: writer.tools.map((tool) =>
          tool.need === 'read'
            ? tool
            : { ...tool, ticked: false, locked: { allowed: false, code: 'policy.permission', have: 'read' } },
        ),
      },
    }),
    'consent-levels-unknown': show({
      ...consent,
      client: cursor,
      redirect: native,
      access: { ...writer, ceiling: 'execute', tools: [] },
    }),
    'consent-levels-more': show({
      ...consent,
      client: { ...cursor, name: 'Relay' },
      redirect: {
        ...hosted,
        uri: 'https://relay.example.org/oauth/callback',
        host: 'relay.example.org',
      },
      scopes: [{ name: 'mcp', fresh: false }],
      again: 'same',
      access: {
        ...writer,
        more: true,
        before: 'read',
        tools: writer.tools.filter(({ need }) => need !== 'execute'),
      },
    }),
    'consent-levels-more-destructive': show({
      ...consent,
      scopes: [{ name: 'mcp', fresh: false }],
      again: 'same',
      access: { ...administrator, more: true, before: 'write', chosen: 'execute', ceiling: 'execute' },
    }),
    'consent-levels-hostile': show({
      ...hostile(hostileNames.override),
      access: {
        ...administrator,
        tools: Object.values(hostileNames).map((name, i) => ({
          name: name.slice(0, 250),
          about: name,
          need: (['read', 'write', 'execute', 'admin'] as const)[i % 4] ?? 'read',
          ticked: false,
          ...(i % 3 === 0 && { locked: { allowed: false, code: 'policy.denied', reason: name } as const }),
        })),
      },
    }),
    'consent-many-scopes': show({
      ...consent,
      scopes: Array.from({ length: 14 }, (_, i) => ({ name: `jira:area-${i}:read`, fresh: i > 2 })),
    }),
    ...Object.fromEntries(
      Object.entries(hostileNames).map(([kind, name]) => [`consent-hostile-${kind}`, show(hostile(name))]),
    ),
  }
}

const loginStates = (pages: Pages) => {
  const show = (view: LoginView) => () => pages.login(view)
  return {
    'login-password': show({ ...login, password: true }),
    'login-password-wrong': show({
      ...login,
      asking,
      password: true,
      problem: 'Invalid credentials. Check the username and the password, then try again.',
      username: 'ana',
    }),
    'login-provider': show({ ...login, asking, providers: [google] }),
    'login-last-used': show({
      ...login,
      asking,
      providers: [google, { id: 'entra', name: 'Entra ID' }],
      lastUsed: 'entra',
      password: true,
    }),
    'login-everything': show({
      ...login,
      asking,
      providers: [google, { id: 'entra', name: 'Entra ID' }],
      password: true,
      link: true,
    }),
    'login-link': show({ ...login, asking: { client: claude, service: 'Demo' }, link: true }),
    'login-nobody': show(login),
    'login-hostile': show({
      ...login,
      asking: {
        client: { id: 'x', name: hostileNames.markup, kind: 'dynamic' },
        service: hostileNames.unbroken,
      },
      providers: [{ id: 'a/b"', name: hostileNames.markup }],
      password: true,
      problem: hostileNames.markup,
      username: hostileNames.markup,
    }),
  }
}

const encodedHost = 'nvrxaltborwgc43tnfqw4ltdn5wq-enc.example.com'
const atlassian = {
  id: 'jira',
  name: 'Jira tools',
  url: `https://${encodedHost}/v1/mcp`,
  sse: `https://${encodedHost}/v1/sse`,
}

/** State name → a fresh response for it. */
export const pageStates = (pages: Pages): Readonly<Record<string, () => Response>> => ({
  ...consentStates(pages),
  ...deviceStates(pages),
  ...loginStates(pages),
  ...connectStates(pages),
  'home-one': () =>
    pages.home({
      ...home,
      services: [demo],
      reachable: false,
      person: { provider: 'local', subject: 'owner', groups: [] },
    }),
  'home-many': () =>
    pages.home({
      ...home,
      encodes: true,
      services: [
        { ...served, account: 'ended' },
        { ...served, id: 'drive', name: 'Drive', account: 'live' },
        { ...demo, url: 'https://mcp.example.com/demo/mcp', account: 'missing' },
        {
          ...served,
          id: 'docs',
          name: 'Public docs',
          description: '',
          url: 'https://mcp.example.com/docs/mcp',
          authRequired: false,
        },
      ],
    }),
  'home-none': () => pages.home({ ...home, services: [] }),
  'home-no-match': () => pages.home({ ...home, query: hostileNames.markup }),
  connect: () => pages.connect({ service: served, reachable: true }),
  'connect-public': () => pages.connect({ service: { ...demo, authRequired: false }, reachable: false }),
  encode: () => pages.encode({ asked: '' }),
  'encode-served': () =>
    pages.encode({
      asked: 'mcp.atlassian.com',
      domain: 'mcp.atlassian.com',
      host: encodedHost,
      served: [atlassian],
    }),
  'encode-several': () =>
    pages.encode({
      asked: 'mcp.atlassian.com',
      domain: 'mcp.atlassian.com',
      host: encodedHost,
      served: [
        atlassian,
        {
          id: 'other',
          name: hostileNames.markup,
          url: 'https://other-enc.example.com/v1/mcp',
          sse: undefined,
        },
      ],
    }),
  ...appsStates(pages),
  ...tokenStates(pages),
  ...accessStates(pages),
  'encode-not-served': () =>
    pages.encode({
      asked: 'evil.test',
      domain: 'evil.test',
      host: 'mv3gs3boorsxg5a-enc.example.com',
      served: [],
    }),
  'encode-hostile': () =>
    pages.encode({ asked: hostileNames.markup, problem: 'Enter a public domain such as mcp.example.com.' }),
  'go-back': () =>
    pages.goBack({
      client: cursor,
      href: `${native.uri}?code=pc_x.y&state=s&iss=https%3A%2F%2Fmcp.example.com`,
    }),
  'go-back-denied': () => pages.goBack({ client: cursor, href: `${native.uri}?error=access_denied&state=s` }),
  'go-back-unsafe': () =>
    pages.goBack({
      client: { ...cursor, name: hostileNames.markup },
      href: 'javascript:alert(document.domain)',
    }),
  ...Object.fromEntries(
    (Object.keys(problems) as RefusalCode[]).map((code) => [`problem-${code}`, problemState(pages, code)]),
  ),
  'problem-redirect-facts': problemState(pages, 'redirect.mismatch', {
    facts: [
      { name: 'Client', value: 'c_7Q4zM1' },
      { name: 'Registered', value: 'https://app.example/oauth/callback' },
      { name: 'Registered', value: 'http://127.0.0.1/callback' },
      { name: 'Requested', value: 'http://127.0.0.1/callbacks' },
    ],
  }),
  'problem-hostile': problemState(pages, 'person.not-allowed', {
    what: hostileNames.markup,
    facts: [
      { name: hostileNames.override, value: hostileNames.unbroken },
      { name: 'Sent', value: `https://x/${hostileNames.markup}` },
    ],
    onward: { label: 'On', href: '//evil.example' },
  }),
  'problem-unknown': () =>
    pages.problem({
      ...problemFor('future.code', 'A sentence of a code that this catalogue does not know.'),
      status: 400,
      facts: [],
      requestId,
    }),
})
