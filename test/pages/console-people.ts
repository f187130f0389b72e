// The pages of the console about who has access in the states worth looking at.
import type {
  ConnectionRow,
  ConnectionsView,
  ConsolePages,
  HolderSummary,
  HoldersView,
  PersonService,
} from '../../src/ports/console.ts'
import type { ListedGrant, ListedToken } from '../../src/ports/people.ts'
import { calm, frame, minutes } from './console-frame.ts'
import { ana, hostileNames } from './states.ts'

const grant: ListedGrant = {
  id: 'g_4hX2',
  user: 'google:1138',
  email: 'ana@example.com',
  client: 'https://claude.ai/oauth/claude-code-client-metadata',
  client_name: 'Claude Code',
  client_kind: 'document',
  service: 'jira',
  resource: 'https://mcp.example.com/jira/mcp',
  scopes: ['mcp'],
  kind: 'code',
  redirect_host: 'localhost:3118',
  created_at: new Date(minutes(9000)).toISOString(),
  last_used_at: new Date(minutes(18)).toISOString(),
  last_used_from: '198.51.100.0/24',
}
const unused: ListedGrant = {
  id: 'g_4hX3',
  user: grant.user,
  client: 'c_7Q4zM1',
  client_name: 'Cursor',
  client_kind: 'dynamic',
  resource: 'https://mcp.example.com/old/mcp',
  scopes: [],
  kind: 'code',
  redirect_host: 'cursor:',
  created_at: new Date(minutes(3000)).toISOString(),
}

const person: HolderSummary = {
  id: 'google:1138',
  name: 'ana@example.com',
  detail: 'google:1138',
  ids: [grant.client],
  others: 3,
  services: ['Files', 'GitHub', 'Jira tools'],
  grants: 4,
  lastUsed: minutes(18),
  blocked: false,
}
const client: HolderSummary = {
  ...person,
  id: 'c_7Q4zM1',
  name: 'Claude',
  detail: 'claude.ai',
  kind: 'dynamic',
  ids: Array.from({ length: 42 }, (_, i) => `c_${i}`),
}
const people: HoldersView = {
  side: 'people',
  found: [
    person,
    { ...person, id: 'local:ben', name: 'ben', detail: 'local:ben', blocked: true, services: ['Files'] },
  ],
  count: 2,
  page: { at: 1, count: 1 },
  more: false,
  blocks: [{ user: 'local:ben', by: 'cli', at: minutes(60) }],
}
const clients: HoldersView = {
  ...people,
  side: 'clients',
  found: [
    client,
    { ...client, id: grant.client, name: 'Claude Code', kind: 'document', ids: [grant.client] },
  ],
  page: { at: 2, count: 3 },
  more: true,
  blocks: [
    { domain: 'evil.example', by: 'local:ana', at: minutes(60) },
    { client: 'c_bad', by: 'local:ana', at: minutes(60) },
  ],
}

const services: readonly PersonService[] = [
  { id: 'files', name: 'Files', tools: 9, allowed: 9, because: 'open' },
  { id: 'docs', name: 'Docs search', tools: 2, allowed: 2, because: 'public' },
  { id: 'jira', name: 'Jira tools', tools: 14, allowed: 7, because: 'rules' },
  { id: 'github', name: 'GitHub', tools: 22, allowed: 0, because: 'denied', rule: 'policy.service' },
  { id: 'hr', name: 'HR', tools: 0, allowed: 0, because: 'provider' },
]

const hostileGrant: ListedGrant = {
  ...grant,
  user: `local:${hostileNames.markup}`,
  client: hostileNames.unbroken,
  client_name: hostileNames.override,
  redirect_host: hostileNames.unbroken,
  scopes: [hostileNames.unbroken],
}
const hostileHolder: HolderSummary = {
  ...client,
  id: hostileNames.unbroken,
  name: hostileNames.markup,
  detail: hostileNames.unbroken,
  services: [hostileNames.unbroken],
}

export const peopleStates = (pages: ConsolePages) => ({
  'console-people': () => pages.holders(frame, people),
  'console-clients': () => pages.holders(frame, clients),
  'console-clients-hostile': () => pages.holders(frame, { ...clients, found: [hostileHolder] }),
  'console-people-empty': () => pages.holders(calm, { ...people, found: [], count: 0, blocks: [] }),
  'console-people-none': () => pages.holders(calm, { ...people, found: [], asked: hostileNames.markup }),
  'console-person': () =>
    pages.person(frame, { user: 'google:1138', about: ana, grants: [grant, unused], services, self: true }),
  'console-person-blocked': () =>
    pages.person(frame, {
      user: 'entra:deniz',
      about: { provider: 'entra', subject: 'deniz', groups: [], groupsUnknown: true },
      grants: [],
      services,
      blocked: { user: 'entra:deniz', by: 'local:ana', at: minutes(60) },
      self: false,
    }),
  'console-person-unknown': () =>
    pages.person(calm, { user: hostileNames.unbroken, grants: [hostileGrant], services: [], self: false }),
  'console-client': () => pages.client(frame, { client: grant.client, grants: [grant, grant] }),
  'console-client-hostile': () =>
    pages.client(frame, {
      client: hostileNames.unbroken,
      grants: [hostileGrant],
      blocked: { client: hostileNames.unbroken, by: hostileNames.markup, at: minutes(60) },
    }),
})

