// `postern grants`, `blocks`, `lock`, `clients` and `people` beside two processes of a gateway: what a third process ends is over in
// both, by the stopwatch.
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { stripVTControlCharacters } from 'node:util'
import { afterAll, beforeAll, expect, it, vi } from 'vitest'
import { UsageError } from '../../src/cli/output.ts'
import { createProgram } from '../../src/cli/program.ts'
import type { ListedFlow } from '../../src/ports/flow-record.ts'
import { createBrowser } from '../runtimes/browser.ts'
import {
  allow,
  authorizeUrl,
  type Client,
  logIn,
  person,
  redeem,
  refresh,
  register,
  type Tokens,
} from '../runtimes/login.ts'
import { callerOf } from '../runtimes/people.ts'
import { call, holdsAfter, until } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { createPlace, type Place, postern } from './cli-process.ts'
import { commandLine } from '../runtimes/process.ts'

interface Running {
  readonly origin: string
  readonly fetch: typeof fetch
  stop(): Promise<void>
}

let place: Place
let upstream: Upstream
/** Answers that calls wait for. */
const held: ServerResponse[] = []
let gateways: readonly Running[]

const start = async (): Promise<Running> => {
  const child = spawn(process.execPath, [commandLine, '--port', '0', '--state', 'state'], {
    cwd: place.path,
    env: { PATH: process.env['PATH'], HOME: place.home },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  const line = await new Promise<string>((resolve) =>
    createInterface({ input: child.stdout }).once('line', resolve),
  )
  return {
    origin: (JSON.parse(line) as { url: string }).url,
    fetch,
    stop: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve())
        child.kill('SIGINT')
      }),
  }
}

beforeAll(async () => {
  place = createPlace()
  upstream = await openUpstream((request, response, body) => {
    if (body.includes('"hang"')) held.push(response)
    else if (request.method === 'GET')
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(': open\n\n')
    else
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end('{"jsonrpc":"2.0","id":7,"result":{}}')
  })
  writeFileSync(
    join(place.path, 'postern.yaml'),
    JSON.stringify({
      local_users: [person],
      admins: ['local:ana'],
      audit: { enabled: true },
      flows: {},
      mcp_services: { echo: { url: upstream.url } },
    }),
  )
  gateways = [await start(), await start()]
}, 120_000)
afterAll(async () => {
  await Promise.all(gateways.map(({ stop }) => stop()))
  await upstream.close()
  place.remove()
})

/** As a third process. */
const cli = (...args: string[]) => postern(place, [...args, '--state', 'state', '--json'])

/** What a command prints that has no process of its own. */
const shown = async (...args: string[]): Promise<string> => {
  const printed = vi.spyOn(process.stdout, 'write').mockReturnValue(true)
  const where = ['--config', join(place.path, 'postern.yaml'), '--state', join(place.path, 'state')]
  try {
    await createProgram().parseAsync(['node', 'postern', ...args, ...where])
    return stripVTControlCharacters(printed.mock.calls.map(([text]) => String(text)).join(''))
  } finally {
    printed.mockRestore()
  }
}

/** The same as JSON, or `{ refused }` with the code of its error. */
const here = async (...args: string[]): Promise<unknown> => {
  try {
    return JSON.parse(await shown(...args, '--json')) as unknown
  } catch (error) {
    return { refused: error instanceof UsageError ? 'usage' : (error as { code?: string }).code }
  }
}

interface LoggedIn {
  readonly house: Running
  readonly client: Client
  readonly tokens: Tokens
}

const logInAll = (): Promise<readonly LoggedIn[]> =>
  Promise.all(gateways.map(async (house) => ({ house, ...(await logIn(house)) })))
const callerAt = ({ house, tokens }: LoggedIn) =>
  callerOf(house, `${house.origin}/echo/mcp`, tokens.access_token)

/** Both processes refuse messages sent a second from now or later, the streams are over within five. */
const isOver = async (those: readonly LoggedIn[], streams: readonly Promise<unknown>[]): Promise<void> => {
  const since = performance.now()
  const refused = async (each: LoggedIn) => (await callerAt(each).post(call())).status === 401
  await Promise.all(those.map((each) => holdsAfter(1000, () => refused(each), 'refused')))
  for (const each of those) {
    const answer = await refresh(each.house, each.client, each.tokens.refresh_token)
    expect([answer.status, await answer.json()]).toMatchObject([400, { error: 'invalid_grant' }])
  }
  await Promise.all(streams)
  expect(performance.now() - since).toBeLessThan(5000)
}

/** A stream of each, open; what is returned settles when they are over, whichever way. */
const openStreams = async (those: readonly LoggedIn[]): Promise<readonly Promise<unknown>[]> => {
  const streams = await Promise.all(those.map((each) => callerAt(each).get()))
  expect(streams.map(({ status }) => status)).toEqual([200, 200])
  return streams.map((stream) => stream.text().catch(() => undefined))
}

