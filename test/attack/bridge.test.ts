// What servers on standard input and output, and those who call them, try; and what never comes of it.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { eventsOf, isAlive, lastOf, saidBy, type StdioClient, until } from '../stdio/world.ts'
import { begun, useWorlds } from '../stdio/worlds.ts'

const world = useWorlds()

describe('never by its command line: a child', () => {
  it('never meets a shell [H-N1]', async () => {
    const { client, stateDir } = world({
      flags: [
        '; touch touched',
        '$(touch touched)',
        '`touch touched`',
        '| touch touched',
        '&& touch touched',
        '\n touch touched',
      ],
      plan: { env: { PAYLOAD: '$(touch touched)' } },
    })
    const ana = await begun(client('ana'))
    const { cwd } = saidBy(await ana.tool('where'))
    expect(saidBy(await ana.tool('environment'))['PAYLOAD']).toBe('$(touch touched)')
    expect([
      existsSync(join(String(cwd), 'touched')),
      existsSync('touched'),
      existsSync(join(stateDir, 'touched')),
    ]).toEqual([false, false, false])
  })

  it('never hands down what the gateway or another service knows [H-N4]', async () => {
    const env = {
      PATH: process.env['PATH'],
      LANG: 'C.UTF-8',
      HOME: '/root',
      SESSION_SECRET: 'secret',
      AWS_SECRET_ACCESS_KEY: 'secret',
      NODE_OPTIONS: '',
      npm_config__auth: 'secret',
      POSTERN_STATE: '/elsewhere',
    }
    const { client, stateDir } = world({ env, plan: { env: { API_KEY: 'own' } } })
    const seen = saidBy(await (await begun(client('ana'))).tool('environment'))
    expect(Object.keys(seen).sort()).toEqual([
      'API_KEY',
      'HOME',
      'LANG',
      'MCP_PERMISSIONS',
      'MCP_SERVER_ID',
      'MCP_USER_ID',
      'PATH',
      'POSTERN_PROCESS',
    ])
    expect(seen['HOME']).toMatch(new RegExp(`^${stateDir}/processes/small/[0-9a-f]{32}$`))
  })
})

describe('never into a log: what a server complains of', () => {
  const secret = 'sk-live-0123456789'
  const pem = ['-----BEGIN KEY-----', 'bWFueSBiYXNlNjQgbGluZXM', '-----END KEY-----']

  it('never carries the secrets it was configured with, in pieces, in many lines or with its last breath', async () => {
    const { client, log, bridge } = world({
      plan: {
        env: { API_KEY: secret, SIGNING_KEY: pem.join('\n'), MODE: 'fast', CONFIG: '/etc/server.conf' },
      },
    })
    const ana = await begun(client('ana'))
    for (const text of [
      `no access with ${secret} (fast, /etc/server.conf)`,
      pem.join('\n'),
      `${'x'.repeat(9000)}${secret}`,
    ])
      await ana.tool('complain', { text })
    await ana.tool('complain-in-pieces', { pieces: [secret.slice(0, 8), secret.slice(8), '\n'] })
    await until(
      () => JSON.stringify(bridge.processes()[0]?.stderr).endsWith('[API_KEY]\\n[API_KEY]\\n"'),
      'what it wrote',
    )
    const { stderr = '' } = bridge.processes()[0] ?? {}
    expect(stderr).toContain(
      'no access with [API_KEY] (fast, /etc/server.conf)\n[SIGNING_KEY]\n[SIGNING_KEY]\n[SIGNING_KEY]\n',
    )
    await ana.tool('exit', { words: `refused: ${secret}` })
    expect(log.find(({ event }) => event === 'process.ended')?.fields['why']).toMatch(
      /exited with code 3; last stderr line: refused: \[API_KEY\]$/,
    )
    expect(JSON.stringify(log)).not.toMatch(/sk-live|0123456789|bWFueSB|PRIVATE/)
    expect(
      log.some(
        ({ event, fields }) => event === 'process.stderr' && String(fields['text']).includes('[API_KEY]'),
      ),
    ).toBe(true)
  })
})

