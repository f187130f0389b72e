// What whoever runs the gateway sees of services that are commands: their health, their processes, and what
// those wrote to standard error.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Browser, createBrowser } from '../runtimes/browser.ts'
import { type TestGateway, openInProcess, openOnSocket } from '../runtimes/runtimes.ts'
import { ana, type Caller, callerOf, tokenOf, yamada } from '../runtimes/people.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { serverScript } from '../stdio/world.ts'

const runtimes = [
  ['in process', openInProcess],
  ['on a node socket', openOnSocket],
] as const

const small = { command: process.execPath, args: [serverScript], sandbox: 'none' as const }
const initialize = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1' } },
}

describe.each(runtimes)('%s', (_name, open) => {
  let house: TestGateway
  let upstream: Upstream
  const signIn = async (who: typeof ana): Promise<Browser> => {
    const browser = createBrowser(house.fetch, house.origin)
    await browser.submit(await browser.go(`${house.origin}/login`), '/login', {
      username: who.username,
      password: who.password,
    })
    return browser
  }
  const asked = async (path: string, browser?: Browser): Promise<[number, Record<string, unknown>]> => {
    const { status, body } = browser
      ? await browser.go(`${house.origin}${path}`, { headers: { accept: 'application/json' } })
      : await house
          .fetch(`${house.origin}${path}`)
          .then(async (answer) => ({ status: answer.status, body: await answer.text() }))
    return [status, JSON.parse(body) as Record<string, unknown>]
  }
  const callerAt = async (id: string): Promise<Caller> =>
    callerOf(house, `${house.origin}/${id}/mcp`, await tokenOf(house, ana, `${house.origin}/${id}/mcp`))

  beforeAll(async () => {
    upstream = await openUpstream((_, response) => response.end('{}'))
    const gone = { command: 'no-such-program', sandbox: 'none' as const }
    const crash = { ...small, args: [serverScript, '--crash'] }
    house = await open({
      upstream: upstream.url,
      config: { admins: ['local:ana'], local_users: [ana, yamada], mcp_services: { small, gone, crash } },
    })
  }, 60_000)
  afterAll(async () => {
    await house?.close()
    await upstream?.close()
  }, 60_000)

  it('is told by /health/{service} whether a command can be started, and as whom it asks (seed 004)', async () => {
    const about = (status: string, serverId: string, userId: string | null = null) => ({
      status,
      timestamp: expect.any(String) as string,
      version: expect.any(String) as string,
      storage: {
        healthy: true,
        backend_type: expect.any(String) as string,
        backend_class: expect.stringMatching(/^\w+Storage$/) as string,
      },
      serverId,
      userId,
    })
    for (const path of ['/health/gone', '/health?server=gone'])
      expect(await asked(path)).toEqual([200, about('unknown', 'gone')])
    for (const id of ['gone', 'crash']) await (await (await callerAt(id)).post(initialize)).text()
    for (const id of ['gone', 'crash'])
      for (const path of [`/health/${id}`, `/health?server=${id}`])
        expect(await asked(path)).toEqual([503, about('degraded', id)])
    await (await (await callerAt('small')).post(initialize)).text()
    expect(await asked('/health/small', await signIn(yamada))).toEqual([
      200,
      about('healthy', 'small', 'yamada'),
    ])
    expect(await asked('/health/echo')).toEqual([200, about('unknown', 'echo')])
    await (await (await callerAt('echo')).post(initialize)).text()
    expect(await asked('/health?server=echo')).toEqual([200, about('healthy', 'echo')])
    expect(await asked('/health/nothing')).toEqual([
      404,
      expect.objectContaining({ error_description: "Service 'nothing' not found" }),
    ])
    // The gateway's own health is not that of one of them: it is not restarted because a command fails.
    expect(await asked('/health')).toEqual([
      200,
      {
        status: 'healthy',
        timestamp: expect.any(String) as string,
        version: expect.any(String) as string,
        storage: {
          healthy: true,
          backend_type: expect.any(String) as string,
          backend_class: expect.stringMatching(/^\w+Storage$/) as string,
        },
        services: {
          echo: { status: 'healthy' },
          small: { status: 'healthy' },
          gone: { status: 'degraded' },
          crash: { status: 'degraded' },
        },
      },
    ])
  })

  it('reads what a server wrote to standard error, also when it is gone; nobody but an administrator does', async () => {
    const caller = await callerAt('small')
    const begun = await caller.post(initialize)
    const session = {
      'mcp-session-id': begun.headers.get('mcp-session-id') ?? '',
      'mcp-protocol-version': '2025-11-25',
    }
    await (
      await caller.post(
        {
          jsonrpc: '2.0',
          id: 2,
          method: 'tools/call',
          params: { name: 'complain', arguments: { text: 'the disk is slow' } },
        },
        session,
      )
    ).text()
    await (await (await callerAt('crash')).post(initialize)).text()
    const admin = await signIn(ana)
    const processes = async () =>
      (await asked('/api/processes', admin))[1]['processes'] as Record<string, unknown>[]
    for (
      let tries = 0;
      tries < 500 && !JSON.stringify(await processes()).includes('the disk is slow');
      tries++
    );
    const all = await processes()
    expect(all.find(({ stderr }) => stderr === 'the disk is slow\n')).toMatchObject({
      service: 'small',
      owner: expect.stringMatching(/^[0-9a-f]{32}$/) as string,
      pid: expect.any(Number) as number,
      pending: 0,
    })
    expect(all.find(({ service }) => service === 'crash')).toMatchObject({
      why: expect.stringContaining(
        'exited with code 1; an API key or token may be missing in `env`',
      ) as string,
      stderr: 'cannot start: API_KEY is missing\n',
      ended_at: expect.any(String) as string,
    })
    expect((await asked('/api/processes'))[0]).toBe(401)
    expect((await asked('/api/processes', await signIn(yamada)))[0]).toBe(403)
  })
})

describe('a gateway in front of one command', () => {
  it('never turns unhealthy or unready because somebody called the command and it failed (seed 004)', async () => {
    const upstream = await openUpstream((_, response) => response.end('{}'))
    const house = await openInProcess({
      upstream: upstream.url,
      config: {
        local_users: [ana],
        mcp_services: { server: { command: 'no-such-program', sandbox: 'none' } },
      },
    })
    const url = `${house.origin}/server/mcp`
    const at = async (path: string) => {
      const answer = await house.fetch(`${house.origin}${path}`)
      return [answer.status, (await answer.json()) as unknown]
    }
    const told = (status: string) =>
      expect.objectContaining({
        status: 'healthy',
        services: { echo: { status: 'unknown' }, server: { status } },
        serverId: 'server',
        userId: null,
      }) as unknown
    expect(await at('/health')).toEqual([200, told('unknown')])
    for (let call = 0; call < 3; call++)
      await (await callerOf(house, url, await tokenOf(house, ana, url)).post(initialize)).text()
    expect(await at('/health')).toEqual([200, told('degraded')])
    expect(await at('/readyz')).toEqual([200, { ok: true }])
    expect((await at('/health/server'))[0]).toBe(503)
    await house.close()
    await upstream.close()
  })
})
