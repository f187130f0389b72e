// Nothing secret leaves the process by its log, its command line or its error pages, and nothing that a
// stranger wrote passes for a record of its own.
import { randomBytes } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Browser, createBrowser } from '../runtimes/browser.ts'
import { allow, authorizeUrl, form, redeem, refresh, register } from '../runtimes/login.ts'
import { type PosternProcess, startProcess, temporaryState } from '../runtimes/process.ts'
import { sendRaw } from '../runtimes/raw.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'
import { heardBy, leave } from '../providers/leaving.ts'
import { hostileProvider, providerConfig, straightBack } from '../providers/openid-provider.ts'
import type { RunningProvider } from '../providers/process.ts'

/** Stands in every value that a caller makes up. */
const mark = `cnry${randomBytes(6).toString('hex')}`
const canary = (): string => `${mark}-${randomBytes(24).toString('base64url')}`
const secrets = new Set<string>([mark])
const keep = <T extends string>(value: T): T => {
  if (value.length > 8) secrets.add(value)
  return value
}
const errors: { readonly what: string; readonly text: string }[] = []

const lies = [
  'truth',
  'token-500',
  'token-html',
  'token-invalid-client',
  'id-wrong-nonce',
  'id-cut-signature',
  'answer-script',
  'answer-other-iss',
  'token-no-id',
  'userinfo-500',
]
const state = temporaryState()
const ana = { username: 'ana', password: canary(), email: 'ana@example.com', name: 'Ana' }
const monitor = {
  name: 'Monitor',
  redirect_uris: ['https://monitor.example/cb'],
  token_endpoint_auth_method: 'client_secret_basic',
  client_secret: canary(),
}
/** A program that acts as a service account. */
const job = {
  name: 'Job',
  service_account: 'nightly',
  grant_types: ['client_credentials'],
  token_endpoint_auth_method: 'client_secret_basic',
  client_secret: canary(),
}
const scimToken = canary()
let upstream: Upstream
let idp: RunningProvider
let gateway: PosternProcess
beforeAll(async () => {
  ;[upstream, idp] = await Promise.all([openUpstream(), hostileProvider()])
  const oauth_providers = Object.fromEntries(
    lies.map((lie) => [
      lie,
      {
        ...providerConfig(idp),
        issuer: `${idp.url}/${lie}`,
        ...(lie === lies[0] && { scim_token: scimToken }),
      },
    ]),
  )
  const mcp_services = {
    echo: { url: upstream.url },
    gone: { url: `http://127.0.0.1:9/mcp?key=${canary()}` },
    keyed: {
      url: upstream.url,
      upstream_auth: { type: 'static', token: canary(), headers: { 'X-Api-Key': canary() } },
    },
  }
  gateway = await startProcess({
    config: {
      session_secret: canary(),
      local_users: [ana],
      admins: ['local:ana'],
      auditors: ['local:ana'],
      flows: {},
      clients: { monitor, job },
      service_accounts: { nightly: { services: ['echo'] } },
      oauth_providers,
      mcp_services,
      log_level: 'debug',
      debug: true,
      audit: {
        sinks: {
          archive: { url: `file://${join(state.dir, 'audit.jsonl')}` },
          output: { url: 'stdout:' },
        },
      },
    },
    stateDir: state.dir,
    env: { LOG_LEVEL: 'debug' },
  })
})
afterAll(async () => {
  await gateway.end()
  await Promise.all([upstream.close(), idp.close()])
  state.remove()
})

