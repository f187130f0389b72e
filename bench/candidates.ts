// The gateways that are measured, each started with what it needs to serve the same calls.
import { createPublicKey, type JsonWebKey } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { obtainToken } from '../scripts/harness/authorize.ts'
import { freePort } from '../scripts/harness/free-port.ts'
import { root } from '../scripts/harness/peers.ts'
import { person } from '../scripts/harness/postern.ts'
import { type Build, startGateway, thisCheckout } from './gateway.ts'
import { has, pause, type Place, type Running, start } from './machine.ts'

/** What the upstream answers, by the path it is asked at. */
export const workloads = ['json', 'sse', 'big', 'idle', 'list'] as const
export type Workload = (typeof workloads)[number]

export interface Candidate {
  readonly name: string
  /** What it does for each call besides passing it on. */
  readonly job: string
  /** The gateway's processes, and those it asks; each with its descendants. */
  readonly pids: readonly number[]
  /** Undefined for a workload it is not set up for. */
  url(workload: Workload): string | undefined
  token(workload: Workload): string
  stop(): Promise<void>
}

export const startUpstream = async (
  folder: string,
  place: Place = 'load',
): Promise<{ readonly origin: string; readonly process: Running }> => {
  const program = join(folder, 'upstream')
  execFileSync('cc', ['-O2', '-o', program, join(root, 'bench/upstream.c')])
  const running = start(program, ['0'], { place })
  const [, port] = await running.until(/listening (\d+)/)
  return { origin: `http://127.0.0.1:${port}`, process: running }
}

const none = (): string => 'none'

export const direct = (origin: string, upstream: Running): Candidate => ({
  name: 'no gateway',
  job: 'the upstream itself',
  pids: [upstream.pid],
  url: (workload) => `${origin}/${workload}`,
  token: none,
  stop: async () => undefined,
})

/** Postern with its defaults but for the number of calls and streams that one person may have open. */
export const startPostern = async (
  folder: string,
  origin: string,
  build: Build = thisCheckout,
  {
    access,
    more = {},
    place,
  }: {
    readonly access?: object
    readonly more?: { readonly mcp_services?: object; readonly workers?: number }
    readonly place?: Place
  } = {},
): Promise<Candidate> => {
  const services = Object.fromEntries(
    workloads.map((workload) => [
      `up-${workload}`,
      { url: `${origin}/${workload}`, ...(access && { access }) },
    ]),
  )
  const limits = { max_concurrent_calls: 100_000, max_open_streams: 100_000 }
  const gateway = await startGateway(
    folder,
    { local_users: [person], ...limits, ...more, mcp_services: { ...services, ...more.mcp_services } },
    build,
    place,
  )
  const tokens = new Map<Workload, string>()
  for (const workload of workloads)
    tokens.set(workload, await obtainToken(`${gateway.origin}/up-${workload}/mcp`))
  return {
    name: build.name,
    job: 'token, audience, policy input, identity, assertion, audit record',
    pids: [gateway.running.pid],
    url: (workload) => `${gateway.origin}/up-${workload}/mcp`,
    token: (workload) => tokens.get(workload) ?? '',
    stop: () => gateway.running.stop(),
  }
}

/** The measure: node:http and undici's dispatch, tuned. */
export const startMinimal = async (
  origin: string,
  mode: 'bare' | 'job',
  token: string,
): Promise<Candidate> => {
  const running = start(process.execPath, [join(root, 'bench/minimal.ts'), origin, mode, token], {
    place: 'gateway',
  })
  const [, port] = await running.until(/listening (\d+)/)
  return {
    name: mode === 'bare' ? 'minimal proxy, bare' : 'minimal proxy',
    job: mode === 'bare' ? 'nothing' : 'cached token, method and tool, three identity headers',
    pids: [running.pid],
    url: (workload) => `http://127.0.0.1:${port}/${workload}`,
    token: () => token,
    stop: () => running.stop(),
  }
}

const startVerify = async (token: string): Promise<{ readonly port: string; readonly process: Running }> => {
  const running = start(process.execPath, [join(root, 'bench/verify.ts'), token], { place: 'gateway' })
  const [, port = ''] = await running.until(/listening (\d+)/)
  return { port, process: running }
}

const upstreamBlock = (origin: string): string =>
  `upstream up { server ${origin.slice('http://'.length)}; keepalive 512; }`

