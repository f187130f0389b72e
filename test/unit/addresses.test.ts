// Which addresses are global unicast.
import { describe, expect, test } from 'vitest'
import { isAddress, isGlobalAddress, isLocalName, networkOf } from '../../src/kit/addresses.ts'
import vectors from '../data/outbound-hosts.json' with { type: 'json' }

const hostOf = (host: string): string => new URL(`https://${host}/`).hostname

const closed = [
  '0.0.0.0',
  '0.1.2.3',
  '10.0.0.1',
  '10.255.255.255',
  '100.64.0.1',
  '100.127.255.255',
  '127.0.0.1',
  '127.255.255.254',
  '169.254.0.1',
  '169.254.169.254',
  '172.16.0.1',
  '172.31.255.255',
  '192.0.0.1',
  '192.0.0.170',
  '192.0.2.255',
  '192.88.99.1',
  '192.168.0.0',
  '192.168.255.255',
  '198.18.0.1',
  '198.19.255.255',
  '198.51.100.7',
  '203.0.113.9',
  '224.0.0.1',
  '239.255.255.255',
  '240.0.0.1',
  '255.255.255.255',
  '::',
  '::1',
  '::7f00:1',
  '::8.8.8.8',
  '::ffff:10.0.0.1',
  '::ffff:0:7f00:1',
  '64:ff9b::a9fe:a9fe',
  '64:ff9b::10.0.0.1',
  '64:ff9b:1::1',
  '64:ff9b:1:8:8:8:808:808',
  '100::1',
  '100:0:0:1::1',
  '2001::1',
  '2001:0:4136:e378:8000:63bf:3fff:fdd2',
  '2001:2::1',
  '2001:10::1',
  '2001:20::1',
  '2001:1ff:ffff::1',
  '2001:db8::1',
  '2002:7f00:1::',
  '2002:c0a8:101::1',
  '2002:a9fe:a9fe::1',
  '3ffe::1',
  '3fff::1',
  '3fff:fff::1',
  '2606:4700::5efe:7f00:1',
  '2606:4700::200:5efe:a00:1',
  '4000::1',
  '5f00::1',
  'fc00::1',
  'fdff::1',
  'fe80::1',
  'fe80::5efe:7f00:1',
  'fec0::1',
  'feff::1',
  'ff02::1',
  'ff0e::1',
  '8000::1',
  'fe80::1',
]
const open = [
  '1.1.1.1',
  '8.8.8.8',
  '9.255.255.255',
  '11.0.0.0',
  '100.63.255.255',
  '100.128.0.0',
  '126.255.255.255',
  '128.0.0.0',
  '169.253.255.255',
  '169.255.0.0',
  '172.15.255.255',
  '172.32.0.0',
  '192.0.1.0',
  '192.0.3.0',
  '192.88.98.255',
  '192.88.100.0',
  '192.167.255.255',
  '192.169.0.0',
  '198.17.255.255',
  '198.20.0.0',
  '198.51.99.255',
  '198.51.101.0',
  '203.0.112.255',
  '203.0.114.0',
  '223.255.255.255',
  '2001:200::1',
  '2001:4860:4860::8888',
  '2001:db7:ffff::1',
  '2001:db9::1',
  '2606:4700::1111',
  '2a00::1',
  '2c0f::1',
  '::ffff:8.8.8.8',
  '64:ff9b::808:808',
  '2002:808:808::1',
  '2606:4700::5efe:808:808',
  '2606:4700::100:5efe:7f00:1',
  '3ffd::1',
  '3fff:1000::1',
]

describe('global unicast', () => {
  test.each(closed)('%s is no place to connect to [H-C4]', (address) => {
    expect(isAddress(address)).toBe(true)
    expect(isGlobalAddress(address)).toBe(false)
  })
  test.each(open)('%s is public', (address) => expect(isGlobalAddress(address)).toBe(true))
  test('every spelling that a URL parser turns into an address is judged as that address', () => {
    for (const host of [
      '2130706433',
      '0x7f000001',
      '017700000001',
      '127.1',
      '0',
      '127。0。0。1',
      '１２７.0.0.1',
      '[::ffff:127.0.0.1]',
      '[0:0:0:0:0:0:0:1]',
    ]) {
      expect(isAddress(hostOf(host)), host).toBe(true)
      expect(isGlobalAddress(hostOf(host)), host).toBe(false)
    }
  })
  test('what is not an address is not a global one', () => {
    for (const text of [
      '',
      'example.com',
      '1.2.3.4.5',
      '256.1.1.1',
      '[]',
      '1.1.1.1.nip.io',
      ':::1',
      '1.1.1.1/8',
      '1.1.1.1/@8.8.8.8',
      '8.8.8.8#',
      '8.8.8.8:80',
      'user@8.8.8.8',
      '[8.8.8.8]',
      'fe80::1%eth0',
      '2606:4700::1111%eth0',
      '[2606:4700::1111]:80',
    ])
      expect(isGlobalAddress(text), text).toBe(false)
  })
  test.each(vectors.ssrf_public_controls)('control %s is not falsely blocked', (host) =>
    expect(isGlobalAddress(hostOf(host))).toBe(true),
  )
})

describe('names of this machine', () => {
  test.each([
    'localhost',
    'LOCALHOST',
    'localhost.',
    'app.localhost',
    'printer.local',
    'metadata.google.internal',
    'metadata',
    'redis',
    'router.home.arpa',
    'nas.lan',
    'x.corp.',
    '.',
    '',
  ])('%s is local', (name) => expect(isLocalName(name)).toBe(true))
  test.each([
    'example.com',
    'localhost.example.com',
    'local.dev',
    'internal.example',
    '127.0.0.1.nip.io',
    'notlocalhost.net',
    'claude.ai',
  ])('%s is not', (name) => expect(isLocalName(name)).toBe(false))
})

describe('the network of a caller', () => {
  test.each([
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['64:ff9b::192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2::1', '20010db800010002/64'],
    ['2001:DB8:1:2:ffff:ffff:ffff:ffff', '20010db800010002/64'],
    ['2001:db8:1:3::1', '20010db800010003/64'],
    ['fe80::1%eth0', 'fe80000000000000/64'],
    ['127.0.0.1', 'loopback'],
    ['127.8.8.8', 'loopback'],
    ['::1', 'loopback'],
    ['', ''],
    ['unknown', 'unknown'],
  ])('of %s is %s', (address, network) => expect(networkOf(address)).toBe(network))
})