const at = async (path: string, init?: RequestInit): Promise<Response> => {
  const answer = await gateway.fetch(`${gateway.origin}${path}`, init)
  if (answer.status >= 400)
    errors.push({
      what: `${init?.method ?? 'GET'} ${path.split('?')[0]} ${answer.status}`,
      text: `${JSON.stringify([...answer.headers].filter(([name]) => name !== 'set-cookie'))} ${await answer.clone().text()}`,
    })
  return answer
}
const watched = {
  origin: '',
  fetch: (url: string, init?: RequestInit) => at(url.slice(gateway.origin.length), init),
}
const cookies = (browser: Browser): void => {
  for (const value of browser.cookies.values()) for (const part of value.split('.')) keep(part)
}
const rpc = (method: string) => JSON.stringify({ jsonrpc: '2.0', id: 1, method })
const call = (authorization: string, path = '/echo/mcp', headers: Record<string, string> = {}) =>
  at(path, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      authorization,
      ...headers,
    },
    body: rpc('tools/list'),
  })

/** The whole way of a client, and everything it holds on the way. */
const wholeWay = async () => {
  const house = { ...watched, origin: gateway.origin }
  const browser = createBrowser(house.fetch, house.origin)
  await browser.submit(await browser.go('/login'), '/login', { ...ana, password: canary() })
  const client = await register(house, { token_endpoint_auth_method: 'client_secret_post' })
  keep(client.secret ?? '')
  const asking = authorizeUrl(house, client, {
    resource: `${house.origin}/echo/mcp`,
    state: canary(),
    nonce: canary(),
    login_hint: canary(),
  })
  keep(asking.verifier)
  const back = await allow(browser, asking.url, ana)
  cookies(browser)
  const code = keep(back.searchParams.get('code') ?? '')
  const tokens = (await (await redeem(house, client, code, asking.verifier)).json()) as {
    access_token: string
    refresh_token: string
  }
  keep(tokens.access_token)
  keep(tokens.access_token.split('.')[2] ?? '')
  keep(tokens.refresh_token)
  keep(tokens.refresh_token.split('.')[3] ?? '')
  return { house, browser, client, asking, code, tokens }
}

