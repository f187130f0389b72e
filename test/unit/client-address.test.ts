// The client address behind reverse proxies: only trusted proxies are believed.
import type { IncomingMessage } from 'node:http'
import { expect, it } from 'vitest'
import { createClientAddress, createRequestContexts } from '../../src/node/serve.ts'

it('is the peer while no proxy is trusted, whatever the header says', () => {
  const clients = createClientAddress([])
  expect(clients.address('203.0.113.9', '10.0.0.1')).toBe('203.0.113.9')
  expect(clients.address('::ffff:203.0.113.9', undefined)).toBe('203.0.113.9')
})

it('is the first address from the right that no trusted proxy has', () => {
  const clients = createClientAddress(['10.0.0.0/8', '192.0.2.7', 'fd00::/8'])
  for (const [peer, header, address] of [
    // A trusted proxy tells of its client, and a chain of them of theirs.
    ['10.0.0.1', '203.0.113.9', '203.0.113.9'],
    ['10.0.0.1', '203.0.113.9, 192.0.2.7', '203.0.113.9'],
    ['::ffff:10.0.0.1', '203.0.113.9,10.1.2.3 , 192.0.2.7', '203.0.113.9'],
    ['fd00::1', '2001:db8::5', '2001:db8::5'],
    // What a client wrote itself stands further left, and nobody reads that far.
    ['10.0.0.1', '1.1.1.1, 203.0.113.9', '203.0.113.9'],
    ['10.0.0.1', '10.9.9.9, 203.0.113.9, 10.0.0.2', '203.0.113.9'],
    // A peer that is no proxy is not asked.
    ['203.0.113.9', '1.1.1.1', '203.0.113.9'],
    ['192.0.2.8', '1.1.1.1', '192.0.2.8'],
    // What is no address ends the walk.
    ['10.0.0.1', 'unknown', '10.0.0.1'],
    ['10.0.0.1', '203.0.113.9:443', '10.0.0.1'],
    ['10.0.0.1', '203.0.113.9, evil, 10.0.0.2', '10.0.0.2'],
    ['10.0.0.1', '', '10.0.0.1'],
    ['10.0.0.1', undefined, '10.0.0.1'],
  ] as const) {
    expect([peer, header, clients.address(peer, header)]).toEqual([peer, header, address])
  }
})

it('is read from all fields of that name, in any spelling, in their order', () => {
  const contextOf = createRequestContexts(['10.0.0.0/8'])
  const { ip, plainHttp } = contextOf({
    socket: { remoteAddress: '10.0.0.1' },
    rawHeaders: [
      ...['X-Forwarded-For', '1.1.1.1, 203.0.113.9', 'X-Forwarded-Fox', '192.0.2.1'],
      ...['x-forwarded-for', '10.0.0.2', 'X-FORWARDED-PROTO', 'http', 'x-forwarded-proto', 'https'],
    ],
  } as unknown as IncomingMessage)
  expect([ip, plainHttp]).toEqual(['203.0.113.9', true])
})