// Browser sessions and personal access tokens.

const session = {
  id: frame.session,
  user: 'google:1138',
  email: 'ana@example.com',
  signedInAt: minutes(190),
  seenAt: minutes(1),
  endsAt: minutes(-59),
}
const token: ListedToken = {
  id: 'tk_7Hq2ZbX0',
  name: 'Nightly report',
  user: 'google:1138',
  kind: 'personal',
  services: ['jira', 'github', 'calendar', 'reports'],
  permission: 'read',
  createdAt: minutes(90 * 1440),
  expiresAt: minutes(-3 * 1440),
  lastUsedAt: minutes(200),
}
const onePage = { at: 1, count: 1 }

const connection: ConnectionRow = {
  id: 'pWq3zV:github',
  account: 'default',
  user: 'google:1138',
  email: 'ana@example.com',
  service: 'github',
  issuer: 'https://github.com/login/oauth',
  scopes: ['repo', 'read:org'],
  connectedAt: minutes(9000),
  renewedAt: minutes(20),
  expiresAt: minutes(-40),
  renewable: true,
  chosen: true,
  state: 'connected',
  down: false,
}
const { user: _, ...ofNobody } = connection
const connections: ConnectionsView = {
  all: 5,
  people: 3,
  waiting: 2,
  needsUser: false,
  more: false,
  page: onePage,
  items: [
    connection,
    {
      ...connection,
      account: 'work',
      chosen: false,
      user: 'entra:grace@example.com',
      email: undefined,
      state: 'reconnect',
      why: 'refused by the server',
    },
    { ...connection, service: 'jira', state: 'expiring', renewable: false, expiresAt: minutes(-3 * 1440) },
    { ...connection, service: 'calendar', user: 'gateway', down: true, scopes: [] },
    {
      ...ofNobody,
      service: 'wiki',
      state: 'unused',
      why: 'the service is not there anymore',
    },
  ],
}

export const sessionStates = (pages: ConsolePages) => ({
  'console-sessions': () =>
    pages.sessions(frame, {
      all: 1000,
      people: 412,
      more: true,
      own: frame.session,
      items: [
        session,
        {
          ...session,
          id: 'b'.repeat(43),
          user: 'entra:grace@example.com',
          email: 'grace@example.com',
          seenAt: minutes(40),
        },
      ],
      page: { at: 2, count: 20 },
    }),
  'console-sessions-none': () =>
    pages.sessions(calm, { asked: 'zoe', all: 3, people: 2, more: false, own: '', items: [], page: onePage }),
  'console-connections': () => pages.connections(frame, connections),
  'console-connections-none': () =>
    pages.connections(calm, { ...connections, all: 0, people: 0, waiting: 0, items: [] }),
  'console-connections-hostile': () =>
    pages.connections(frame, {
      ...connections,
      needsUser: true,
      asked: hostileNames.markup,
      more: true,
      page: { at: 2, count: 3 },
      items: [
        {
          ...connection,
          account: hostileNames.override,
          user: hostileNames.unbroken,
          issuer: `https://${hostileNames.unbroken}`,
          scopes: [hostileNames.unbroken],
          state: 'reconnect',
          why: hostileNames.markup,
        },
      ],
    }),
  'console-search': () =>
    pages.search(frame, {
      asked: 'jira',
      more: true,
      found: [
        { kind: 'page', name: 'Connections', href: '/console/connections' },
        { kind: 'service', name: 'Jira tools', detail: 'jira', href: '/console/services/jira' },
        { kind: 'user', name: hostileNames.override, detail: hostileNames.unbroken, href: '/console/people' },
        { kind: 'client', name: 'Jira desk', detail: 'c_7Q4zM1', href: '/console/clients?client=c_7Q4zM1' },
        { kind: 'flow', name: 'Claude', detail: '01JZ8QX3V6', href: '/console/flows/01JZ8QX3V6' },
        { kind: 'events', name: 'jira', href: '/console/activity?q=jira' },
      ],
    }),
  'console-search-none': () => pages.search(calm, { asked: hostileNames.markup, found: [], more: false }),
  'console-tokens': () =>
    pages.tokens(frame, {
      all: 3,
      people: 2,
      items: [
        token,
        {
          ...token,
          id: 'tk_9Kq2',
          name: 'Tests',
          kind: 'test',
          services: ['jira'],
          expiresAt: minutes(-60),
          createdAt: minutes(5),
        },
        {
          ...token,
          id: 'tk_1Xq7',
          name: 'Old laptop',
          user: 'entra:grace@example.com',
          expiresAt: minutes(-80 * 1440),
        },
      ],
      page: onePage,
    }),
  'console-tokens-none': () => pages.tokens(calm, { all: 0, people: 0, items: [], page: onePage }),
  'console-tokens-hostile': () =>
    pages.tokens(frame, {
      asked: hostileNames.markup,
      all: 1,
      people: 1,
      items: [
        {
          ...token,
          name: hostileNames.override,
          user: hostileNames.unbroken,
          services: [hostileNames.markup, hostileNames.unbroken],
        },
      ],
      page: onePage,
    }),
})