describe('a day at the door', () => {
  it('passes with every flow and every kind of refusal', async () => {
    const { house, browser, client, asking, code, tokens } = await wholeWay()
    expect((await call(`Bearer ${tokens.access_token}`)).status).toBe(200)
    const next = (await (
      await refresh(house, client, tokens.refresh_token, { client_secret: client.secret ?? '' })
    ).json()) as { refresh_token: string; access_token: string }
    for (const token of [next.refresh_token, next.access_token]) keep(token)
    // At identity providers, honest and not.
    for (const lie of lies) {
      const visitor = createBrowser(house.fetch, house.origin)
      const out = await leave(visitor, lie)
      const callback = await straightBack(out)
      for (const url of [out, callback])
        for (const name of ['state', 'nonce', 'code_challenge'])
          keep(new URL(url).searchParams.get(name) ?? '')
      await visitor.go(callback)
      await visitor.go(callback)
      cookies(visitor)
      for (const { code: _, ...sent } of (await heardBy(idp, lie)).token)
        for (const value of [sent['code_verifier'], sent['client_secret']]) keep(value ?? '')
    }
    for (const text of ['upstream-access-token', idp.clientSecret]) keep(text)
    // Wrong at the token endpoint, in every place where a secret can stand.
    const basic = (id: string, secret: string) => ({
      'content-type': 'application/x-www-form-urlencoded',
      authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`,
    })
    const fields = {
      grant_type: 'authorization_code',
      code,
      client_id: client.id,
      redirect_uri: client.redirectUri,
      code_verifier: asking.verifier,
    }
    for (const init of [
      form({ ...fields, client_secret: canary() }),
      form({ ...fields, client_secret: client.secret ?? '', code_verifier: canary().padEnd(43, 'x') }),
      form({
        ...fields,
        client_secret: client.secret ?? '',
        code: canary(),
        redirect_uri: `https://app.example/?token=${canary()}`,
      }),
      form({
        ...fields,
        client_secret: client.secret ?? '',
        grant_type: 'password',
        password: canary(),
        username: canary(),
      }),
      form({
        grant_type: 'refresh_token',
        refresh_token: canary(),
        client_id: client.id,
        client_secret: client.secret ?? '',
      }),
      form({
        grant_type: 'refresh_token',
        refresh_token: `${next.refresh_token}x`,
        client_id: client.id,
        client_secret: client.secret ?? '',
      }),
      form({
        grant_type: 'refresh_token',
        refresh_token: next.refresh_token,
        client_id: client.id,
        client_secret: client.secret ?? '',
        scope: 'wide',
        resource: `${house.origin}/echo/mcp?key=${canary()}`,
      }),
      form({
        grant_type: 'refresh_token',
        refresh_token: next.refresh_token,
        client_id: client.id,
        client_secret: client.secret ?? '',
        scope: 'wide',
      }),
      form({
        grant_type: 'refresh_token',
        refresh_token: next.refresh_token,
        client_id: 'monitor',
        client_assertion: `${canary()}.${canary()}.${canary()}`,
        client_assertion_type: 'urn:x',
      }),
      { ...form({ token: canary() }), headers: basic('monitor', canary()) },
      { method: 'POST', headers: { 'content-type': 'application/json' }, body: `{"code":"${canary()}` },
      { method: 'POST', headers: { 'content-type': 'text/plain' }, body: canary() },
    ])
      for (const path of ['/oauth/token', '/oauth/introspect', '/oauth/revoke']) await at(path, init)
    await at(`/oauth/token?code=${canary()}&client_secret=${canary()}`, form({}))
    // At the services.
    for (const authorization of [
      `Bearer ${canary()}`,
      `Bearer ${tokens.access_token}x`,
      `Basic ${canary()}`,
      canary(),
      `Bearer ${canary()}, Bearer ${canary()}`,
    ])
      await call(authorization)
    await call(`Bearer ${next.access_token}`, `/gone/mcp?access_token=${canary()}`, {
      'mcp-session-id': canary(),
      cookie: `a=${canary()}`,
      'x-api-key': canary(),
    })
    await call(`Bearer ${next.access_token}`, '/echo/mcp', { 'mcp-session-id': canary() })
    await at('/echo/mcp', {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${next.access_token}` },
      body: `{"password":"${canary()}`,
    })
    await at(`/echo/mcp?access_token=${tokens.access_token}`, { method: 'POST', body: rpc('tools/list') })
    // In the browser.
    for (const path of [
      `/oauth/callback?code=${canary()}&state=${canary()}`,
      `/oauth/callback?error=${canary()}&error_description=${canary()}&state=${canary()}`,
      `/?t=${canary().padEnd(43, 'x')}`,
      `/oauth/consent?flow=${canary()}`,
      `/login?flow=${canary()}&return_to=/x%3Ftoken=${canary()}`,
      `/nowhere?token=${canary()}`,
      `/oauth/authorize?client_id=${client.id}&redirect_uri=${encodeURIComponent(`https://evil.example/?code=${code}`)}&state=${canary()}&code_challenge=${canary()}`,
      `/oauth/authorize?client_id=monitor&state=${canary()}&resource=${encodeURIComponent(`${house.origin}/echo/mcp?key=${canary()}`)}`,
    ]) {
      await browser.go(path)
      await browser.go(path, {
        headers: {
          accept: 'application/json',
          cookie: `__Host-postern-session=${canary()}; __Host-postern-login=${canary()}`,
          referer: `https://x.example/?code=${canary()}`,
        },
      })
    }
    await browser.submit(await browser.go('/login?switch=1'), '/login', {
      username: canary(),
      password: canary(),
      csrf: canary(),
    })
    // Registrations.
    const made = (await (
      await at('/register', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          redirect_uris: ['https://app.example/cb'],
          client_secret: canary(),
          software_statement: canary(),
          registration_access_token: canary(),
        }),
      })
    ).json()) as Record<string, string>
    for (const name of ['client_secret', 'registration_access_token']) keep(made[name] ?? '')
    const manage = (token: string, body?: unknown) =>
      at(`/register/${made['client_id']}`, {
        method: body ? 'PUT' : 'GET',
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        ...(body ? { body: JSON.stringify(body) } : {}),
      })
    await manage(`reg-${canary()}`)
    await manage(made['registration_access_token'] ?? '', {
      client_id: made['client_id'],
      client_secret: canary(),
      redirect_uris: ['https://app.example/cb'],
    })
    await at('/register', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: `{"client_secret":"${canary()}`,
    })
    // Theft: an old refresh token, a code a second time.
    await redeem(house, client, code, asking.verifier)
    await at(
      '/oauth/revoke',
      form({ token: next.refresh_token, client_id: client.id, client_secret: client.secret ?? '' }),
    )
    await refresh(house, client, next.refresh_token, { client_secret: client.secret ?? '' })
    expect(errors.length).toBeGreaterThan(70)
  })

  it('shows administrators everything but secrets, and hears programs', async () => {
    const watching = createBrowser((url, init) => at(url.slice(gateway.origin.length), init), gateway.origin)
    await watching.submit(await watching.go('/login'), '/login', ana)
    cookies(watching)
    for (const path of [
      ...[
        '',
        '/settings',
        '/services',
        '/services/keyed',
        '/services/gone',
        '/people',
        '/people?user=local:ana',
      ],
      ...['/clients', '/activity', '/flows', '/access'],
    ]) {
      const page = await watching.go(`/console${path}`)
      expect([path, page.status]).toEqual([path, 200])
      errors.push({ what: `/console${path}`, text: page.body })
    }
    for (const path of [
      ...['/account/access', '/account/apps', '/services', '/health', '/connect/keyed'],
      ...['services', 'services/keyed', 'processes', 'grants', 'flows', 'audit', 'access', 'tools'].map(
        (name) => `/api/${name}`,
      ),
    ])
      errors.push({ what: path, text: (await watching.go(path)).body })
    const scim = (authorization: string, query = '') =>
      at(`/admin/scim/${lies[0]}/v2/Users${query}`, { headers: { authorization } })
    expect((await scim(`Bearer ${scimToken}`)).status).toBe(200)
    await scim(`Bearer ${canary()}`)
    await scim(`Basic ${canary()}`, `?access_token=${scimToken}&filter=${canary()}`)
    await at(
      `/oauth/backchannel-logout/${lies[0]}`,
      form({ logout_token: `${canary()}.${canary()}.${canary()}` }),
    )
    for (const secret of [job.client_secret, canary()]) {
      const answer = await at('/oauth/token', {
        ...form({ grant_type: 'client_credentials', resource: `${gateway.origin}/echo/mcp` }),
        headers: {
          'content-type': 'application/x-www-form-urlencoded',
          'authorization': `Basic ${Buffer.from(`job:${secret}`).toString('base64')}`,
        },
      })
      const { access_token: token = '' } = (await answer.json()) as { access_token?: string }
      if (token !== '') expect((await call(`Bearer ${keep(token)}`)).status).toBe(200)
    }
  })

  it('lets strangers name things as they like', async () => {
    const forged = '{"level":"error","ts":"2026-01-01T00:00:00.000Z","event":"forged","audit":true}'
    const names = [
      `\r\n${forged}\r\n`,
      `"}\n${forged}`,
      `\u2028${forged}\u2029`,
      `\u0085${forged}\u0085`,
      `\u001B[2J\u001B]0;owned\u0007${forged}`,
      `\u009B31m${forged}`,
      `\u202E${forged}\0`,
      `\\u000a${forged}`,
    ]
    for (const name of names) {
      await at('/register', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({
          client_name: name.slice(0, 190),
          redirect_uris: [`https://app.example/${encodeURIComponent(name)}`],
        }),
      })
      await at(`/oauth/authorize?client_id=${encodeURIComponent(name)}`)
      await at(
        `/oauth/authorize?client_id=monitor&redirect_uri=${encodeURIComponent(name)}&resource=${encodeURIComponent(name)}`,
      )
      await at(
        `/oauth/authorize?client_id=monitor&resource=${encodeURIComponent(name)}&response_type=${encodeURIComponent(name)}`,
      )
      await at(
        '/oauth/token',
        form({
          grant_type: name,
          client_id: name,
          refresh_token: name,
          scope: name,
          resource: name,
          client_assertion: name,
          client_assertion_type: name,
        }),
      )
      await at(`/${encodeURIComponent(name)}`)
      await at(`/services/${encodeURIComponent(name)}`)
      await at('/oauth/token', {
        ...form({}),
        headers: {
          authorization: `Basic ${Buffer.from(`${name}:x`).toString('base64')}`,
          'content-type': 'application/x-www-form-urlencoded',
        },
      })
    }
    const port = Number(new URL(gateway.origin).port)
    const raw = [`\x85${forged}`, `\x1b[2J${forged}`, `\x9b31m${forged}`, `\x7f${forged}`, `"}${forged}`]
    for (const text of raw)
      for (const field of [
        'User-Agent',
        'Mcp-Session-Id',
        'X-Request-Id',
        'X-Forwarded-For',
        'Origin',
        'MCP-Protocol-Version',
        'Content-Type',
        'Authorization',
      ])
        await sendRaw(
          port,
          `POST /echo/mcp HTTP/1.1\r\nHost: localhost:${port}\r\n${field}: ${text}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}`,
        )
  })
})

