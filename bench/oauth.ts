// Logins and refreshes a second: Postern beside the smallest authorization server that does the job, and beside oidc-provider with everything in memory.
import { execFile } from 'node:child_process'
import { mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { root } from '../scripts/harness/peers.ts'
import { table } from '../scripts/harness/table.ts'
import { createBrowser } from '../test/houses/browser.ts'
import { allow, authorizeUrl, person, register } from '../test/houses/login.ts'
import { pause, placed, type Running, start } from './machine.ts'
import type { OAuthLoad, OAuthTold } from './oauth-load.ts'

interface Server {
  readonly name: string
  readonly what: string
  readonly running: Running
  load: Omit<OAuthLoad, 'step' | 'people' | 'seconds' | 'pid'>
}

type Fetch = (url: string, init?: RequestInit) => Promise<Response>
const plainFetch: Fetch = (url, init) => fetch(url, { redirect: 'manual', ...init })
const redirectUri = 'http://127.0.0.1:5000/cb'
const cookieOf = (cookies: ReadonlyMap<string, string>): string => [...cookies].map(([name, value]) => `${name}=${value}`).join('; ')

/** Postern from the source of this checkout, with its defaults: SQLite, and one person who has signed in and said yes. */
const startPostern = async (folder: string): Promise<Server> => {
  const state = join(folder, 'postern-oauth')
  mkdirSync(state)
  writeFileSync(join(state, 'config.yaml'), JSON.stringify({ local_users: [person], mcp_services: { echo: { url: 'http://127.0.0.1:9/mcp' } } }))
  const log = join(state, 'log')
  const profile = process.env['BENCH_PROFILE'] === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${process.env['BENCH_PROFILE']}`]
  const running = start(process.execPath, [...profile, join(root, 'src/cli/main.ts'), '--state', join(state, 'state'), '--port', '0', '--config', join(state, 'config.yaml')], { place: 'gateway', stdout: openSync(log, 'w') })
  let origin: string | undefined
  for (let tries = 0; origin === undefined; tries++) {
    if (tries > 150) throw new Error(`Postern did not start:\n${readFileSync(log, 'utf8')}${running.output()}`)
    await pause(100)
    origin = /"event":"listening","url":"([^"]+)"/.exec(readFileSync(log, 'utf8'))?.[1]
  }
  const house = { origin, fetch: plainFetch }
  const client = await register(house, { redirect_uris: [redirectUri] })
  const resource = `${origin}/echo/mcp`
  const browser = createBrowser(plainFetch, origin)
  await allow(browser, authorizeUrl(house, client, { resource }).url)
  const load = { origin, authorizePath: '/oauth/authorize', tokenPath: '/oauth/token', jwksPath: '/oauth/jwks', clientId: client.id, redirectUri, resource, scope: 'mcp', cookies: [cookieOf(browser.cookies)] }
  return { name: 'Postern', what: 'SQLite (WAL, synchronous NORMAL), sealed records, remembered consent, registered client, audit record', running, load }
}

const startMinimal = async (folder: string): Promise<Server> => {
  const running = start(process.execPath, [join(root, 'bench/minimal-oauth.ts'), folder], { place: 'gateway' })
  const { origin, session } = JSON.parse((await running.until(/listening (\{.*\})/))[1] ?? '') as { origin: string; session: string }
  const load = { origin, authorizePath: '/authorize', tokenPath: '/token', jwksPath: '/jwks', clientId: 'bench', redirectUri, resource: 'https://bench.example/mcp', scope: 'mcp', cookies: [`session=${session}`] }
  return { name: 'minimal server', what: 'SQLite (WAL, synchronous NORMAL), hashed tokens, one client', running, load }
}

const startProvider = async (people: number): Promise<Server> => {
  const running = start(process.execPath, [join(root, 'bench/oidc-provider.ts')], { place: 'gateway' })
  const { origin, resource } = JSON.parse((await running.until(/listening (\{.*\})/))[1] ?? '') as { origin: string; resource: string }
  const load = { origin, authorizePath: '/auth', tokenPath: '/token', jwksPath: '/jwks', clientId: 'bench', redirectUri, resource, scope: 'mcp' }
  const cookies: string[] = []
  // Its sessions change their id with every request: each person needs one of their own.
  for (let i = 0; i < people; i++) {
    const browser = createBrowser(plainFetch, origin)
    const { url } = authorizeUrl({ origin, fetch: plainFetch }, { id: 'bench', redirectUri }, { resource, scope: 'mcp' })
    const { url: back } = await browser.go(url.replace('/oauth/authorize', '/auth'))
    if (!back.includes('code=')) throw new Error(`oidc-provider did not let ada in: ${back}`)
    cookies.push(cookieOf(browser.cookies))
  }
  const { version } = JSON.parse(readFileSync(join(root, 'node_modules/oidc-provider/package.json'), 'utf8')) as { version: string }
  return { name: `oidc-provider ${version}`, what: 'its memory adapter', running, load: { ...load, cookies } }
}

const turn = async (server: Server, step: OAuthLoad['step'], people: number, seconds: number): Promise<OAuthTold> => {
  const { name, load, running } = server
  const [program, args] = placed('load', process.execPath, [join(root, 'bench/oauth-load.ts'), JSON.stringify({ ...load, step, people, seconds, pid: running.pid } satisfies OAuthLoad)])
  const { stdout } = await promisify(execFile)(program, args).catch((error: Error) => {
    throw new Error(`${name}, ${step}: ${error.message.replace(/\{.*\}/, '').slice(0, 2000)}`)
  })
  const told = JSON.parse(stdout) as OAuthTold
  if (told.done === 0) throw new Error(`${name} did not finish one ${step}`)
  server.load = { ...load, cookies: told.cookies }
  return told
}

const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0
const titles = { exchange: 'code exchanges: the token request alone', refresh: 'refreshes', login: 'logins: authorize with a session and a remembered answer, then the token request' } as const

/** One table for each step: a row a server, with its ratio to the minimal one. */
export const measureOAuth = async ({ folder, rounds, seconds, people = 32 }: { readonly folder: string; readonly rounds: number; readonly seconds: number; readonly people?: number }): Promise<void> => {
  const servers = [await startPostern(folder), await startMinimal(folder), await startProvider(people)]
  try {
    for (const step of ['exchange', 'refresh', 'login'] as const) {
      const turns = new Map<string, OAuthTold[]>(servers.map(({ name }) => [name, []]))
      for (const server of servers) await turn(server, step, people, 1)
      for (let round = 0; round < rounds; round++) for (const server of servers) turns.get(server.name)?.push(await turn(server, step, people, seconds))
      const of = (name: string, what: (one: OAuthTold) => number): number => median((turns.get(name) ?? []).map(what))
      const rate = ({ done, seconds: took }: OAuthTold): number => done / took
      const base = of('minimal server', rate)
      const rows = servers.map(({ name, what }) => [name, Math.round(of(name, rate)).toLocaleString('en-US'), (of(name, rate) / base).toFixed(2), of(name, ({ cpu }) => cpu).toFixed(0), of(name, ({ p50 }) => p50).toFixed(1), of(name, ({ p99 }) => p99).toFixed(1), what])
      console.log(`\n${titles[step]}, ${people} people at once\n${table([['server', 'a second', '× minimal', 'CPU µs', 'p50 ms', 'p99 ms', 'with'], ...rows])}`)
    }
  } finally {
    for (const { running } of servers) await running.stop()
  }
}
