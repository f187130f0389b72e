// Three processes, each with a state directory of its own, are one gateway on one Redis server: no step of a login has
// to come to the process of the step before.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../../scripts/harness/free-port.ts'
import { findProgram, inCI } from '../../scripts/system-programs.mjs'
import { createBrowser, type Fetch } from '../runtimes/browser.ts'
import {
  allow,
  authorizeUrl,
  form,
  logIn,
  type LoginTarget,
  person,
  redeem,
  refresh,
  register,
  type Tokens,
} from '../runtimes/login.ts'
import { type PosternProcess, startProcess, temporaryState } from '../runtimes/process.ts'
import { type RedisServer, startRedis } from '../runtimes/redis-server.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { createPlace, postern } from './cli-process.ts'

const password = 'hunter2-of-redis'

describe.skipIf(findProgram('redis-server') === undefined && !inCI())(
  'three processes on one Redis server',
  () => {
    let redis: RedisServer
    let upstream: Upstream
    let states: ReturnType<typeof temporaryState>[] = []
    const gateways: PosternProcess[] = []
    let ports: number[] = []
    let env: Readonly<Record<string, string>> = {}

    const begin = async (i: number, config: Readonly<Record<string, unknown>>): Promise<void> => {
      const stateDir = (states[i] as (typeof states)[number]).dir
      gateways[i] = await startProcess({ config, stateDir, port: ports[i] as number, env, signInLink: false })
    }

    beforeAll(async () => {
      redis = await startRedis({
        args: ['--requirepass', password, '--appendonly', 'yes', '--appendfsync', 'no'],
      })
      upstream = await openUpstream()
      ports = [await freePort(), await freePort(), await freePort()]
      states = ports.map(() => temporaryState())
      env = {
        REDIS_URL: `redis://:${password}@127.0.0.1:${redis.port}`,
        SESSION_SECRET: 'a secret of forty characters, and no less',
        // Refuses to start with a server that can lose records.
        NODE_ENV: 'production',
      }
      const config = {
        issuer: `http://localhost:${ports[0]}`,
        allowed_hosts: ports.map((port) => `localhost:${port}`),
        local_users: [person],
        mcp_services: { echo: { url: upstream.url } },
      }
      await Promise.all(ports.map((_, i) => begin(i, config)))
    })
    afterAll(async () => {
      await Promise.all(gateways.map((gateway) => gateway.end('SIGKILL')))
      await upstream?.close()
      await redis?.close()
      for (const state of states) state.remove()
    })

    const origin = (): string => (gateways[0] as PosternProcess).origin
    /** The gateway, through the process that `which` picks for each request. */
    const through = (which: (path: string) => number): LoginTarget => {
      const fetch: Fetch = (url, init) => {
        const port = ports[which(new URL(url).pathname) % ports.length] as number
        return (gateways[0] as PosternProcess).fetch(url.replace(origin(), `http://localhost:${port}`), init)
      }
      return { origin: origin(), fetch }
    }
    const at = (i: number): LoginTarget => through(() => i)
    const call = async (target: LoginTarget, { access_token }: Tokens): Promise<number> => {
      const response = await target.fetch(`${target.origin}/echo/mcp`, {
        method: 'POST',
        headers: {
          authorization: `Bearer ${access_token}`,
          'content-type': 'application/json',
          accept: 'application/json, text/event-stream',
        },
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }),
      })
      return response.status
    }
    const callEach = (tokens: Tokens): Promise<number[]> =>
      Promise.all([0, 1, 2].map((i) => call(at(i), tokens)))
    /** Fifty at once, over two processes. */
    const fifty = (send: (target: LoginTarget) => Promise<Response>): Promise<Response[]> =>
      Promise.all(Array.from({ length: 50 }, (_, i) => send(at(i % 2))))

    it('each step of a login is carried out by another one, and the token is good at all', async () => {
      const steps: Readonly<Record<string, number>> = {
        '/oauth/register': 0,
        '/oauth/authorize': 1,
        '/login': 2,
        '/oauth/consent': 0,
        '/oauth/token': 1,
      }
      const { tokens } = await logIn(through((path) => steps[path] ?? 2))
      expect(await callEach(tokens)).toEqual([200, 200, 200])
    })

    it('of fifty exchanges of a code at two processes one gets tokens, and fifty refreshes get one successor', async () => {
      const client = await register(at(0))
      const browser = createBrowser(at(0).fetch, origin())
      for (let round = 0; round < 2; round++) {
        const asking = authorizeUrl(at(1), client, { resource: `${origin()}/echo/mcp` })
        const code = (await allow(browser, asking.url)).searchParams.get('code') ?? ''
        const answers = await fifty((target) => redeem(target, client, code, asking.verifier))
        const statuses = answers.map(({ status }) => status).sort((a, b) => a - b)
        expect(statuses).toEqual([200, ...Array.from({ length: 49 }, () => 400)])
      }
      // What was asked for with a code that was redeemed again is over: these are the tokens of somebody else.
      const { client: other, tokens } = await logIn(at(0))
      let token = tokens.refresh_token
      for (let round = 0; round < 2; round++) {
        const answers = await fifty((target) => refresh(target, other, token))
        expect(answers.map(({ status }) => status)).toEqual(Array.from({ length: 50 }, () => 200))
        const bodies = (await Promise.all(answers.map((answer) => answer.json()))) as Tokens[]
        const successors = [...new Set(bodies.map(({ refresh_token }) => refresh_token))]
        expect(successors).toHaveLength(1)
        token = successors[0] as string
      }
    })

    it('what one of them revokes ends at all, as does what the command line revokes', async () => {
      const [first, second] = [await logIn(at(0)), await logIn(at(1))]
      expect([await callEach(first.tokens), await callEach(second.tokens)]).toEqual([
        [200, 200, 200],
        [200, 200, 200],
      ])
      const { client, tokens } = first
      const revoked = await at(2).fetch(
        `${origin()}/oauth/revoke`,
        form({ token: tokens.refresh_token, client_id: client.id }),
      )
      expect(revoked.status).toBe(200)
      await expect.poll(() => callEach(tokens), { timeout: 10_000 }).toEqual([401, 401, 401])
      expect(await callEach(second.tokens)).toEqual([200, 200, 200])

      const place = createPlace()
      const stateDir = (states[1] as (typeof states)[number]).dir
      const words = ['--config', `${stateDir}/config.json`, '--state', stateDir, '--json']
      const ran = await postern(place, ['grants', 'revoke', '--client', second.client.id, ...words], { env })
      place.remove()
      expect([ran.code, ran.err]).toEqual([0, ''])
      await expect.poll(() => callEach(second.tokens), { timeout: 10_000 }).toEqual([401, 401, 401])
    })

    it('a login that was kept in a file goes on after the records were copied to the server', async () => {
      const place = createPlace()
      const begin = (type: string) =>
        startProcess({
          config: {
            local_users: [person],
            mcp_services: { echo: { url: upstream.url } },
            storage: { type, redis: { prefix: 'copied:' } },
          },
          stateDir: place.path,
          port: portOfCopied,
          env,
          signInLink: false,
        })
      const portOfCopied = await freePort()
      const words = ['--config', `${place.path}/config.json`, '--state', place.path, '--json']
      const copy = () =>
        postern(place, ['store', 'copy', '--from', 'sqlite', '--to', 'redis', ...words], { env })
      let gateway = await begin('sqlite')
      const { client, tokens } = await logIn(gateway)
      const refused = await copy()
      expect([refused.code, refused.err]).toEqual([1, expect.stringContaining('"code":"store.running"')])
      expect(await gateway.end()).toBe(0)
      const copied = await copy()
      expect([copied.code, JSON.parse(copied.out)]).toEqual([
        0,
        {
          from: `${place.path}/postern.db`,
          to: `redis://127.0.0.1:${redis.port}`,
          records: expect.any(Number) as number,
        },
      ])
      gateway = await begin('redis')
      gateways.push(gateway)
      const refreshed = await refresh(gateway, client, tokens.refresh_token)
      expect([refreshed.status, await call(gateway, tokens)]).toEqual([200, 200])
      place.remove()
    })

    it('never says the password of the server', () => {
      const said = gateways.flatMap(({ lines }) => lines).join('\n')
      expect(said).toContain('"event":"listening"')
      expect(said).not.toContain(password)
    })
  },
)
