// The examples for containers and service managers say what the product is.
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { healthUrl } from '../../src/cli/healthcheck.ts'
import { presets } from '../../src/proxy/identity-headers.ts'
import { configOf } from '../unit/config-world.ts'
import { root } from './tree.ts'

const read = (path: string): string => readFileSync(join(root, path), 'utf8')

describe('the Dockerfile', () => {
  const text = read('Dockerfile')
  const lines = text.split('\n')

  it('names its base image by digest, and another user than root', () => {
    expect(text).toMatch(/^ARG NODE_IMAGE=node:24-[a-z-]+@sha256:[0-9a-f]{64}$/m)
    expect(
      lines.filter((line) => line.startsWith('FROM ')).every((line) => line.includes('${NODE_IMAGE}')),
    ).toBe(true)
    expect(text).toMatch(/^USER 10001:10001$/m)
  })

  it('lists the packages in the image', () => {
    expect(text).toContain('npm sbom --sbom-format=cyclonedx > sbom.cdx.json ')
    expect(text).toContain(' /build/sbom.cdx.json ./\n')
  })

  it('starts the gateway without a shell, and copies nothing that the build context leaves out', () => {
    expect(lines).toContain('ENTRYPOINT ["node", "--max-semi-space-size=16", "/app/bin/postern.mjs"]')
    const context = read('.dockerignore').split('\n')
    expect(context).toContain('*')
    const kept = context.filter((line) => line.startsWith('!')).map((line) => line.slice(1))
    const { files } = JSON.parse(read('package.json')) as { files: string[] }
    for (const file of files.filter((name) => name !== 'dist')) expect(kept).toContain(file)
  })
})

describe('the compose file', () => {
  const { services } = parse(read('examples/compose/compose.yaml'), { merge: true }) as {
    services: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  }

  it('runs each gateway read-only, without capabilities, and waits for a Redis that keeps what it is told', () => {
    for (const name of ['postern-1', 'postern-2'])
      expect(services[name]).toMatchObject({
        read_only: true,
        cap_drop: ['ALL'],
        security_opt: ['no-new-privileges:true'],
        depends_on: { redis: { condition: 'service_healthy' } },
      })
    expect(services['redis']?.['command']).toEqual([
      ...['redis-server', '--appendonly', 'yes', '--maxmemory-policy', 'noeviction'],
    ])
    expect(services['redis']).not.toHaveProperty('ports')
  })
})

interface Compose {
  readonly services: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}
const compose = (path: string) => parse(read(`examples/${path}`), { merge: true }) as Compose

describe('the other compose files', () => {
  it('one gateway in memory', async () => {
    const { services } = compose('compose/memory.yaml')
    const postern = services['postern'] ?? {}
    expect(postern).toMatchObject({ read_only: true, cap_drop: ['ALL'], ports: ['127.0.0.1:8080:8080'] })
    const env = postern['environment'] as Readonly<Record<string, string>>
    const { storage, issuer, mcp_services } = await configOf('', {
      env: { ...env, LOCAL_USER: 'ana', LOCAL_PASSWORD: 'correct horse battery' },
    })
    expect([storage.type, issuer, Object.keys(mcp_services)]).toEqual([
      'memory',
      'http://localhost:8080',
      ['everything'],
    ])
  })

  const { services } = compose('traefik/compose.yaml')
  const nine = [
    ...['mcp-everything', 'mcp-fetch', 'mcp-fetchs', 'mcp-filesystem', 'mcp-memory', 'mcp-playwright'],
    ...['mcp-sequentialthinking', 'mcp-time', 'mcp-tmux'],
  ]

  it('nine servers behind two gateways on Redis, which Traefik reaches at a host for each', async () => {
    const env = {
      BASE_DOMAIN: 'example.com',
      GATEWAY_JWT_SECRET: randomBytes(32).toString('base64url'),
      GITHUB_CLIENT_ID: 'id',
      GITHUB_CLIENT_SECRET: 'secret',
      ALLOWED_GITHUB_USERS: 'ana',
      REDIS_URL: 'redis://:password@redis:6379/0',
    }
    const config = await configOf(read('examples/traefik/postern.yaml'), { env })
    expect(Object.entries(config.mcp_services).map(([id, { url }]) => [id, url])).toEqual(
      nine.map((id) => [id, `http://${id}:3000/mcp`]),
    )
    expect(Object.keys(services)).toEqual(['traefik', 'postern-1', 'postern-2', 'redis', ...nine])
    for (const name of ['postern-1', 'postern-2']) {
      const { labels, ...service } = services[name] as { readonly labels: Readonly<Record<string, string>> }
      expect(service).toMatchObject({
        read_only: true,
        cap_drop: ['ALL'],
        depends_on: { redis: { condition: 'service_healthy' } },
        networks: ['public', 'inside'],
      })
      const hosts = [...(labels['traefik.http.routers.postern.rule'] ?? '').matchAll(/Host\(`([^`]+)`\)/g)]
      expect(hosts.map(([, host]) => host)).toEqual(
        ['auth', ...nine].map((host) => `${host}.\${BASE_DOMAIN}`),
      )
      expect(labels['traefik.http.services.postern.loadbalancer.server.port']).toBe(String(config.port))
    }
    expect(services['redis']).not.toHaveProperty('ports')
    expect(services['redis']?.['command']).toEqual(expect.arrayContaining(['--appendonly', 'noeviction']))
  })

  it.each(nine)('%s is a stdio server that only the gateways reach', async (name) => {
    const service = services[name] ?? {}
    expect(service).toMatchObject({ cap_drop: ['ALL'], networks: ['inside', 'outside'] })
    expect(service).not.toHaveProperty('ports')
    const config = await configOf('', { env: service['environment'] as Readonly<Record<string, string>> })
    expect([
      config.port,
      config.issuer,
      config.default_service,
      config.mcp_services['server']?.auth_required,
    ]).toEqual([3000, `https://${name}:3000`, 'server', false])
  })
})

describe('the systemd unit', () => {
  const unit = read('examples/systemd/postern.service')

  it('gives the gateway the time to drain, and does not restart one that cannot start', () => {
    expect(unit).toContain('\nRestartPreventExitStatus=1\n')
    expect(Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1])).toBeGreaterThan(40)
  })

  it('has no directive twice but the filter of system calls', () => {
    const names = [...unit.matchAll(/^([A-Z]\w+)=/gm)].map(([, name]) => name)
    const twice = names.filter((name, i) => names.indexOf(name) !== i)
    expect(twice).toEqual(['Environment', 'SystemCallFilter'].filter((name) => twice.includes(name)))
  })
})

