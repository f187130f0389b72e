// Redirect URIs, resources, metadata documents and places to return to.
import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  canonicalResource,
  judgeRedirectUri,
  metadataDocumentUrl,
  redirectHost,
  redirectMatches,
  sameIssuer,
  sameOriginPath,
  withParams,
} from '../../src/kit/urls.ts'
import vectors from '../data/redirect-uris.json' with { type: 'json' }

describe('redirect URIs that may be registered', () => {
  test.each(vectors.register.allow)('%s may be used by any client [H-B4, H-B8]', (uri) =>
    expect(judgeRedirectUri(uri)).toBe(uri.startsWith('https:') ? 'https' : 'loopback'),
  )
  test.each(vectors.register.policy)("%s is an app's own scheme (RFC 8252 §7.1) [H-B7]", (uri) =>
    expect(judgeRedirectUri(uri)).toBe('native'),
  )
  test.each(vectors.register.deny)('%j is refused [H-B4, H-B8]', (uri) =>
    expect(judgeRedirectUri(uri)).toBeUndefined(),
  )

  test.each([
    'http://localhost:1/cb',
    'http://127.0.0.1/cb',
    'http://127.0.0.1/',
    'http://[::1]:9/cb',
    'http://localhost',
    'http://127.0.0.1:65535?x=1',
  ])('%s is a loopback redirect (RFC 8252 §7.3) [H-B8]', (uri) =>
    expect(judgeRedirectUri(uri)).toBe('loopback'),
  )
  test.each([
    'http://localhost.evil.test/',
    'http://127.0.0.1.evil.test/',
    'http://localtest.me/',
    'http://0.0.0.0/',
    'http://127.1/',
    'http://2130706433/',
    'http://0x7f.1/',
    'http://127.0.0.2/',
    'http://[::]/',
    'http://[::ffff:127.0.0.1]/',
    'http://localhost./cb',
    'http://127.0.0.1:7@evil.test/cb',
    'http://user@localhost/cb',
    'http://localhost:*/cb',
    'http://localhost:0/cb',
    'http://localhost:65536/cb',
    'http://localhost:/cb',
    'http://localhost:08/cb',
    'http://localhost\\@evil.test/',
    'http:/localhost/cb',
    'http:localhost/cb',
  ])('near miss of loopback %s is refused [H-B8]', (uri) => expect(judgeRedirectUri(uri)).toBeUndefined())
  test.each([
    'https://2130706433/cb',
    'https://127.1/cb',
    'https://a.example\\.evil.test/cb',
    'https://a.example/%2E%2e/cb',
    'https://a.example/x/.%2e/cb',
    'https://a.example/x%2f..%2fcb',
    'https://a.example/./cb',
    'https://a.example/cb/..',
    'https:a.example/cb',
    'https:///a.example/cb',
    'https://a..example/cb',
    'https://.example/cb',
    'https://a.example./cb',
    'https://a.example/c b',
    'https://a.example/\ncb',
    'https://a.example/%zz',
    'https://a.example/%',
    'https://a.example/"cb',
    'https://a.example/cb#',
    'https://a.exa%6dple/cb',
    'https://@a.example/cb',
    '',
    ' https://a.example/cb',
    `https://a.example/${'a'.repeat(2048)}`,
  ])('%j is no https redirect [H-D3]', (uri) => expect(judgeRedirectUri(uri)).toBeUndefined())
  test.each([
    'javascript://%0aalert(1)',
    'JAVASCRIPT://x/%0aalert(1)',
    'data:text/html,x',
    'data://text/html,x',
    'vbscript://x',
    'file:///etc/passwd',
    'file://host/share',
    'blob:https://a.example/1',
    'about://blank',
    'view-source://a',
    'filesystem://a/x',
    'ms-settings://x',
    'ms-msdt:/id',
    'search-ms://query',
    'search:/x',
    'chrome://settings',
    'chrome-extension://abc/x',
    'moz-extension://abc/x',
    'edge://x',
    'resource://x',
    'jar:file:///x',
    'intent://x/cb',
    'mailto:a@b.test',
    'tel:123',
    'sms://1',
    'ftp://a.example/cb',
    'ws://a.example/',
    'wss://a.example/',
    'ssh://a.example',
    'smb://a.example/x',
    'urn:ietf:wg:oauth:2.0:oob',
    'x-apple.systempreferences:/x',
    'microsoft.windows.camera:/x',
    'httpx://a.example/cb',
    'http+unix://x/y',
    'app:cb',
    'app:/cb',
    'a://x/cb',
    'ab://x/cb',
    'app://user@x/cb',
    'app://*/cb',
    'app://x/../cb',
    'app://x/cb#f',
    '1app://x',
    'com.example.app:cb',
    'com.example.app:',
    '.com://x',
    'com.example.app:/../cb',
  ])('%j reaches no app of the person and is refused', (uri) => expect(judgeRedirectUri(uri)).toBeUndefined())
  test('whatever the text, the verdict is given without an error, and only ASCII passes', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.webUrl(),
      fc
        .tuple(fc.constantFrom('https://', 'http://127.0.0.1', 'app://', 'com.a.b:/'), fc.string())
        .map((parts) => parts.join('')),
    )
    fc.assert(
      fc.property(
        text,
        (uri) =>
          judgeRedirectUri(uri) === undefined ||
          (/^[\x21-\x7e]+$/.test(uri) && !uri.includes('#') && URL.canParse(uri)),
      ),
      { numRuns: 2000 },
    )
  })
})

