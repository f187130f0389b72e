// `postern wrap`: what a command is called, and which service it becomes.
import { homedir } from 'node:os'
import { describe, expect, it } from 'vitest'
import { withStderr } from '../../src/cli/terminal.ts'
import { idFor, wrapped } from '../../src/cli/wrap.ts'

describe('the id of a wrapped command', () => {
  it.each([
    ['npx -y @modelcontextprotocol/server-filesystem .', 'filesystem'],
    ['npx -y @modelcontextprotocol/server-sequential-thinking@2026.8.31', 'sequential-thinking'],
    ['npx @playwright/mcp@latest --headless', 'mcp-server'],
    ['npx -y some-server', 'some'],
    ['pnpm dlx mcp-server-kubernetes', 'kubernetes'],
    ['uvx mcp-server-git --repository .', 'git'],
    ['uv run time-mcp-server', 'time'],
    ['node ./weather/dist/index.js', 'weather'],
    ['node server.js', 'server'],
    ['python3 tools/brave_search.py', 'brave_search'],
    ['/opt/tools/mcp-grafana --stdio', 'grafana'],
    ['C:\\tools\\notes.exe', 'notes'],
    ['mcp-server-everything stdio', 'everything'],
    ['npx -y sse', 'sse-server'],
    ['npx -y 日本', 'server'],
  ])('%s is %s', (line, id) => expect(idFor(line.split(' '))).toBe(id))
})

describe('a wrapped command', () => {
  const service = (options: Parameters<typeof wrapped>[1], here = '/work') =>
    wrapped(['npx', '-y', 'some-server'], options, { API_KEY: 'k', EMPTY: '' }, here).wrapped?.service

  it('runs here, isolated, with the variables it is given', () => {
    expect(service({ env: ['API_KEY', 'MODE=a=b', 'EMPTY'] })).toEqual({
      command: 'npx',
      args: ['-y', 'some-server'],
      env: { API_KEY: 'k', MODE: 'a=b', EMPTY: '' },
      cwd: '/work',
      sandbox_network: true,
      sandbox_read: [],
      sandbox_write: [],
    })
    expect(() => service({ env: ['MISSING'] })).toThrow(
      '-e MISSING: the variable is not set. Write -e MISSING=value.',
    )
  })

  it('is not shown a whole home because somebody stands in it', () => {
    expect(service({}, homedir())).not.toHaveProperty('cwd')
    expect(service({}, '/')).not.toHaveProperty('cwd')
    expect(service({ cwd: homedir() }, '/')).toHaveProperty('cwd', homedir())
  })

  it('takes what isolation it is told to', () => {
    expect(service({ sandbox: false })).toHaveProperty('sandbox', 'none')
    expect(service({ network: false, write: ['out'], read: ['in'] })).toMatchObject({
      sandbox_network: false,
      sandbox_write: ['out'],
      sandbox_read: ['in'],
    })
  })
})

describe('the terminal of a wrapped command', () => {
  it('shows what the server complains about, line by line and without its escape sequences', () => {
    const shown: string[] = []
    const logged: string[] = []
    const log = withStderr(
      (_, event) => void logged.push(event),
      (text) => void shown.push(text),
    )
    log('debug', 'process.stderr', { text: 'one\n\n\u001B[2Jtwo\n' })
    log('info', 'call', { text: 'not this' })
    expect(shown).toEqual(['  │ one\n', '  │ ?[2Jtwo\n'])
    expect(logged).toEqual(['process.stderr', 'call'])
  })
})
