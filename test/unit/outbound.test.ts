// Where the guarded outbound function lets the gateway be sent, and where never: real listeners, a resolver
// of our own.
import { afterEach, describe, expect, test, vi } from 'vitest'
import { type Lookup, createOutbound, globalAddresses } from '../../src/node/outbound.ts'
import type { Outbound } from '../../src/ports/runtime.ts'
import vectors from '../data/outbound-hosts.json' with { type: 'json' }
import { answering, createListeners } from './listeners.ts'

const refused = { code: 'outbound.refused' }
const listeners = createListeners()
const { serve, trap, closedPort } = listeners
const bodyOf = async (outbound: Outbound, url: string): Promise<string> =>
  new TextDecoder().decode((await outbound(url)).body)

afterEach(() => {
  vi.unstubAllEnvs()
  listeners.close()
})

describe('where the gateway may be sent', () => {
  test.each(vectors.ssrf_hosts)(
    'never to %s: nothing is connected to, not one byte is sent [H-C4]',
    async (host) => {
      const local = await trap()
      // A resolver that knows no better: every name leads to this machine, as with nip.io.
      const { lookup } = answering('127.0.0.1', '169.254.169.254', '::1')
      const outbound = createOutbound({ allowOrigins: [], lookup })
      await expect(outbound(`https://${host}:${local.port}/c.json`)).rejects.toMatchObject(refused)
      await expect(outbound(`http://${host}:${local.port}/c.json`)).rejects.toMatchObject(refused)
      expect(local.seen).toEqual({ connections: 0, bytes: 0 })
    },
  )

  test.each([
    '0.0.0.0',
    '10.1.2.3',
    '100.64.0.1',
    '127.0.0.1',
    '169.254.169.254',
    '172.16.0.1',
    '192.0.0.1',
    '192.168.0.1',
    '198.18.0.1',
    '224.0.0.1',
    '240.0.0.1',
    '255.255.255.255',
    '::',
    '::1',
    'fc00::1',
    'fe80::1',
    'fe80::1%lo',
    'fec0::1',
    'ff02::1',
    '64:ff9b::a9fe:a9fe',
    '64:ff9b:1::1',
    '2002:7f00:1::',
    '::ffff:7f00:1',
    '::ffff:127.0.0.1',
    '::7f00:1',
    '::127.0.0.1',
    '::ffff:0:7f00:1',
    'fe80::5efe:7f00:1',
    '2001:0:1::1',
  ])('never to a name that resolves to %s [H-C4]', async (address) => {
    const local = await trap()
    const { lookup, asked } = answering(address)
    await expect(
      createOutbound({ allowOrigins: [], lookup })(`https://cimd.example:${local.port}/c.json`),
    ).rejects.toMatchObject(refused)
    expect(asked).toEqual(['cimd.example'])
    expect(local.seen.connections).toBe(0)
  })

  test.each(vectors.ssrf_public_controls)(
    'to %s, literal or resolved, because that is public',
    async (host) => {
      const address = new URL(`https://${host}/`).hostname.replace(/^\[|\]$/g, '')
      expect(await globalAddresses('public.example', answering(address).lookup)).toHaveLength(1)
      // Literal: past the verdict the connection is made, here to a closed port of our own.
      const port = await closedPort()
      const outbound = createOutbound({
        allowOrigins: [],
        connectTo: { [`${new URL(`https://${host}/`).hostname}:443`]: { address: '127.0.0.1', port } },
      })
      await expect(outbound(`https://${host}/`)).rejects.not.toMatchObject(refused)
    },
  )

  test('a name is resolved once, and a second answer that points inside is never asked for (rebinding) [H-C6]', async () => {
    const local = await trap()
    const answers = [['198.51.100.1'], ['127.0.0.1']]
    const asked: string[] = []
    const lookup: Lookup = async (host) => {
      asked.push(host)
      return (answers[asked.length - 1] ?? ['127.0.0.1']).map((address) => ({ address, family: 4 }))
    }
    await expect(
      createOutbound({ allowOrigins: [], lookup })(`https://rebind.example:${local.port}/`),
    ).rejects.toMatchObject(refused)
    expect(asked).toHaveLength(1)
    expect(local.seen.connections).toBe(0)
  })

  test('of a name with a public and a private address only the public one is a place to go [H-C6]', async () => {
    expect(
      await globalAddresses(
        'two.example',
        answering('127.0.0.1', '1.1.1.1', '::1', '10.0.0.1', '2606:4700::1111').lookup,
      ),
    ).toEqual([
      { address: '1.1.1.1', family: 4 },
      { address: '2606:4700::1111', family: 6 },
    ])
  })

  test.each([
    'ftp://example.com/',
    'file:///etc/passwd',
    'data:text/plain,x',
    'javascript:alert(1)',
    'https://user@example.com/',
    'https://user:pass@example.com/',
    'not a url',
    '',
    '//example.com/',
    'https://',
    'gopher://example.com/',
    'https://example.com:99999/',
  ])('%j is no place to go', async (url) => {
    const { lookup, asked } = answering('1.1.1.1')
    await expect(createOutbound({ allowOrigins: [], lookup })(url)).rejects.toMatchObject(refused)
    expect(asked).toEqual([])
  })

  test('plain http is for configured origins alone', async () => {
    const { lookup, asked } = answering('1.1.1.1')
    await expect(createOutbound({ allowOrigins: [], lookup })('http://example.com/')).rejects.toMatchObject(
      refused,
    )
    expect(asked).toEqual([])
  })

  test('a configured origin may be private and plain, exactly that origin: not its neighbour port, scheme or name', async () => {
    const origin = await serve((_, response) => response.end('here'))
    const port = new URL(origin).port
    const other = await trap()
    const outbound = createOutbound({
      allowOrigins: [`${origin}/ignored/path`],
      lookup: answering('127.0.0.1').lookup,
    })
    expect(await bodyOf(outbound, `${origin}/a?b=c`)).toBe('here')
    for (const url of [
      `https://127.0.0.1:${port}/`,
      `http://localhost:${port}/`,
      `http://127.0.0.1:${other.port}/`,
      `http://127.0.0.2:${port}/`,
      `http://127.0.0.1.example:${port}/`,
      `http://u@127.0.0.1:${port}/`,
    ]) {
      await expect(outbound(url), url).rejects.toMatchObject(refused)
    }
    expect(other.seen.connections).toBe(0)
  })

  test('a configured origin by name is resolved by the same resolver', async () => {
    const origin = await serve((request, response) => response.end(request.headers.host))
    const named = `http://idp.internal:${new URL(origin).port}`
    expect(
      await bodyOf(createOutbound({ allowOrigins: [named], lookup: answering('127.0.0.1').lookup }), named),
    ).toBe(new URL(named).host)
  })

  test('proxies named in the environment are not used [H-Q5]', async () => {
    const proxy = await trap()
    for (const name of ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'http_proxy', 'https_proxy', 'all_proxy'])
      vi.stubEnv(name, `http://127.0.0.1:${proxy.port}`)
    vi.stubEnv('NODE_USE_ENV_PROXY', '1')
    const origin = await serve((_, response) => response.end('direct'))
    const outbound = createOutbound({ allowOrigins: [origin] })
    expect(await bodyOf(outbound, origin)).toBe('direct')
    await expect(outbound('https://127.0.0.1/')).rejects.toMatchObject(refused)
    expect(proxy.seen.connections).toBe(0)
  })
})