describe('matching a redirect URI', () => {
  test.each(vectors.match)(
    '$request against registered $registered: $ok [H-D3, H-D4]',
    ({ registered, request, ok }) => expect(redirectMatches(registered, request)).toBe(ok),
  )
  test.each(['localhost', '127.0.0.1', '[::1]'])(
    'any port is the same place on %s, with or without one registered [A6]',
    (host) => {
      expect(redirectMatches(`http://${host}/cb`, `http://${host}:49152/cb`)).toBe(true)
      expect(redirectMatches(`http://${host}:33418/cb`, `http://${host}:49152/cb`)).toBe(true)
      expect(redirectMatches(`http://${host}:33418/cb`, `http://${host}/cb`)).toBe(true)
      expect(redirectMatches(`http://${host}/cb?a=1`, `http://${host}:1/cb?a=1`)).toBe(true)
      for (const wrong of [
        `http://${host}:1/cb2`,
        `http://${host}:1/cb/`,
        `http://${host}:1/CB`,
        `http://${host}:1/cb?`,
        `http://${host}:1/cb#`,
        `http://${host}:1/%63b`,
        `https://${host}:1/cb`,
        `http://${host}:99999/cb`,
      ]) {
        expect(redirectMatches(`http://${host}/cb`, wrong), wrong).toBe(false)
      }
    },
  )
  test.each([
    'https://app.example/cb/',
    'https://app.example/Cb',
    'https://app.example%2fcb',
    'https://app.example/cb?x=1',
    'https://app.example:443/cb',
    'https://u@app.example/cb',
    'https://app.example/cb#f',
    'https://app.example/a/../cb',
    'https://app.example//cb',
    'https://app.example\\cb',
    'https://sub.app.example/cb',
    'https://app.example.evil.test/cb',
    'https://аpp.example/cb',
    'http://app.example/cb',
    'https://app.example/cb\n',
    ' https://app.example/cb',
    'https://app.example:8443/cb',
    'HTTPS://app.example/cb',
    'https://app.example./cb',
    'https://app.example',
  ])('%j is not https://app.example/cb [H-D3]', (request) =>
    expect(redirectMatches('https://app.example/cb', request)).toBe(false),
  )
  test('a removed query is another URI [H-D3]', () =>
    expect(redirectMatches('https://app.example/cb?x=1', 'https://app.example/cb')).toBe(false))
  test('a port elsewhere than on loopback is part of the URI', () =>
    expect(redirectMatches('https://app.example:1/cb', 'https://app.example:2/cb')).toBe(false))
  test('an app scheme matches itself alone', () => {
    expect(
      redirectMatches(
        'cursor://anysphere.cursor-mcp/oauth/callback',
        'cursor://anysphere.cursor-mcp/oauth/callback',
      ),
    ).toBe(true)
    expect(
      redirectMatches(
        'cursor://anysphere.cursor-mcp/oauth/callback',
        'cursor://anysphere.cursor-mcp:1/oauth/callback',
      ),
    ).toBe(false)
  })
  test('an unsafe URI never matches, even when it was registered [H-B7]', () => {
    for (const uri of [
      'javascript://x',
      'http://app.example/cb',
      'https://a.example/cb#f',
      'https://*.example/cb',
    ])
      expect(redirectMatches(uri, uri), uri).toBe(false)
  })
})

test('a person is shown the host of a redirect, and only the scheme of an app, whose authority anybody can choose', () => {
  expect(redirectHost('https://claude.ai/api/mcp/auth_callback')).toBe('claude.ai')
  expect(redirectHost('https://App.example:8443/cb')).toBe('app.example:8443')
  expect(redirectHost('http://127.0.0.1:33418/')).toBe('127.0.0.1:33418')
  expect(redirectHost('evilapp://claude.ai/cb')).toBe('evilapp:')
  expect(redirectHost('javascript:alert(1)')).toBe('')
})

