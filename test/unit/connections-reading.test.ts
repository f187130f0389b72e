// What upstreams and their authorization servers say, read: challenges, metadata, token answers, and whose
// host is whose.
import {
  coversEndpoint,
  authorizationServerUrls,
  readChallenge,
  scopeWords,
} from '../../src/kit/discovery.ts'
import { describe, expect, it } from 'vitest'
import { marginOf } from '../../src/connections/access-tokens.ts'
import { accountName, onwardPath } from '../../src/connections/account-page.ts'
import { scopesFor } from '../../src/connections/authorization.ts'
import { atOrigin, isOriginPattern } from '../../src/kit/http.ts'
import { lifetimeOf, normalized } from '../../src/kit/token-response.ts'
import { sameSite } from '../../src/kit/urls.ts'

describe('a challenge', () => {
  it('is read wherever it stands among others, quoted or not', () => {
    const bearer =
      'Bearer resource_metadata="https://a.test/x?a=b,c", scope="one two", error="insufficient_scope"'
    const read = { metadata: 'https://a.test/x?a=b,c', scopes: ['one', 'two'], error: 'insufficient_scope' }
    for (const field of [
      bearer,
      `Basic realm="a \\"b\\", Bearer c", ${bearer}`,
      `Negotiate abc=, ${bearer}`,
      `${bearer}, Basic realm="x"`,
      bearer.replace('Bearer', 'bEARER'),
    ])
      expect(readChallenge([field]), field).toEqual(read)
    expect(readChallenge(['Digest a="b"', bearer])).toEqual(read)
    expect(readChallenge(['Bearer scope=one'])).toEqual({
      metadata: undefined,
      scopes: ['one'],
      error: undefined,
    })
  })

  it('is nothing where there is none, or too much of it', () => {
    for (const fields of [
      [],
      [''],
      ['Basic realm="Bearer"'],
      ['Digest nonce="x"'],
      [`Bearer a="${'x'.repeat(9000)}"`],
    ])
      expect(readChallenge(fields)).toBeUndefined()
  })

  it('is read in a time that grows with its length alone', () => {
    for (const field of [
      'a '.repeat(4000),
      `Bearer a="${'\\'.repeat(8000)}`,
      ','.repeat(8000),
      `Bearer ${'a=b,'.repeat(2000)}`,
    ]) {
      const start = performance.now()
      readChallenge([field])
      expect(performance.now() - start).toBeLessThan(1000)
    }
  })

  it('names scopes only of characters that a scope may have, each once', () => {
    expect(scopeWords('a b  a "c" d\\e é f')).toEqual(['a', 'b', 'f'])
  })
})

describe('resource metadata', () => {
  it.each([
    ['https://mcp.test/mcp', true],
    ['https://mcp.test', true],
    ['https://mcp.test/', true],
    ['https://mcp.test/mcp/', true],
    ['https://MCP.test/mcp', true],
    ['https://mcp.test:443/mcp', true],
    ['https://mcp.test/mc', false],
    ['https://mcp.test/mcp/deeper', false],
    ['http://mcp.test/mcp', false],
    ['https://mcp.test:8443/mcp', false],
    ['https://evil.test/mcp', false],
    ['https://mcp.test.evil.test/mcp', false],
    ['https://mcp.test@evil.test/mcp', false],
    ['https://u:p@mcp.test/mcp', false],
    ['https://mcp.test/mcp#x', false],
    ['urn:mcp', false],
    ['', false],
  ])('about %s is about https://mcp.test/mcp: %s [D1]', (resource, covers) => {
    expect(coversEndpoint(resource, new URL('https://mcp.test/mcp'))).toBe(covers)
  })
})

