// `npm run prove races`: one code, one refresh token, one DPoP proof and one assertion (assertion-races.ts), spent by fifty
// at once, two hundred times, against one process and against two on one SQLite file, on one Redis server and on one
// PostgreSQL server; and upstream tokens that fifty calls at once find refused (upstream-races.ts). Then thieves and lost answers, in simulated
// hours (late-repeats.ts).
// Device codes and personal access tokens: program-races.ts.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { createBrowser } from '../test/runtimes/browser.ts'
import {
  allow,
  authorizeUrl,
  type Client,
  form,
  person,
  redeem,
  refresh,
  register,
  type Tokens,
} from '../test/runtimes/login.ts'
import { type PosternProcess, startProcess, temporaryState } from '../test/runtimes/process.ts'
import { startPostgres } from '../test/runtimes/postgres-server.ts'
import { startRedis } from '../test/runtimes/redis-server.ts'
import { createProver } from '../test/runtimes/proofs.ts'
import { openUpstream } from '../test/runtimes/upstream.ts'
import { openAssertionRaces } from './assertion-races.ts'
import { freePort } from './harness/free-port.ts'
import { createVerdicts } from './harness/verdict.ts'
import { raceLateRepeats } from './late-repeats.ts'
import { programConfig, raceProgram } from './program-races.ts'
import { findProgram } from './system-programs.mjs'
import { raceUpstreams } from './upstream-races.ts'

const rounds = Number(process.env['ROUNDS'] ?? 200)
const parallel = 50
const verdicts = createVerdicts('races')

interface Round {
  readonly statuses: readonly number[]
  readonly bodies: readonly Tokens[]
}

/** One process of the gateway and the port it really listens on. */
interface Door {
  readonly gateway: PosternProcess
  readonly port: number
}

