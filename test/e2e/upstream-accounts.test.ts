// People's accounts at upstreams, with real processes: behind a second gateway of the same kind, from the
// server list of the first one, and in two processes on one SQLite file.
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { freePort } from '../../scripts/harness/free-port.ts'
import { createProgram } from '../../src/cli/program.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { connectAt, linkIn, logInThrough, through, type Way } from '../runtimes/connecting.ts'
import { type FarServer, openFarServer } from '../runtimes/remote-server.ts'
import type { TestGateway } from '../runtimes/runtimes.ts'
import { allow, person } from '../runtimes/login.ts'
import { callerOf } from '../runtimes/people.ts'
import {
  type PosternProcess,
  type ProcessOptions,
  startProcess,
  temporaryState,
} from '../runtimes/process.ts'
import { call, until } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const states: ReturnType<typeof temporaryState>[] = []
const running: PosternProcess[] = []
const fresh = (): string => {
  const state = temporaryState()
  states.push(state)
  return state.dir
}
const start = async (options: ProcessOptions): Promise<PosternProcess> => {
  const started = await startProcess(options)
  running.push(started)
  return started
}
const houseOf = ({ origin, fetch }: PosternProcess): TestGateway => ({
  origin,
  fetch,
  log: [],
  advance: () => undefined,
  close: () => Promise.resolve(),
})
const people = { local_users: [person] }

let far: FarServer
let echo: Upstream
beforeAll(async () => {
  ;[far, echo] = await Promise.all([openFarServer(), openUpstream()])
})
afterAll(async () => {
  await Promise.all(running.map((each) => each.end()))
  await Promise.all([far.close(), echo.close()])
  for (const state of states) state.remove()
})

describe('a gateway behind a gateway', () => {
  it('is signed in to by each person once, called as them, and told when they leave [D1, D3]', async () => {
    const back = await start({
      config: { ...people, mcp_services: { echo: { url: echo.url } } },
      stateDir: fresh(),
    })
    const front = await start({
      config: { ...people, mcp_services: { behind: { name: 'Behind', url: `${back.origin}/echo/mcp` } } },
      stateDir: fresh(),
    })
    // One browser, which keeps cookies by host and not by port.
    const browser = createBrowser(front.fetch, front.origin)
    const there = createBrowser(back.fetch, back.origin, browser.cookies)
    const way: Way = async (url) => (await allow(there, url, person)).href
    const house = houseOf(front)
    const { caller, consent } = await logInThrough(house, 'behind', { way, browser })
    expect(consent.body).toContain(
      `${new URL(back.origin).host}</bdi></strong> will also ask for your approval`,
    )
    const answer = (await (await caller.post(call())).json()) as {
      result: { headers: Record<string, string> }
    }
    // The second gateway says who is calling; what the first one's client sent stays with the first.
    expect(answer.result.headers).toMatchObject({ 'x-user-id': 'ana' })
    expect(JSON.stringify(echo.heard)).not.toContain(caller.token)
    const page = await browser.go('/connect/behind')
    await browser.submit(page, '/connect/behind', { action: 'disconnect', account: 'default' })
    await until(() => back.lines.some((line) => /"(token|grant)\.revoked"/.test(line)), 'the revocation')
    const link = linkIn(await (await caller.post(call())).text())
    expect(link).toContain(`${front.origin}/connect/behind`)
    const again = await connectAt(house, link, { browser, way })
    expect([again.status, (await caller.post(call())).status]).toEqual([200, 200])
    expect([...front.lines, ...back.lines].join('\n')).not.toContain(caller.token)
  })
})

