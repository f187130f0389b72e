// Real MCP servers that speak HTTP, started on free ports.
import { join } from 'node:path'
import { freePort } from '../harness/free-port.ts'
import { root } from '../harness/peers.ts'
import { type Started, startProcess } from '../harness/process.ts'
import { findProgram } from '../system-programs.mjs'
import type { Upstream } from './trial.ts'

export interface RunningUpstream extends Upstream {
  readonly url: string
  readonly stop: () => Promise<void>
}

const start = async (
  upstream: Upstream,
  origin: string,
  ready: RegExp,
  started: Started,
): Promise<RunningUpstream> => {
  await started.until(ready, 20_000)
  return { ...upstream, url: `${origin}/mcp`, stop: () => started.stop() }
}

const everything = async (peers: string): Promise<RunningUpstream> => {
  const port = await freePort()
  const started = startProcess(process.execPath, {
    args: [join(peers, 'node_modules/.bin/mcp-server-everything'), 'streamableHttp'],
    env: { PATH: process.env['PATH'], PORT: String(port) },
  })
  return start(
    {
      service: 'everything',
      tool: 'echo',
      input: { message: 'through the gate' },
      answer: /through the gate/,
    },
    `http://127.0.0.1:${port}`,
    /listening/i,
    started,
  )
}

const playwright = async (peers: string): Promise<RunningUpstream> => {
  const port = await freePort()
  const args = [
    '--headless',
    '--no-sandbox',
    '--isolated',
    '--executable-path',
    findProgram('chromium') ?? 'chromium',
    '--port',
    String(port),
  ]
  const started = startProcess(process.execPath, {
    args: [join(peers, 'node_modules/.bin/playwright-mcp'), ...args],
  })
  // It answers to the name it was given and no other, which is localhost by default.
  const page = 'data:text/html,<title>Behind the gate</title>'
  return start(
    { service: 'playwright', tool: 'browser_navigate', input: { url: page }, answer: /Behind the gate/ },
    `http://localhost:${port}`,
    /listening/i,
    started,
  )
}

/**
 * The reference server of our own stands for the upstreams that speak 2026-07-28, beside the revisions before
 * or alone: no published one does.
 */
const reference = async (service: string, args: readonly string[] = []): Promise<RunningUpstream> => {
  const port = await freePort()
  const started = startProcess(process.execPath, {
    args: [join(root, 'test/reference/server.ts'), '--port', String(port), ...args],
    cwd: root,
  })
  return start(
    { service, tool: 'test_simple_text', input: {}, answer: /simple text response/ },
    `http://127.0.0.1:${port}`,
    /listening/,
    started,
  )
}

/** Inside Postern when it is given no service: what everybody meets first. */
export const demo: Upstream = { service: 'demo', tool: 'whoami', input: {}, answer: /You are Ada\./ }

export const startUpstreams = (peers: string): Promise<RunningUpstream[]> =>
  Promise.all([
    everything(peers),
    playwright(peers),
    reference('reference'),
    reference('modern', ['--only', 'modern']),
  ])
