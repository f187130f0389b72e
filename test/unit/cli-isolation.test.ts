// What the start says of servers that are commands and run with all the rights of the gateway's user.
import { describe, expect, it } from 'vitest'
import { sayIsolation } from '../../src/cli/isolation.ts'
import { configOf } from './config-world.ts'

const said = async (services: string, isolation: { readonly program: string } | { readonly missing: string }) => {
  const heard: unknown[] = []
  sayIsolation(await configOf(services === '' ? '' : `mcp_services:\n${services}`), { isolation: () => isolation, log: (level, event, fields) => void heard.push([level, event, fields?.['message']]) })
  return heard
}
const missing = { missing: 'bubblewrap is not installed (Debian and Ubuntu: apt install bubblewrap)' }

describe('the start', () => {
  it('says plainly which commands will run without isolation, why, and how to say that this is meant', async () => {
    expect(await said('  a: { command: x }\n  b: { command: y }\n  c: { command: z, sandbox: none }\n  d: { url: "https://d.example/mcp" }', missing)).toEqual([
      ['warn', 'process.unisolated', 'a, b will run without isolation, with the files and rights of this user: bubblewrap is not installed (Debian and Ubuntu: apt install bubblewrap). sandbox: none says that this is meant.'],
    ])
  })

  it('says which cannot start because isolation is demanded and missing', async () => {
    expect(await said('  a: { command: x, sandbox: bubblewrap }', missing)).toEqual([
      ['warn', 'process.unisolated', 'a cannot start: isolation is demanded (sandbox: bubblewrap) and bubblewrap is not installed (Debian and Ubuntu: apt install bubblewrap).'],
    ])
  })

  it('says nothing where there is isolation, nothing to isolate, or none wanted', async () => {
    expect(await said('  a: { command: x }', { program: '/usr/bin/bwrap' })).toEqual([])
    expect(await said('  a: { command: x, sandbox: none }', missing)).toEqual([])
    expect(await said('', missing)).toEqual([])
  })
})
