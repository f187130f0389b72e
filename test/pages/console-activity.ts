// The page Activity of the console in the states worth looking at.
import type { ActivityRow, ActivityView, ConsolePages } from '../../src/ports/console.ts'
import { calm, frame, minutes, now, slotsOf } from './console-frame.ts'
import { hostileNames } from './states.ts'

const event = (at: number, more: Partial<ActivityRow> = {}): ActivityRow => ({
  key: `${at}.7.k3F`,
  chain: 'k3F',
  seq: 7,
  at,
  kind: 'call',
  person: 'entra:ben@example.com',
  actor: null,
  client: 'https://claude.ai/oauth/claude-code-client-metadata',
  service: 'jira',
  method: 'tools/call',
  name: 'search_issues',
  decision: 'allowed',
  code: null,
  rule: 'jira.allow.0',
  status: 200,
  is_error: 0,
  ms: 212,
  ip: '203.0.113.90',
  request: '01JZ8RB2M4',
  flow: '01JZ6WM2K1',
  grant: 'g_4hX2',
  digest: 'sha256-9f2c61aa0b3d77e1b71e',
  subject: null,
  detail: null,
  hash: 'h',
  ...more,
})

const denied = event(minutes(2), {
  name: 'create_issue',
  person: 'entra:farid@example.com',
  decision: 'denied',
  code: 'policy.permission',
  rule: 'contractors read only',
  ms: 1,
  detail: '{"why":"needs write, has read","scopes":["mcp"]}',
})

export const activityStates = (pages: ConsolePages) => {
  const asked = { terms: [], period: '24h' }
  const rows = [
    event(minutes(1)),
    denied,
    event(minutes(3), { decision: 'failed', status: 504, is_error: 1, ms: 30_000 }),
    event(minutes(4), { name: 'get_issue', is_error: 1 }),
    event(minutes(5), {
      kind: 'sign-in',
      method: null,
      name: null,
      service: null,
      ms: null,
      rule: null,
      person: 'entra:grace@example.com',
    }),
    event(minutes(2000), { person: null, decision: 'denied', code: 'token.expired', rule: null }),
  ]
  const found = {
    rows,
    next: '3.120.aaaaaaaaaaaaaaaaaaaaaa',
    partial: false,
    counts: { slots: slotsOf(48, 95), services: [] },
    since: minutes(1440),
  }
  const view: ActivityView = { asked, found, own: false, kept: true }
  return {
    'console-activity': () => pages.activity(frame, view),
    'console-activity-row': () =>
      pages.activity(frame, {
        ...view,
        asked: { ...asked, terms: ['service:jira', 'user:a b'], row: denied.key },
        row: denied,
        today: { everyone: false, groups: ['admins', 'engineering'] },
        own: true,
      }),
    'console-activity-gone': () => pages.activity(frame, { ...view, asked: { ...asked, row: '1.2.x' } }),
    'console-activity-none': () =>
      pages.activity(calm, {
        ...view,
        asked: { terms: ['user:nobody'], period: '1h' },
        found: { rows: [], partial: false, since: minutes(60) },
      }),
    'console-activity-wrong': () =>
      pages.activity(calm, {
        asked: { terms: ['usr:ana'], period: '7d' },
        problem: 'Unknown field "usr".',
        own: false,
        kept: true,
      }),
    'console-activity-off': () => pages.activity(calm, { asked, own: false, kept: false }),
    'console-activity-hostile': () => {
      const row = event(now, {
        person: `local:${hostileNames.markup}`,
        client: hostileNames.unbroken,
        service: hostileNames.override,
        name: hostileNames.unbroken,
        code: hostileNames.unbroken,
        rule: hostileNames.markup,
        detail: JSON.stringify({ [hostileNames.unbroken]: hostileNames.markup }),
      })
      return pages.activity(frame, {
        ...view,
        asked: { terms: [hostileNames.unbroken, hostileNames.markup], period: '24h', row: row.key },
        found: { ...found, rows: [row], partial: true },
        row,
        today: { everyone: false, groups: [hostileNames.markup, hostileNames.unbroken] },
      })
    },
  }
}
