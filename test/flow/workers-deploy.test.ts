// What is deployed: the bundle that wrangler makes of wrangler.jsonc as it is shipped, its bindings, and the
// same Worker under `npm run dev`.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { TestHarness } from 'wrangler'
import { bundleWorker, wranglerEnv } from '../runtimes/bundle.ts'
import { logIn, refresh } from '../runtimes/login.ts'

const checkout = fileURLToPath(new URL('../..', import.meta.url))
const shipped = readFileSync(join(checkout, 'wrangler.jsonc'), 'utf8')
const config = JSON.parse(shipped.replaceAll(/^\s*\/\/.*$/gm, '')) as Record<string, unknown>
const houseAt = (origin: string) => ({
  origin,
  fetch: (url: string, init?: RequestInit) => fetch(url, { redirect: 'manual', ...init }),
})
const vars = {
  SESSION_SECRET: '7bq0Xc4vLr9tWm2kHs5yPz8nJd1fGa3e',
  LOCAL_USER: 'ana',
  LOCAL_PASSWORD: 'correct horse battery',
}

describe('the bundle', () => {
  it('is made by `wrangler deploy` from wrangler.jsonc, fits the free plan three times over, and needs nothing of Node but some cryptography', async () => {
    const code = readFileSync(await bundleWorker('src/worker/entry.ts'))
    expect(gzipSync(code).byteLength).toBeLessThan(1_048_576)
    const imports = [
      ...code.toString('utf8').matchAll(/(?:from|import)\s*\(?["']((?:node|cloudflare):[\w/]+)["']/g),
    ].map(([, name]) => name)
    expect(new Set(imports)).toEqual(new Set(['cloudflare:workers', 'node:crypto']))
    const taken = [...code.toString('utf8').matchAll(/import \{ (\w+)[^}]*\} from "node:crypto"/g)].map(
      ([, name = '']) => name,
    )
    expect(taken.toSorted()).toEqual(['createHash', 'hash', 'scrypt'])
  })

  it('names no account, no secret and no namespace of anybody’s', () => {
    const known = [
      '$schema',
      'name',
      'main',
      'compatibility_date',
      'compatibility_flags',
      'keep_names',
      'observability',
      'durable_objects',
      'migrations',
      'kv_namespaces',
      'dev',
      'vars',
    ]
    expect(Object.keys(config).filter((name) => !known.includes(name))).toEqual([])
    expect(config['kv_namespaces']).toEqual([{ binding: 'OAUTH_KV' }])
    expect(config['vars']).toEqual({ LOG_LEVEL: 'info' })
  })
})

describe('Workers KV, as the platform’s own emulation has it', () => {
  let harness: TestHarness
  let root: string
  const worker = (name: string, binding: string | undefined, main = 'src/worker/entry.ts') => ({
    config: {
      ...config,
      name,
      main: join(checkout, main),
      vars,
      kv_namespaces: binding === undefined ? [] : [{ binding, id: name }],
    },
  })
  beforeAll(async () => {
    Object.assign(process.env, wranglerEnv)
    const { createTestHarness } = await import('wrangler')
    // A folder of its own: a developer's .dev.vars is none of a test's business.
    root = mkdtempSync(join(tmpdir(), 'postern-harness-'))
    harness = createTestHarness({
      root,
      workers: [
        worker('first', 'OAUTH_KV'),
        worker('second', 'SESSIONS'),
        worker('third', undefined),
        worker('cache', 'OAUTH_KV', 'test/workers/kv.ts'),
      ],
    })
    await harness.listen()
  }, 60_000)
  afterAll(async () => {
    await harness.close()
    rmSync(root, { recursive: true })
  })

  it.each([
    ['bound as OAUTH_KV', 'first'],
    ['bound as SESSIONS', 'second'],
    ['not bound at all', 'third'],
  ])('%s: the Worker serves', async (_, name) => {
    expect(await (await harness.getWorker(name).fetch('/health')).json()).toMatchObject({
      status: 'healthy',
      storage: {
        healthy: true,
        backend_type: 'durable-object',
        backend_class: 'DurableObjectStorage',
      },
    })
  })

  it('is a cache: it keeps text for a minute and longer, and what it refuses is only lost', async () => {
    const call = async (path: string): Promise<unknown> =>
      (await harness.getWorker('cache').fetch(`http://localhost${path}`)).json()
    await call('/put?key=remote:a&value=one&ttl=60000')
    await call('/put?key=remote:b&value=two&ttl=59999')
    await call(`/put?key=${'k'.repeat(600)}&value=three&ttl=60000`)
    expect([
      await call('/get?key=remote:a'),
      await call('/get?key=remote:b'),
      await call('/get?key=none'),
      await call(`/get?key=${'k'.repeat(600)}`),
    ]).toEqual(['one', null, null, null])
    expect(await call('/log')).toEqual(['cache.failed', 'cache.failed'])
  })
})

describe('npm run dev', () => {
  let child: ChildProcess | undefined
  let root: string
  afterEach(async () => {
    const running = child?.exitCode === null && child.signalCode === null
    const ended = new Promise((resolve) => (running ? child?.once('exit', resolve) : resolve(0)))
    child?.kill('SIGTERM')
    await ended
    rmSync(root, { recursive: true, force: true })
  })

  const freePort = (): Promise<number> =>
    new Promise((resolve) => {
      const server = createServer().listen(0, '127.0.0.1', () => {
        const { port } = server.address() as { port: number }
        server.close(() => resolve(port))
      })
    })

  /** A checkout of its own; what it prints, once it listens. */
  const open = async (more: object, command: (port: number) => readonly [string, ...string[]]) => {
    root = mkdtempSync(join(tmpdir(), 'postern-dev-'))
    for (const name of ['src', 'node_modules', 'package.json', 'package-lock.json'])
      symlinkSync(join(checkout, name), join(root, name))
    mkdirSync(join(root, 'scripts'))
    for (const name of ['dev.mjs', 'bootstrap.mjs', 'system-programs.mjs'])
      copyFileSync(join(checkout, 'scripts', name), join(root, 'scripts', name))
    writeFileSync(join(root, 'wrangler.jsonc'), JSON.stringify({ ...config, ...more }))
    const port = await freePort()
    const out: string[] = []
    const [program, ...words] = command(port)
    const started = spawn(program, words, {
      cwd: root,
      env: { ...process.env, ...wranglerEnv },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child = started
    started.stderr.on('data', (text) => out.push(String(text)))
    await new Promise<void>((resolve, reject) => {
      started.stdout.on('data', (text) => {
        out.push(String(text))
        if (String(text).includes('Ready on')) resolve()
      })
      started.once('exit', () => reject(new Error(`ended early:\n${out.join('')}`)))
    })
    return { port, out, pid: started.pid as number }
  }
  const flags = (port: number): string[] => ['--port', String(port), '--inspector-port', '0']
  const npm = (port: number): [string, ...string[]] => [
    'npm',
    'run',
    '--ignore-scripts',
    'dev',
    '--',
    ...flags(port),
  ]

  it('makes a person and a secret once, and serves the whole main job on localhost although the deployment pins another URL', async () => {
    const vars = { LOG_LEVEL: 'info', MCP_ISSUER: 'https://mcp.example.com' }
    const routes = [{ pattern: 'mcp.example.com', custom_domain: true }]
    const { port, out } = await open({ vars, routes }, (free) => [
      process.execPath,
      join(root, 'scripts', 'dev.mjs'),
      ...flags(free),
    ])
    expect(out.join('')).toContain(`MCP server  http://localhost:${port}/demo/mcp`)
    expect(out.join('')).toContain('Sign in as owner')
    const [, password = ''] =
      /^LOCAL_PASSWORD=(.+)$/m.exec(readFileSync(join(root, '.dev.vars'), 'utf8')) ?? []
    expect(out.join('')).not.toContain(password)
    const house = houseAt(`http://localhost:${port}`)
    const { client, tokens } = await logIn(house, `${house.origin}/demo/mcp`, undefined, {
      username: 'owner',
      password,
    })
    expect((await refresh(house, client, tokens.refresh_token)).status).toBe(200)
  }, 60_000)

  /** A process and everything below it. */
  const treeOf = (pid: number): readonly number[] => {
    const rows = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' })
      .trim()
      .split('\n')
      .map((row) => row.trim().split(/\s+/).map(Number))
    const tree = [pid]
    for (const parent of tree)
      tree.push(...rows.filter(([, above]) => above === parent).map(([own]) => own as number))
    return tree
  }
  const lives = (pid: number): boolean => {
    try {
      return process.kill(pid, 0)
    } catch {
      return false
    }
  }

  it.each(['SIGTERM', 'SIGKILL'] as const)(
    'is one tree of processes with one end: after %s to npm nothing is left of it',
    async (signal) => {
      const { pid } = await open({}, npm)
      const tree = treeOf(pid)
      expect(tree.length).toBeGreaterThanOrEqual(5)
      child?.kill(signal)
      await expect.poll(() => tree.filter(lives), { timeout: 30_000 }).toEqual([])
    },
    60_000,
  )
})
