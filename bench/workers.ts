// Calls through the Workers house beside a Worker that only passes them on, in the same workerd, turn by turn. Needs wrk and a C compiler.
// Usage: node bench/workers.ts [seconds a turn] [connections]
import { execFile, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { logIn, person } from '../test/houses/login.ts'
import { startWorkerd, type Workerd } from '../test/houses/workerd.ts'

const [seconds = 4, connections = 32] = process.argv.slice(2).map(Number)
const rounds = 3
const folder = mkdtempSync(join(tmpdir(), 'postern-bench-'))
const median = (numbers: readonly number[]): number => numbers.toSorted((a, b) => a - b)[numbers.length >> 1] ?? 0
/** User and system time of a process, milliseconds (proc_pid_stat(5), 10 ms a tick). */
const cpuMs = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) * 10
}
const freePort = (): Promise<number> =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })

interface Turn {
  readonly perSecond: number
  readonly cpuUs: number
  readonly failed: number
}

const turn = async (workerd: Workerd, path: string, script: string): Promise<Turn> => {
  const before = cpuMs(workerd.pid)
  const { stdout: out } = await promisify(execFile)('wrk', [
    '-t1',
    `-c${connections}`,
    `-d${seconds}s`,
    '-s',
    script,
    `${workerd.origin.replace('localhost', '127.0.0.1')}${path}`,
  ])
  const [, requests = '0'] = /(\d+) requests in/.exec(out) ?? []
  const [, failed = '0'] = /Non-2xx or 3xx responses: (\d+)/.exec(out) ?? []
  return { perSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(out)?.[1] ?? 0), cpuUs: ((cpuMs(workerd.pid) - before) * 1000) / Number(requests), failed: Number(failed) }
}

const port = await freePort()
execFileSync('cc', ['-O2', '-o', join(folder, 'upstream'), new URL('upstream.c', import.meta.url).pathname])
const upstream = spawn(join(folder, 'upstream'), [String(port)], { stdio: 'ignore' })
const url = `http://127.0.0.1:${port}`
const plain = await startWorkerd({ entry: 'test/workers/plain.ts', vars: { UPSTREAM: url } })
const ours = await startWorkerd({
  entry: 'src/worker/entry.ts',
  vars: {
    SESSION_SECRET: 'Zt4x9LwQ2vB7nK1rYp6sD3gHj8mFc5eA',
    LOG_LEVEL: 'warn',
    POSTERN_CONFIG: { local_users: [person], mcp_services: { echo: { url: `${url}/json` } }, max_concurrent_calls: 100_000 },
  },
})
try {
  const { tokens } = await logIn({ origin: ours.origin, fetch: (to, init) => fetch(to, { redirect: 'manual', ...init }) })
  const script = join(folder, 'call.lua')
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: 'echo', arguments: { text: 'x'.repeat(160) } } })
  const fields = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2025-11-25',
    authorization: `Bearer ${tokens.access_token}`,
  }
  const host = `wrk.headers['Host'] = '${new URL(ours.origin).host}'`
  writeFileSync(
    script,
    `wrk.method = 'POST'\nwrk.body = ${JSON.stringify(body)}\n${host}\n${Object.entries(fields)
      .map(([name, value]) => `wrk.headers['${name}'] = '${value}'`)
      .join('\n')}\n`,
  )
  const results: Record<'plain' | 'ours', Turn[]> = { plain: [], ours: [] }
  await turn(plain, '/json', script)
  await turn(ours, '/echo/mcp', script)
  for (let round = 0; round < rounds; round++) {
    results.plain.push(await turn(plain, '/json', script))
    results.ours.push(await turn(ours, '/echo/mcp', script))
  }
  const row = (name: 'plain' | 'ours') => ({
    'requests/s': Math.round(median(results[name].map(({ perSecond }) => perSecond))),
    'CPU µs': Math.round(median(results[name].map(({ cpuUs }) => cpuUs))),
    failed: results[name].reduce((sum, { failed }) => sum + failed, 0),
  })
  const table = { 'a Worker that passes on': row('plain'), 'Postern on Workers': row('ours') }
  console.table(table)
  console.log(
    `of the plain Worker's speed: ${(table['Postern on Workers']['requests/s'] / table['a Worker that passes on']['requests/s']).toFixed(2)}; CPU for a call: ${(table['Postern on Workers']['CPU µs'] / table['a Worker that passes on']['CPU µs']).toFixed(2)} times`,
  )
} finally {
  await Promise.all([plain.close(), ours.close()])
  upstream.kill()
  rmSync(folder, { recursive: true })
}