/** The one gateway, reached through the given process's own port. */
const through = (doors: readonly Door[], i: number) => {
  const { port } = doors[i % doors.length] as Door
  const { gateway } = doors[0] as Door
  return {
    origin: gateway.origin,
    fetch: (url: string, init?: RequestInit) => gateway.fetch(url.replace(/:\d+\//, `:${port}/`), init),
  }
}

/** Fires all at once, spread over the processes in turn. */
const volley = async (
  doors: readonly Door[],
  shoot: (house: ReturnType<typeof through>) => Promise<Response>,
): Promise<Round> => {
  const answers = await Promise.all(Array.from({ length: parallel }, (_, i) => shoot(through(doors, i))))
  return {
    statuses: answers.map(({ status }) => status),
    bodies: (await Promise.all(answers.map((answer) => answer.json()))) as Tokens[],
  }
}

const tally = (statuses: readonly number[]): string => {
  const counts = new Map<number, number>()
  for (const status of statuses) counts.set(status, (counts.get(status) ?? 0) + 1)
  return [...counts].map(([status, count]) => `${count} × ${status}`).join(', ')
}

const codeRounds = async (
  doors: readonly Door[],
  client: Client,
): Promise<{ wrong: string[]; last: Tokens }> => {
  const first = through(doors, 0)
  const browser = createBrowser(first.fetch, first.origin)
  const wrong: string[] = []
  let last: Tokens | undefined
  for (let round = 0; round < rounds; round++) {
    const asking = authorizeUrl(first, client)
    const code = (await allow(browser, asking.url)).searchParams.get('code') ?? ''
    const { statuses, bodies } = await volley(doors, (house) => redeem(house, client, code, asking.verifier))
    if (
      statuses.filter((status) => status === 200).length !== 1 ||
      statuses.some((status) => status !== 200 && status !== 400)
    )
      wrong.push(`round ${round}: ${tally(statuses)}`)
    last = bodies[statuses.indexOf(200)] ?? last
    // What the losers did must not have harmed what the winner got.
    const after = last && (await refresh(first, client, last.refresh_token))
    if (after?.status !== 200)
      wrong.push(`round ${round}: the winner's refresh token answers ${after?.status}`)
    else last = (await after.json()) as Tokens
  }
  return { wrong, last: last as Tokens }
}

const refreshRounds = async (doors: readonly Door[], client: Client, tokens: Tokens): Promise<string[]> => {
  const wrong: string[] = []
  let current = tokens.refresh_token
  for (let round = 0; round < rounds; round++) {
    const { statuses, bodies } = await volley(doors, (house) => refresh(house, client, current))
    const successors = new Set(bodies.map(({ refresh_token }) => refresh_token))
    if (statuses.some((status) => status !== 200) || successors.size !== 1)
      wrong.push(`round ${round}: ${tally(statuses)}, ${successors.size} successors`)
    current = [...successors][0] as string
  }
  return wrong
}

/** One proof of possession, sent by all with the token that it belongs to: one call gets through (RFC 9449 §11.1). */
const proofRounds = async (doors: readonly Door[], client: Client): Promise<string[]> => {
  const first = through(doors, 0)
  const key = await createProver()
  const [tokenUrl, url] = [`${first.origin}/oauth/token`, `${first.origin}/echo/mcp`]
  const nonceNow = async (): Promise<string | undefined> => {
    const asked = await first.fetch(tokenUrl, {
      ...form({ grant_type: 'refresh_token' }),
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        'dpop': await key.proof({ url: tokenUrl }),
      },
    })
    return asked.headers.get('dpop-nonce') ?? undefined
  }
  const asking = authorizeUrl(first, client)
  const browser = createBrowser(first.fetch, first.origin)
  const code = (await allow(browser, asking.url)).searchParams.get('code') ?? ''
  const proof = await key.proof({ url: tokenUrl, nonce: await nonceNow() })
  const bound = {
    ...first,
    fetch: (to: string, init?: RequestInit) =>
      first.fetch(to, { ...init, headers: { ...(init?.headers as object), dpop: proof } }),
  }
  const { access_token: token } = (await (
    await redeem(bound, client, code, asking.verifier)
  ).json()) as Tokens
  const wrong: string[] = []
  for (let round = 0; round < rounds; round++) {
    const headers = {
      'content-type': 'application/json',
      'accept': 'application/json, text/event-stream',
      'authorization': `DPoP ${token}`,
      'dpop': await key.proof({ url, token, nonce: await nonceNow() }),
    }
    const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' })
    const { statuses } = await volley(doors, (house) => house.fetch(url, { method: 'POST', headers, body }))
    if (
      statuses.filter((status) => status === 200).length !== 1 ||
      statuses.some((status) => status !== 200 && status !== 401)
    )
      wrong.push(`round ${round}: ${tally(statuses)}`)
  }
  return wrong
}

interface Backend {
  readonly name: string
  /** The section `storage`. */
  readonly storage?: object
}

const race = async (
  processes: number,
  upstream: string,
  { name, storage }: Backend = { name: 'SQLite file' },
): Promise<void> => {
  const state = temporaryState()
  const assertions = await openAssertionRaces()
  const config = {
    local_users: [person],
    dpop: {},
    mcp_services: { echo: { url: upstream } },
    ...assertions.config,
    device: programConfig.device,
    clients: { ...(assertions.config['clients'] as object), ...programConfig.clients },
    ...(storage && { storage }),
  }
  const first = await startProcess({ config, stateDir: state.dir })
  const doors: Door[] = [{ gateway: first, port: Number(new URL(first.origin).port) }]
  while (doors.length < processes) {
    const port = await freePort()
    doors.push({
      gateway: await startProcess({
        config: { ...config, issuer: first.origin, allowed_hosts: [`localhost:${port}`] },
        stateDir: state.dir,
        port,
      }),
      port,
    })
  }
  try {
    const client = await register(first)
    const codes = await codeRounds(doors, client)
    const refreshes = await refreshRounds(doors, client, codes.last)
    const proofs = await proofRounds(doors, client)
    const asserted = await assertions.run(first.origin, rounds, (shoot) => volley(doors, shoot))
    const where = `${processes} process${processes === 1 ? '' : 'es'} on one ${name}`
    const seen = (wrong: readonly string[], right: string): string =>
      wrong.length === 0
        ? `${right} in each of ${rounds} rounds`
        : `${wrong.length} of ${rounds} rounds differ: ${wrong.slice(0, 5).join('; ')}`
    verdicts.claim(
      codes.wrong.length === 0,
      `${where}, one code, ${parallel} parallel exchanges`,
      seen(codes.wrong, `one 200 that lives and ${parallel - 1} × 400`),
    )
    verdicts.claim(
      refreshes.length === 0,
      `${where}, one refresh token, ${parallel} parallel refreshes`,
      seen(refreshes, `${parallel} × 200 and one successor`),
    )
    verdicts.claim(
      proofs.length === 0,
      `${where}, one DPoP proof, ${parallel} parallel calls`,
      seen(proofs, `one 200 and ${parallel - 1} × 401`),
    )
    const programs = await raceProgram(through(doors, 0), rounds, (shoot) => volley(doors, shoot))
    for (const [what, wrong] of Object.entries({ ...asserted, ...programs }))
      verdicts.claim(
        wrong.length === 0,
        `${where}, ${what}, ${parallel} parallel requests`,
        wrong.length === 0 ? 'as it must be in each round' : wrong.slice(0, 5).join('; '),
      )
  } finally {
    await Promise.all([assertions.close(), ...doors.map(({ gateway }) => gateway.end())])
    state.remove()
  }
}

const upstream = await openUpstream()
await race(1, upstream.url)
await race(2, upstream.url)
if (findProgram('redis-server') === undefined)
  console.log('left out: Redis, because redis-server is not installed')
else {
  const redis = await startRedis()
  const storage = { type: 'redis', redis: { url: `redis://127.0.0.1:${redis.port}` } }
  await race(2, upstream.url, { name: 'Redis server', storage })
  await redis.close()
}
if (findProgram('postgres') === undefined) console.log('left out: PostgreSQL, because it is not installed')
else {
  const folder = mkdtempSync(join(tmpdir(), 'postern-races-'))
  const { url, pid, ended } = await startPostgres({ folder })
  await race(2, upstream.url, { name: 'PostgreSQL server', storage: { type: 'postgres', postgres: { url } } })
  process.kill(pid, 'SIGQUIT')
  await Promise.race([ended, pause(10_000)])
  rmSync(folder, { recursive: true, force: true })
}
await upstream.close()
await raceUpstreams(verdicts, rounds, parallel)
await raceLateRepeats(verdicts, rounds)
verdicts.end()
