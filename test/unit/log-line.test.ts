// Lines of the log: one shape on every runtime, nothing secret in them, and an audit trail that no level
// silences.
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createAudit, logLine, logText } from '../../src/kit/log.ts'
import { createTerminalLog } from '../../src/node/log.ts'
import type { LogLevel } from '../../src/ports/runtime.ts'
import { createLog } from '../../src/worker/log.ts'

const levels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']
const ts = '2026-11-29T12:00:00.000Z'
afterEach(() => void vi.restoreAllMocks())

describe('a line', () => {
  it('names level, time and event, and hides what a field of that name would tell [H-V1]', () => {
    expect(
      logLine({
        level: 'warn',
        ts,
        event: 'odd',
        fields: { code: 'pc_secret', refusal: 'code.spent' },
        audit: false,
      }),
    ).toBe(`{"level":"warn","ts":"${ts}","event":"odd","code":"[redacted]","refusal":"code.spent"}`)
    expect(logLine({ level: 'info', ts, event: 'x', fields: {}, audit: false })).toBe(
      `{"level":"info","ts":"${ts}","event":"x"}`,
    )
  })

  it('marks the audit trail', () => {
    expect(
      logLine({ level: 'info', ts, event: 'call', fields: { event: 'call', status: 200 }, audit: true }),
    ).toBe(`{"level":"info","ts":"${ts}","audit":true,"event":"call","status":200}`)
  })
})

describe('the log of a Worker', () => {
  const written = (least: LogLevel): string[] => {
    const lines: string[] = []
    vi.spyOn(console, 'log').mockImplementation((line: string) => void lines.push(line))
    const log = createLog(least, () => Date.parse(ts))
    for (const level of levels) log(level, `at-${level}`, { token: 'x' })
    createAudit(log)({ event: 'call', status: 200 })
    return lines
  }

  it.each(levels)('at %s has the lines of that level and above, and the whole audit trail', (least) => {
    const plain = levels
      .slice(levels.indexOf(least))
      .map((level) => `{"level":"${level}","ts":"${ts}","event":"at-${level}","token":"[redacted]"}`)
    expect(written(least)).toEqual([
      ...plain,
      `{"level":"info","ts":"${ts}","audit":true,"event":"call","status":200}`,
    ])
  })
})

describe('the log at a terminal', () => {
  const shown = (
    least: LogLevel,
    ...lines: Parameters<ReturnType<typeof createTerminalLog>['log']>[]
  ): string => {
    let text = ''
    vi.spyOn(process.stderr, 'write').mockImplementation((piece) => ((text += String(piece)), true))
    const { log } = createTerminalLog(least)
    for (const line of lines) log(...line)
    vi.restoreAllMocks()
    return text
  }

  it('is one short line for a refusal', () => {
    const fields = {
      refusal: 'upstream.unreachable',
      status: 502,
      why: 'jira: connect ECONNREFUSED 127.0.0.1:9',
      method: 'POST',
      path: '/jira/mcp',
      service: 'jira',
      client: undefined,
      ip: '::1',
      request_id: 'r1',
    }
    expect(
      shown(
        'info',
        ['warn', 'refused', fields],
        ['info', 'call', { event: 'call', refusal: 'upstream.unreachable' }, true],
      ),
    ).toBe(
      '⚠ refused 502 upstream.unreachable POST /jira/mcp: jira: connect ECONNREFUSED 127.0.0.1:9 (request r1)\n',
    )
  })

  it('is one short line for a call, and shows other events without what has no value; set one, or remove the key', () => {
    expect(
      shown('info', [
        'info',
        'call',
        {
          event: 'call',
          service: 'jira',
          http: 'POST',
          method: 'tools/call',
          name: 'search',
          result: 'answered',
          status: 200,
          duration_ms: 12,
        },
        true,
      ]),
    ).toBe('· call jira POST tools/call search answered 200 12 ms\n')
    expect(
      shown('info', ['info', 'services.changed', { added: ['a'], gone: undefined, token: 'secret' }]),
    ).toBe('· services.changed added=["a"]\n')
  })

  it.each(levels)('obeys the level %s', (least) => {
    const lines = shown(least, ...levels.map((level): [LogLevel, string] => [level, `at-${level}`]))
      .trim()
      .split('\n')
    expect(lines.map((line) => line.split(' ')[1])).toEqual(
      levels.slice(levels.indexOf(least)).map((level) => `at-${level}`),
    )
  })

  it('is not driven by what a field holds [H-V3]', () => {
    expect(shown('info', ['warn', 'refused', { refusal: 'x', why: '\u001B[2J\u202Eevil\n⚠ forged' }])).toBe(
      '⚠ refused x:  [2J evil ⚠ forged\n',
    )
  })
})

describe('text from elsewhere', () => {
  it.each([
    ['a\u0000b\u001B[31mc\u2028d', 'a b [31mc d'],
    ['Bearer abcdefgh12345678 was refused', 'Bearer [redacted] was refused'],
    ['got eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln back', 'got [redacted] back'],
    ['https://user:pass@internal.test/x', 'https://[redacted]@internal.test/x'],
    [
      'redirected to https://a.test/cb?code=abcdefghij&state=12345678&x=1',
      'redirected to https://a.test/cb?code=[redacted]&state=[redacted]&x=1',
    ],
    [
      '{"access_token":"abc","client_secret": "d e"}',
      '{"access_token":[redacted],"client_secret": [redacted]}',
    ],
    ['api_key: sk-live-0123456789abcdef', 'api_key: [redacted]'],
    [
      'idp: token: answered 401 with error invalid_client',
      'idp: token: answered 401 with error invalid_client',
    ],
    ['token: "response" is not JSON', 'token: "response" is not JSON'],
    ['realm="x", client_secret="hunter2"', 'realm="x", client_secret=[redacted]'],
    ['invalid_client: client_secret is wrong', 'invalid_client: client_secret is wrong'],
    [
      'published https://idp.test/, expected https://idp.test',
      'published https://idp.test/, expected https://idp.test',
    ],
  ])('%j becomes %j', (text, clean) => expect(logText(text)).toBe(clean))

  it('is cut, whatever its length', () => {
    expect(logText('x'.repeat(100_000))).toHaveLength(500)
    expect(logText('x'.repeat(100_000), 50)).toBe(`${'x'.repeat(49)}…`)
  })
})