it.each([
  ['localhost', 'http://localhost:8080/healthz'],
  ['0.0.0.0', 'http://127.0.0.1:8080/healthz'],
  ['::', 'http://[::1]:8080/healthz'],
  ['192.0.2.1', 'http://192.0.2.1:8080/healthz'],
])('a gateway on %s is asked at %s', (host, url) => expect(healthUrl(host, 8080)).toBe(url))

describe('the examples of forward auth', () => {
  const names = [...presets.all.map(([name]) => name), 'X-MCP-Identity']
  const files = {
    'nginx.conf': /proxy_set_header (\S+) \$auth_/g,
    'Caddyfile': /(?<=copy_headers .*)\b(X-\S+)/g,
    'traefik.yaml': /^ +- (X-\S+)$/gm,
  }

  it('hand on every field that a server may be told, so that no client can send one of them', () => {
    for (const [file, pattern] of Object.entries(files)) {
      const text = read(`examples/forward-auth/${file}`)
      expect([file, [...text.matchAll(pattern)].map(([, name]) => name)]).toEqual([file, names])
    }
    const nginx = read('examples/forward-auth/nginx.conf')
    const told = [...nginx.matchAll(/auth_request_set (\$auth_\w+) \$upstream_http_(x_\w+);/g)]
    expect(told.map(([, , name = '']) => name.replaceAll('_', '-'))).toEqual(
      names.map((name) => name.toLowerCase()),
    )
    for (const [, variable = '', name = ''] of told)
      expect(nginx.toLowerCase()).toContain(`proxy_set_header ${name.replaceAll('_', '-')} ${variable};`)
  })

  it('keep the token, cookies and the description of the request from the server', () => {
    for (const name of ['Authorization', 'Cookie', 'X-Forwarded-Method', 'X-Forwarded-Uri']) {
      expect(read('examples/forward-auth/nginx.conf')).toContain(`    proxy_set_header ${name} "";\n`)
      expect(read('examples/forward-auth/Caddyfile')).toContain(`\t\t\t\theader_up -${name}\n`)
      expect(read('examples/forward-auth/traefik.yaml')).toContain(`          ${name}: ""\n`)
    }
  })

  it('let Traefik hand the message on with its method, and believe nobody in front of it', () => {
    const { http } = parse(read('examples/forward-auth/traefik.yaml')) as {
      readonly http: { readonly middlewares: { readonly postern: { readonly forwardAuth: object } } }
    }
    expect(http.middlewares.postern.forwardAuth).toMatchObject({
      address: 'http://127.0.0.1:8080/verify',
      trustForwardHeader: false,
      forwardBody: true,
      preserveRequestMethod: true,
    })
  })
})
