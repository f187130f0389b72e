// Who calls: identity at the upstream, sessions and their owners, limits for one person, pages of other
// origins, and the record.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { createLocalJWKSet, jwtVerify } from 'jose'
import { type TestGateway, runtimes } from '../runtimes/runtimes.ts'
import { ana, type Caller, callerOf, tokenOf } from '../runtimes/people.ts'
import { call, openProxied, type Proxied, until } from '../runtimes/proxied.ts'
import type { Upstream } from '../runtimes/upstream.ts'

describe.each(runtimes)('%s', (_, open) => {
  let proxied: Proxied
  let house: TestGateway
  let upstream: Upstream
  let caller: Caller
  let other: Caller
  const heard = () => proxied.heard()

  beforeAll(async () => {
    proxied = await openProxied(open)
    ;({ house, upstream, caller, other } = proxied)
  }, 120_000)
  afterAll(() => proxied.close())
  beforeEach(() => proxied.clear())

  it('tells the upstream who calls, in words of its own alone [B5] [H-L1, H-L3, H-L4]', async () => {
    await other.post(call(), {
      'x-user-id': 'root',
      'x-user-email': 'root@evil.test',
      'x-forwarded-user': 'root',
      cookie: 'a=b',
      'x-mcp-identity': 'forged',
      forwarded: 'for=1',
      'mcp-param-region': 'eu',
      traceparent: '00-1-2-01',
    })
    const { headers, rawHeaders } = heard()!
    expect(headers).toMatchObject({
      'x-user-id': 'yamada',
      'x-user-email': 'taro@example.com',
      'x-user-name': "UTF-8''%E5%B1%B1%E7%94%B0%20%E5%A4%AA%E9%83%8E",
      'x-user-groups': 'a%2Cb,c',
      'mcp-param-region': 'eu',
      traceparent: '00-1-2-01',
    })
    const all = JSON.stringify(rawHeaders)
    for (const word of ['root', 'forged', other.token, 'a=b', 'for=1']) expect(all).not.toContain(word)
    for (const name of ['authorization', 'cookie', 'origin', 'forwarded', 'x-forwarded-user'])
      expect(headers).not.toHaveProperty(name)
  })

  it('signs an assertion about the caller that any verifier can check with the published keys [H-L6]', async () => {
    await caller.post(call())
    const assertion = String(heard()?.headers['x-mcp-identity'])
    const keys = createLocalJWKSet(
      (await (await house.fetch(`${house.origin}/oauth/jwks`)).json()) as Parameters<
        typeof createLocalJWKSet
      >[0],
    )
    const expected = { issuer: house.origin, audience: `${house.origin}/echo/mcp`, typ: 'mcp-identity+jwt' }
    const { payload, protectedHeader } = await jwtVerify(assertion, keys, expected)
    expect(payload).toMatchObject({
      sub: 'local:ana',
      user_id: 'ana',
      email: 'ana@example.com',
      groups: ['staff'],
      service: 'echo',
    })
    expect(protectedHeader.alg).toBe('ES256')
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(60)
    await expect(
      jwtVerify(assertion, keys, { ...expected, audience: `${house.origin}/slow/mcp` }),
    ).rejects.toThrow(/aud/)
    await expect(jwtVerify(caller.token, keys, expected)).rejects.toThrow()
    await expect(jwtVerify(assertion.slice(0, -4), keys, expected)).rejects.toThrow()
    // And it is no access token.
    expect((await callerOf(house, caller.url, assertion).post(call())).status).toBe(401)
  })

  it('binds a session to who opened it, and tells everybody else that there is none [B7] [C2] [H-M1, H-M16]', async () => {
    const opened = await caller.post({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-06-18' },
    })
    const session = { 'mcp-session-id': String(opened.headers.get('mcp-session-id')) }
    expect(session['mcp-session-id']).toBe(`session-1`)
    expect((await caller.post(call(), session)).status).toBe(200)
    expect(heard()?.headers['mcp-session-id']).toBe(session['mcp-session-id'])
    upstream.heard.length = 0
    for (const response of [
      await other.post(call(), session),
      await other.get(session),
      await other.delete(session),
      await caller.post(call(), { 'mcp-session-id': 'session-of-yesterday' }),
    ]) {
      expect(response.status).toBe(404)
      expect(await response.json()).toMatchObject({ jsonrpc: '2.0', error: { code: 1404 } })
    }
    const again = callerOf(house, caller.url, await tokenOf(house, ana, caller.url))
    expect((await again.post(call(), session)).status).toBe(404)
    expect(upstream.heard).toEqual([])
    expect((await caller.post(call(), session)).status).toBe(200)
    expect((await caller.delete(session)).status).toBe(200)
    expect((await caller.post(call(), session)).status).toBe(404)
  })

  it('keeps answers of people who use the same request id apart [H-M5]', async () => {
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) => i).map(async (i) => {
        const who = i % 2 === 0 ? caller : other
        await new Promise((resolve) => setImmediate(resolve))
        const response = await who.post(call())
        if (response.status === 429) return 'limited'
        const { result } = (await response.json()) as { result: { headers: Record<string, string> } }
        expect(result.headers['x-user-id']).toBe(i % 2 === 0 ? 'ana' : 'yamada')
        return 'served'
      }),
    )
    expect(answers.filter((answer) => answer === 'served').length).toBeGreaterThanOrEqual(16)
  })

  it('holds one person to a number of calls at once, and nobody else [H-R9]', async () => {
    const going = Array.from({ length: 8 }, () => caller.post(call('hold')))
    await until(() => proxied.held.length === 8, 'eight calls')
    const ninth = await caller.post(call())
    expect([ninth.status, ninth.headers.get('retry-after')]).toEqual([429, '1'])
    expect((await other.post(call())).status).toBe(200)
    for (const response of proxied.held)
      response.writeHead(200, { 'content-type': 'application/json' }).end('{}')
    await Promise.all((await Promise.all(going)).map((response) => response.text()))
    expect((await caller.post(call())).status).toBe(200)
  })

  it('serves a public service without a token, an identity or a session of its own', async () => {
    const anybody = callerOf(house, `${house.origin}/open/mcp`, '')
    expect(
      (
        await anybody.post(call(), {
          'x-user-id': 'root',
          authorization: 'Bearer whatever',
          'mcp-session-id': 'theirs',
        })
      ).status,
    ).toBe(200)
    const { headers, url } = heard()!
    expect(url).toBe('/open')
    expect(headers['mcp-session-id']).toBe('theirs')
    for (const name of ['x-user-id', 'x-mcp-identity', 'authorization'])
      expect(headers).not.toHaveProperty(name)
  })

  it('refuses pages of other origins before anybody hears of them, and lets listed ones read the answer [B6] [C22] [H-M7]', async () => {
    for (const origin of [
      'https://evil.test',
      'null',
      'http://localhost:3000',
      'https://app.example.evil.test',
    ]) {
      for (const method of ['POST', 'GET', 'DELETE', 'OPTIONS']) {
        const response = await house.fetch(caller.url, {
          method,
          headers: { origin, authorization: `Bearer ${caller.token}`, 'mcp-protocol-version': 'x' },
          ...(method === 'POST' ? { body: '{}' } : {}),
        })
        expect([response.status, response.headers.get('content-type'), await response.text()]).toEqual([
          403,
          'text/plain; charset=utf-8',
          'Unauthorized origin',
        ])
        expect(response.headers.get('access-control-allow-origin')).toBeNull()
      }
    }
    expect(upstream.heard).toEqual([])
    const listed = await caller.post(call(), { origin: 'https://app.example' })
    expect([listed.status, listed.headers.get('access-control-allow-origin')]).toEqual([
      200,
      'https://app.example',
    ])
    expect(listed.headers.get('access-control-expose-headers')).toContain('Mcp-Session-Id')
    const challenged = await callerOf(house, caller.url, '').post(call(), { origin: 'https://app.example' })
    expect([challenged.status, challenged.headers.get('access-control-allow-origin')]).toEqual([
      401,
      'https://app.example',
    ])
    const preflight = await house.fetch(caller.url, {
      method: 'OPTIONS',
      headers: {
        origin: 'https://app.example',
        'access-control-request-method': 'POST',
        'access-control-request-headers': 'authorization,mcp-param-region',
      },
    })
    expect([preflight.status, preflight.headers.get('access-control-allow-origin')]).toEqual([
      204,
      'https://app.example',
    ])
    expect(preflight.headers.get('access-control-allow-headers')).toContain('mcp-param-region')
  })

  it('writes one record of a call, with names and numbers and without what was said', async () => {
    const before = house.log.length
    await (
      await caller.post({
        ...call('whoami'),
        params: { name: 'whoami', arguments: { secret: 'do not log' } },
      })
    ).text()
    await until(() => house.log.slice(before).some(({ event }) => event === 'call'), 'the record')
    const record = house.log.slice(before).find(({ event }) => event === 'call')!
    expect(record.fields).toMatchObject({
      service: 'echo',
      person: 'local:ana',
      http: 'POST',
      method: 'tools/call',
      name: 'whoami',
      result: 'answered',
      status: 200,
    })
    for (const word of ['do not log', caller.token]) expect(JSON.stringify(house.log)).not.toContain(word)
  })

  it('writes down every message of a batch, the hundredth as well as the first [C4]', async () => {
    const before = house.log.length
    const batch = Array.from({ length: 100 }, (_, id) => call(`tool-${id}`, id))
    expect((await caller.post(batch, { 'mcp-protocol-version': '2025-03-26' })).status).toBe(200)
    await until(() => house.log.slice(before).some(({ event }) => event === 'call'), 'the record')
    const record = house.log.slice(before).find(({ event }) => event === 'call')!
    expect(record.fields).toMatchObject({
      batch: 100,
      calls: batch.map(({ method, params: { name } }) => ({ method, name })),
    })
  })
})
