// `postern wrap -- …` as a process: the same first line as ever, and a server behind it that people can call.
import { spawn } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { afterAll, describe, expect, it } from 'vitest'
import { obtainToken } from '../../scripts/harness/authorize.ts'
import { person, startPostern } from '../../scripts/harness/postern.ts'
import { commandLine, compileCache } from '../runtimes/process.ts'
import { serverScript } from '../stdio/world.ts'
import { createPlace, postern, posternOnTerminal } from './cli-process.ts'

describe('postern wrap', () => {
  const place = createPlace()
  afterAll(() => place.remove())

  it('serves one command with the printed block of every start', async () => {
    const running = await startPostern({
      config: { local_users: [person] },
      command: [process.execPath, commandLine, 'wrap', '--no-sandbox', '--name', 'small', '-e', 'MODE=test'],
      after: ['--', process.execPath, serverScript],
    })
    try {
      const token = await obtainToken(`${running.url}/small/mcp`)
      const headers = {
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
      }
      const post = (body: object, more: Record<string, string> = {}) =>
        fetch(`${running.url}/small/mcp`, {
          method: 'POST',
          headers: { ...headers, ...more },
          body: JSON.stringify({ jsonrpc: '2.0', id: 1, ...body }),
        })
      const begun = await post({
        method: 'initialize',
        params: {
          protocolVersion: '2025-11-25',
          capabilities: {},
          clientInfo: { name: 'test', version: '1' },
        },
      })
      const answer = (await (
        await post(
          { method: 'tools/call', params: { name: 'environment', arguments: {} } },
          { 'mcp-session-id': begun.headers.get('mcp-session-id') ?? '' },
        )
      ).json()) as { result: { content: { text: string }[] } }
      expect(JSON.parse(answer.result.content[0]!.text)).toMatchObject({ MODE: 'test' })
    } finally {
      await running.stop()
    }
  })

  it('prints the block of every start on a terminal: the one server, and how clients come to it', async () => {
    const answers = [['press h for help', 'q']] as const
    const { code, screen } = await posternOnTerminal(
      place,
      ['wrap', '--port', '0', '--state', 'state', '--', 'npx', '-y', '@modelcontextprotocol/server-memory'],
      { env: { NO_COLOR: '1' }, answers },
    )
    expect(code).toBe(0)
    expect(screen).toMatch(
      /^postern \d+\.\d+\.\d+ · node [\d.]+ · state .* \(new\) {3}ready in \d+ ms\n\n {2}Dashboard {5}http:\/\/localhost:\d+\/\?t=[\w-]{43} {3}\(one-time link, valid 15 minutes\)\n {2}MCP server {4}http:\/\/localhost:\d+\/memory\/mcp\n/,
    )
    expect(screen).toMatch(
      /\n {2}Claude Code {3}claude mcp add --transport http memory http:\/\/localhost:\d+\/memory\/mcp\n {2}VS Code .*\n {2}Inspector .*\/memory\/mcp --transport http\n/,
    )
  })

  it('says where the command begins when its options are taken for its own', async () => {
    const { code, err } = await postern(place, ['wrap', 'npx', '-y', 'some-server'])
    expect([code, err]).toEqual([2, expect.stringContaining('postern wrap -- ')])
  })
})

describe('postern dev', () => {
  const place = createPlace()
  afterAll(() => place.remove())

  it('puts a server behind users with a token each, who reach it as themselves', async () => {
    const upstream = createServer((request, response) => {
      const { 'x-user-email': email, 'x-user-groups': groups, 'x-mcp-identity': assertion } = request.headers
      response.writeHead(200, { 'content-type': 'application/json' }).end(
        JSON.stringify({
          jsonrpc: '2.0',
          id: 1,
          result: { email, groups, signed: assertion !== undefined },
        }),
      )
    })
    await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', () => resolve()))
    const server = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}/mcp`
    const users = ['--as', 'ana@example.com:staff,admins', '--as', 'ben']
    const child = spawn(process.execPath, [commandLine, 'dev', '--port', '0', ...users, server], {
      cwd: place.path,
      env: { PATH: process.env['PATH'], HOME: place.home, TMPDIR: place.home, ...compileCache },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = new Promise((resolve) => child.on('close', resolve))
    try {
      const found: { readonly url: string; readonly user: string; readonly token: string }[] = []
      for await (const line of createInterface({ input: child.stdout })) {
        if (line.includes('"token"') && found.push(JSON.parse(line) as (typeof found)[number]) === 2) break
      }
      const asked = (token: string): Promise<Response> =>
        fetch(found[0]?.url ?? '', {
          method: 'POST',
          headers: {
            authorization: `Bearer ${token}`,
            'content-type': 'application/json',
            accept: 'application/json, text/event-stream',
          },
          body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' }),
        })
      const results = await Promise.all(
        found.map(async ({ token }) => ((await (await asked(token)).json()) as { result: object }).result),
      )
      expect(results).toEqual([
        { email: 'ana@example.com', groups: 'staff,admins', signed: true },
        { signed: true },
      ])
      expect((await asked('ppat_guess')).status).toBe(401)
    } finally {
      child.kill('SIGTERM')
      child.stdout.resume()
      await ended
      upstream.close()
    }
    expect(readdirSync(place.home).filter((name) => name.startsWith('postern-dev-'))).toEqual([])
  })
})