it('ends what a user allowed, in every process: no message after a second, no stream after five', async () => {
  const those = await logInAll()
  const streams = await openStreams(those)
  const { grants } = (await here('grants', 'ls', '--user', 'local:ana')) as {
    grants: { id: string; client: string }[]
  }
  expect(grants.map(({ client }) => client).toSorted()).toEqual(
    those.map(({ client }) => client.id).toSorted(),
  )
  expect(await here('grants', 'show', grants[0]?.id ?? '')).toEqual(grants[0])
  const calls = those.map((each) => callerAt(each).post(call('hang')))
  await until(() => held.length === 2, 'the calls')
  // A process that is busy for a second is not counted this time.
  const impact = (...filter: string[]) => here('grants', 'revoke', ...filter, '--dry-run')
  await expect
    .poll(() => impact('--user', 'local:ana'), { timeout: 20_000 })
    .toEqual({ would_end: { grants: 2, users: 1, clients: 2, running_calls: 2 } })
  await expect
    .poll(() => impact('--client', those[1]?.client.id ?? ''), { timeout: 20_000 })
    .toEqual({ would_end: { grants: 1, users: 1, clients: 1, running_calls: 1 } })
  for (const response of held.splice(0))
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end('{"jsonrpc":"2.0","id":7,"result":{}}')
  for (const answer of calls) expect((await answer).status).toBe(200)
  expect(JSON.parse((await cli('grants', 'revoke', '--user', 'local:ana')).out)).toMatchObject({
    ended: { grants: 2, users: 1, clients: 2 },
    processes: 2,
  })
  await isOver(those, streams)
  expect(await here('grants', 'show', grants[0]?.id ?? '')).toEqual({ refused: 'grant.unknown' })
  await expect
    .poll(() => here('grants', 'revoke', '--user', 'local:ana'), { timeout: 20_000 })
    .toEqual({
      ...{ ended: { grants: 0, users: 0, clients: 0 }, processes: 2, applied: 2 },
      ms: expect.any(Number) as number,
    })
  expect(await shown('grants', 'revoke', '--user', 'local:ana')).toMatch(
    /^Ended 0 grants of 0 users and 0 apps\. Open streams end within five seconds\.\nIn force in (?:2 processes after \d+ ms\.|\d of 2 processes\. The others have not said so within a second: they may be busy, or were killed\.)\n$/,
  )
  expect(await here('grants', 'revoke')).toEqual({ refused: 'usage' })
}, 120_000)

it('blocks a user in every process until that is lifted', async () => {
  const those = await logInAll()
  const streams = await openStreams(those)
  expect(await here('blocks', 'add', '--user', 'local:ana')).toEqual({ refused: 'admin.last' })
  expect(await here('blocks', 'add', '--user', 'local:ana', '--force', '--dry-run')).toEqual({
    would_end: { grants: 2, users: 1, clients: 2, running_calls: 0 },
  })
  expect(
    JSON.parse((await cli('blocks', 'add', '--user', 'local:ana', '--force', '--revoke-upstream')).out),
  ).toMatchObject({
    ended: { grants: 2, users: 1, clients: 2, accounts: 0, revoked: 0, pending: 0, not_revoked: [] },
    processes: 2,
  })
  await isOver(those, streams)
  for (const { origin } of gateways) {
    const browser = createBrowser(fetch, origin)
    const answer = await browser.submit(await browser.go('/login'), '/login', person)
    expect([answer.status, answer.body]).toEqual([403, expect.stringContaining('Account blocked')])
  }
  expect(await here('blocks', 'ls')).toMatchObject({
    blocks: [{ user: 'local:ana', by: 'cli' }],
  })
  expect(await here('blocks', 'rm', '--user', 'local:ana')).toEqual({ unblocked: { user: 'local:ana' } })
  expect(await here('blocks', 'rm', '--user', 'local:ana')).toEqual({ refused: 'block.unknown' })
  const trail = await postern(place, [
    ...['audit', 'query', 'kind:access.ended,access.blocked,access.unblocked'],
    ...['--state', 'state', '-o', 'json'],
  ])
  expect(
    trail.out
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { detail: { by: string; reason?: string } }).detail),
  ).toMatchObject([
    { by: 'cli', blocked_user: 'local:ana' },
    { by: 'cli', reason: 'blocked' },
    { by: 'cli', blocked_user: 'local:ana' },
    { by: 'cli', reason: 'ended_by_admin' },
  ])
  for (const each of await logInAll()) expect((await callerAt(each).post(call())).status).toBe(200)
}, 120_000)