describe('the server list of the first gateway', () => {
  it('is enough: its client is used as it was registered, with its scopes and its redirect URI', async () => {
    const port = await freePort()
    const servers = [
      {
        domain: new URL(far.url).host,
        name: 'Far',
        authzEndpoint: `${far.origin}/authorize`,
        tokenEndpoint: `${far.origin}/token`,
        clientId: 'listed',
        clientSecret: 'the-secret-of-the-list',
        scopes: 'read write',
        redirectUri: `http://localhost:${port}/oauth/callback`,
      },
    ]
    const gateway = await start({
      config: people,
      stateDir: fresh(),
      port,
      env: { MCP_SERVERS: JSON.stringify(servers) },
    })
    far.asked.length = 0
    const { caller } = await logInThrough(houseOf(gateway), 'far')
    expect(await (await caller.post(call())).text()).toMatch(/access-\d+/)
    const [out, code] = far.asked.filter(({ path }) => path !== '/mcp')
    expect([out?.path, code?.path]).toEqual(['/authorize', '/token'])
    expect(out?.fields).toMatchObject({
      client_id: 'listed',
      scope: 'read write',
      redirect_uri: servers[0]?.redirectUri,
    })
    expect(atob((code?.headers.authorization ?? '').slice(6))).toBe('listed:the-secret-of-the-list')
    expect(gateway.lines.join('\n')).not.toContain('the-secret-of-the-list')
  })
})

describe('two processes on one SQLite file', () => {
  it('renew a refused token with one request, however many calls of either wait [D7] [H-H15]', async () => {
    const stateDir = fresh()
    const config = { ...people, mcp_services: { far: { url: far.url, upstream_auth: { type: 'oauth' } } } }
    const first = await start({ config, stateDir })
    const port = await freePort()
    const second = await start({
      config: { ...config, issuer: first.origin, allowed_hosts: [`localhost:${port}`] },
      stateDir,
      port,
    })
    const house = houseOf(first)
    const { caller } = await logInThrough(house, 'far', { way: through })
    const other = callerOf(house, caller.url.replace(/:\d+\//, `:${port}/`), caller.token)
    expect([(await caller.post(call())).status, (await other.post(call())).status]).toEqual([200, 200])
    for (let round = 0; round < 3; round++) {
      far.expire()
      const before = far.count('/token', 'refresh_token')
      // The answer waits for every call of both processes.
      const calls = far.count('/mcp')
      far.script.before.set('/token', () => until(() => far.count('/mcp') >= calls + 100, 'a hundred calls'))
      const answers = await Promise.all(
        Array.from({ length: 100 }, (_, i) => (i % 2 === 0 ? caller : other).post(call())),
      )
      const texts = await Promise.all(answers.map((answer) => answer.text()))
      expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200))
      expect(new Set(texts.map((text) => /access-\d+/.exec(text)?.[0])).size).toBe(1)
      expect(far.count('/token', 'refresh_token') - before).toBe(1)
    }
    far.script.before.clear()
    // A third process ends the access, and the account with it; it waits for the authorization server.
    const printed = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
    const where = ['--config', join(stateDir, 'config.json'), '--state', stateDir]
    const revoke = ['grants', 'revoke', '--user', `local:${person.username}`, '--revoke-upstream']
    const revoked = far.count('/revoke')
    await createProgram().parseAsync(['node', 'postern', ...revoke, ...where])
    const said = stripVTControlCharacters(printed.mock.calls.map(([text]) => String(text)).join(''))
    printed.mockRestore()
    expect(said).toContain('Ended 1 grant of 1 user and 1 app, and 1 account.')
    expect(said).toContain('Removed 1 account at MCP servers. Tokens revoked: 1.')
    expect(far.count('/revoke') - revoked).toBe(2)
    for (const each of [caller, other])
      await until(async () => (await each.post(call())).status === 401, 'the end of access')
    expect(second.lines.join('\n')).not.toMatch(/access-\d|refresh-\d/)
  })
})

