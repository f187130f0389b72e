// The page of the console about service accounts and issuers of assertions in the states worth looking at.
import type { TestedGate } from '../../src/ports/assertions.ts'
import type { ConsolePages, ServiceAccountsView } from '../../src/ports/console.ts'
import { calm, frame, minutes } from './console-frame.ts'
import { hostileNames } from './states.ts'

const gate = (say: string, result: TestedGate['result'], more: Partial<TestedGate> = {}): TestedGate => ({
  gate: 'gate',
  say,
  result,
  ...more,
})
const accounts: ServiceAccountsView = {
  accounts: [
    {
      id: 'nightly',
      name: 'Nightly report',
      owner: 'platform@example.com',
      groups: ['ci'],
      services: ['jira', 'github'],
      permissions: ['read'],
      clients: ['nightly-job'],
      issuers: ['actions'],
      lastUsed: minutes(12),
      blocked: false,
    },
    {
      id: 'import',
      name: 'import',
      groups: [],
      services: ['*'],
      clients: ['importer', 'importer-2'],
      issuers: [],
      lastUsed: minutes(97 * 1440),
      blocked: false,
    },
    { id: 'spare', name: 'spare', groups: [], services: [], clients: [], issuers: [], blocked: true },
  ],
  issuers: [
    {
      id: 'acme',
      type: 'id_jag',
      issuer: 'https://acme.okta.example',
      keys: 2,
      fetchedAt: minutes(6),
      refused: [
        { code: 'assertion.expired', count: 1204 },
        { code: 'assertion.client-not-listed', count: 3 },
      ],
    },
    { id: 'mesh', type: 'workload', issuer: 'spiffe://prod.example', keys: 1, refused: [] },
    {
      id: 'actions',
      type: 'workload',
      issuer: 'https://token.actions.example',
      failure: 'https://token.actions.example/.well-known/openid-configuration: status 503',
      refused: [],
    },
  ],
  registrable: true,
  bound: [
    {
      client: 'https://ci.example.com/client.json',
      account: 'nightly',
      by: 'local:ana',
      at: minutes(4 * 1440),
    },
    { client: 'client_Zk3xQ1bT7vR9mW2nY5cJ8A', account: 'gone', by: 'cli', at: minutes(40 * 1440) },
  ],
  unbound: {
    clients: [
      {
        client: 'client_q8mW2nY5cJ8AZk3xQ1bT7v',
        name: 'Importer',
        method: 'client_secret_basic',
        at: minutes(3),
      },
    ],
    truncated: false,
  },
  counted: true,
  more: true,
  ofNobody: [{ code: 'assertion.issuer', count: 12 }],
  asked: {},
}

export const accountStates = (pages: ConsolePages) => ({
  'console-accounts': () =>
    pages.accounts(frame, {
      ...accounts,
      asked: { client_id: 'claude-acme', resource: 'https://mcp.example.com/jira/mcp' },
      tested: {
        gates: [
          gate('A signed JWT', 'passed'),
          gate('For this gateway', 'refused', { code: 'assertion.audience', why: '"https://else.example"' }),
          gate('Not used before', 'not reached'),
        ],
      },
    }),
  'console-accounts-none': () =>
    pages.accounts(calm, {
      ...accounts,
      accounts: [],
      issuers: [],
      bound: [],
      unbound: { clients: [], truncated: false },
      ofNobody: [],
      more: false,
    }),
  'console-accounts-hostile': () =>
    pages.accounts(calm, {
      accounts: [
        {
          id: 'a'.repeat(63),
          name: hostileNames.markup,
          owner: hostileNames.unbroken,
          groups: [],
          services: [hostileNames.unbroken],
          clients: [hostileNames.unbroken],
          issuers: ['b'.repeat(63)],
          blocked: false,
        },
      ],
      issuers: [
        {
          id: 'b'.repeat(63),
          type: 'workload',
          issuer: `https://${hostileNames.unbroken}`,
          failure: hostileNames.markup,
        },
      ],
      registrable: true,
      bound: [
        {
          client: `https://${hostileNames.unbroken}/${hostileNames.markup}`,
          account: hostileNames.unbroken,
          by: hostileNames.markup,
          at: minutes(1),
        },
      ],
      unbound: {
        clients: [hostileNames.markup, hostileNames.unbroken].map((name) => ({
          client: 'client_q8mW2nY5cJ8AZk3xQ1bT7v',
          name,
          method: 'private_key_jwt',
          at: minutes(-5),
        })),
        truncated: true,
      },
      counted: false,
      more: false,
      ofNobody: [],
      asked: { client_id: hostileNames.markup, scope: hostileNames.unbroken },
      tested: {
        issuer: 'actions',
        gates: [gate('A signed JWT', 'passed')],
        accepted: {
          person: `corp:${hostileNames.unbroken}`,
          service: 'jira',
          scopes: ['mcp', 'mcp:read'],
          rule: 'assertion_issuers.actions.rules[0]',
          actor: hostileNames.markup,
        },
      },
    }),
})
