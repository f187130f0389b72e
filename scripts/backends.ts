// `npm run prove backends`: the servers of examples/backends behind Postern, in each language that this computer has.
// Two users call each, and see what is theirs; whoever does not come from the gateway is refused. The Python server
// is installed from PyPI into a folder of its own.
import { existsSync, mkdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { SignJWT, generateKeyPair } from 'jose'
import { allow, obtainToken } from './harness/authorize.ts'
import { freePort } from './harness/free-port.ts'
import { root } from './harness/peers.ts'
import { person, startPostern } from './harness/postern.ts'
import { type Started, run, startProcess } from './harness/process.ts'
import { createVerdicts } from './harness/verdict.ts'

const folder = join(root, 'examples/backends')
const other = { username: 'bea', password: 'another horse battery' }

/** Where it is on this computer. */
const findProgram = (name: string): string | undefined =>
  (process.env['PATH'] ?? '')
    .split(delimiter)
    .map((place) => join(place, name))
    .find((path) => existsSync(path))

interface Backend {
  readonly language: string
  /** How it is started; undefined where this computer lacks the language. */
  prepare(): Promise<readonly string[] | undefined>
  /** The tool that keeps something, and what the other one then returns. */
  readonly keep: { readonly name: string; readonly arguments: Record<string, unknown> }
  readonly kept: RegExp
}

const note = (text: string) => ({ name: 'add_note', arguments: { text } })

const backends: readonly Backend[] = [
  {
    language: 'typescript',
    prepare: async () => [process.execPath, join(folder, 'typescript/server.ts')],
    keep: note('from TypeScript'),
    kept: /from TypeScript/,
  },
  {
    language: 'python',
    async prepare() {
      const python = findProgram('python3')
      if (python === undefined) return undefined
      const home = join(root, 'node_modules/.cache/postern-python')
      const own = join(home, 'bin/python')
      if (!existsSync(join(home, 'bin/fastmcp'))) {
        mkdirSync(home, { recursive: true })
        await run(python, { args: ['-m', 'venv', home], timeoutMs: 120_000 })
        const wanted = join(folder, 'python/requirements.txt')
        await run(own, { args: ['-m', 'pip', 'install', '-q', '-r', wanted], timeoutMs: 600_000 })
      }
      return [own, join(folder, 'python/server.py')]
    },
    keep: { name: 'add', arguments: { a: 1, b: 2 } },
    kept: /1 \+ 2 = 3/,
  },
  {
    language: 'go',
    async prepare() {
      const go = findProgram('go')
      if (go === undefined) return undefined
      const program = join(root, 'node_modules/.cache/postern-go-notes')
      await run(go, { args: ['build', '-o', program, '.'], cwd: join(folder, 'go'), timeoutMs: 300_000 })
      return [program]
    },
    keep: note('from Go'),
    kept: /from Go/,
  },
]

const callAs = async (url: string, token: string, call: Backend['keep']): Promise<string> => {
  const client = new Client({ name: 'Postern harness', version: '1' })
  const requestInit = { headers: { authorization: `Bearer ${token}` } }
  await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit }))
  const { content, isError } = await client.callTool(call)
  await client.close()
  return `${isError ? 'ERROR ' : ''}${JSON.stringify(content)}`
}

/** What the server itself answers to whoever passes the gateway by. */
const directly = async (port: number, call: Backend['keep'], assertion?: string): Promise<string> => {
  const response = await fetch(`http://localhost:${port}/mcp`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'accept': 'application/json, text/event-stream',
      ...(assertion !== undefined && { 'x-mcp-identity': assertion }),
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: call }),
  })
  return `${response.status} ${await response.text()}`
}

const untilListening = async (port: number, started: Started): Promise<void> => {
  for (let tries = 0; tries < 300; tries++) {
    const answer = await fetch(`http://localhost:${port}/mcp`).catch(() => undefined)
    await answer?.body?.cancel()
    if (answer) return
    await new Promise((resolve) => void setTimeout(resolve, 100))
  }
  throw new Error(`It does not listen:\n${started.output()}`)
}

const verdicts = createVerdicts('backends')
const mine = { name: 'get_my_data', arguments: {} }
const { privateKey } = await generateKeyPair('ES256')

const prove = async (
  { language, keep, kept }: Backend,
  [program = '', ...args]: readonly string[],
): Promise<void> => {
  const port = await freePort()
  const gateway = await startPostern({
    config: {
      local_users: [person, other],
      mcp_services: { notes: { url: `http://localhost:${port}/mcp` } },
    },
  })
  const url = `${gateway.url}/notes/mcp`
  const env = { ...process.env, GATEWAY: gateway.url, AUDIENCE: url, PORT: String(port) }
  const server = startProcess(program, { args, env })
  try {
    await untilListening(port, server)
    const ada = await obtainToken(url)
    const bea = await obtainToken(url, 'Postern harness', (browser, to) => allow(browser, to, other))
    await callAs(url, ada, keep)
    const [hers, others] = [await callAs(url, ada, mine), await callAs(url, bea, mine)]
    verdicts.claim(
      kept.test(hers) && !kept.test(others),
      `${language}: each user has what is theirs`,
      `${hers} and ${others}`,
    )
    const forged = await new SignJWT({ name: 'Ada' })
      .setProtectedHeader({ alg: 'ES256', typ: 'mcp-identity+jwt', kid: 'forged' })
      .setIssuer(gateway.url)
      .setAudience(url)
      .setSubject('local:ada')
      .setExpirationTime('60s')
      .sign(privateKey)
    const answers = [await directly(port, keep), await directly(port, keep, forged)]
    const refused = answers.every((answer) => /^401 |"isError":true/.test(answer))
    verdicts.claim(
      refused,
      `${language}: whoever does not come from the gateway is refused`,
      answers.map((one) => one.slice(0, 160)).join(' and '),
    )
  } finally {
    await server.stop()
    await gateway.stop()
  }
}

for (const backend of backends) {
  const command = await backend.prepare()
  if (command) await prove(backend, command)
  else console.log(`${backend.language}: not on this computer, so not tried`)
}
verdicts.end()