describe('authorization server metadata', () => {
  it('is looked for in the order that MCP gives [D1]', () => {
    expect(authorizationServerUrls(new URL('https://as.test'))).toEqual([
      'https://as.test/.well-known/oauth-authorization-server',
      'https://as.test/.well-known/openid-configuration',
    ])
    expect(authorizationServerUrls(new URL('https://as.test/tenant/'))).toEqual([
      'https://as.test/.well-known/oauth-authorization-server/tenant',
      'https://as.test/.well-known/openid-configuration/tenant',
      'https://as.test/tenant/.well-known/openid-configuration',
    ])
  })

  it.each([
    ['api.figma.com', 'www.figma.com'],
    ['mcp.atlassian.com', 'cf.mcp.atlassian.com'],
    ['as.test', 'as.test'],
    ['a.example.co.uk', 'b.example.co.uk'],
    ['LOGIN.example.com', 'api.example.com'],
    ['a.x.github.io', 'b.x.github.io'],
    ['a.example.com.', 'b.example.com'],
  ])('may name endpoints below one registered name: %s and %s', async (a, b) => {
    expect([await sameSite(a, b), await sameSite(b, a)]).toStrictEqual([true, true])
  })
  it.each([
    ['a.workers.dev', 'b.workers.dev'],
    ['a.auth0.com', 'b.auth0.com'],
    ['a.co.uk', 'b.co.uk'],
    ['10.0.0.1', '10.0.0.2'],
    ['localhost', 'local'],
    ['com', 'org'],
    ['a.test', 'ba.test'],
    ['a.test', 'b.test'],
    // Of the public suffix list, and of no short list of ours.
    ['a.kawasaki.jp', 'b.kawasaki.jp'],
    ['a.k12.ca.us', 'b.k12.ca.us'],
    ['a.blogspot.com', 'b.blogspot.com'],
    ['a.s3.eu-west-1.amazonaws.com', 'b.s3.eu-west-1.amazonaws.com'],
    ['a.amazonaws.com', 'b.amazonaws.com'],
    ['a.azurewebsites.net', 'b.azurewebsites.net'],
    ['a.com.ac', 'b.com.ac'],
    ['a.okta.com', 'b.okta.com'],
    ['[::1]', '[::2]'],
    ['evil.r.appspot.com', 'honest.r.appspot.com'],
  ])('and no others: %s and %s', async (a, b) => {
    expect([await sameSite(a, b), await sameSite(b, a)]).toStrictEqual([false, false])
  })
})

describe('origins that an operator writes', () => {
  it('are whole origins, or a loopback host with every port', () => {
    for (const text of [
      'https://a.test',
      'http://10.0.0.1:3000',
      'http://localhost:*',
      'http://127.0.0.1:*',
      'http://[::1]:*',
    ])
      expect(isOriginPattern(text), text).toBe(true)
    for (const text of [
      'https://a.test/',
      'https://*.a.test:*',
      'http://a.test:*',
      'a.test',
      'ftp://a.test',
      'http://localhost:*/x',
      '*',
      'https://u@a.test',
    ])
      expect(isOriginPattern(text), text).toBe(false)
  })

  it('match what they name and nothing beside it', () => {
    const at = (url: string, ...written: string[]): boolean => atOrigin(new URL(url), written)
    expect([
      at('http://localhost:1/x', 'http://localhost:*'),
      at('https://a.test:443/', 'https://a.test'),
    ]).toEqual([true, true])
    expect([
      at('https://localhost:1/', 'http://localhost:*'),
      at('http://localhost.evil.test:1/', 'http://localhost:*'),
      at('http://a.test/', 'https://a.test'),
      at('https://b.a.test/', 'https://a.test'),
    ]).toEqual([false, false, false, false])
  })
})

