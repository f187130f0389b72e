// The settings page of the console in the states worth looking at.
import type { ConsolePages } from '../../src/ports/console.ts'
import type { Setting, SettingsView } from '../../src/ports/settings.ts'
import { calm, frame, minutes, now } from './console-frame.ts'
import { hostileNames } from './states.ts'

const rows: readonly (readonly [key: string, value: unknown, from: string])[] = [
  ['host', '0.0.0.0', 'flag --host'],
  ['port', 8080, 'environment PORT'],
  ['issuer', 'https://mcp.example.com', 'postern.yaml:3:9'],
  ['session_secret', '********', 'environment SESSION_SECRET_FILE'],
  ['previous_secrets', [], 'default'],
  ['token_encryption_key', null, 'not set'],
  ['log_level', 'info', 'default'],
  ['allowed_hosts', [], 'default'],
  ['trusted_proxies', ['10.20.0.0/24'], 'environment MCP_TRUSTED_PROXIES'],
  ['admins', ['ana@example.com', 'chiara@example.com'], 'postern.yaml:8:9'],
  ['auditors', [], 'default'],
  ['default_service', null, 'not set'],
  ['cors.allow_origins', ['*'], 'default'],
  [
    'cors.allow_headers',
    ['Authorization', 'Content-Type', 'MCP-Protocol-Version', 'Mcp-Session-Id'],
    'default',
  ],
  ['oauth_providers.entra.type', 'entra', 'postern.yaml:12:11'],
  ['oauth_providers.entra.client_id', '8a1f0c5e', 'postern.yaml:13:16'],
  ['oauth_providers.entra.client_secret', '********', 'postern.yaml:14:20 (${ENTRA_SECRET})'],
  ['oauth_providers.entra.issuer', 'https://login.microsoftonline.com/72f9/v2.0', 'postern.yaml:15:13'],
  ['oauth_providers.github.type', 'github', 'postern.yaml:18:11'],
  ['single_provider', false, 'default'],
  ['access.default', 'none', 'default'],
  ['access.stored', 'any', 'postern.yaml:40:11'],
  ['audit.retention', '365d', 'default'],
  ['flows.retention', '14d', 'default'],
  ['rate_limits', [{ calls: 60, per: '1m' }], 'postern.yaml:52:3'],
  ['client_metadata_documents', true, 'default'],
  ['dynamic_registration', true, 'default'],
  ['client_lifetime', '90d', 'default'],
  ['storage.type', 'sqlite', 'default'],
  ['access_token_lifetime', '1h', 'default'],
  ['refresh_token_lifetime', '30d', 'default'],
  ['session_timeout', '8h', 'postern.yaml:31:18'],
  ['key_rotation', '90d', 'default'],
]
const settings: readonly Setting[] = rows.map(([key, value, from]) => ({ key, value, from }))

const day = 86_400_000
const view: SettingsView = {
  settings,
  providers: [
    {
      id: 'entra',
      name: 'Microsoft Entra ID',
      type: 'entra',
      redirectUri: 'https://mcp.example.com/oauth/callback/entra',
      testable: true,
      last: {
        ok: false,
        say: 'https://login.microsoftonline.com/72f9/v2.0 cannot be used for sign-in: its metadata names another issuer.',
        at: minutes(12),
        by: 'google:1138',
      },
    },
    {
      id: 'github',
      name: 'GitHub',
      type: 'github',
      redirectUri: 'https://mcp.example.com/oauth/callback',
      testable: true,
      last: { ok: true, say: 'https://github.com answers.', at: minutes(12), by: 'google:1138' },
    },
    {
      id: 'try',
      name: 'Try',
      type: 'mock',
      redirectUri: 'https://mcp.example.com/oauth/callback',
      testable: false,
    },
  ],
  keys: {
    nextAt: now + 62 * day,
    keys: [
      { id: 'K2f0aGxP8v1q', madeAt: now - 118 * day, state: 'verifies', at: now + 3_600_000 },
      { id: 'bW9c7yR3tU5e', madeAt: now - 28 * day, state: 'signs' },
    ],
  },
  publicUrl: 'https://mcp.example.com',
  lastProbe: {
    ok: true,
    say: 'The gateway reached itself at https://mcp.example.com.',
    at: minutes(2),
    by: 'google:1138',
  },
  about: { version: '0.4.0', runtime: 'node 24.21.0', storage: 'sqlite' },
  storageMs: 0.4,
  trail: 'written',
  counts: { mcp_services: 6, local_users: 0, clients: 2, service_accounts: 1 },
}

export const settingsStates = (pages: ConsolePages) => ({
  'console-settings': () => pages.settings(frame, view),
  'console-settings-bare': () =>
    pages.settings(calm, {
      ...view,
      settings: settings
        .filter(({ key }) => !key.startsWith('oauth_providers'))
        .map(({ from: _, ...one }) => ({ ...one, ...(one.key === 'issuer' && { value: null }) })),
      providers: [],
      lastProbe: undefined,
      trail: 'off',
    }),
  'console-settings-hostile': () =>
    pages.settings(frame, {
      ...view,
      settings: [
        {
          key: `admins`,
          value: [hostileNames.markup, hostileNames.override],
          from: `${hostileNames.markup}:1:1`,
        },
        { key: hostileNames.markup, value: hostileNames.long, from: `environment ${hostileNames.markup}` },
      ],
      providers: [
        {
          id: 'x',
          name: hostileNames.markup,
          type: 'openid',
          redirectUri: 'https://mcp.example.com/oauth/callback',
          testable: true,
          last: {
            ok: false,
            say: `${hostileNames.long} ${hostileNames.override}`,
            at: minutes(1),
            by: hostileNames.markup,
          },
        },
      ],
    }),
})