describe('a server that took the place of another', () => {
  it('is shown nothing of the other’s: apps are let in anew, and people are asked to connect there [D3] [H-K1]', async () => {
    const stateDir = fresh()
    const there = await openFarServer()
    const configWith = (url: string, issuer: string, secret: string) => ({
      ...people,
      mcp_services: {
        moved: { url, upstream_auth: { type: 'oauth', issuer, client_id: 'gateway', client_secret: secret } },
      },
    })
    const before = await start({
      config: configWith(far.url, far.origin, 'the-secret-for-the-first-server'),
      stateDir,
    })
    const { caller: former } = await logInThrough(houseOf(before), 'moved')
    expect((await former.post(call())).status).toBe(200)
    await before.end()
    const after = await start({
      config: configWith(there.url, there.origin, 'the-secret-for-the-second-one'),
      stateDir,
      port: Number(new URL(before.origin).port),
    })
    far.asked.length = 0
    expect((await former.post(call())).status).toBe(401)
    const { caller } = await logInThrough(houseOf(after), 'moved')
    expect([there.count('/token', 'authorization_code'), (await caller.post(call())).status]).toEqual([
      1, 200,
    ])
    expect(JSON.stringify(there.asked)).not.toMatch(/the-secret-for-the-first/)
    expect(
      there.asked
        .filter(({ path, headers }) => path === '/mcp' && headers.authorization !== undefined)
        .every(({ headers }) => there.isGood((headers.authorization ?? '').slice(7))),
    ).toBe(true)
    expect(far.asked).toEqual([])
    await there.close()
  })
})

describe('what an account is made of', () => {
  it('is in no log at any level, in no answer, and readable in no file: tokens, codes, verifiers, states, secrets [D7] [H-V1]', async () => {
    const stateDir = fresh()
    const secret = 'the-secret-of-the-registered-client'
    const upstream_auth = {
      type: 'oauth',
      issuer: far.origin,
      client_id: 'registered',
      client_secret: secret,
    }
    const gateway = await start({
      config: {
        ...people,
        debug: true,
        log_level: 'debug',
        mcp_services: { far: { url: far.url, upstream_auth } },
      },
      stateDir,
    })
    far.script.before.clear()
    far.asked.length = 0
    const said: string[] = []
    const house = {
      ...houseOf(gateway),
      fetch: async (url: string, init?: RequestInit) => {
        const answer = await gateway.fetch(url, init)
        said.push(await answer.clone().text())
        return answer
      },
    }
    const { caller, browser } = await logInThrough(house, 'far')
    const used = /access-\d+/.exec(await (await caller.post(call())).text())?.[0] ?? ''
    said.length = 0
    far.expire()
    far.script.tokens = () => ({ error: 'server_error', access_token: undefined, note: 'access-0' })
    expect((await caller.post(call())).status).toBe(503)
    far.script.tokens = (usual) => usual
    far.revoke()
    await connectAt(house, `${gateway.origin}/connect/far`, { browser, fields: { action: 'connect' } })
    far.script.answer = (usual) => ({ ...usual, iss: 'https://evil.test' })
    expect(
      (await connectAt(house, `${gateway.origin}/connect/far`, { browser, fields: { action: 'connect' } }))
        .status,
    ).toBe(502)
    far.script.answer = (usual) => usual
    await browser.submit(await browser.go('/connect/far'), '/connect/far', {
      action: 'disconnect',
      account: 'default',
    })
    await until(() => far.count('/revoke') >= 2, 'the revocation')
    await gateway.end()
    const secrets = [
      ...new Set(
        far.asked.flatMap(({ fields }) =>
          ['code', 'code_verifier', 'state', 'refresh_token', 'token'].flatMap((name) => fields[name] ?? []),
        ),
      ),
      used,
      secret,
    ]
    expect(secrets.length).toBeGreaterThan(8)
    const files = readdirSync(stateDir, { recursive: true, encoding: 'utf8' })
      .filter((name) => name !== 'config.json')
      .map((name) => join(stateDir, name))
      .filter((path) => statSync(path).isFile())
    const places = [
      ['the log', gateway.lines.join('\n')],
      ['an answer', said.join('\n')],
      ...files.map((path) => [path, readFileSync(path, 'latin1')]),
    ] as const
    expect(
      places.flatMap(([place, text]) =>
        secrets
          .filter((one) => new RegExp(`(?<![\\w-])${one}(?![\\w-])`).test(text))
          .map((one) => `${one} in ${place}`),
      ),
    ).toEqual([])
  })
})
