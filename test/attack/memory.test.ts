// What one caller's large messages do to a gateway with little memory: nothing that anybody else would
// notice.
import { type ChildProcess, spawn } from 'node:child_process'
import { request as httpRequest } from 'node:http'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createPlace, type Place } from '../e2e/cli-process.ts'
import { compileCache, commandLine } from '../runtimes/process.ts'
import { call, until } from '../runtimes/proxied.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

const hangs = fileURLToPath(new URL('memory-hang.mjs', import.meta.url))

let place: Place
let upstream: Upstream
let child: ChildProcess
let origin: string

beforeAll(async () => {
  place = createPlace()
  upstream = await openUpstream((request, response, body) => {
    if (request.url === '/hang') return
    response.writeHead(200, { 'content-type': 'application/json' }).end(body)
  })
  const base = new URL(upstream.url).origin
  place.write(
    'postern.yaml',
    `mcp_services:
  hang: { url: "${base}/hang", auth_required: false }
  stdio: { command: "${process.execPath}", args: ["${hangs}"], sandbox: none, shared: true, auth_required: false }
  fine: { url: "${base}/fine", auth_required: false }
`,
  )
  const args = ['--max-old-space-size=256', commandLine, '--port', '0', '--state', 'state']
  const env = { PATH: process.env['PATH'], HOME: place.home, ...compileCache }
  child = spawn(process.execPath, args, { cwd: place.path, env, stdio: ['ignore', 'pipe', 'inherit'] })
  const lines: string[] = []
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (text) => lines.push(text))
  await until(() => lines.length > 0, 'the gateway', 30_000)
  origin = (JSON.parse(lines[0] as string) as { url: string }).url
}, 60_000)
afterAll(async () => {
  await new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    if (child.exitCode !== null || child.signalCode !== null) resolve()
    else child.kill('SIGKILL')
  })
  await upstream.close()
  place.remove()
})

interface Told {
  /**
   * 0: the connection ended before an answer, because the gateway refused the rest of the body or the test
   * was over.
   */
  readonly status: number
  readonly session: string | undefined
}

/** A call from an address of its own. */
const post = (
  from: string,
  path: string,
  body: Buffer,
  signal: AbortSignal,
  session?: string,
): Promise<Told> =>
  new Promise((resolve) => {
    const { host, port } = new URL(origin)
    const headers = {
      host,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'content-length': body.length,
      ...(session === undefined ? {} : { 'mcp-session-id': session }),
    }
    const asked = httpRequest({
      hostname: '127.0.0.1',
      port,
      path,
      method: 'POST',
      localAddress: from,
      headers,
      signal,
    })
    asked.on('response', (response) => {
      response.resume()
      const given = response.headers['mcp-session-id']
      resolve({ status: response.statusCode ?? 0, session: typeof given === 'string' ? given : undefined })
    })
    asked.on('error', () => resolve({ status: 0, session: undefined }))
    asked.end(body)
  })

const most = 4 * 1024 * 1024
const filled = (head: string, piece: string, tail: string): Buffer => {
  const pieces = Math.floor((most - head.length - tail.length) / piece.length) - 1
  return Buffer.from(`${head}${piece.repeat(pieces)}${piece.replace(',', '')}${tail}`)
}
const message = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x",'
const shapes: readonly (readonly [string, Buffer])[] = [
  ['batches of empty objects', filled('[', '{},', ']')],
  ['arrays in _meta', filled(`${message}"_meta":{"a":[`, '[],', ']}}}')],
  ['objects in arguments', filled(`${message}"arguments":{"a":[`, '{"a":0},', ']}}}')],
  ['numbers', filled(`${message}"arguments":{"a":[`, '0,', ']}}}')],
  ['one text', filled(`${message}"arguments":{"a":"`, 'x', '"}}}')],
]

describe('never lets large messages end the service for others, with 256 MiB of memory', () => {
  it.each(
    shapes.flatMap(([name, body]) => [
      [name, '/hang/mcp', body] as const,
      [name, '/stdio/mcp', body] as const,
    ]),
  )(
    '%s before %s that hangs [H-R9]',
    async (_, path, body) => {
      const over = new AbortController()
      const small = Buffer.from(JSON.stringify(call()))
      const begin = {
        jsonrpc: '2.0',
        id: 0,
        method: 'initialize',
        params: { protocolVersion: '2025-03-26', capabilities: {}, clientInfo: { name: 'a', version: '1' } },
      }
      const attack = async (from: string): Promise<number[]> => {
        const { session } =
          path === '/stdio/mcp'
            ? await post(from, path, Buffer.from(JSON.stringify(begin)), over.signal)
            : { session: undefined }
        const all = await Promise.all(
          Array.from({ length: 10 }, () => post(from, path, body, over.signal, session)),
        )
        return all.map(({ status }) => status)
      }
      const attacks = ['127.0.0.2', '127.0.0.3', '127.0.0.4'].map(attack)
      const others: number[] = []
      while (others.length < 10)
        others.push((await post('127.0.0.9', '/fine/mcp', small, over.signal)).status)
      over.abort()
      const statuses = new Set((await Promise.all(attacks)).flat())
      expect(others).toEqual(others.map(() => 200))
      expect([...statuses].filter((status) => ![0, 400, 503].includes(status))).toEqual([])
      expect([child.exitCode, child.signalCode]).toEqual([null, null])
    },
    60_000,
  )
})
