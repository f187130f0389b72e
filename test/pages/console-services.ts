// The pages of the console about services in the states worth looking at.
import type { AccessMatrix, ConsolePages, ServiceSummary, ServiceTool } from '../../src/ports/console.ts'
import { calendar, calm, emptyDay, frame, github, jira, minutes, slotsOf } from './console-frame.ts'
import { hostileNames } from './states.ts'

const summary: ServiceSummary = {
  ...jira,
  url: 'https://mcp.example.com/jira/mcp',
  kind: 'remote',
  state: 'up',
  waiting: 1,
  tools: 14,
  credentials: 'oauth',
  audience: { groups: ['engineering', 'support', 'admins'] },
  counts: { service: 'jira', slots: slotsOf(24, 90), p95: 240 },
}

const tool = (name: string, need: ServiceTool['need'], allowed: readonly boolean[]): ServiceTool => ({
  name,
  about: `What ${name} does`,
  need,
  unmarked: false,
  held: false,
  allowed,
})

const access: AccessMatrix = {
  groups: ['Everyone', 'engineering', 'support', 'admins'],
  tools: [
    tool('search_issues', 'read', [true, true, true, true]),
    tool('create_issue', 'write', [false, true, true, true]),
    { ...tool('transition_issue', 'write', [false, true, true, true]), held: true },
    tool('delete_issue', 'execute', [false, false, false, true]),
    { ...tool('run_automation', 'execute', [false, false, false, false]), unmarked: true },
  ],
}

const { counts: _, tools: __, ...plain } = summary
const hostile: ServiceSummary = {
  ...summary,
  name: hostileNames.markup,
  url: `https://mcp.example.com/${hostileNames.unbroken}`,
  audience: { groups: [hostileNames.unbroken, hostileNames.override] },
}

const list = {
  found: [
    {
      ...plain,
      ...calendar,
      url: 'https://mcp.example.com/calendar/mcp',
      state: 'down' as const,
      waiting: 0,
      credentials: 'static',
      audience: 'everyone' as const,
      counts: { service: 'calendar', slots: emptyDay, p95: undefined },
    },
    summary,
    {
      ...plain,
      ...github,
      url: 'https://mcp.example.com/github/mcp',
      waiting: 0,
      tools: 22,
      audience: { groups: ['engineering'] },
    },
    {
      ...plain,
      id: 'docs',
      name: 'Docs search',
      url: 'https://docs.example.com/mcp',
      waiting: 0,
      state: 'unknown' as const,
      credentials: 'none',
      audience: 'public' as const,
    },
    {
      ...plain,
      id: 'files',
      name: 'Files',
      url: 'https://mcp.example.com/files/mcp',
      kind: 'command' as const,
      waiting: 0,
      state: 'disabled' as const,
      credentials: 'none',
      audience: { groups: [] },
    },
  ],
  asked: {},
  counts: { all: 5, attention: 2, remote: 4, command: 1 },
  page: { at: 1, count: 1 },
  counted: true,
}

const listStates = (pages: ConsolePages) => ({
  'console-services': () => pages.services(frame, list),
  'console-services-empty': () =>
    pages.services(calm, { ...list, found: [], counts: { all: 0, attention: 0, remote: 0, command: 0 } }),
  'console-services-none': () =>
    pages.services(frame, { ...list, found: [], asked: { text: 'nothing', only: 'command' } }),
  'console-services-many': () =>
    pages.services(calm, { ...list, found: [hostile], counted: false, page: { at: 2, count: 20 } }),
})

const one = {
  service: summary,
  description: 'Issues, boards and comments of the team.',
  tab: 'connect' as const,
  reachable: true,
  where: 'https://jira.internal.example/mcp',
  grants: 9,
  access,
}

export const serviceStates = (pages: ConsolePages) => ({
  ...listStates(pages),
  'console-service': () => pages.service(frame, one),
  'console-service-tools': () => pages.service(frame, { ...one, tab: 'tools' }),
  'console-service-open': () =>
    pages.service(calm, {
      ...one,
      tab: 'tools',
      service: { ...summary, waiting: 0, audience: 'everyone' },
      access: { tools: access.tools.map((each) => ({ ...each, allowed: [] })) },
      added: { by: 'local:ana', at: minutes(2000) },
      disabled: { by: 'cli', at: minutes(30) },
    }),
  'console-service-processes': () =>
    pages.service(frame, {
      ...one,
      tab: 'processes',
      service: { ...summary, kind: 'command' },
      processes: [
        { owner: 'local:ana', pid: 4711, startedAt: minutes(12), stderr: 'Listening.\nReady.' },
        {
          owner: 'shared',
          pid: 4712,
          startedAt: minutes(30),
          endedAt: minutes(29),
          why: 'The command ended with exit code 1.',
          stderr: hostileNames.markup,
        },
      ],
    }),
  'console-service-hostile': () =>
    pages.service(frame, {
      ...one,
      tab: 'tools',
      service: hostile,
      description: hostileNames.markup,
      where: hostileNames.unbroken,
      access: {
        groups: [hostileNames.unbroken, hostileNames.override],
        tools: [{ ...tool(hostileNames.unbroken, 'read', [true, false]), about: hostileNames.markup }],
      },
    }),
  'console-add': () => pages.add(calm, { commands: true }),
  'console-add-problem': () =>
    pages.add(frame, {
      source: hostileNames.unbroken,
      id: hostileNames.markup,
      problem: hostileNames.markup,
      commands: false,
    }),
  'console-adding': () =>
    pages.adding(frame, { source: '{"mcpServers":{}}', commands: true, count: 2 }, async (push) => {
      push({ kind: 'note', say: 'settings of an MCP client are ignored: theme' })
      push({ kind: 'service', id: 'jira', where: 'https://jira.example/mcp' })
      push({ kind: 'step', result: 'yes', say: 'Server is reachable.' })
      push({ kind: 'step', result: 'unknown', say: 'No upstream auth; protected only by this gateway.' })
      push({ kind: 'added', id: 'jira', url: 'https://mcp.example.com/jira/mcp' })
      push({ kind: 'service', id: 'wiki', where: `https://${hostileNames.unbroken}/mcp` })
      push({ kind: 'failed', id: 'wiki', say: hostileNames.markup, code: 'service.unusable' })
    }),
})