describe('afterwards', () => {
  it('the audit trail holds none, in its file, its journal and what is sent of it', () => {
    const files = readdirSync(state.dir).filter((name) => name.startsWith('audit.'))
    expect(files).toEqual(expect.arrayContaining(['audit.db-wal', 'audit.jsonl']))
    const found = files.flatMap((name) => {
      const text = readFileSync(join(state.dir, name), 'latin1')
      expect(text.length).toBeGreaterThan(name.endsWith('-shm') ? 0 : 1000)
      return [...secrets].filter((secret) => text.includes(secret)).map((secret) => `${name}: ${secret}`)
    })
    expect(found).toEqual([])
  })

  it('no page and no error body holds a secret [H-P4, H-V1]', () => {
    const leaks = errors.flatMap(({ what, text }) =>
      [...secrets]
        .filter((secret) => text.includes(secret))
        .map(
          (secret) =>
            `${what}: ${secret.slice(0, 12)} in ${text.slice(Math.max(0, text.indexOf(secret) - 120), text.indexOf(secret) + 40)}`,
        ),
    )
    expect(leaks).toEqual([])
  })

  it('no line of the log holds one, nor a query, and the command line does not either [H-V1, H-V2]', async () => {
    // The log is written a few times a second; what was said last has arrived when the process has ended.
    const cmdline = readFileSync(`/proc/${gateway.pid}/cmdline`, 'latin1')
    await gateway.end()
    expect(gateway.lines.length).toBeGreaterThan(150)
    expect(gateway.lines.filter((line) => /^\{"chain":.*"kind":"token\.refused"/.test(line))).not.toEqual([])
    const found = [...gateway.lines, cmdline].flatMap((line) =>
      [...secrets]
        .filter((secret) => line.includes(secret))
        .map((secret) => `${secret.slice(0, 12)}: ${line}`),
    )
    expect(found).toEqual([])
    expect(gateway.lines.filter((line) => /[?&](code|state|t|access_token|login_hint)=/.test(line))).toEqual(
      [],
    )
    expect(gateway.lines.filter((line) => /unhandled|uncaught|\[redacted\]/i.test(line))).toEqual([])
  })

  it('every event is one record, whatever strangers wrote into it [H-V3]', () => {
    const events = gateway.lines.map((line) => {
      expect(line).not.toMatch(/[\u0000-\u001F\u007F-\u009F\u2028\u2029]/)
      return (JSON.parse(line) as { event: string }).event
    })
    expect(events).not.toContain('forged')
    expect(gateway.lines.filter((line) => line.includes('forged')).length).toBeGreaterThan(20)
  })
})
