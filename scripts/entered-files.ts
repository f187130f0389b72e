// `node scripts/entered-files.ts`: which of our own files, and how many of their functions, run for one warm
// tools/call, one warm call of a stdio server, and one code exchange. Counted by V8 (precise coverage) in the
// gateway's process. --list names the files, --functions their functions.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { createBrowser } from '../test/runtimes/browser.ts'
import { allow, authorizeUrl, type Client, logIn, person, redeem, register } from '../test/runtimes/login.ts'
import { startProcess, temporaryState } from '../test/runtimes/process.ts'
import { openUpstream } from '../test/runtimes/upstream.ts'
import { table } from './harness/table.ts'

const { values } = parseArgs({
  options: {
    list: { type: 'boolean', default: false },
    functions: { type: 'boolean', default: false },
  },
})
const pathOf = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

interface Coverage {
  readonly began?: true
  readonly result: readonly {
    readonly url: string
    readonly functions: readonly {
      readonly functionName: string
      readonly ranges: readonly { readonly count: number; readonly startOffset: number }[]
    }[]
  }[]
}

/** File → the functions that ran, by name or by where they begin. */
type Entered = ReadonlyMap<string, readonly string[]>

const sources = new URL('../src/', import.meta.url).href
const enteredOf = ({ result }: Coverage): Entered =>
  new Map(
    result
      .filter(({ url }) => url.startsWith(sources))
      .map(({ url, functions }): [string, string[]] => [
        url.slice(sources.length),
        functions
          .filter(({ ranges }) => (ranges[0]?.count ?? 0) > 0)
          .map(({ functionName, ranges }) => functionName || `at ${ranges[0]?.startOffset}`),
      ])
      .filter(([, functions]) => functions.length > 0)
      .toSorted(([one], [other]) => one.localeCompare(other)),
  )

const state = temporaryState()
const report = join(state.dir, 'coverage.jsonl')
const upstream = await openUpstream()
const gateway = await startProcess({
  config: {
    local_users: [person],
    mcp_services: {
      echo: { url: upstream.url },
      command: {
        command: process.execPath,
        args: [pathOf('../bench/stdio-server.ts')],
        sandbox: 'none',
      },
    },
  },
  stateDir: state.dir,
  env: { COVERAGE_REPORT: report },
  command: [
    process.execPath,
    '--import',
    pathOf('./harness/coverage-on-signal.ts'),
    pathOf('../src/cli/main.ts'),
  ],
})

const counts = async (): Promise<Coverage> => {
  const lines = (): string[] =>
    existsSync(report) ? readFileSync(report, 'utf8').split('\n').slice(0, -1) : []
  const before = lines().length
  process.kill(gateway.pid, 'SIGUSR2')
  while (lines().length === before) await new Promise((resolve) => setTimeout(resolve, 20))
  return JSON.parse(lines().at(-1) as string) as Coverage
}

const settled = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 200))

const samples = 6

/** What ran in every sample: a timer that fires meanwhile fires in some of them only. */
const common = (all: readonly Entered[]): Entered => {
  const [first = new Map<string, readonly string[]>(), ...others] = all
  const everywhere = (file: string, name: string): boolean =>
    others.every((other) => other.get(file)?.includes(name) === true)
  return new Map(
    [...first]
      .map(([file, names]) => [file, names.filter((name) => everywhere(file, name))] as const)
      .filter(([, names]) => names.length > 0),
  )
}

/**
 * What runs for one `work`, after it has run so often that nothing is done for the first time. `prepare` is
 * not counted.
 */
const around = async <T>(
  prepare: () => Promise<T>,
  work: (prepared: T) => Promise<void>,
): Promise<Entered> => {
  for (let i = 0; i < 20; i++) await work(await prepare())
  const all: Entered[] = []
  for (let i = 0; i < samples; i++) {
    const prepared = await prepare()
    await settled()
    await counts()
    await work(prepared)
    all.push(enteredOf(await counts()))
  }
  return common(all)
}

const token = async (service: string): Promise<string> =>
  (await logIn(gateway, `${gateway.origin}/${service}/mcp`)).tokens.access_token

const post = async (
  service: string,
  bearer: string,
  message: object,
  session?: string,
): Promise<Response> => {
  const response = await fetch(`${gateway.origin}/${service}/mcp`, {
    method: 'POST',
    headers: {
      'authorization': `Bearer ${bearer}`,
      'content-type': 'application/json',
      'accept': 'application/json, text/event-stream',
      'mcp-protocol-version': '2025-11-25',
      ...(session !== undefined && { 'mcp-session-id': session }),
    },
    body: JSON.stringify({ jsonrpc: '2.0', ...message }),
  })
  const text = await response.text()
  if (!response.ok || text.includes('"error"')) throw new Error(`${service}: ${response.status} ${text}`)
  return response
}

const echo = { id: 1, method: 'tools/call', params: { name: 'echo', arguments: { message: 'hello' } } }

const httpCall = async (): Promise<Entered> => {
  const bearer = await token('echo')
  return around(
    async () => bearer,
    async () => void (await post('echo', bearer, echo)),
  )
}

const stdioCall = async (): Promise<Entered> => {
  const bearer = await token('command')
  const params = {
    protocolVersion: '2025-11-25',
    capabilities: {},
    clientInfo: { name: 'entered-files', version: '1' },
  }
  const begun = await post('command', bearer, { id: 0, method: 'initialize', params })
  const session = begun.headers.get('mcp-session-id') ?? undefined
  await post('command', bearer, { method: 'notifications/initialized' }, session)
  return around(
    async () => session,
    async () => void (await post('command', bearer, echo, session)),
  )
}

const codeExchange = async (): Promise<Entered> => {
  const client: Client = await register(gateway)
  const browser = createBrowser(gateway.fetch, gateway.origin)
  return around(
    async () => {
      const asking = authorizeUrl(gateway, client, { resource: `${gateway.origin}/echo/mcp` })
      const back = await allow(browser, asking.url)
      return { code: back.searchParams.get('code') ?? '', verifier: asking.verifier }
    },
    async ({ code, verifier }) => {
      const response = await redeem(gateway, client, code, verifier)
      if (response.status !== 200) throw new Error(`the exchange answered ${response.status}`)
      await response.json()
    },
  )
}

try {
  await counts()
  const found = [
    ['warm tools/call', 30, await httpCall()],
    ['warm stdio call', 34, await stdioCall()],
    ['code exchange', 30, await codeExchange()],
  ] as const
  const rows = found.map(([what, goal, entered]) => [
    what,
    String(entered.size),
    `≤ ${goal}`,
    String([...entered.values()].reduce((sum, functions) => sum + functions.length, 0)),
  ])
  console.log(table([['what', 'files entered', 'goal', 'functions'], ...rows]))
  if (values.list || values.functions) {
    for (const [what, , entered] of found) {
      console.log(`\n${what}`)
      for (const [file, functions] of entered)
        console.log(
          `  ${file}  ${values.functions ? functions.toSorted().join(', ') : String(functions.length)}`,
        )
    }
  }
} finally {
  await gateway.end()
  await upstream.close()
  state.remove()
}
