// Under which names the gateway answers, and which pages may call it.
import { describe, expect, it } from 'vitest'
import { parseConfig } from '../../src/config/schema.ts'
import type { Refusal } from '../../src/kit/refusal.ts'
import { createCors, createHostCheck } from '../../src/proxy/resolve.ts'
import { createDirectory } from '../../src/services/directory.ts'

const publicOrigin = ['https://gw.example']
const loopback = ['http://localhost:8080', 'http://127.0.0.1:8080', 'http://[::1]:8080']
const corsOf = (cors: object = {}, origins: readonly string[] = publicOrigin, debug = false) =>
  createCors({ cors: parseConfig({ cors }).cors, origins, debug })
const valueOf = (flat: readonly string[], name: string): string | undefined =>
  flat[flat.findIndex((field, i) => i % 2 === 0 && field.toLowerCase() === name) + 1]

describe('the Host', () => {
  const verdict = (
    host: string | undefined,
    allowed: string[] = [],
    origins: readonly string[] = publicOrigin,
  ): string => {
    try {
      return createHostCheck({
        config: { allowed_hosts: allowed },
        directory: createDirectory({ issuer: origins[0] as string, origins, services: [] }),
      }).host(host)
    } catch (error) {
      return (error as Refusal).code
    }
  }

  it('is one of the gateway’s names, in any case and with the default port or without [B6]', () => {
    for (const host of ['gw.example', 'GW.example', 'gw.example:443'])
      expect(verdict(host)).toBe('https://gw.example')
    for (const host of ['localhost:8080', '127.0.0.1:8080', '[::1]:8080'])
      expect(verdict(host, [], loopback)).toBe(`http://${host}`)
    // nginx's $host has no port.
    for (const host of ['localhost', '127.0.0.1', '[::1]'])
      expect(verdict(host, [], loopback)).toBe(`http://${host}:8080`)
    expect(verdict('inner:9000', ['inner:9000'])).toBe('https://gw.example')
    for (const host of ['inner', 'inner:1', 'INNER:65535'])
      expect(verdict(host, ['inner'])).toBe('https://gw.example')
  })

  it('that is another name is unknown', () => {
    for (const host of [
      'evil.test',
      'gw.example.evil.test',
      'gw.example:80',
      'gw.example:8443',
      'localhost',
      '127.0.0.1',
    ])
      expect(verdict(host)).toBe('request.host-unknown')
    for (const host of ['localhost:8081', '127.0.0.1:80', 'localhost.evil.test', 'localhost.evil.test:8080'])
      expect(verdict(host, [], loopback)).toBe('request.host-unknown')
    expect(verdict('inner', ['inner:9000'])).toBe('request.host-unknown')
  })

  it('that is no host is refused [H-A6]', () => {
    for (const host of [
      undefined,
      '',
      'a/public?',
      'user@evil',
      'gw.example:99999',
      'a b',
      'x'.repeat(300),
      '[::1',
      'gw.example#',
      'gw.example/',
      '-a',
      'gw.example:',
      'gw.example:8o',
      'gw\\x',
      '%67w.example',
      '[v1.x]',
      'gw,evil',
    ])
      expect([host, verdict(host)]).toEqual([host, 'request.host'])
  })
})

