// Logins and refreshes a second: Postern beside the smallest authorization server that does the job, and
// beside oidc-provider with everything in memory.
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { root } from '../scripts/harness/peers.ts'
import { table } from '../scripts/harness/table.ts'
import { createBrowser } from '../test/runtimes/browser.ts'
import { allow, authorizeUrl, person, register } from '../test/runtimes/login.ts'
import { median, turnByTurn } from './calls.ts'
import { type Build, startGateway, thisCheckout } from './gateway.ts'
import { placed, type Running, start } from './machine.ts'
import type { OAuthLoad, OAuthTold } from './oauth-load.ts'

export interface OAuthServer {
  readonly name: string
  readonly what: string
  readonly running: Running
  load: Omit<OAuthLoad, 'step' | 'people' | 'seconds' | 'pid'>
}

type Fetch = (url: string, init?: RequestInit) => Promise<Response>
const plainFetch: Fetch = (url, init) => fetch(url, { redirect: 'manual', ...init })
const redirectUri = 'http://127.0.0.1:5000/cb'
const cookieOf = (cookies: ReadonlyMap<string, string>): string =>
  [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')

/** Postern with its defaults: SQLite, and one person who has signed in and said yes. */
export const startPosternOAuth = async (
  folder: string,
  build: Build = thisCheckout,
): Promise<OAuthServer> => {
  const config = { local_users: [person], mcp_services: { echo: { url: 'http://127.0.0.1:9/mcp' } } }
  const { origin, running } = await startGateway(folder, config, build)
  const house = { origin, fetch: plainFetch }
  // Somebody whose client is called back at a loopback address is asked each time; an answer is remembered
  // for an https address.
  const callback = 'https://client.example/cb'
  const client = await register(house, { redirect_uris: [callback] })
  const resource = `${origin}/echo/mcp`
  const browser = createBrowser(plainFetch, origin)
  await allow(browser, authorizeUrl(house, client, { resource }).url)
  const paths = { authorizePath: '/oauth/authorize', tokenPath: '/oauth/token', jwksPath: '/oauth/jwks' }
  const cookies = [cookieOf(browser.cookies)]
  return {
    name: build.name,
    what: 'SQLite (WAL, synchronous NORMAL), sealed records, remembered consent, registered client, audit record',
    running,
    load: { origin, ...paths, clientId: client.id, redirectUri: callback, resource, scope: 'mcp', cookies },
  }
}

const startMinimal = async (folder: string): Promise<OAuthServer> => {
  const running = start(process.execPath, [join(root, 'bench/minimal-oauth.ts'), folder], {
    place: 'gateway',
  })
  const { origin, session } = JSON.parse((await running.until(/listening (\{.*\})/))[1] ?? '') as {
    origin: string
    session: string
  }
  const load = {
    origin,
    authorizePath: '/authorize',
    tokenPath: '/token',
    jwksPath: '/jwks',
    clientId: 'bench',
    redirectUri,
    resource: 'https://bench.example/mcp',
    scope: 'mcp',
    cookies: [`session=${session}`],
  }
  return {
    name: 'minimal server',
    what: 'SQLite (WAL, synchronous NORMAL), hashed tokens, one client',
    running,
    load,
  }
}

const startProvider = async (people: number): Promise<OAuthServer> => {
  const running = start(process.execPath, [join(root, 'bench/oidc-provider.ts')], { place: 'gateway' })
  const { origin, resource } = JSON.parse((await running.until(/listening (\{.*\})/))[1] ?? '') as {
    origin: string
    resource: string
  }
  const load = {
    origin,
    authorizePath: '/auth',
    tokenPath: '/token',
    jwksPath: '/jwks',
    clientId: 'bench',
    redirectUri,
    resource,
    scope: 'mcp',
  }
  const cookies: string[] = []
  // Its sessions change their id with every request: each person needs one of their own.
  for (let i = 0; i < people; i++) {
    const browser = createBrowser(plainFetch, origin)
    const { url } = authorizeUrl(
      { origin, fetch: plainFetch },
      { id: 'bench', redirectUri },
      { resource, scope: 'mcp' },
    )
    const { url: back } = await browser.go(url.replace('/oauth/authorize', '/auth'))
    if (!back.includes('code=')) throw new Error(`oidc-provider did not let ada in: ${back}`)
    cookies.push(cookieOf(browser.cookies))
  }
  const { version } = JSON.parse(
    readFileSync(join(root, 'node_modules/oidc-provider/package.json'), 'utf8'),
  ) as { version: string }
  return { name: `oidc-provider ${version}`, what: 'its memory adapter', running, load: { ...load, cookies } }
}

const turn = async (
  server: OAuthServer,
  step: OAuthLoad['step'],
  people: number,
  seconds: number,
): Promise<OAuthTold> => {
  const { name, load, running } = server
  const [program, args] = placed('load', process.execPath, [
    join(root, 'bench/oauth-load.ts'),
    JSON.stringify({ ...load, step, people, seconds, pid: running.pid } satisfies OAuthLoad),
  ])
  const { stdout } = await promisify(execFile)(program, args).catch((error: Error) => {
    throw new Error(`${name}, ${step}: ${error.message.replace(/\{.*\}/, '').slice(0, 2000)}`)
  })
  const told = JSON.parse(stdout) as OAuthTold
  if (told.done === 0) throw new Error(`${name} did not finish one ${step}`)
  server.load = { ...load, cookies: told.cookies }
  return told
}

export const oauthSteps = {
  exchange: 'code exchanges: the token request alone',
  refresh: 'refreshes',
  login: 'logins: authorize with a session and a remembered answer, then the token request',
} as const

export interface OAuthLoadOptions {
  readonly rounds: number
  readonly seconds: number
  readonly people?: number
}

/** Every turn of each server. */
export const measureStep = (
  servers: readonly OAuthServer[],
  step: OAuthLoad['step'],
  { rounds, seconds, people = 32 }: OAuthLoadOptions,
): Promise<Map<string, OAuthTold[]>> =>
  turnByTurn(servers, rounds, (server, round) => turn(server, step, people, round < 0 ? 1 : seconds))

export const rateOf = ({ done, seconds }: OAuthTold): number => done / seconds

/** One table for each step: a row a server, with its ratio to the minimal one. */
export const measureOAuth = async (folder: string, options: OAuthLoadOptions): Promise<void> => {
  const { people = 32 } = options
  const servers = [await startPosternOAuth(folder), await startMinimal(folder), await startProvider(people)]
  try {
    for (const [step, title] of Object.entries(oauthSteps) as [OAuthLoad['step'], string][]) {
      const turns = await measureStep(servers, step, options)
      const of = (name: string, what: (one: OAuthTold) => number): number =>
        median((turns.get(name) ?? []).map(what))
      const base = of('minimal server', rateOf)
      const rows = servers.map(({ name, what }) => [
        name,
        Math.round(of(name, rateOf)).toLocaleString('en-US'),
        (of(name, rateOf) / base).toFixed(2),
        of(name, ({ cpu }) => cpu).toFixed(0),
        of(name, ({ p50 }) => p50).toFixed(1),
        of(name, ({ p99 }) => p99).toFixed(1),
        what,
      ])
      const heading = ['server', 'a second', '× minimal', 'CPU µs', 'p50 ms', 'p99 ms', 'with']
      console.log(`\n${title}, ${people} people at once\n${table([heading, ...rows])}`)
    }
  } finally {
    for (const { running } of servers) await running.stop()
  }
}
