// From a path or a resource indicator to one address, and never to two.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isNormalPath } from '../../src/kit/http.ts'
import type { Service } from '../../src/ports/services.ts'
import { createDirectory } from '../../src/services/directory.ts'

const service = (id: string): Service => ({
  id,
  name: id,
  description: '',
  upstream: { kind: 'http', url: `http://127.0.0.1:1/${id}` },
  authRequired: true,
  scopes: ['mcp'],
  timeoutMs: 1000,
  maxBodyBytes: 1024,
  identity: { preset: 'all', headers: {}, assertion: false },
})

const issuer = 'https://gw.test'
const directory = createDirectory({
  issuer,
  origins: [issuer],
  services: [service('demo'), service('other')],
  defaultService: 'demo',
})

describe('a path', () => {
  it('leads to the address it names, with what follows the endpoint', () => {
    expect(directory.locate('/demo/mcp')).toMatchObject({
      address: { path: '/demo/mcp', resource: 'https://gw.test/demo/mcp' },
      rest: '',
    })
    expect(directory.locate('/demo/mcp/')).toMatchObject({ address: { path: '/demo/mcp' }, rest: '' })
    expect(directory.locate('/other/mcp/a/b%20c')).toMatchObject({
      address: { path: '/other/mcp' },
      rest: '/a/b%20c',
    })
    expect(directory.locate('/mcp')).toMatchObject({
      address: { path: '/mcp', resource: 'https://gw.test/mcp', service: { id: 'demo' } },
    })
    expect(directory.locate('/mcp/messages')).toMatchObject({ address: { path: '/mcp' }, rest: '/messages' })
  })

  it('that is not in normal form leads nowhere: what is judged is what is forwarded [H-J4, H-K11]', () => {
    const tricks = [
      ...[
        '/demo//mcp',
        '//demo/mcp',
        '/demo/mcp//',
        '/demo/mcp//x',
        '/demo/./mcp',
        '/demo/../demo/mcp',
        '/demo/mcp/..',
        '/demo/mcp/../../other/mcp',
        '/demo/mcp/.',
        '/demo/mcp/./x',
      ],
      ...[
        '/DEMO/mcp',
        '/demo/MCP',
        '/demo/mcp;x',
        '/demo;x/mcp',
        '/demo/mcp/..;/admin',
        '/demo%2fmcp',
        '/demo%2Fmcp',
        '/demo/%6dcp',
        '/demo/mcp%00',
        '/demo/mcp/%2e%2e/x',
        '/demo/mcp/%2E',
        '/demo/mcp/x%5cy',
      ],
      ...[
        '/demo\\mcp',
        '/demo/mcp\\',
        '/demo/mcp/%c0%ae%c0%ae',
        '/demo/mcp/%ff',
        '/demo/mcp/%252e',
        '/demo/mcp/%',
        '/demo/mcp/%2',
        '/demo/mcp/%zz',
        '/demo/mcp%23',
        '/demo/mcp%3fx',
        '/demo/mcp/\u00e9',
        '/demo/mcp/\u0000',
        '/demo/mcp /x',
      ],
      ...[
        'demo/mcp',
        '',
        '/',
        '/demo',
        '/demo/',
        '/nope/mcp',
        '/demo/mcpx',
        '/demo/mcp-x',
        'http://gw.test/demo/mcp',
        '/demo/mcp?x',
        '/demo/mcp#x',
        `/demo/mcp/${'a'.repeat(5000)}`,
      ],
    ]
    for (const path of tricks) expect([path, directory.locate(path)]).toEqual([path, undefined])
  })

  it('below an endpoint into .well-known is the gateway’s own', () => {
    for (const path of [
      '/demo/mcp/.well-known',
      '/demo/mcp/.well-known/openid-configuration',
      '/mcp/.well-known/oauth-authorization-server',
    ])
      expect(directory.locate(path)).toBeUndefined()
    expect(directory.locate('/demo/mcp/.well-knownx')).toMatchObject({
      address: { path: '/demo/mcp' },
      rest: '/.well-knownx',
    })
  })

  it('is normal only when no URL parser changes it', () => {
    const path = fc
      .array(
        fc.constantFrom(
          '/',
          'a',
          'B',
          '.',
          '..',
          '%2e',
          '%2F',
          '%20',
          '%41',
          ';',
          '\\',
          '%5C',
          '~',
          '?',
          '#',
          ' ',
          '\u00e9',
          '%c3%a9',
          ':',
          '@',
          '//',
        ),
        { maxLength: 8 },
      )
      .map((parts) => `/${parts.join('')}`)
    fc.assert(
      fc.property(path, (text) => {
        fc.pre(isNormalPath(text))
        const url = new URL(text, 'http://base.test')
        expect(url.href).toBe(`http://base.test${text}`)
        expect(url.pathname).toBe(text)
        expect(
          new URL(decodeURIComponent(text).replaceAll('?', '%3F'), 'http://base.test').pathname.split('/')
            .length,
        ).toBe(text.split('/').length)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('a host of services', () => {
  const named = (
    id: string,
    url: string,
    alias?: string,
    transport: 'auto' | 'streamable' = 'auto',
  ): Service => ({
    ...service(id),
    upstream: { kind: 'http', url, transport },
    ...(alias === undefined ? {} : { alias }),
  })
  const label = 'nvrxaltborwgc43tnfqw4ltdn5wq-enc'
  const hosted = createDirectory({
    issuer,
    origins: [issuer],
    services: [
      named('jira', 'https://mcp.atlassian.com/v1/mcp'),
      named('jira_sse', 'https://mcp.atlassian.com/v1/sse'),
      named('long', `https://${'a'.repeat(40)}.com/x/`, 'short'),
      named('other', 'http://127.0.0.1:9/mcp'),
      named('legacy', 'http://127.0.0.1:9/deep/sse', 'only'),
      named('modern', 'http://127.0.0.1:9/sse', 'new', 'streamable'),
      {
        ...service('command'),
        alias: 'tool',
        upstream: { kind: 'bridge', carry: () => Promise.reject(new Error('not called')) },
      },
    ],
    hosts: { 'mcp.acme.test': 'other', 'mcp.acme.test:8443': 'jira', 'gw.test': 'other' },
    domainRoot: 'root.test',
    baseDomain: 'base.test',
  })
  const atlassian = `${label}.root.test`

  it('leads to its service under the path it has there, in every spelling of the host', () => {
    for (const [host, path, resource] of [
      ['mcp.acme.test', '/mcp', 'https://mcp.acme.test/mcp'],
      ['mcp.acme.test:8443', '/mcp/', 'https://mcp.acme.test:8443/mcp'],
      [atlassian, '/v1/mcp', `https://${atlassian}/v1/mcp`],
      [`${atlassian.toUpperCase()}:443`, '/v1/sse/below', `https://${atlassian}/v1/sse`],
      ['short-enc.root.test', '/x', 'https://short-enc.root.test/x'],
      ['jira-sse.base.test', '/mcp', 'https://jira-sse.base.test/mcp'],
    ] as const) {
      expect([host, path, hosted.locate(path, host)?.address.resource]).toEqual([host, path, resource])
      expect(hosted.resolve(resource)?.resource).toBe(resource)
    }
  })

  it('meets the clients of either transport, and what a server has itself comes before what follows from another’s path [C6]', () => {
    for (const [host, path, transport, id] of [
      ['mcp.acme.test', '/sse/message', 'sse', 'other'],
      ['jira-sse.base.test', '/sse', 'sse', 'jira_sse'],
      // Of one domain with both, each has its own.
      [atlassian, '/v1/sse', 'sse', 'jira_sse'],
      [atlassian, '/v1/mcp', undefined, 'jira'],
      ['short-enc.root.test', '/sse', 'sse', 'long'],
      ['only-enc.root.test', '/deep/sse', 'sse', 'legacy'],
      ['only-enc.root.test', '/deep/mcp', undefined, 'legacy'],
      ['new-enc.root.test', '/sse', undefined, 'modern'],
      // A server that has no domain.
      ['tool-enc.root.test', '/mcp', undefined, 'command'],
    ] as const) {
      const found = hosted.locate(path, host)?.address
      expect([host, path, found?.transport, found?.service.id]).toEqual([host, path, transport, id])
    }
  })

  it('that encodes a domain stands for the one server that has nothing else, and for nobody when each of several has an alias', () => {
    const url = 'https://mcp.atlassian.com/v1/mcp'
    const at = (...services: Service[]) =>
      createDirectory({ issuer, origins: [issuer], services, domainRoot: 'root.test' })
    const work = named('work', url, 'work')
    const home = named('home', url, 'home')
    const plain = named('plain', url)
    const idOf = (directory: ReturnType<typeof at>, host: string) =>
      directory.locate('/v1/mcp', `${host}.root.test`)?.address.service.id
    expect([idOf(at(work), 'work-enc'), idOf(at(work), label)]).toEqual(['work', 'work'])
    expect([
      idOf(at(work, plain), 'work-enc'),
      idOf(at(work, plain), label),
      at(work, plain).clashes,
    ]).toEqual(['work', 'plain', []])
    expect([
      idOf(at(work, home), 'work-enc'),
      idOf(at(work, home), 'home-enc'),
      idOf(at(work, home), label),
      at(work, home).clashes,
    ]).toEqual(['work', 'home', undefined, []])
    const both = at(plain, named('again', url))
    expect([idOf(both, label), both.clashes]).toEqual([
      'plain',
      [{ id: 'again', label, path: '/v1/mcp', by: 'plain' }],
    ])
  })

  it('belongs to the first of two that would be called alike, and it is known which of them is not there', () => {
    const alike = createDirectory({
      issuer,
      origins: [issuer],
      services: [service('a_b'), service('a-b')],
      baseDomain: 'base.test',
    })
    expect([alike.locate('/mcp', 'a-b.base.test')?.address.service.id, alike.clashes]).toEqual([
      'a_b',
      [{ id: 'a-b', label: 'a-b.base.test', path: '/mcp', by: 'a_b' }],
    ])
    expect(hosted.clashes).toEqual([])
  })

  it('serves nothing else, and the gateway’s own host is never given away', () => {
    for (const [host, path] of [
      [atlassian, '/mcp'],
      [atlassian, '/jira/mcp'],
      [atlassian, '/v1/mcp/../sse'],
      ['mcp.acme.test', '/other/mcp'],
      ['jira.base.test', '/v1/mcp'],
      ['short-enc.root.test', '/'],
    ] as const) {
      expect([host, path, hosted.locate(path, host)]).toEqual([host, path, undefined])
    }
    expect(hosted.locate('/mcp', 'gw.test')).toBeUndefined()
    expect(hosted.locate('/jira/mcp', 'gw.test')?.address.resource).toBe('https://gw.test/jira/mcp')
    expect(hosted.host('gw.test')).toBeUndefined()
    expect(hosted.unknownHost('mv3gs3boorsxg5a-enc.root.test')).toContain('no service')
    expect(hosted.unknownHost('evil.test')).toBeUndefined()
  })

  it('is there as soon as its service is, and gone with it', () => {
    const living = createDirectory({
      issuer,
      origins: [issuer],
      services: [service('a')],
      baseDomain: 'base.test',
    })
    const before = living.replace({ services: [service('b')], baseDomain: 'base.test' })
    expect([
      living.locate('/mcp', 'b.base.test')?.address.service.id,
      living.locate('/a/mcp'),
      living.service('a'),
    ]).toEqual(['b', undefined, undefined])
    expect([before('/mcp', 'a.base.test')?.address.service.id, living.host('a.base.test')]).toEqual([
      'a',
      undefined,
    ])
  })
})

describe('a resource indicator', () => {
  const local = createDirectory({
    issuer: 'http://localhost:8080',
    origins: ['http://localhost:8080', 'http://127.0.0.1:8080', 'http://[::1]:8080'],
    services: [service('demo')],
  })

  it('names the same address in every spelling of its URL [A10]', () => {
    for (const resource of [
      'https://gw.test/demo/mcp',
      'https://gw.test/demo/mcp/',
      'HTTPS://GW.test/demo/mcp',
      'https://gw.test:443/demo/mcp',
    ])
      expect(directory.resolve(resource)?.path).toBe('/demo/mcp')
    for (const resource of [
      'http://127.0.0.1:8080/mcp',
      'http://[::1]:8080/mcp',
      'http://LOCALHOST:8080/mcp/',
    ])
      expect(local.resolve(resource)?.path).toBe('/mcp')
  })

  it('that is anything else names nothing', () => {
    const others = [
      ...[
        'https://evil.test/demo/mcp',
        'http://gw.test/demo/mcp',
        'https://gw.test:444/demo/mcp',
        'https://gw.test:80/demo/mcp',
        'https://gw.test/demo/mcp//',
        'https://gw.test/DEMO/mcp',
        'https://gw.test/demo/mcp?x=1',
        'https://gw.test/demo/mcp#x',
      ],
      ...[
        'https://user@gw.test/demo/mcp',
        'https://gw.test',
        'https://gw.test/',
        '/demo/mcp',
        'demo',
        '',
        'https:gw.test/demo/mcp',
        'https://gw.test/demo/../demo/mcp',
        'https://gw.test\\demo\\mcp',
        ' https://gw.test/demo/mcp',
        'https://gw.test.evil.test/demo/mcp',
      ],
      `https://gw.test/${'a'.repeat(3000)}`,
    ]
    for (const resource of others)
      expect([resource, directory.resolve(resource)]).toEqual([resource, undefined])
  })

  it('is not needed where one service is meant', () => {
    expect(directory.only?.path).toBe('/demo/mcp')
    expect(local.only?.path).toBe('/demo/mcp')
    expect(
      createDirectory({ issuer, origins: [issuer], services: [service('a'), service('b')] }).only,
    ).toBeUndefined()
    expect(
      createDirectory({ issuer, origins: [issuer], services: [service('a'), service('b')] }).locate('/mcp'),
    ).toBeUndefined()
  })
})