export const startNginx = async (
  folder: string,
  origin: string,
  token: string | undefined,
): Promise<Candidate | undefined> => {
  if (!has('nginx')) return undefined
  const verify = token === undefined ? undefined : await startVerify(token)
  const port = await freePort()
  const place = join(folder, `nginx-${port}`)
  mkdirSync(place)
  const check = verify
    ? `auth_request /verify; auth_request_set $who $upstream_http_x_user_id; proxy_set_header X-User-Id $who;`
    : ''
  const checker = verify
    ? `location = /verify { internal; proxy_pass http://check/; proxy_pass_request_body off; proxy_set_header Content-Length ""; proxy_http_version 1.1; proxy_set_header Connection ""; }`
    : ''
  writeFileSync(
    join(place, 'nginx.conf'),
    `worker_processes 1; daemon off; error_log /dev/null; pid ${place}/pid; events { worker_connections 8192; }
http { access_log off; client_body_temp_path ${place}; proxy_temp_path ${place}; fastcgi_temp_path ${place}; uwsgi_temp_path ${place}; scgi_temp_path ${place}; keepalive_requests 100000000;
${upstreamBlock(origin)} ${verify ? `upstream check { server 127.0.0.1:${verify.port}; keepalive 512; }` : ''}
server { listen 127.0.0.1:${port} backlog=4096; ${checker}
location / { ${check} proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Authorization ""; proxy_buffering off; } } }`,
  )
  const running = start('nginx', ['-c', join(place, 'nginx.conf'), '-p', place], { place: 'gateway' })
  await pause(300)
  return {
    name: verify ? 'nginx auth_request' : 'nginx proxy_pass',
    job: verify ? 'asks a Node process for each call: cached token, identity' : 'nothing',
    pids: verify ? [running.pid, verify.process.pid] : [running.pid],
    url: (workload) => `http://127.0.0.1:${port}/${workload}`,
    token: () => token ?? 'none',
    async stop() {
      await running.stop()
      await verify?.process.stop()
    },
  }
}

export const startCaddy = async (
  folder: string,
  origin: string,
  token: string,
): Promise<Candidate | undefined> => {
  if (!has('caddy')) return undefined
  const verify = await startVerify(token)
  const [port, place] = [await freePort(), join(folder, 'caddy')]
  mkdirSync(place)
  writeFileSync(
    join(place, 'Caddyfile'),
    `{\n admin off\n auto_https off\n}\nhttp://127.0.0.1:${port} {\n forward_auth 127.0.0.1:${verify.port} {\n  uri /\n  copy_headers X-User-Id\n }\n reverse_proxy ${origin.slice('http://'.length)} {\n  flush_interval -1\n  header_up -Authorization\n }\n}\n`,
  )
  const running = start('caddy', ['run', '--config', join(place, 'Caddyfile'), '--adapter', 'caddyfile'], {
    place: 'gateway',
    env: { HOME: place, XDG_DATA_HOME: place, XDG_CONFIG_HOME: place, GOMAXPROCS: '1' },
  })
  await pause(800)
  return {
    name: 'caddy forward_auth',
    job: 'asks a Node process for each call: cached token, identity',
    pids: [running.pid, verify.process.pid],
    url: (workload) => `http://127.0.0.1:${port}/${workload}`,
    token: () => token,
    async stop() {
      await running.stop()
      await verify.process.stop()
    },
  }
}

export const startHaproxy = async (
  folder: string,
  origin: string,
  postern: Candidate,
): Promise<Candidate | undefined> => {
  const url = postern.url('json')
  if (!has('haproxy') || url === undefined) return undefined
  const { keys } = (await (await fetch(new URL('/oauth/jwks', url))).json()) as { keys: JsonWebKey[] }
  const [port, place] = [await freePort(), join(folder, 'haproxy')]
  mkdirSync(place)
  writeFileSync(
    join(place, 'key.pem'),
    createPublicKey({ key: keys[0] as JsonWebKey, format: 'jwk' }).export({ type: 'spki', format: 'pem' }),
  )
  writeFileSync(
    join(place, 'haproxy.cfg'),
    `global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  timeout http-request 10s
  option http-buffer-request
frontend in
  bind 127.0.0.1:${port}
  http-request set-var(txn.bearer) http_auth_bearer
  http-request set-var(txn.alg) http_auth_bearer,jwt_header_query('$.alg')
  http-request deny deny_status 401 unless { var(txn.bearer),jwt_verify(txn.alg,"${place}/key.pem") -m int 1 }
  http-request deny deny_status 401 unless { http_auth_bearer,jwt_payload_query('$.aud') -m str ${url} }
  http-request deny deny_status 403 unless { req.body,json_query('$.params.name') -m str echo }
  http-request set-header X-User-Id %[http_auth_bearer,jwt_payload_query('$.sub')]
  http-request del-header authorization
  default_backend up
backend up
  http-reuse always
  server up ${origin.slice('http://'.length)}
`,
  )
  const running = start('haproxy', ['-f', join(place, 'haproxy.cfg'), '-db'], { place: 'gateway' })
  await pause(500)
  return {
    name: 'haproxy JWT',
    job: 'ES256 verified for each call, audience, tool, identity',
    pids: [running.pid],
    url: (workload) => (workload === 'json' ? `http://127.0.0.1:${port}/json` : undefined),
    token: () => postern.token('json'),
    stop: () => running.stop(),
  }
}
