// What the audit trail keeps of the log: refused strangers, told once and then at most once a minute.
import { describe, expect, it } from 'vitest'
import { createAuditLog } from '../../src/stores/audit-log.ts'
import { createRows } from '../../src/stores/audit-events.ts'
import { createTestClock } from '../runtimes/clock.ts'

const open = () => {
  const clock = createTestClock()
  const kept: Record<string, unknown>[] = []
  const lines: string[] = []
  const { log, sweep } = createAuditLog(
    (_, event) => void lines.push(event),
    (event) => void kept.push(event),
    clock.now,
  )
  const refused = (fields: object): void => log('info', 'refused', { ip: '192.0.2.7', ...fields })
  const counts = () => kept.map(({ event, count, ip, service }) => [event, count, ip, service])
  return { clock, kept, lines, log, sweep, refused, counts }
}
const bearer = { refusal: 'token.expired', path: '/jira/mcp', service: 'jira', status: 401 }

describe('a refused request', () => {
  it.each([
    [bearer, 'bearer.refused'],
    [{ refusal: 'token.missing', path: '/token', service: 'token' }, 'bearer.refused'],
    [{ refusal: 'code.spent', path: '/oauth/token' }, 'token.refused'],
    [{ refusal: 'client.auth', path: '/token' }, 'token.refused'],
    [{ refusal: 'redirect.mismatch', path: '/oauth/authorize' }, 'authorize.refused'],
    [{ refusal: 'registration.redirect', path: '/oauth/register' }, 'client.refused'],
    [{ refusal: 'registration.token-wrong', path: '/oauth/register/abc' }, 'client.refused'],
    [{ refusal: 'rate.limited', path: '/oauth/token' }, 'limit.hit'],
    [{ refusal: 'calls.rate', path: '/jira/mcp', service: 'jira' }, 'limit.hit'],
    [{ refusal: 'person.not-allowed', path: '/oauth/callback', person: 'okta:eve' }, 'sign-in.failed'],
    [{ refusal: 'policy.tool', path: '/jira/mcp', service: 'jira' }, undefined],
    [{ refusal: 'route.unknown', path: '/x' }, undefined],
    [{ refusal: 'upstream.timeout', path: '/jira/mcp', service: 'jira' }, undefined],
  ])('%j is %s', (fields, kind) => {
    const { refused, kept, lines } = open()
    refused(fields)
    expect(kept.map(({ event }) => event)).toEqual(kind === undefined ? [] : [kind])
    expect(lines).toEqual(['refused'])
  })

  it('is told at once, then once a minute with how many there were', () => {
    const { clock, refused, counts, sweep } = open()
    for (let i = 0; i < 100; i++) refused(bearer)
    expect(counts()).toEqual([['bearer.refused', 1, '192.0.2.7', 'jira']])
    clock.advance(60_000)
    refused(bearer)
    expect(counts().slice(1)).toEqual([['bearer.refused', 100, '192.0.2.7', 'jira']])
    refused(bearer)
    sweep(false)
    expect(counts()).toHaveLength(2)
    clock.advance(60_000)
    sweep(false)
    expect(counts().slice(2)).toEqual([['bearer.refused', 1, '192.0.2.7', 'jira']])
    clock.advance(60_000)
    sweep(false)
    refused(bearer)
    expect(counts()).toHaveLength(4)
  })

  it('of another address, code or service is told by itself, and nothing is lost at the end', () => {
    const { refused, counts, sweep } = open()
    refused(bearer)
    refused({ ...bearer, ip: '192.0.2.8' })
    refused({ ...bearer, refusal: 'token.malformed' })
    refused({ ...bearer, service: 'wiki' })
    expect(counts().map(([, count]) => count)).toEqual([1, 1, 1, 1])
    refused(bearer)
    sweep(true)
    expect(counts()).toHaveLength(5)
  })

  it('from very many addresses makes few rows, which count them all', () => {
    const { clock, refused, kept, sweep } = open()
    for (let i = 0; i < 50_000; i++) refused({ ...bearer, ip: `198.51.${i >> 8}.${i & 255}` })
    expect(kept.length).toBeLessThan(2_010)
    clock.advance(60_000)
    sweep(true)
    expect(kept.reduce((sum, { count }) => sum + Number(count), 0)).toBe(50_000)
    expect(kept.length).toBeLessThan(2_010)
    expect(kept.at(-1)).not.toHaveProperty('ip')
  })

  it('keeps nothing of a hostile name but cleaned text', () => {
    const { refused, kept } = open()
    const hostile = `\u001B[2J\u202E${'x'.repeat(1_048_576)}\n{"event":"forged"}`
    refused({ ...bearer, client: hostile, why: hostile, path: `/jira/mcp${hostile}` })
    const [row] = createRows((text) => text)(kept[0] as { event: string }, 1)
    expect(JSON.stringify(row).length).toBeLessThan(1500)
    expect(JSON.stringify(row)).not.toMatch(/\\u001b|\u202E|forged/)
  })
})

it('a process, a configuration and a refresh that failed are kept as they are told', () => {
  const { log, kept } = open()
  log('debug', 'process.started', { service: 'files', pid: 7 })
  log('info', 'config.reloaded', { keys: ['admins'] })
  log('info', 'config.unchanged', {})
  log('info', 'signing-keys.rotated', { key: 'k2' })
  log('debug', 'session.rotated', { person: 'local:ana' })
  log('warn', 'upstream.refresh-failed', { connection: 'jira', why: 'invalid_grant' })
  log('info', 'call', { event: 'call' }, true)
  expect(kept).toEqual([
    { event: 'process.started', service: 'files', pid: 7 },
    { event: 'config.loaded', keys: ['admins'] },
    { event: 'key.rotated', key: 'k2' },
    { event: 'session.rotated', person: 'local:ana' },
    { event: 'connection.refresh-failed', connection: 'jira', why: 'invalid_grant' },
  ])
})