describe('never across people: two of them', () => {
  const interleaved = async (
    one: StdioClient,
    two: StdioClient,
    call: (who: StdioClient, name: string, n: number) => Promise<Record<string, unknown>>,
  ): Promise<number> => {
    let crossings = 0
    for (let round = 0; round < 20; round++) {
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, n) => {
          const [who, name] = n % 2 === 0 ? ([one, 'ana'] as const) : ([two, 'bea'] as const)
          // The same ids for both, at the same moment.
          return call(who, name, n >> 1).then((answer) => answer['name'] === name && answer['n'] === n >> 1)
        }),
      )
      crossings += answers.filter((right) => !right).length
    }
    return crossings
  }

  it('never hear one another, in sessions, with the same ids, a thousand times interleaved [H-M5] [H-N7]', async () => {
    const { client } = world()
    const [ana, bea] = [await begun(client('ana')), await begun(client('bea'))]
    expect(
      await interleaved(ana, bea, async (who, name, n) => saidBy(await who.tool('echo', { name, n }, n))),
    ).toBe(0)
    const pids = await Promise.all([ana, bea].map(async (who) => saidBy(await who.tool('echo'))['pid']))
    expect(new Set(pids).size).toBe(2)
  })

  it('never hear one another on one shared server of 2026-07-28, not even its progress, log and subscriptions [H-M5] [H-N7]', async () => {
    const { client } = world({ flags: ['--modern'], bridge: { shared: true } })
    const [ana, bea] = [client('ana'), client('bea')]
    expect(
      await interleaved(ana, bea, async (who, name, n) =>
        saidBy(await who.modernTool('echo', { name, n }, n)),
      ),
    ).toBe(0)
    const level = { progressToken: 1, 'io.modelcontextprotocol/logLevel': 'info' }
    const [mine, hers] = await Promise.all([
      ana.modern('tools/call', { name: 'log', arguments: { text: 'of ana' }, _meta: level }),
      bea.modern('tools/call', { name: 'progress', arguments: { steps: 1 }, _meta: level }),
    ])
    expect(
      (await eventsOf(mine).rest()).map(({ message }) => message.params?.['data'] ?? message.id),
    ).toEqual(['of ana', 1])
    expect(
      (await eventsOf(hers).rest()).map(({ message }) => message.params?.['progress'] ?? message.id),
    ).toEqual([1, 1])
  })

  it('never use the session of the other, whatever they know of it [H-N7]', async () => {
    const { client } = world()
    const [ana, bea] = [await begun(client('ana')), client('bea')]
    for (const method of ['GET', 'DELETE'] as const)
      expect((await bea.fetch(method, undefined, ana.session)).status).toBe(404)
    expect((await bea.fetch('POST', { jsonrpc: '2.0', id: 1, method: 'ping' }, ana.session)).status).toBe(404)
    expect(saidBy(await ana.tool('echo', { still: 1 }))).toMatchObject({ still: 1 })
  })

  it('never share a home [H-N7]', async () => {
    const { client } = world()
    const homes = await Promise.all(
      ['ana', 'bea', 'ana'].map(
        async (who) => saidBy(await (await begun(client(who))).tool('where'))['home'],
      ),
    )
    expect(homes[0]).toBe(homes[2])
    expect(homes[1]).not.toBe(homes[0])
  })
})

