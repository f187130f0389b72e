// What the doctor prints, whole: for a person, as JSON and as JUnit; and with which exit code it ends.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { type DoctorOptions, runDoctor } from '../../src/cli/doctor/doctor.ts'
import { type DoctorStep, clientsBy, findingKinds, skipped, stepOf } from '../../src/cli/doctor/findings.ts'
import { printConclusion, printJunit, printReport, printStep } from '../../src/cli/doctor/report.ts'
import { UsageError } from '../../src/cli/output.ts'
import { at, startExaminedServer } from '../runtimes/examined-server.ts'
import { root } from '../structure/tree.ts'

let out: string
beforeEach(() => {
  out = ''
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += String(text)
    return true
  })
})
afterEach(() => {
  vi.restoreAllMocks()
  process.exitCode = undefined
})

const url = 'https://mcp.example/<jira>/mcp'
const steps: readonly DoctorStep[] = [
  stepOf('reachable', 'It answers.'),
  stepOf('server', 'There it is.', [
    { code: 'doctor.no-refresh', evidence: 'grant_types_supported is nothing.' },
  ]),
  stepOf('resource', 'It names "https://as.example".', [
    { code: 'flow.scheme-http', evidence: 'The resource is http://mcp.example/<jira>/mcp & more.' },
  ]),
  skipped('call', 'Needs an access token: --token-env NAME.'),
]
const report = { targets: [{ url, steps }] }

