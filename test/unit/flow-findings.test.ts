// Findings that rest on what an identity provider or a proxy did, and how flows are compared and shared.
import { describe, expect, it } from 'vitest'
import { accessOf, comparedFlows, isGoodBefore, listedFlow, sharedFlow } from '../../src/flows/listing.ts'
import { reportOf } from '../../src/flows/report.ts'
import { storyOf } from '../../src/flows/story.ts'
import { denialOf } from '../../src/identity/providers/provider.ts'
import type { FlowRecord, FlowStep } from '../../src/ports/flow-record.ts'
import type { Person } from '../../src/ports/people.ts'
import { start, step } from './flow-recorder-world.ts'

const flowOf = (steps: readonly FlowStep[], more: Partial<FlowRecord> = {}): FlowRecord => ({
  id: 'f'.repeat(21),
  at: start,
  client: 'client_abc',
  clientName: 'Notes',
  service: 'jira',
  person: 'okta:ana',
  steps,
  ...more,
})
const found = (flow: FlowRecord, now = start) => {
  const { state, finding } = storyOf(flow, now)
  return [state, finding?.code, finding?.acts]
}

describe('of an identity provider', () => {
  const person = (more: Partial<Person>): Person => ({ provider: 'okta', subject: '1', groups: [], ...more })
  const denied = (who: Person, rules: Parameters<typeof denialOf>[1]): FlowRecord => {
    const why = denialOf(who, rules)?.why ?? ''
    const code = 'person.not-allowed'
    return flowOf([step('provider-callback', start, { result: 'refused', code, answer: { why } })])
  }
  it.each([
    ['provider.no-email', person({}), { allowed_emails: ['ana@example.com'] }],
    ['provider.no-email', person({}), { allowed_domains: ['example.com'] }],
    ['provider.groups-overage', person({ groupsUnknown: true }), { allowed_groups: ['staff'] }],
    ['provider.groups-unmapped', person({ groups: ['a', 'b'] }), { allowed_groups: ['staff'] }],
  ])('%s', (code, who, rules) => expect(found(denied(who, rules))).toEqual(['failed', code, 'operator']))
  it.each([
    ['user', person({ email: 'ana@other.example' }), { allowed_emails: ['ana@example.com'] }],
    ['operator', person({}), { allowed_groups: ['staff'] }],
  ] satisfies [string, Person, Parameters<typeof denialOf>[1]][])(
    'says no more than the code of the refusal, and that the %s must act',
    (acts, who, rules) => expect(found(denied(who, rules))).toEqual(['failed', 'person.not-allowed', acts]),
  )

  it('that never sends anybody back may not know the redirect URI', () => {
    const sent = step('provider-redirect', start, { result: 'asked', answer: { to: 'https://idp.example' } })
    const after = start + 600_000
    expect(found(flowOf([sent]), after)).toEqual(['abandoned', 'flow.left', 'user'])
    expect(found(flowOf([sent, sent]), after)).toEqual(['abandoned', 'provider.redirect-uri', 'operator'])
    const back = step('provider-callback', start)
    expect(found(flowOf([sent, back, sent]), after)).toEqual(['abandoned', 'flow.left', 'user'])
  })
})

describe('of what stands in front', () => {
  it.each([
    ['flow.scheme-http', 'request.plain-http', 'operator'],
    ['flow.registration-off', 'route.unknown', 'operator'],
  ] as const)('%s', (finding, code, acts) =>
    expect(found(flowOf([step('register', start, { result: 'refused', code })]))).toEqual([
      'failed',
      finding,
      acts,
    ]),
  )
})

describe('of a call that came to nothing', () => {
  const called = (request: FlowStep['request'], first: number, took: number) =>
    flowOf([
      step('token', start),
      step('first-call', start + 10, {
        result: 'asked',
        request,
        answer: { first_byte_ms: first, duration_ms: took },
      }),
    ])
  it.each([
    ['flow.buffered', 'operator', { http: 'GET' }, 3, 30_000],
    ['flow.buffered', 'operator', { method: 'initialize' }, 3, 30_000],
    ['flow.call-left', 'app', { method: 'initialize' }, 3, 900],
    ['flow.call-left', 'app', { method: 'initialize' }, 29_000, 30_000],
    // A tool may take long.
    ['flow.call-left', 'app', { method: 'tools/call' }, 3, 30_000],
  ] as const)('%s', (code, acts, request, first, took) => {
    expect(found(called(request, first, took))).toEqual(['open', undefined, undefined])
    expect(found(called(request, first, took), start + 15_010)).toEqual(['stalled', code, acts])
  })
})

describe('of more rights', () => {
  const asked = step('step-up', start, { result: 'asked', code: 'consent.level' })
  const flow = flowOf([step('token', start), step('first-call', start), asked])
  it('that the app does not ask for, until it does', () => {
    expect(found(flow, start + 59_999)).toEqual(['completed', undefined, undefined])
    expect(found(flow, start + 60_000)).toEqual(['completed', 'flow.stepup-ignored', 'user'])
    expect(found({ ...flow, followed: true }, start + 60_000)).toEqual(['completed', undefined, undefined])
  })
})

it('an app that guesses the endpoints is told to be old', () => {
  const authorize = step('authorize', start, { request: { path: '/authorize' } })
  const flow = flowOf([authorize, step('token', start), step('first-call', start)])
  expect(found(flow)).toEqual(['completed', 'flow.old-revision', 'app'])
})

const login = (at: number, callAfter: number, more: Partial<FlowStep> = {}): readonly FlowStep[] => [
  step('register', at),
  step('authorize', at + 100, { request: { scope: 'mcp', state: '‹x›' }, ...more }),
  step('token', at + 200),
  ...(callAfter < 0 ? [] : [step('first-call', at + 200 + callAfter)]),
]