it('locks the gateway and disables a service in every process, and shows who has access', async () => {
  const those = await logInAll()
  const streams = await openStreams(those)
  const answers = async (...wanted: readonly number[]): Promise<void> => {
    const asked = async () =>
      (await Promise.all(those.map(async (each) => callerAt(each).post(call())))).map(({ status }) => status)
    await holdsAfter(1000, async () => (await asked()).join() === wanted.join(), wanted.join())
  }
  expect(await here('lock')).toMatchObject({ locked: true, by: 'cli', disabled: [], processes: 2 })
  const since = performance.now()
  await answers(503, 503)
  await Promise.all(streams)
  expect(performance.now() - since).toBeLessThan(5000)
  expect(await here('unlock')).toEqual({ locked: false, disabled: [] })
  await answers(200, 200)
  expect(await here('services', 'disable', 'echo')).toMatchObject({
    disabled: [{ service: 'echo', by: 'cli' }],
  })
  await answers(503, 503)
  expect(await here('services', 'disable', 'nothing')).toEqual({ refused: 'service.unknown' })
  expect(await here('services', 'enable', 'echo')).toEqual({ locked: false, disabled: [] })
  await answers(200, 200)
  const { clients } = (await here('clients', 'ls')) as {
    clients: { id: string }[]
  }
  expect(clients.map(({ id }) => id)).toEqual(expect.arrayContaining(those.map(({ client }) => client.id)))
  expect(await here('clients', 'show', those[0]?.client.id ?? '')).toMatchObject({
    users: ['local:ana'],
    grants: [{ user: 'local:ana' }],
  })
  expect(await here('people', 'ls')).toMatchObject({
    people: [{ id: 'local:ana' }],
  })
  expect(await here('people', 'show', 'local:nobody')).toEqual({ refused: 'grant.unknown' })
  expect(await here('blocks', 'add', '--domain', 'https://evil.example')).toEqual({ refused: 'usage' })
}, 120_000)

it('shows how an app got access, whichever process its requests met, and what came of it', async () => {
  const [one, other] = gateways as [Running, Running]
  const client = await register(one, { client_name: 'Notes' })
  const asking = authorizeUrl(one, client, { resource: `${one.origin}/echo/mcp` })
  const back = await allow(createBrowser(one.fetch, one.origin), asking.url)
  const answer = await redeem(one, client, back.searchParams.get('code') ?? '', asking.verifier)
  const tokens = (await answer.json()) as Tokens
  expect((await callerOf(one, `${one.origin}/echo/mcp`, tokens.access_token).post(call())).status).toBe(200)
  expect((await refresh(other, client, tokens.refresh_token)).status).toBe(200)
  // Steps are written a moment after the answer.
  const told = async () => (await here('flows', 'show', client.id)) as ListedFlow
  const lastOf = async () => (await told()).steps?.at(-1)?.name
  await until(async () => (await lastOf()) === 'refresh', 'the last step', 20_000)
  const flow = await told()
  expect(flow.steps.map(({ name }) => name).join(' ')).toBe(
    'register authorize sign-in sign-in consent consent code redirect token first-call refresh',
  )
  const page = await shown('flows', 'show', flow.id)
  expect(page).toMatch(/^completed {2}The app has access and has used it\.\n/)
  expect(page).toContain(`App      Notes  ${client.id}\n`)
  expect(page).toMatch(/\n[\d:.]{12} +\+\d+ ms ✓ first-call\n +method=tools\/call {2}name=whoami\n/)
  const report = await shown('flows', 'show', flow.id, '--report')
  expect(report).toMatch(/^### `Notes`: completed\n/)
  expect(report).toContain(`| Client | \`${client.id}\` (dynamic registration) |`)
  expect(report).toMatch(/\n[\d:.]{12} +\+\d+ ms {2}first-call {9}done 200 {2}method=tools\/call\n/)
  const list = await shown('flows', 'ls', '--user', 'ana', '--limit', '1')
  expect(list).toMatch(/^FLOW +BEGAN \(UTC\) +STATE +APP +SERVICE +USER +WHAT HAPPENED\n/)
  expect(list).toMatch(/\n1 completed\.(?: There are more; narrow the list or raise --limit\.)?\n/)
  expect(await here('flows', 'ls', '--client', client.id, '--outcome', 'completed')).toMatchObject({
    flows: [{ id: flow.id, state: 'completed' }],
    truncated: false,
  })
  expect(await here('flows', 'ls', '--client', client.id, '--outcome', 'stalled')).toMatchObject({
    flows: [],
  })
  expect(await here('flows', 'show', 'none')).toEqual({ refused: 'flow.unknown' })
  expect(await here('flows', 'ls', '--since', 'soon')).toEqual({ refused: 'usage' })
  let over = false
  const tail = shown('flows', 'tail', '--lines', '2').finally(() => (over = true))
  await until(() => logIn(one).then(() => over), 'two lines', 20_000)
  expect(await tail).toMatch(/^(?:[✓…✗] [a-z-]+ +[0-9a-z]{21} {2}Flow test.*\n){2}$/)
}, 120_000)