describe('the answer on a redirect URI', () => {
  test('keeps its own query byte for byte and adds the answer behind it [H-D16]', () => {
    expect(
      withParams('https://app.example/cb', { code: 'c', state: undefined, iss: 'https://gw.test' }),
    ).toBe('https://app.example/cb?code=c&iss=https%3A%2F%2Fgw.test')
    expect(withParams('https://app.example/cb?a=%7e&b&b=2+3', { code: 'c' })).toBe(
      'https://app.example/cb?a=%7e&b&b=2+3&code=c',
    )
    expect(withParams('com.example.app:/cb', { error: 'access_denied' })).toBe(
      'com.example.app:/cb?error=access_denied',
    )
    expect(withParams('https://app.example?x=1', {})).toBe('https://app.example?x=1')
    expect(withParams('https://app.example/cb?', {})).toBe('https://app.example/cb')
  })
  test('replaces parameters of the answer that the redirect URI carries itself, however they are spelt [H-D16]', () => {
    const answer = withParams(
      'https://app.example/cb?iss=https://evil.test&x=1&%63ode=evil&error=no&state=s&st%61te',
      { code: 'good', iss: 'https://gw.test', state: 'mine' },
    )
    expect([...new URL(answer).searchParams]).toEqual([
      ['x', '1'],
      ['code', 'good'],
      ['iss', 'https://gw.test'],
      ['state', 'mine'],
    ])
    expect(withParams('https://app.example/cb?code=evil&x=1', { error: 'access_denied' })).toBe(
      'https://app.example/cb?x=1&error=access_denied',
    )
  })
  test('returns any state exactly, for readers of forms and of URIs alike [H-D12]', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (state) => {
        const query = withParams('https://app.example/cb?x=1', { state }).split('&')[1] ?? ''
        return (
          new URLSearchParams(query).get('state') === state.toWellFormed() &&
          decodeURIComponent(query.slice('state='.length)) === state.toWellFormed()
        )
      }),
    )
  })
})

describe('canonical resources (RFC 8707 §2)', () => {
  test.each([
    ['https://gw.test/demo/mcp', 'https://gw.test/demo/mcp'],
    ['HTTPS://GW.test:443/demo/mcp/', 'https://gw.test/demo/mcp'],
    ['http://LOCALHOST:8080/demo/mcp', 'http://localhost:8080/demo/mcp'],
    ['http://localhost:80', 'http://localhost'],
    ['https://gw.test/', 'https://gw.test'],
    ['https://gw.test/Demo/MCP', 'https://gw.test/Demo/MCP'],
    ['https://[::1]:443/mcp', 'https://[::1]/mcp'],
    ['https://gw.test/mcp?service_id=a', 'https://gw.test/mcp?service_id=a'],
    ['https://gw.test:80/mcp', 'https://gw.test:80/mcp'],
  ])('%s is %s [H-D10]', (raw, canonical) => expect(canonicalResource(raw)).toBe(canonical))
  test.each([
    '',
    '/demo/mcp',
    'gw.test/mcp',
    '//gw.test/mcp',
    'https://gw.test/mcp#',
    'https://gw.test/mcp#x',
    'https://u:p@gw.test/mcp',
    'https://gw.test/a/../mcp',
    'https://gw.test/a/%2e%2e/mcp',
    'https://gw.test\\mcp',
    'https://gw.test/m cp',
    'urn:x',
    'ftp://gw.test/',
    'https://127.1/mcp',
    'https://gw.test./mcp',
    'https://gw.test/svc//mcp',
    'https://gw.test/mcp//',
  ])('%j is no resource [H-D10, H-J4]', (raw) => expect(canonicalResource(raw)).toBeUndefined())
  test('the canonical form is its own canonical form', () => {
    fc.assert(
      fc.property(fc.webUrl({ withQueryParameters: true }), (raw) => {
        const once = canonicalResource(raw)
        return once === undefined || canonicalResource(once) === once
      }),
    )
  })
})