describe('the Origin', () => {
  it('is compared exactly with the list and the gateway’s own [H-M7]', () => {
    const cors = corsOf({ allow_origins: ['https://app.example'] })
    for (const origin of ['https://app.example', 'https://gw.example']) expect(cors.allows(origin)).toBe(true)
    for (const origin of [
      'https://evil.test',
      'null',
      'http://app.example',
      'https://app.example:8443',
      'https://APP.example',
      'https://app.example.evil.test',
      'https://sub.app.example',
      'https://app.example/',
      'http://localhost:3000',
      '',
    ])
      expect([origin, cors.allows(origin)]).toEqual([origin, false])
  })

  it('of a local page is allowed on a local gateway in debug, and nowhere else', () => {
    const list = { allow_origins: ['https://app.example'] }
    for (const origin of [
      'http://localhost:6274',
      'http://127.0.0.1:1',
      'https://[::1]:9',
      'http://localhost',
    ]) {
      expect(corsOf(list, loopback, true).allows(origin)).toBe(true)
      expect(corsOf(list, loopback, false).allows(origin)).toBe(false)
      expect(corsOf(list, publicOrigin, true).allows(origin)).toBe(false)
    }
    for (const origin of ['http://localhost.evil.test:1', 'http://evil.test?localhost', 'null'])
      expect(corsOf(list, loopback, true).allows(origin)).toBe(false)
  })

  it('may be any where the list says *, except at a service that asks for no token', () => {
    for (const origin of ['https://evil.test', 'null']) {
      expect(corsOf().allows(origin)).toBe(true)
      expect(corsOf().allows(origin, true)).toBe(false)
      expect(corsOf({}, ['http://192.168.1.5:8080']).allows(origin, true)).toBe(false)
      expect(corsOf({}, loopback).allows(origin)).toBe(true)
      expect(corsOf({}, loopback).allows(origin, true)).toBe(false)
    }
    expect(corsOf({}, loopback).allows('http://localhost:6274', true)).toBe(true)
    expect(
      corsOf({ allow_origins: ['*', 'https://app.example'] }, loopback).allows('https://app.example', true),
    ).toBe(true)
    expect(corsOf({ allow_origins: ['*', 'https://app.example'] }).allows('https://app.example', true)).toBe(
      true,
    )
    expect(corsOf().allows('http://localhost:6274', true)).toBe(false)
    // Where it may call, the answer names it: what is said to one page is not said to every other.
    expect(corsOf().answer('https://evil.test', true)).toEqual(['Vary', 'Origin'])
    expect(
      corsOf({ allow_origins: ['*', 'https://app.example'] })
        .answer('https://app.example', true)
        .slice(0, 2),
    ).toEqual(['Access-Control-Allow-Origin', 'https://app.example'])
  })
})

describe('CORS', () => {
  const methods = ['GET', 'POST', 'DELETE', 'OPTIONS']

  it('lets browser clients read what the protocol needs [C22]', () => {
    const answer = corsOf().answer('https://app.example')
    expect(valueOf(answer, 'access-control-allow-origin')).toBe('*')
    for (const name of ['WWW-Authenticate', 'Mcp-Session-Id', 'MCP-Protocol-Version'])
      expect(valueOf(answer, 'access-control-expose-headers')).toContain(name)
    expect(answer).not.toContain('Access-Control-Allow-Credentials')
  })

  it('names a listed origin and varies by it; another one gets nothing', () => {
    const cors = corsOf({ allow_origins: ['https://app.example'], allow_credentials: true })
    expect(valueOf(cors.answer('https://app.example'), 'access-control-allow-origin')).toBe(
      'https://app.example',
    )
    expect(valueOf(cors.answer('https://app.example'), 'access-control-allow-credentials')).toBe('true')
    for (const origin of [undefined, 'https://evil.test', 'null'])
      expect(cors.answer(origin)).toEqual(['Vary', 'Origin'])
    for (const origin of [undefined, 'https://evil.test'])
      expect(cors.preflight({ origin, headers: 'authorization', methods })).toEqual(['Vary', 'Origin'])
  })

  it('answers preflights with the names of the protocol and reflects Mcp-Param-* [C22]', () => {
    const asked = corsOf().preflight({
      origin: 'https://app.example',
      methods,
      headers: 'authorization, mcp-param-region, Mcp-Param-x_y, mcp-param-a b, x-evil',
    })
    const allowed = (valueOf(asked, 'access-control-allow-headers') ?? '').split(', ')
    for (const name of [
      'Authorization',
      'Content-Type',
      'Accept',
      'MCP-Protocol-Version',
      'Mcp-Session-Id',
      'Mcp-Method',
      'Mcp-Name',
      'Last-Event-ID',
      'mcp-param-region',
      'Mcp-Param-x_y',
    ])
      expect(allowed).toContain(name)
    expect(allowed).not.toContain('x-evil')
    expect(allowed.join()).not.toContain('a b')
    expect(valueOf(asked, 'access-control-allow-methods')).toBe('GET, POST, DELETE, OPTIONS')
    const every = corsOf({ allow_headers: ['*'] }).preflight({
      origin: 'https://app.example',
      methods,
      headers: 'x-anything, x y, a\r\nb, ok',
    })
    expect(valueOf(every, 'access-control-allow-headers')).toBe('x-anything, ok')
  })
})
