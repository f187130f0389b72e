// The Workers door: the configuration once an isolate, then every request both ways through the one gateway.
import { waitUntil } from 'cloudflare:workers'
import packageJson from '../../package.json' with { type: 'json' }
import { faultText } from '../config/fault.ts'
import { loadConfig } from '../config/load.ts'
import { createGateway, type Gateway } from '../gateway.ts'
import { encodeBase64url } from '../kit/bytes.ts'
import type { LogLevel } from '../ports/runtime.ts'
import type { Service } from '../ports/services.ts'
import { type Environment, variables } from './environment.ts'
import { createWorkerRuntime } from './runtime.ts'

export { RecordObject } from './object.ts'

const loopback = (url: URL): boolean => ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname)

const demo = (): Service => {
  let made: Promise<(request: Request) => Promise<Response>> | undefined
  return {
    id: 'demo',
    name: 'Demo',
    description: 'A small MCP server inside this gateway, to try it with.',
    upstream: { kind: 'local', handle: async (request) => (await (made ??= import('../demo/demo.ts').then(({ createDemo }) => createDemo({ version: packageJson.version }))))(request) },
    authRequired: true,
    scopes: ['mcp'],
    timeoutMs: 30_000,
    maxBodyBytes: 4_194_304,
    identity: { preset: 'all', headers: {}, assertion: true },
  }
}

type Made = { readonly gateway: Gateway } | { readonly faults: readonly string[] }

const make = async (env: Environment, url: URL): Promise<Made> => {
  const loaded = await loadConfig({
    ...(env.POSTERN_CONFIG === undefined ? {} : { file: { path: 'POSTERN_CONFIG', text: env.POSTERN_CONFIG } }),
    env: variables(env),
    flags: loopback(url) ? { issuer: url.origin } : {},
  })
  if (!loaded.ok) return { faults: loaded.faults.map(faultText) }
  const { config } = loaded
  if (config.issuer === undefined) return { faults: ['issuer – the public URL of this Worker is not set. Set the variable MCP_ISSUER, e.g. https://mcp.example.com.'] }
  if (config.session_secret === undefined) return { faults: ['session_secret – this Worker has no root secret. Run: wrangler secret put SESSION_SECRET (32 characters or more).'] }
  const runtime = await createWorkerRuntime({ config, env, logLevel: (variables(env)['LOG_LEVEL'] ?? 'info') as LogLevel, waitUntil, version: packageJson.version })
  const aliases = loopback(url) ? ['localhost', '127.0.0.1', '[::1]'].map((name) => `http://${name}:${url.port}`).filter((origin) => origin !== config.issuer) : []
  return { gateway: createGateway({ config, runtime, issuer: config.issuer, aliases, services: Object.keys(config.mcp_services).length === 0 ? [demo()] : [] }) }
}

/** One gateway an isolate; a Worker's variables do not change while it lives. */
let made: Promise<Made> | undefined

const answerFaults = (faults: readonly string[]): Response =>
  Response.json({ error: 'temporarily_unavailable', error_description: 'This gateway is not configured.', faults }, { status: 503, headers: { 'cache-control': 'no-store', 'retry-after': '60' } })

// oxlint-disable-next-line import/no-default-export -- the Workers runtime looks for the handlers in the default export
export default {
  async fetch(request: Request, env: Environment): Promise<Response> {
    const url = new URL(request.url)
    const known = await (made ??= make(env, url))
    if ('faults' in known) return answerFaults(known.faults)
    const visit = { requestId: encodeBase64url(crypto.getRandomValues(new Uint8Array(12))), ip: request.headers.get('cf-connecting-ip') ?? '127.0.0.1' }
    return known.gateway.handle(request, visit, (input, init) => fetch(input, { ...init, redirect: 'manual' }))
  },
}