describe('a flow beside the last good one of its app', () => {
  const good = flowOf(login(start, 100), { id: '0'.repeat(21) })
  const later = start + 1_000_000

  it('is one of the same app and service that went well before', () => {
    const flow = flowOf(login(later, 100), { at: later })
    expect(isGoodBefore(flow, good, later)).toBe(true)
    expect(isGoodBefore(flow, { ...good, service: 'other' }, later)).toBe(false)
    expect(isGoodBefore(flow, { ...good, steps: login(start, -1) }, later)).toBe(false)
    expect(isGoodBefore(good, flow, later)).toBe(false)
  })

  it('names what is missing, refused, slower or asked in another way', () => {
    const differ = (steps: readonly FlowStep[]) =>
      comparedFlows(flowOf(steps), good).steps.map(({ name, differs }) => `${name} ${differs}`)
    expect(differ(login(later, 100))).toEqual([
      'register same',
      'authorize same',
      'token same',
      'first-call same',
    ])
    expect(differ(login(later, -1)).at(-1)).toBe('first-call missing')
    expect(differ(login(later, 9000)).at(-1)).toBe('first-call slower')
    const asked = login(later, 100, { request: { scope: 'mcp admin', state: '‹y›' } })
    expect(comparedFlows(flowOf(asked), good).steps[1]).toMatchObject({
      differs: 'request',
      facts: ['scope'],
    })
    expect(differ(login(later, 100, { result: 'refused', code: 'pkce.verifier' }))[1]).toBe(
      'authorize refused',
    )
  })
})

describe('what became of the access of a flow', () => {
  const token = step('token', start)
  it.each([
    ['The app got no token.', [step('authorize', start)]],
    ['Client has a token', [token]],
    ['Nothing had ended it', [token, step('first-call', start)]],
    [
      'by an administrator.',
      [token, step('first-call', start), step('revoke', start, { answer: { reason: 'ended_by_admin' } })],
    ],
    [
      'The refresh token is not valid',
      [token, step('refresh', start, { result: 'refused', code: 'refresh.unknown' })],
    ],
  ])('%s', (say, steps) =>
    expect(accessOf(flowOf(steps, { clientName: 'Client' }), start + 60_000)).toContain(say),
  )
})

describe('a report', () => {
  it('says how the app asked, and names neither users, addresses nor reasons', () => {
    const { steps } = flowOf([
      step('register', start, { status: 201, request: { client_name: 'Notes', agent: 'notes' } }),
      step('authorize', start + 5, {
        status: 303,
        request: { resource: 'https://gw.example/jira/mcp', scope: 'mcp', state: '‹x›' },
      }),
      step('provider-callback', start + 12_000, {
        status: 403,
        result: 'refused',
        code: 'person.not-allowed',
        answer: { why: 'allowed_emails: ana@example.com is not in it' },
      }),
    ])
    const report = reportOf(listedFlow(flowOf(steps), start + 13_000), '0.1.0')
    expect(report).toContain(
      '| Server URL | `https://gw.example/jira/mcp` |\n| Began | 2026-01-01T00:00:00.000Z |',
    )
    expect(report).toContain('| Client | `client_abc` (configured) |')
    expect(report).toContain(
      '00:00:00.005      +5 ms  authorize          done 303  resource=https://gw.example/jira/mcp  scope=mcp\n',
    )
    expect(report).toMatch(
      /\n00:00:12\.000 {6}\+12 s {2}provider-callback {2}refused person\.not-allowed 403\n/,
    )
    expect(report).not.toMatch(/ana|192\.0\.2|‹x›/)
  })
})

describe('a flow that is shared', () => {
  const request = {
    redirect_uri: 'https://tenant.example/cb',
    resource: 'https://gw.tenant.example/jira/mcp',
    scope: 'mcp',
    code_challenge: '‹abc›',
    path: '/jira/mcp',
  }
  const why = 'allowed_groups: none of its groups (secret-project) is in it'
  const flow = flowOf(
    [
      step('challenge', start, { ip: '198.51.100.7', requestId: 'req-secret', confidence: 0.5 }),
      step('authorize', start, { ip: '198.51.100.7', request, requestId: 'req-secret' }),
      step('provider-callback', start, {
        ip: '198.51.100.8',
        result: 'refused',
        code: 'person.not-allowed',
        answer: { why },
      }),
    ],
    { grant: 'grant-secret', related: ['other-flow'] },
  )

  it('names nobody and nothing, and the same by the same name', () => {
    const shared = sharedFlow(flow, start)
    const text = JSON.stringify(shared)
    for (const name of ['tenant', 'secret', 'jira', 'ana', 'Notes', '198.51', 'abc', 'other-flow', 'ffff'])
      expect(text).not.toContain(name)
    expect(shared.steps.map(({ ip }) => ip)).toEqual(['address-1', 'address-1', 'address-2'])
    expect(shared).toMatchObject({ user: 'user-1', finding: { code: 'provider.groups-unmapped' } })
    expect(shared.steps[1]?.request).toEqual({
      redirect_uri: 'https://host-1',
      resource: 'https://host-2',
      scope: 'mcp',
    })
  })

  it('shows its own person nothing that may be somebody else’s', () => {
    const own = listedFlow(flow, start, { person: 'okta:ana', ip: '198.51.100.8' })
    expect(own.steps.map(({ name, ip }) => [name, ip])).toEqual([
      ['authorize', undefined],
      ['provider-callback', '198.51.100.8'],
    ])
    expect(JSON.stringify(own)).not.toMatch(/secret-project|other-flow|198\.51\.100\.7/)
  })
})
