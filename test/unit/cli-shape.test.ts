// What the command tree promises as a whole: output formats, completion of shells, help, and `postern status`.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { flowSummary } from '../../src/cli/flow-summary.ts'
import { createProgram } from '../../src/cli/program.ts'
import { createYamlPrinter } from '../../src/cli/yaml-output.ts'
import { cancelled, completed, stalled } from '../pages/console-frame.ts'

const dir = mkdtempSync(join(tmpdir(), 'postern-shape-'))
let probed = 200
let gateway: Server
beforeAll(async () => {
  gateway = createServer((request, response) => {
    response.writeHead(request.url === '/readyz' ? probed : 404).end()
  })
  await new Promise<void>((resolve) => gateway.listen(0, '127.0.0.1', () => resolve()))
})
afterAll(() => {
  gateway.close()
  rmSync(dir, { recursive: true })
  process.exitCode = undefined
})

const printed = async (work: () => unknown): Promise<string> => {
  const out: string[] = []
  const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => out.push(String(text)) > 0)
  try {
    await work()
  } finally {
    spy.mockRestore()
  }
  return out.join('')
}
const run = (...words: readonly string[]): Promise<string> =>
  printed(() => createProgram().parseAsync(words, { from: 'user' }))

const tree = (command: Command, path = ''): readonly (readonly [string, Command])[] =>
  command.commands.flatMap((one) => {
    const own = `${path} ${one.name()}`.trim()
    return [[own, one] as const, ...tree(one, own)]
  })
const commands = tree(createProgram())

// Output.

it.each(commands.filter(([path]) => /(?:^| )(?:ls|show|query|explain|status|version)$/.test(path)))(
  'prints `%s` as a table, JSON or YAML',
  (_, command) => {
    const output = command.options.find(({ long }) => long === '--output')
    expect(output?.argChoices?.slice(0, 3)).toEqual(['table', 'json', 'yaml'])
  },
)

it('prints the same as YAML and as JSON, and refuses what is neither', async () => {
  const json = JSON.parse(await run('version', '--json')) as unknown
  expect(parse(await run('version', '-o', 'yaml'))).toEqual(json)
  expect(JSON.parse(await run('version', '-o', 'json'))).toEqual(json)
  // The nearer option wins.
  expect(await run('version', '--json', '-o', 'table')).toMatch(/^postern /)
  await expect(run('version', '-o', 'xml')).rejects.toThrow('Allowed choices are table, json, yaml.')
})

it('prints texts that look like something else as texts, and several values as documents', async () => {
  const values = [{ a: 'yes', b: '2026-11-30', c: '- x: 1\n# y', d: undefined, e: [] }, { a: '---' }]
  const yaml = await printed(() => values.forEach(createYamlPrinter()))
  expect(parseAllDocuments(yaml).map((document) => document.toJS() as unknown)).toEqual(
    JSON.parse(JSON.stringify(values)),
  )
})

// Completion.

it('completes commands, options and their values in bash', async () => {
  const script = await run('completion', 'bash')
  const asked = [
    ['postern', 'se'],
    ['postern', '-c', 'services', 'services', 's'],
    ['postern', 'audit', 'query', '-o', ''],
    ['postern', 'services', 'ls', '--st'],
    ['postern', 'completion', ''],
    ['postern', 'wrap', '--', 's'],
  ]
  const lines = asked.map(
    (words) =>
      `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _postern; echo "\${COMPREPLY[*]}"`,
  )
  const told = execFileSync('bash', ['--norc', '-c', `${script}\n${lines.join('\n')}`], { encoding: 'utf8' })
  expect(told.split('\n')).toEqual([
    'serve services sessions',
    'show',
    'table json yaml csv',
    '--state',
    'bash zsh fish',
    '',
    '',
  ])
})

it.each(['bash', 'zsh', 'fish'])('knows every command in %s', async (shell) => {
  const script = await run('completion', shell)
  for (const [path, command] of commands) {
    expect(script).toContain(shell === 'fish' ? `_postern_at ${path}'` : `'${path}|')`)
    for (const { long, hidden } of command.options)
      if (long && !hidden) expect(script).toContain(shell === 'fish' ? ` -l ${long.slice(2)} ` : long)
  }
  expect(script).not.toContain('--print-login-link')
})

it('prints help for every command, and refuses an unknown shell', async () => {
  for (const [path, command] of commands)
    if (path !== 'help')
      expect(await run('help', ...path.split(' '))).toContain(command.description().slice(0, 30))
  await expect(run('completion', 'tcsh')).rejects.toThrow('Allowed choices are bash, zsh, fish.')
})

// Status.

const status = async (config: object, ...words: readonly string[]) => {
  writeFileSync(join(dir, 'postern.json'), JSON.stringify(config))
  process.exitCode = undefined
  const out = await run('status', ...words, '-c', join(dir, 'postern.json'), '--state', dir)
  return { out, exit: process.exitCode as number | undefined }
}

it('says in one look whether the gateway runs, and what it serves', async () => {
  const { port } = gateway.address() as AddressInfo
  const config = { port, mcp_services: { far: { url: 'https://far.example/mcp' } } }
  const ready = await status(config)
  expect(ready.out).toMatch(
    new RegExp(`^Gateway +ready at http://localhost:${port}\nPublic URL +http://localhost:${port}\n`),
  )
  expect([ready.out, ready.exit]).toEqual([expect.stringContaining('Services     1 service\n'), undefined])
  probed = 503
  const waits = await status(config, '-o', 'json')
  expect([JSON.parse(waits.out), waits.exit]).toMatchObject([
    { gateway: { state: 'not_ready' }, services: { configured: 1, added: 0, disabled: [] }, grants: 0 },
    1,
  ])
  const memory = await status({ port: 0, storage: { type: 'memory' } })
  expect([memory.out, memory.exit]).toEqual([expect.stringMatching(/^Gateway +not running\n/), 4])
})

it('says that the gateway is locked', async () => {
  probed = 200
  const { port } = gateway.address() as AddressInfo
  writeFileSync(join(dir, 'postern.json'), JSON.stringify({ port }))
  await run('lock', '-c', join(dir, 'postern.json'), '--state', dir)
  const { out, exit } = await status({ port })
  expect([out, exit]).toEqual([expect.stringContaining('Locked'), 1])
})

// The report of flows.

it('reports the logins of a period, with what stopped and who must act, and no markup of strangers', () => {
  const hostile = { ...stalled, client_name: 'A | <b>`x`\u001b[31m', service: 'wiki' }
  const report = flowSummary([completed, stalled, hostile, cancelled], '7d', true)
  expect(report.match(/^#.*/gm)).toEqual([
    '# Logins since 7d',
    '## Summary',
    '## Outcomes',
    '## Where they stopped, and who must act',
    '## Apps',
    '## Services',
  ])
  expect(report).toContain(
    '4 logins began, 1 came to a first call, 3 stopped. There were more: these are the newest.',
  )
  expect(report).toContain('| stalled: the app did not go on | 2 |')
  expect(report).toMatch(
    /\| flow\.token-unused \| 2 \| Claude has a token .* \| the app \| If the app .* \| 01JZ8QX3V6 \|/,
  )
  expect(report).toContain(String.raw`| A \| &lt;b>'x'?[31m | 1 | 0 | 1 |`)
  expect(report).toContain('| jira | 3 | 1 | 2 |')
  expect(flowSummary([], '1h', false)).toContain('Nothing stopped.')
})
