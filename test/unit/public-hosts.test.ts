// Connections for servers that somebody added from elsewhere: to public addresses alone, whatever the
// resolver says by then.
import { afterEach, expect, it } from 'vitest'
import {
  type PoolUser,
  createPool,
  isPrivateHost,
  publicLookup,
  take,
} from '../../src/node/http-client/pool.ts'
import type { Lookup } from '../../src/node/outbound.ts'
import { createTransports } from '../../src/node/websocket.ts'
import vectors from '../data/outbound-hosts.json' with { type: 'json' }
import { answering, createListeners } from './listeners.ts'

const listeners = createListeners()
afterEach(() => listeners.close())

const refused = { code: 'outbound.refused' }
const told = (tell: (what: unknown) => void): PoolUser => ({
  head: () => tell('head'),
  data: () => undefined,
  turn: () => undefined,
  end: () => tell('end'),
  failed: tell,
})
/** What becomes of a connection: the error, thrown or told. */
const connecting = (origin: string, lookup: Lookup): Promise<unknown> =>
  new Promise(
    (resolve) =>
      void take(createPool(origin, { now: () => 0, lookup: publicLookup(lookup) }), told(resolve), 'any'),
  ).catch((error: unknown) => error)

it('never reach a name that resolves inside, by call, by stream or by WebSocket [H-C4]', async () => {
  const { port, seen } = await listeners.trap()
  for (const address of [
    '127.0.0.1',
    '::1',
    '10.0.0.1',
    '169.254.169.254',
    '::ffff:127.0.0.1',
    '64:ff9b::7f00:1',
  ]) {
    const { lookup } = answering(address)
    expect(await connecting(`http://rebind.example:${port}`, lookup)).toMatchObject(refused)
    const { publicOnly } = createTransports(lookup)
    await expect(publicOnly.fetch(`http://rebind.example:${port}/`)).rejects.toMatchObject(refused)
    const silent = {
      text: () => undefined,
      binary: () => undefined,
      alive: () => undefined,
      closed: () => undefined,
    }
    await expect(
      publicOnly.socket(
        `ws://rebind.example:${port}/`,
        { headers: [], timeoutMs: 1000, maxBytes: 1000 },
        silent,
      ),
    ).rejects.toMatchObject(refused)
  }
  expect(seen).toEqual({ connections: 0, bytes: 0 })
})

it.each(vectors.ssrf_hosts)('never reach %s [H-C4]', async (host) => {
  const { lookup } = answering('127.0.0.1')
  expect(await connecting(`https://${host}`, lookup)).toMatchObject(refused)
  await expect(createTransports(lookup).publicOnly.fetch(`https://${host}/`)).rejects.toMatchObject(refused)
})

it('of a name with addresses inside and outside go outside', async () => {
  const connected = new Promise<unknown>((resolve) => {
    const { socket } = take(
      createPool('http://two.example', {
        now: () => 0,
        lookup: publicLookup(answering('127.0.0.1', '1.1.1.1', '10.0.0.1').lookup),
      }),
      told(() => undefined),
      'any',
    )
    socket
      .on('error', () => undefined)
      .once('lookup', (_error, address) => {
        socket.destroy()
        resolve(address)
      })
  })
  expect(await connected).toBe('1.1.1.1')
})

it('are asked for by whoever adds a server on a private network, and only there', async () => {
  const at = (...addresses: string[]) => answering(...addresses).lookup
  expect(await isPrivateHost('10.0.0.1')).toBe(true)
  expect(await isPrivateHost('backend')).toBe(true)
  expect(await isPrivateHost('[::1]')).toBe(true)
  expect(await isPrivateHost('8.8.8.8')).toBe(false)
  expect(await isPrivateHost('mcp.example.com', at('1.1.1.1'))).toBe(false)
  expect(await isPrivateHost('mcp.example.com', at('192.168.1.4'))).toBe(true)
  // Nobody knows yet; what it turns out to be is judged when it does.
  expect(await isPrivateHost('mcp.example.com', at())).toBe(false)
  expect(await isPrivateHost('mcp.example.com', () => Promise.reject(new Error('ENOTFOUND')))).toBe(false)
})