describe('two texts for one issuer', () => {
  const host = 'https://login.example'
  test.each([
    [host, `${host}/`],
    [`${host}/tenant`, `${host}/tenant/`],
    [host, 'HTTPS://Login.EXAMPLE'],
    [host, `${host}:443/`],
    [`${host}:443/tenant/`, `${host}/tenant`],
    ['http://127.0.0.1:80', 'http://127.0.0.1/'],
    ['a:text', 'a:text'],
  ])('%s and %s are one, whichever comes first', (a, b) => {
    expect([sameIssuer(a, b), sameIssuer(b, a)]).toStrictEqual([true, true])
  })
  test.each([
    ['http://login.example', host],
    [`${host}:8443`, host],
    ['https://login.example.evil.test', host],
    [`${host}/tenant`, host],
    [`${host}/tenant`, `${host}/Tenant`],
    [`${host}/tenant`, `${host}/tenant//`],
    [`${host}//`, host],
    [`${host}/a/../tenant`, `${host}/tenant`],
    [`${host}/%74enant`, `${host}/tenant`],
    [`${host}/?`, host],
    [`${host}#`, host],
    ['https://u@login.example', host],
    [` ${host}`, host],
    ['', '/'],
    ['https://lоgin.example', host],
    [`${host}.`, host],
    ['https://0x7f.1', 'https://127.0.0.1'],
  ])('%j and %s are two, whichever comes first', (a, b) => {
    expect([sameIssuer(a, b), sameIssuer(b, a)]).toStrictEqual([false, false])
  })
})

describe("client ids that are URLs of a client's metadata document", () => {
  test.each([
    'https://claude.ai/oauth/claude-code-client-metadata',
    'https://chatgpt.com/oauth/codex/client.json',
    'https://cimd.test:8443/c.json',
    'https://cimd.test/c.json?v=1',
    'https://cimd.test/a%20b',
    'https://cimd.test/a/',
  ])('%s may be one', (raw) => expect(metadataDocumentUrl(raw)?.href).toBe(raw))
  test.each([
    'http://cimd.test/c.json',
    'https://cimd.test/c.json#',
    'https://cimd.test/c.json#f',
    'https://u@cimd.test/c.json',
    'https://u:p@cimd.test/c.json',
    'https://cimd.test/a/../c.json',
    'https://cimd.test/%2e/c.json',
    'https://cimd.test/%2E%2e/c.json',
    'https://cimd.test/a%2f..%2fc.json',
    'https://cimd.test/a/.',
    'https://cimd.test',
    'https://cimd.test/',
    `https://cimd.test/${'c'.repeat(3000)}`,
    'https://сimd.test/c.json',
    'https://xn--imd-5cd.test/c.json',
    'https://a.XN--imd-5cd.test/c.json',
    'HTTPS://cimd.test/c.json',
    'https://CIMD.test/c.json',
    'https://cimd.test:443/c.json',
    'https://cimd.test\\c.json',
    'https:/cimd.test/c.json',
    ' https://cimd.test/c.json',
    'https://cimd.test/c.json ',
    'https://cimd.test/c\t.json',
    'https://2130706433/c.json',
    'https://cimd.test./c.json',
    'https://cimd.test/c.json%',
    'client-1',
    '',
    'urn:x',
    'javascript:alert(1)',
    'https://',
  ])('%j is none [H-C3]', (raw) => expect(metadataDocumentUrl(raw)).toBeUndefined())
})

describe('a place to return to', () => {
  test.each(['/', '/oauth/consent?flow=abc', '/a//b', '/a?next=//evil.test', '/a#b', '/%2F%2Fevil.test'])(
    '%s is on this origin',
    (raw) => expect(sameOriginPath(raw)).toBe(raw),
  )
  test.each([
    '//evil.test',
    '/\\evil.test',
    '\\\\evil.test',
    '\\/evil.test',
    '///evil.test',
    'https:evil.test',
    'https://evil.test',
    'javascript:alert(1)',
    '/\t/evil.test',
    '\t//evil.test',
    '/\n/evil.test',
    ' //evil.test',
    '',
    'evil.test',
    './a',
    '/a/../b',
    '/..//evil.test',
    '/%0d%',
    '/ä',
    `/${'a'.repeat(3000)}`,
  ])('%j is refused [H-P8]', (raw) => expect(sameOriginPath(raw)).toBeUndefined())
  test('never leads to another origin, whatever the text', () => {
    const text = fc
      .array(
        fc.constantFrom(
          '/',
          '\\',
          '.',
          '..',
          '\t',
          '\n',
          '@',
          ':',
          'evil.test',
          '%2f',
          '%5c',
          '?',
          '#',
          'https:',
        ),
      )
      .map((parts) => parts.join(''))
    fc.assert(
      fc.property(
        text,
        (raw) =>
          sameOriginPath(raw) === undefined || new URL(raw, 'https://gw.test').origin === 'https://gw.test',
      ),
      { numRuns: 3000 },
    )
  })
})