describe('a token answer', () => {
  const read = async (body: unknown, status = 200, type = 'application/json'): Promise<[number, unknown]> => {
    const answer = await normalized(
      new Response(typeof body === 'string' ? body : JSON.stringify(body), {
        status,
        headers: { 'content-type': type, 'www-authenticate': 'Basic' },
      }),
    )
    return [answer.status, await answer.json().catch(() => 'not JSON')]
  }

  it('is an error where it says so, whatever its status', async () => {
    expect(await read({ error: 'bad_verification_code', error_description: 'x' })).toEqual([
      400,
      { error: 'bad_verification_code', error_description: 'x' },
    ])
    expect(await read({ error: 'invalid_client' }, 401)).toEqual([401, { error: 'invalid_client' }])
    expect(await read('<html>', 200, 'text/html')).toEqual([200, 'not JSON'])
  })

  it('loses members that mean nothing and gains the type it was meant to have [H-F8, H-H17]', async () => {
    const odd = {
      access_token: 'a',
      token_type: 'User',
      refresh_token: null,
      scope: '',
      expires_in: -1,
      id_token: 'x',
    }
    expect(await read(odd)).toEqual([200, { access_token: 'a', token_type: 'bearer' }])
    expect(
      await read({ access_token: 'a', expires_in: '3600', refresh_token: 'r', scope: 's' }, 201),
    ).toEqual([
      200,
      { access_token: 'a', token_type: 'bearer', expires_in: 3600, refresh_token: 'r', scope: 's' },
    ])
    expect(await read({ access_token: 'a', token_type: 'DPoP' })).toEqual([
      200,
      { access_token: 'a', token_type: 'dpop' },
    ])
    expect(
      await read('access_token=a&scope=repo&token_type=bearer', 200, 'application/x-www-form-urlencoded'),
    ).toEqual([200, { access_token: 'a', token_type: 'bearer', scope: 'repo' }])
    expect(await read({ client_id: 'c', redirect_uris: [] })).toEqual([
      201,
      { client_id: 'c', redirect_uris: [] },
    ])
    expect(await read({ client_id: 'c', client_secret: 's' }, 201)).toEqual([
      201,
      { client_id: 'c', client_secret: 's', client_secret_expires_at: 0 },
    ])
    expect(
      await read({ client_id: 'c', client_secret: 's', client_secret_expires_at: '1900000000' }, 201),
    ).toEqual([201, { client_id: 'c', client_secret: 's', client_secret_expires_at: 1_900_000_000 }])
  })

  it('lives for a time that makes sense, or nobody knows how long [H-F8]', () => {
    expect([3600, '3600', 3600.9, 1e18].map(lifetimeOf)).toEqual([3600, 3600, 3600, 315_360_000])
    expect([undefined, null, -1, 0, '', 'soon', Number.NaN, Infinity, {}, [], true].map(lifetimeOf)).toEqual(
      Array.from({ length: 11 }, () => undefined),
    )
  })

  it('is renewed five minutes before its end, or in the last quarter of a short life', () => {
    expect([3_600_000, 600_000, 60_000].map((life) => marginOf({ since: 0, expiresAt: life }))).toEqual([
      300_000, 150_000, 15_000,
    ])
    expect(marginOf({ since: 0 })).toBe(300_000)
  })
})

describe('what is asked for', () => {
  const as = { issuer: 'https://as.test', scopes_supported: ['a', 'offline_access'] }
  const account = { asked: ['a'], granted: ['a'], wanted: ['b'] } as unknown as NonNullable<
    Parameters<typeof scopesFor>[3]
  >
  it('is what was found, with offline_access only where the server has it and beside something else [D4]', () => {
    expect(scopesFor(as, ['a'], false, undefined)).toEqual(['a', 'offline_access'])
    expect(scopesFor({ issuer: 'x' }, ['a'], false, undefined)).toEqual(['a'])
    expect(scopesFor(as, undefined, false, undefined)).toEqual([])
    expect(scopesFor(as, ['a'], true, undefined)).toEqual(['a'])
  })
  it('is what was granted and what is wanted, when an upstream asks for more [D4]', () => {
    expect(scopesFor({ issuer: 'x' }, ['z'], false, account)).toEqual(['a', 'b'])
  })
})

describe('the connect page', () => {
  it('leads on to an authorization that waits, to itself, or home, and nowhere else', () => {
    for (const path of ['/', '/connect/far', '/oauth/consent?flow=abc_-1'])
      expect(onwardPath(path)).toBe(path)
    for (const path of [
      '//evil.test',
      '/\\evil.test',
      'https://evil.test/connect/',
      '/oauth/authorize?x',
      '/oauth/consent?flow=a&decision=allow',
      '/logout',
      '',
      null,
      undefined,
      '/connect/../oauth/authorize',
    ])
      expect(onwardPath(path)).toBeUndefined()
  })
  it('takes names that a person can read', () => {
    expect([accountName(undefined), accountName('  Work '), accountName('日本')]).toEqual([
      'default',
      'Work',
      '日本',
    ])
    for (const name of ['x'.repeat(61), 'a\nb', 'a\u202Eb']) expect(() => accountName(name)).toThrow()
  })
})