describe('never at the expense of others: a server', () => {
  it('never fills the memory with a line that does not end; it is ended and the caller told [H-N8]', async () => {
    const { client, bridge, log } = world()
    const ana = await begun(client('ana'))
    const pid = bridge.processes()[0]?.pid ?? 0
    const before = process.memoryUsage.rss()
    const answer = await ana.tool('endless')
    expect(answer.error).toEqual({
      code: 1502,
      message: 'The MCP server was stopped: its message was too large.',
      data: { code: 'process.ended', request_id: 'request' },
    })
    expect(process.memoryUsage.rss() - before).toBeLessThan(200_000_000)
    await until(() => !isAlive(pid), 'its end')
    expect(log.some(({ event }) => event === 'process.ended')).toBe(true)
    expect((await ana.tool('echo')).error?.code).toBe(1404)
    expect(saidBy(await (await begun(ana)).tool('echo', { n: 1 }))).toMatchObject({ n: 1 })
  })

  it('never keeps a message of ten million characters from its caller, nor one from the server', async () => {
    const ana = await begun(world().client('ana'))
    expect(String(saidBy(await ana.tool('large', { bytes: 10_000_000 }))['text'])).toHaveLength(10_000_000)
    expect(String(saidBy(await ana.tool('echo', { text: 'y'.repeat(10_000_000) }))['text'])).toHaveLength(
      10_000_000,
    )
  })

  it('never holds a caller by saying nothing [H-N8]', async () => {
    const { client, advance, bridge } = world({ flags: ['--modern'], bridge: { timeoutMs: 5000 } })
    const ana = await begun(client('ana'))
    await ana.modernTool('echo')
    const [legacy, modern] = [ana.tool('hang'), ana.modernTool('hang')]
    await until(() => bridge.processes().every(({ pending }) => pending === 1), 'the calls')
    advance(5001)
    expect([(await legacy).error, (await modern).error]).toEqual([
      {
        code: 1504,
        message: 'Request to Small timed out',
        data: { code: 'upstream.timeout', request_id: 'request' },
      },
      {
        code: 1504,
        message: 'Request to Small timed out',
        data: { code: 'upstream.timeout', request_id: 'request' },
      },
    ])
    expect(Object.values(saidBy(await ana.modernTool('cancelled')))).toHaveLength(1)
  })

  it('never makes a client wait for a start that does not end [H-N8]', async () => {
    const { client, bridge, log } = world({ flags: ['--mute', '--murmur'], bridge: { startMs: 1000 } })
    expect((await client('ana').initialize()).error).toEqual({
      code: 1504,
      message: 'Request to Small timed out',
      data: { code: 'upstream.timeout', request_id: 'request' },
    })
    expect((await (await client('ana').modern('tools/list')).json()) as object).toMatchObject({
      error: { code: 1504 },
    })
    // The operator reads what it was waiting for.
    const late = log
      .filter(({ event, level }) => event === 'process.late' && level === 'warn')
      .map(({ fields }) => fields['why'])
    expect(late).toEqual([
      'no answer to initialize; last stderr line: waiting for a license',
      'said nothing after its start; last stderr line: waiting for a license',
    ])
    await until(() => bridge.processes().length === 0, 'the end of both')
  })

  it('never has a cut answer taken for a whole one [H-N8]', async () => {
    const { client } = world({ flags: ['--modern'] })
    const ana = client('ana')
    const answer = await ana.modern('tools/call', { name: 'die-mid-answer', arguments: {} })
    expect([answer.status, (await lastOf(answer)).error?.message]).toEqual([
      502,
      'The MCP server was killed (SIGKILL), possibly because the system ran out of memory.',
    ])
    await begun(ana)
    expect((await ana.tool('die-mid-answer')).error?.code).toBe(1502)
  })

  it('never reaches a client with what is no message: banners, other JSON, half UTF-8, carriage returns, answers to nobody [C17] [H-N8]', async () => {
    const ana = await begun(world().client('ana'))
    for (const tool of ['garbage', 'strangers', 'carriage-returns', 'twice', 'pieces', 'batch'] as const) {
      const response = await ana.fetch(
        'POST',
        {
          jsonrpc: '2.0',
          id: tool,
          method: 'tools/call',
          params: { name: tool, arguments: { text: 'plain' } },
        },
        ana.session,
      )
      const text = await response.clone().text()
      expect(text).not.toMatch(/ready|secret|nobody|\uFFFD/)
      expect(text).not.toContain('\r')
      expect((await lastOf(response)).id).toBe(tool)
    }
    expect(saidBy(await ana.tool('echo', { n: 1 }))).toMatchObject({ n: 1 })
  })

  it('never leaves anything behind: what it started in other groups ends with it, and it itself within ten seconds however stubborn [H-N8]', async () => {
    const { client, bridge } = world({ flags: ['--stubborn'] })
    const ana = await begun(client('ana'))
    const pids = [bridge.processes()[0]?.pid ?? 0, ...(saidBy(await ana.tool('fork'))['left'] as number[])]
    expect(pids.every(isAlive)).toBe(true)
    const asked = Date.now()
    await ana.fetch('DELETE', undefined, ana.session)
    await until(() => !pids.some(isAlive), 'all of them', 10_000)
    expect(Date.now() - asked).toBeLessThan(10_000)
  }, 60_000)

  it('never drowns the gateway or another caller in notifications, however slowly its own caller reads [H-M15]', async () => {
    const { client, bridge } = world()
    const [ana, bea] = [await begun(client('ana')), await begun(client('bea'))]
    const flooded = await ana.fetch(
      'POST',
      {
        jsonrpc: '2.0',
        id: 1,
        method: 'tools/call',
        params: { name: 'endless-notifications', arguments: {} },
      },
      ana.session,
    )
    const reader = flooded.body!.getReader()
    await reader.read()
    const before = process.memoryUsage.rss()
    for (let n = 0; n < 200; n++) expect(saidBy(await bea.tool('echo', { n }))).toMatchObject({ n })
    expect(process.memoryUsage.rss() - before).toBeLessThan(200_000_000)
    expect(bridge.processes()).toHaveLength(2)
    await reader.cancel()
  }, 60_000)

  it('never makes the gateway keep what it does not read [H-N8]', async () => {
    const { client, bridge } = world({ flags: ['--modern'] })
    const ana = client('ana')
    await ana.modernTool('echo')
    const pid = bridge.processes()[0]?.pid ?? 0
    process.kill(pid, 'SIGSTOP')
    const leaving = new AbortController()
    const answers: Promise<Response>[] = []
    for (let n = 0; n < 24; n++)
      answers.push(
        ana.modern(
          'tools/call',
          { name: 'echo', arguments: { text: 'x'.repeat(1_000_000) } },
          { signal: leaving.signal },
        ),
      )
    const refused = await Promise.race(answers)
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1'])
    leaving.abort()
    await Promise.allSettled(answers)
    process.kill(pid, 'SIGCONT')
  })

  it('never makes a crash a loop: it rests longer after each, and says why [H-N8]', async () => {
    const { client, advance, log } = world({ flags: ['--crash'] })
    const ana = client('ana')
    const codes: unknown[] = []
    for (let n = 0; n < 4; n++) codes.push((await ana.initialize()).error?.message)
    expect(codes).toEqual([
      'The MCP server exited with code 1.',
      'The MCP server exited with code 1.',
      'The MCP server exited with code 1. The gateway retries in a moment.',
      'The MCP server exited with code 1. The gateway retries in a moment.',
    ])
    expect(log.filter(({ event }) => event === 'process.started')).toHaveLength(2)
    // The operator reads what it wrote; the caller does not.
    expect(log.findLast(({ event }) => event === 'process.ended')?.fields['why']).toMatch(
      /exited with code 1; an API key or token may be missing in `env`; last stderr line: cannot start: API_KEY is missing$/,
    )
    advance(600)
    await ana.initialize()
    expect(log.filter(({ event }) => event === 'process.started')).toHaveLength(3)
    // Somebody else's failures are somebody else's.
    expect((await client('bea').initialize()).error?.message).toBe('The MCP server exited with code 1.')
  })
})
