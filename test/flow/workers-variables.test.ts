// The names of variables that deployments of the gateways before this one have set, and what a Worker keeps
// at rest with them.
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createKeyRing } from '../../src/kit/keyring.ts'
import { ask } from '../runtimes/ask.ts'
import { createBrowser } from '../runtimes/browser.ts'
import { logIn, refresh } from '../runtimes/login.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { startWorkerd, type Workerd, type WorkerdOptions } from '../runtimes/workerd.ts'

const secret = 'q3Vt8Zx1Lw6Bn4Rk9Yp2Hs7Dg5Fj0Cm_eU'
const key = '5f2b8c1d9e7a4063b1c8d2e5f6a790314b8d7c2e9f1a6053d4e8b7c2a1f09563'
const somebody = { LOCAL_USER: 'ana', LOCAL_PASSWORD: 'correct horse battery' }

let workerd: Workerd
const start = async (vars: Record<string, unknown>, more: WorkerdOptions = {}): Promise<string> => {
  workerd = await startWorkerd({ vars, ...more })
  return workerd.origin
}
const houseOf = (origin: string) => ({
  origin,
  fetch: (url: string, init?: RequestInit) => fetch(url, { redirect: 'manual', ...init }),
})
const logged = (event: string): Record<string, unknown>[] =>
  workerd.lines
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>)
    .filter((line) => line['event'] === event)
afterEach(() => workerd.close())

describe('the variables of the gateways before', () => {
  let upstream: Upstream
  beforeAll(async () => {
    upstream = await openUpstream()
  })
  afterAll(() => upstream.close())

  it('of the first: a person, a root secret, a sealing key, its servers', async () => {
    const origin = await start({
      ...somebody,
      SESSION_SECRET: secret,
      TOKEN_ENCRYPTION_KEY: key,
      DOWNSTREAM_MCP_URL: upstream.url,
      DOMAIN_ROOT: 'example.com',
      MCP_SERVERS: '[{"domain":"mcp.example.com"}]',
      LOG_LEVEL: 'info',
    })
    const { client, tokens } = await logIn(houseOf(origin), `${origin}/mcp`)
    expect((await refresh(houseOf(origin), client, tokens.refresh_token)).status).toBe(200)
    const answer = await fetch(`${origin}/mcp`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${tokens.access_token}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
      },
      body: '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
    })
    expect([answer.status, upstream.heard.at(-1)?.headers['x-user-sub']]).toEqual([200, 'ana'])
    expect(logged('config.warning')).toEqual([])
    expect(await (await fetch(`${origin}/services`)).text()).toContain('/mcp-example-com/mcp')
  })

  it('of the fourth: Cloudflare Access to sign in with, a cookie key as the root, a downstream server at /mcp', async () => {
    const origin = await start({
      CF_ACCESS_CLIENT_ID: 'a1b2c3',
      CF_ACCESS_CLIENT_SECRET: 'of-the-application',
      CF_ACCESS_TEAM_DOMAIN: 'myteam.cloudflareaccess.com',
      COOKIE_ENCRYPTION_KEY: key,
      DOWNSTREAM_MCP_URL: upstream.url,
    })
    const login = await createBrowser(houseOf(origin).fetch, origin).go('/login')
    expect([
      login.status,
      login.body.includes('Cloudflare Access'),
      login.body.includes('action="/login/cloudflare-access"'),
      login.body.includes('name="password"'),
    ]).toEqual([200, true, true, false])
    const challenge = await fetch(`${origin}/mcp`, { method: 'POST' })
    expect([challenge.status, challenge.headers.get('www-authenticate')]).toEqual([
      401,
      expect.stringContaining('/.well-known/oauth-protected-resource/mcp'),
    ])
    expect(workerd.lines.filter((line) => line.includes('warn'))).toEqual([])
  })

  it('write no more than LOG_LEVEL asks for', async () => {
    const origin = await start({ SESSION_SECRET: secret, ...somebody, LOG_LEVEL: 'error' })
    for (const path of ['/nowhere', '/demo/mcp', '/oauth/authorize?client_id=x'])
      await ask(origin, path, { method: 'POST' })
    // The audit trail is not the log.
    expect(workerd.lines.filter((line) => !line.includes('"audit":true'))).toEqual([])
  })

  it('may stand in a configuration of YAML, as variables in it or beside it', async () => {
    const yaml = `local_users:\n  - username: bo\n    password: \${BO_PASSWORD}\nmcp_services:\n  calc:\n    url: ${upstream.url}\n`
    const origin = await start({
      POSTERN_CONFIG: yaml,
      BO_PASSWORD: 'correct horse battery',
      SESSION_SECRET: secret,
      ACCESS_TOKEN_LIFETIME: 120,
    })
    const browser = createBrowser(houseOf(origin).fetch, origin)
    expect(
      (
        await browser.submit(await browser.go('/login'), '/login', {
          username: 'bo',
          password: 'correct horse battery',
        })
      ).status,
    ).toBe(200)
    expect(
      Object.keys(((await (await fetch(`${origin}/services`)).json()) as { services: object }).services),
    ).toEqual(['calc'])
  })
})

describe('what a Worker keeps', () => {
  it('holds no token, code, cookie or password in clear, and opens with TOKEN_ENCRYPTION_KEY alone', async () => {
    const disk = mkdtempSync(join(tmpdir(), 'postern-at-rest-'))
    try {
      const origin = await start({ SESSION_SECRET: secret, TOKEN_ENCRYPTION_KEY: key, ...somebody }, { disk })
      const { client, tokens, browser } = await logIn(houseOf(origin), `${origin}/demo/mcp`)
      await workerd.close()
      const files = readdirSync(disk, { recursive: true, withFileTypes: true }).filter((file) =>
        file.isFile(),
      )
      const dump = files
        .map((file) => readFileSync(join(file.parentPath, file.name)).toString('latin1'))
        .join('\n')
      expect(dump).toContain('signing-keys')
      for (const raw of [
        tokens.access_token,
        tokens.refresh_token,
        tokens.refresh_token.slice(0, 40),
        somebody.LOCAL_PASSWORD,
        secret,
        key,
        client.redirectUri,
        '"kty"',
        ...browser.cookies.values(),
      ])
        expect(dump).not.toContain(raw)
      const utf8 = (text: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(text)
      const random = (n: number): Uint8Array<ArrayBuffer> => crypto.getRandomValues(new Uint8Array(n))
      const [sealer, root] = await Promise.all([
        createKeyRing([utf8(key)], random),
        createKeyRing([utf8(secret)], random),
      ])
      expect(dump).toContain(`s1.${sealer.current}.`)
      expect(dump).not.toContain(`s1.${root.current}.`)
    } finally {
      rmSync(disk, { recursive: true })
    }
  })
})
