// The forward proxy of the environment: which URL takes which, as curl and Node read the variables.
import { describe, expect, it } from 'vitest'
import { readForwardProxies } from '../../src/node/forward-proxy.ts'

const shownFor = (env: Record<string, string>, url: string): string | undefined =>
  readForwardProxies(env).for(new URL(url))?.shown

const all = { HTTPS_PROXY: 'http://secure.example:3128', HTTP_PROXY: 'http://plain.example:3128' }

describe('which variable counts', () => {
  it.each([
    [{}, 'https://a.example/', undefined],
    [all, 'https://a.example/', 'http://secure.example:3128'],
    [all, 'wss://a.example/', 'http://secure.example:3128'],
    [all, 'http://a.example/', 'http://plain.example:3128'],
    [all, 'ws://a.example/', 'http://plain.example:3128'],
    [{ ...all, https_proxy: 'http://lower.example:1' }, 'https://a.example/', 'http://lower.example:1'],
    [{ ...all, https_proxy: '' }, 'https://a.example/', 'http://secure.example:3128'],
    [{ ALL_PROXY: 'http://every.example' }, 'https://a.example/', 'http://every.example'],
    [{ all_proxy: 'every.example:8080' }, 'http://a.example/', 'http://every.example:8080'],
    [{ HTTPS_PROXY: 'https://tls.example' }, 'https://a.example/', 'https://tls.example'],
    [{ HTTPS_PROXY: 'http://secure.example' }, 'http://a.example/', undefined],
  ])('%j: %s takes %s', (env, url, shown) => expect(shownFor(env as Record<string, string>, url)).toBe(shown))

  it('keeps user name and password out of what is shown, and sends them as Basic', () => {
    const proxy = readForwardProxies({ HTTPS_PROXY: 'http://us%40er:pa%3Ass@p.example:3128' }).for(
      new URL('https://a.example/'),
    )
    expect(proxy).toEqual({
      host: 'p.example',
      port: 3128,
      tls: false,
      authorization: `Basic ${Buffer.from('us@er:pa:ss').toString('base64')}`,
      shown: 'http://p.example:3128',
    })
  })

  it.each(['socks5://p.example:1080', 'ftp://p.example', 'http://', 'http://a b'])(
    'refuses %j, in words without the value',
    (value) => {
      expect(() => readForwardProxies({ HTTPS_PROXY: value })).toThrow(
        'HTTPS_PROXY must be the URL of an HTTP proxy such as http://proxy.example.com:3128. SOCKS proxies are not supported.',
      )
    },
  )
})

describe('NO_PROXY', () => {
  it.each([
    ['*', 'a.example', true],
    ['a.example', 'a.example', true],
    ['a.example', 'sub.a.example', true],
    ['a.example', 'A.EXAMPLE', true],
    ['a.example', 'nota.example', false],
    ['.a.example', 'a.example', true],
    ['.a.example', 'sub.a.example', true],
    ['*.a.example', 'sub.a.example', true],
    ['a.example.', 'a.example', true],
    ['example', 'a.example', true],
    ['a.example:8443', 'a.example:8443', true],
    ['a.example:8443', 'a.example', false],
    ['a.example:443', 'a.example', true],
    ['b.example, a.example', 'a.example', true],
    ['b.example a.example', 'a.example', true],
    ['10.0.0.0/8', '10.1.2.3', true],
    ['10.0.0.0/8', '11.1.2.3', false],
    ['192.168.1.7', '192.168.1.7', true],
    ['192.168.1.7', '192.168.1.70', false],
    ['fd00::/8', '[fd12::1]', true],
    ['[2001:db8::1]:8443', '[2001:db8::1]:8443', true],
    ['2001:db8::1', '[2001:db8::1]', true],
    ['10.0.0.0/99', '10.1.2.3', false],
    ['10.0.0.0/8', 'ten.example', false],
    ['', 'a.example', false],
  ])('%j: %s is connected to directly: %s', (no, host, direct) => {
    expect(shownFor({ ...all, NO_PROXY: no }, `https://${host}/mcp`) === undefined).toBe(direct)
    expect(
      shownFor({ ...all, no_proxy: no, NO_PROXY: 'other.example' }, `https://${host}/mcp`) === undefined,
    ).toBe(direct || (no === '' && host === 'other.example'))
  })

  it.each(['localhost', 'app.localhost', '127.0.0.1', '127.9.9.9', '[::1]'])(
    'never sends %s to a proxy',
    (host) => expect(shownFor(all, `http://${host}:8080/mcp`)).toBeUndefined(),
  )

  it('sends private addresses to the proxy where nothing excepts them', () =>
    expect(shownFor(all, 'http://10.1.2.3/mcp')).toBe('http://plain.example:3128'))
})
