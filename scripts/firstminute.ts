// `npm run prove firstminute`: a fresh clone, `npm start`, the login link, one consent, the first
// authenticated tool call; how long each takes. Runs on the Node and npm that the machine has, not on those
// of this checkout, and with an empty npm cache the first time.
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { type Chromium, openChromium } from './harness/chromium.ts'
import { createClientSide } from './harness/client-side.ts'
import { root } from './harness/peers.ts'
import { run, type Started, startProcess } from './harness/process.ts'
import { table } from './harness/table.ts'

/** The machine's environment: what `npm run` put in front of the PATH, and what it set, is taken away. */
const machine = (more: Readonly<Record<string, string>>): Record<string, string | undefined> => ({
  ...Object.fromEntries(
    Object.entries(process.env).filter(
      ([name]) => !name.startsWith('npm_') && !['NODE', 'NODE_ENV', 'INIT_CWD', 'CI'].includes(name),
    ),
  ),
  PATH: (process.env['PATH'] ?? '')
    .split(delimiter)
    .filter((folder) => !folder.includes('node_modules') && !folder.includes('node-gyp-bin'))
    .join(delimiter),
  ...more,
})

interface Up {
  readonly url: string
  readonly loginLink: string
  readonly seconds: number
  /** Milliseconds from the start of Postern's own process, as it says. */
  readonly readyMs: number
  readonly process: Started
}

const start = async (clone: string, env: Readonly<Record<string, string | undefined>>): Promise<Up> => {
  const began = performance.now()
  const started = startProcess('npm', {
    args: ['start', '--', '--port', '0', '--print-sign-in-link'],
    cwd: clone,
    env,
  })
  const [line] = await started.until(/^\{.*"event":"listening".*\}$/m, 300_000)
  const seconds = (performance.now() - began) / 1000
  const {
    mcp,
    sign_in_link: loginLink,
    ready_ms: readyMs,
  } = JSON.parse(line) as { mcp: { url: string }[]; sign_in_link: string; ready_ms: number }
  return { url: mcp[0]?.url ?? '', loginLink, seconds, readyMs, process: started }
}

/**
 * What the person does: opens the link, pastes the URL into a client, allows. Returns the answer of `whoami`.
 */
const firstCall = async ({ url, loginLink }: Up, chromium: Chromium): Promise<string> => {
  const walked = Promise.withResolvers<string>()
  const side = await createClientSide('First minute', (target) =>
    walked.resolve(chromium.allow(target, { loginLink })),
  )
  const connect = async (): Promise<Client> => {
    const client = new Client(
      { name: 'first-minute', version: '1.0.0' },
      { versionNegotiation: { mode: 'auto' } },
    )
    const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: side.authProvider })
    try {
      await client.connect(transport)
      return client
    } catch (error) {
      if (!(error instanceof UnauthorizedError) || side.visits() !== 1) throw error
    }
    await transport.finishAuth((await Promise.all([side.answer, walked.promise]))[0])
    return connect()
  }
  const client = await connect()
  const { structuredContent } = await client.callTool({ name: 'whoami', arguments: {} })
  await client.close()
  side.close()
  const found = structuredContent as { headers: Record<string, string>; bearer_token_arrived: boolean }
  if (found.headers['x-user-id'] === undefined || found.bearer_token_arrived)
    throw new Error(`whoami answered ${JSON.stringify(found)}`)
  return found.headers['x-user-id']
}

const main = async (): Promise<boolean> => {
  const folder = mkdtempSync(join(tmpdir(), 'first-minute-'))
  const clone = join(folder, 'postern')
  const env = machine({ XDG_STATE_HOME: join(folder, 'state'), npm_config_cache: join(folder, 'npm-cache') })
  const chromium = await openChromium()
  const shown = (seconds: number): string => `${seconds.toFixed(1)} s`
  try {
    await run('git', { args: ['clone', '--quiet', root, clone] })
    const cold = await start(clone, env)
    const began = performance.now()
    const who = await firstCall(cold, chromium)
    const human = (performance.now() - began) / 1000
    await cold.process.stop()
    const warm: Up[] = []
    for (let again = 0; again < 3; again++) {
      const up = await start(clone, env)
      warm.push(up)
      await up.process.stop()
    }
    const best = Math.min(...warm.map((up) => up.seconds))
    const own = Math.min(...warm.map((up) => up.readyMs))
    const node = (await run('node', { args: ['--version'], env, cwd: folder })).stdout().trim()
    const npm = (await run('npm', { args: ['--version'], env, cwd: folder })).stdout().trim()
    console.log(
      `\n${table([
        [`on node ${node.slice(1)}, npm ${npm}`, 'time'],
        ['npm start in a fresh clone → URL printed (empty npm cache)', shown(cold.seconds)],
        [`URL printed → first authenticated tools/call, as ${who} (scripted person)`, shown(human)],
        ['together', shown(cold.seconds + human)],
        [`npm start again → URL printed (best of ${warm.length})`, shown(best)],
        ['of which Postern itself', shown(own / 1000)],
      ])}\n`,
    )
    return cold.seconds + human <= 60 && best <= 2
  } finally {
    await chromium.close()
    rmSync(folder, { recursive: true, force: true })
  }
}

process.exit((await main()) ? 0 : 1)
