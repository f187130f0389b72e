// What the states of the console share: who looks, what needs them, and flows that came through or stopped.
import type { Attention, ConsoleFrame } from '../../src/ports/console.ts'
import type { ListedFlow, ListedFlowStep } from '../../src/ports/flow-record.ts'
import { ana, hostileNames } from './states.ts'

export const now = Date.parse('2026-11-29T14:19:00Z')
export const minutes = (count: number): number => now - count * 60_000
export const jira = { id: 'jira', name: 'Jira tools' }
export const github = { id: 'github', name: 'GitHub' }
export const calendar = { id: 'calendar', name: 'Calendar' }

export const step = (
  at: number,
  name: ListedFlowStep['name'],
  more: Partial<ListedFlowStep> = {},
): ListedFlowStep => ({
  at: new Date(at).toISOString(),
  delta: 0,
  lane: 'client',
  name,
  meaning: '',
  result: 'done',
  request: {},
  answer: {},
  ...more,
})

export const login = (began: number): readonly ListedFlowStep[] =>
  [
    step(began, 'register', {
      request: { client_name: 'Claude', redirect_uris: ['https://claude.ai/api/mcp/auth_callback'] },
      answer: { client_id: 'c_7Q4zM1' },
      status: 201,
      ip: '203.0.113.7',
      request_id: '01JZ8QX3V6',
    }),
    step(began + 900, 'authorize', {
      request: {
        client_id: 'c_7Q4zM1',
        scope: 'mcp',
        code_challenge_method: 'S256',
        state: '‹9f2c61aa0b3d›',
      },
      status: 303,
    }),
    step(began + 1000, 'provider-redirect', {
      result: 'asked',
      answer: { to: 'https://login.microsoftonline.com' },
      status: 303,
    }),
    step(began + 10_400, 'provider-callback', { answer: { provider: 'entra' }, status: 303 }),
    step(began + 16_600, 'consent', { answer: { scopes: ['mcp'] }, status: 303 }),
    step(began + 17_200, 'token', { answer: { scopes: ['mcp'] }, status: 200 }),
  ].map((one, i, all) => ({ ...one, delta: Date.parse(one.at) - Date.parse(all[i - 1]?.at ?? one.at) }))

export const stalled: ListedFlow = {
  id: '01JZ8QX3V6',
  at: new Date(minutes(21)).toISOString(),
  client: 'c_7Q4zM1',
  client_name: 'Claude',
  service: 'jira',
  user: 'entra:grace@example.com',
  grant: 'g_4hX2',
  previous: '01JZ7AA000',
  state: 'stalled',
  finding: {
    code: 'flow.token-unused',
    acts: 'app',
    say: 'Claude has a token and has not used it.',
    fix: 'If the app shows an error, something between app and gateway may remove the Authorization header or block the app. Otherwise restart the app.',
  },
  steps: login(minutes(21)),
}

const { finding: _, previous: __, ...withoutFinding } = stalled
export const completed: ListedFlow = {
  ...withoutFinding,
  id: '01JZ6WM2K1',
  at: new Date(minutes(140)).toISOString(),
  user: 'entra:hugo@example.com',
  state: 'completed',
  steps: [...login(minutes(140)), step(minutes(140) + 18_000, 'first-call', { delta: 800, status: 200 })],
}

export const cancelled: ListedFlow = {
  ...withoutFinding,
  id: '01JZ5RF0K9',
  client_name: 'Relay',
  at: new Date(minutes(400)).toISOString(),
  state: 'failed',
  finding: {
    code: 'consent.denied',
    acts: 'user',
    say: 'The user declined.',
    fix: 'Connect again in the app and allow access.',
  },
  steps: [
    ...login(minutes(400)).slice(0, 4),
    step(minutes(399), 'consent', { result: 'refused', code: 'consent.denied', status: 303 }),
  ],
}

export const hostileFlow: ListedFlow = {
  ...stalled,
  client: hostileNames.unbroken,
  client_name: hostileNames.override,
  user: `local:${hostileNames.markup}`,
  finding: { code: 'flow.token-unused', acts: 'app', say: hostileNames.markup, fix: hostileNames.unbroken },
  steps: [
    step(now, 'register', {
      request: { client_name: hostileNames.markup },
      answer: { to: hostileNames.unbroken },
    }),
  ],
}

export const attention: readonly Attention[] = [
  { kind: 'service', service: calendar, where: 'calendar.internal.example:8443' },
  {
    kind: 'definitions',
    service: jira,
    changed: 1,
    fresh: 0,
    item: 'tool',
    name: 'transition_issue',
    at: minutes(300),
    held: true,
  },
  { kind: 'flow', flow: stalled, more: 2 },
]

export const frame: ConsoleFrame = {
  person: ana,
  csrf: 'x9f2',
  session: 'QmVyYnVyaW8tc2Vzc2lvbi1pZC1vZi00My1jaGFyYWN',
  now,
  attention,
  services: [calendar, github, jira],
}
export const calm: ConsoleFrame = { ...frame, attention: [] }

/** As a day has it: few at night. */
export const slotsOf = (count: number, most: number) =>
  Array.from({ length: count }, (_, i) => {
    const allowed = Math.round(most * (0.15 + Math.abs(Math.sin((i / count) * Math.PI * 1.3)) * 0.85))
    return { allowed, denied: i % 11 === 3 ? 2 : 0, failed: i % 13 === 5 ? 1 : 0 }
  })
export const emptyDay = Array.from({ length: 24 }, () => ({ allowed: 0, denied: 0, failed: 0 }))