describe('the report', () => {
  it('for a person says what to do first, and whom it stops', () => {
    steps.forEach(printStep)
    printConclusion(report)
    expect(out.replaceAll(/\u001B\[\d+m/g, '')).toBe(
      [
        'PASS  1  Reachable               It answers.',
        'WARN  4  Authorization server    There it is.',
        '         doctor.no-refresh  grant_types_supported is nothing.',
        '         → Support `refresh_token`, or people sign in again whenever a token expires.',
        'FAIL  3  Resource metadata       It names "https://as.example".',
        '         flow.scheme-http  The resource is http://mcp.example/<jira>/mcp & more.',
        '         → The reverse proxy ends TLS and the server was not told. In Postern, set `issuer` to the https URL.',
        'SKIP  9  MCP                     Needs an access token: --token-env NAME.',
        '',
        'Do this first: The reverse proxy ends TLS and the server was not told. In Postern, set `issuer` to the https URL.',
        '         flow.scheme-http: The resource is http://mcp.example/<jira>/mcp & more.',
        'Stops:      claude.ai, ChatGPT, Claude Code, Codex, Cursor, VS Code, mcp-remote, MCP Inspector',
        'Lets pass:  none',
        '',
      ].join('\n'),
    )
  })

  it('with warnings alone asks for nothing, and names no clients without a URL', () => {
    printConclusion({ targets: [], self: steps[1] })
    expect(out).toBe('\nNo errors. The warnings above matter only in the cases that they name.\n')
  })

  it('as JSON has every step and finding', () => {
    printReport({ ...report, self: stepOf('self', 'postern.yaml: 2 connections checked.') })
    expect(JSON.parse(out)).toEqual({
      ok: false,
      primary: {
        code: 'flow.scheme-http',
        severity: 'error',
        evidence: 'The resource is http://mcp.example/<jira>/mcp & more.',
        fix: 'The reverse proxy ends TLS and the server was not told. In Postern, set `issuer` to the https URL.',
      },
      self: { step: 'self', result: 'pass', message: 'postern.yaml: 2 connections checked.', findings: [] },
      targets: [
        {
          url,
          steps: [
            { step: 'reachable', result: 'pass', message: 'It answers.', findings: [] },
            expect.objectContaining({ step: 'server', result: 'warn' }),
            expect.objectContaining({ step: 'resource', result: 'fail' }),
            expect.objectContaining({ step: 'call', result: 'skip', findings: [] }),
          ],
        },
      ],
      stops: expect.arrayContaining(['claude.ai', 'MCP Inspector']),
      lets_pass: [],
    })
  })

  it('as JUnit escapes what servers say', () => {
    printJunit(report)
    expect(out).toBe(
      `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="postern doctor">
  <testsuite name="https://mcp.example/&lt;jira>/mcp" tests="4" failures="1" skipped="1">
    <testcase classname="https://mcp.example/&lt;jira>/mcp" name="Reachable"/>
    <testcase classname="https://mcp.example/&lt;jira>/mcp" name="Authorization server"><system-out>doctor.no-refresh: grant_types_supported is nothing. Support \`refresh_token\`, or people sign in again whenever a token expires.</system-out></testcase>
    <testcase classname="https://mcp.example/&lt;jira>/mcp" name="Resource metadata"><failure message="It names &quot;https://as.example&quot;.">flow.scheme-http: The resource is http://mcp.example/&lt;jira>/mcp &amp; more. The reverse proxy ends TLS and the server was not told. In Postern, set \`issuer\` to the https URL.</failure></testcase>
    <testcase classname="https://mcp.example/&lt;jira>/mcp" name="MCP"><skipped message="Needs an access token: --token-env NAME."/></testcase>
  </testsuite>
</testsuites>
`,
    )
  })
})

describe('postern doctor URL', () => {
  const run = (target: string, options: Partial<DoctorOptions> = {}) =>
    runDoctor(
      target,
      { failOn: 'error', register: true, ...options },
      { wanted: { flags: {} }, env: {}, json: true, stateDir: () => '/nowhere' },
    )

  it('ends with 0 where only warnings are found, and with 1 where these count or an error is found', async () => {
    const server = await startExaminedServer()
    await run(`${server.origin}/mcp`)
    expect(process.exitCode).toBe(0)
    await run(`${server.origin}/mcp`, { failOn: 'warning' })
    expect(process.exitCode).toBe(1)
    server.answerBy(at('/token', () => ({ status: 500 }), 'POST'))
    await run(`${server.origin}/mcp`)
    expect(process.exitCode).toBe(1)
    server.close()
  })

  it('ends with 4 where nothing answers', async () => {
    const server = await startExaminedServer()
    server.answerBy(at('/mcp', () => ({ status: 404 })))
    await run(`${server.origin}/mcp`)
    expect(process.exitCode).toBe(4)
    server.close()
  })

  it.each(['ftp://mcp.example/mcp', 'https://user:secret@mcp.example/mcp', 'https://'])(
    'refuses %s',
    async (target) => {
      await expect(run(target)).rejects.toThrow(UsageError)
    },
  )

  it('refuses a variable that is not set', async () => {
    await expect(run('https://mcp.example/mcp', { tokenEnv: 'NONE' })).rejects.toThrow(
      'The environment variable NONE is not set.',
    )
  })
})

describe('the clients', () => {
  it('that are stopped are those that the finding is about', () => {
    expect(clientsBy([{ code: 'doctor.private-address', evidence: '' }]).fail).toEqual([
      'claude.ai',
      'ChatGPT',
    ])
    expect(clientsBy([{ code: 'doctor.cors', evidence: '' }]).fail).toEqual(['MCP Inspector'])
    expect(
      clientsBy([{ code: 'doctor.registration-refused', evidence: '', clients: ['Cursor'] }]).fail,
    ).toEqual(['Cursor'])
    expect(clientsBy([{ code: 'doctor.pkce', evidence: '' }]).work).toEqual([])
  })

  it('are told a fix that is a sentence', () => {
    for (const { fix } of Object.values(findingKinds)) expect(fix).toMatch(/^[A-Z].*\.$/)
  })
})

it('docs/guide/doctor.md explains every finding, with its severity', () => {
  const rows = readFileSync(join(root, 'docs/guide/doctor.md'), 'utf8').matchAll(
    /^\| `([a-z0-9.-]+)` \| (\w+) \| .+\. \|$/gm,
  )
  expect([...rows].map(([, code, severity]) => [code, severity])).toEqual(
    Object.entries(findingKinds).map(([code, { severity }]) => [code, severity]),
  )
})
