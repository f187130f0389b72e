// What makes a service another one under the same id.
import { describe, expect, it } from 'vitest'
import { type ConfigInput, parseConfig } from '../../src/config/schema.ts'
import { digest } from '../../src/node/crypto.ts'
import { generationOf } from '../../src/services/from-config.ts'

type Written = NonNullable<ConfigInput['mcp_services']>[string]
const of = (service: Written, addedAt?: number): string => {
  const { mcp_services: all } = parseConfig({ mcp_services: { it: service } })
  return generationOf(digest, all['it'] as NonNullable<(typeof all)['it']>, addedAt)
}
const same: readonly (readonly [string, Written, Written])[] = [
  ['a new key in the query', { url: 'https://a.example/mcp?key=1' }, { url: 'https://a.example/mcp?key=2' }],
  ['a slash at the end', { url: 'https://a.example' }, { url: 'https://a.example/' }],
  [
    'another name, scopes, timeouts and credentials',
    { url: 'https://a.example/mcp' },
    { url: 'https://a.example/mcp', name: 'A', scopes: ['x'], timeout: 5, upstream_auth: { type: 'none' } },
  ],
  [
    'a newer version of a package',
    { command: 'npx', args: ['-y', '@scope/server@1.2.3', '/data'] },
    { command: 'npx', args: ['-y', '@scope/server@latest', '/data'] },
  ],
  [
    'a version that was not named before',
    { command: 'uvx', args: ['server'] },
    { command: 'uvx', args: ['server==2.0'] },
  ],
  [
    'a newer image',
    { command: 'docker', args: ['run', '-i', 'mcp/fetch:1.0'] },
    { command: 'docker', args: ['run', '-i', 'mcp/fetch:1.1'] },
  ],
  [
    'another option and environment',
    { command: 'server', args: ['--verbose'] },
    { command: 'server', args: ['--quiet'], env: { A: '1' } },
  ],
]
const other: readonly (readonly [string, Written, Written])[] = [
  ['another host', { url: 'https://a.example/mcp' }, { url: 'https://b.example/mcp' }],
  ['another port', { url: 'https://a.example/mcp' }, { url: 'https://a.example:8443/mcp' }],
  ['another scheme', { url: 'https://a.example/mcp' }, { url: 'http://a.example/mcp' }],
  ['another path', { url: 'https://a.example/one/mcp' }, { url: 'https://a.example/two/mcp' }],
  ['a command in place of a URL', { url: 'https://a.example/mcp' }, { command: 'server' }],
  [
    'another package',
    { command: 'npx', args: ['-y', '@scope/server'] },
    { command: 'npx', args: ['-y', '@other/server'] },
  ],
  [
    'another folder',
    { command: 'npx', args: ['-y', 'files', '/a'] },
    { command: 'npx', args: ['-y', 'files', '/b'] },
  ],
  ['another program', { command: 'one' }, { command: 'two' }],
]

describe('a configured service', () => {
  it.each(same)('is the same with %s', (_, before, after) => expect(of(after)).toBe(of(before)))
  it.each(other)('is another with %s', (_, before, after) => expect(of(after)).not.toBe(of(before)))
})

describe('an added service', () => {
  const service = { url: 'https://a.example/mcp' }
  it('is the same as long as it is not added again', () => expect(of(service, 1)).toBe(of(service, 1)))
  it('is another when it was removed and added again, or written into the configuration', () =>
    expect(new Set([of(service, 1), of(service, 2), of(service)]).size).toBe(3))
  it('shows nothing of what it is', () =>
    expect(of({ command: 'x', args: ['secret'] })).toMatch(/^[\w-]{22}$/))
})
