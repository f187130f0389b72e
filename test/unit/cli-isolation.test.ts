// What the start says of servers that are commands and run with all the rights of the gateway's user.
import { describe, expect, it } from 'vitest'
import { isolationText } from '../../src/cli/terminal.ts'
import { configOf } from './config-world.ts'

const said = async (
  services: string,
  isolation: { readonly program: string } | { readonly missing: string },
) => {
  const heard: unknown[] = []
  isolationText(await configOf(services === '' ? '' : `mcp_services:\n${services}`), {
    isolation: () => isolation,
    log: (level, event, fields) => void heard.push([level, event, fields?.['message']]),
  })
  return heard
}
const missing = { missing: 'bubblewrap is not installed (Debian and Ubuntu: apt install bubblewrap)' }

describe('the start', () => {
  it('says plainly which commands will run without isolation, why, and how to say that this is meant', async () => {
    expect(
      await said(
        '  a: { command: x }\n  b: { command: y }\n  c: { command: z, sandbox: none }\n  d: { url: "https://d.example/mcp" }',
        missing,
      ),
    ).toEqual([
      [
        'warn',
        'process.unisolated',
        'a, b will run without isolation, with all permissions of this user: bubblewrap is not installed (Debian and Ubuntu: apt install bubblewrap). Set `sandbox: none` to silence this warning.',
      ],
    ])
  })

  it('says which cannot start because isolation is demanded and missing', async () => {
    expect(await said('  a: { command: x, sandbox: bubblewrap }', missing)).toEqual([
      [
        'warn',
        'process.unisolated',
        'a cannot start, because `sandbox: bubblewrap` requires isolation: bubblewrap is not installed (Debian and Ubuntu: apt install bubblewrap).',
      ],
    ])
  })

  it('says that isolated commands reach loopback addresses: louder where another service listens there', async () => {
    const bwrap = { program: '/usr/bin/bwrap' }
    const end =
      'bubblewrap can only block the network as a whole. Set `sandbox_network: false` for commands that need no network.'
    expect(
      await said(
        '  a: { command: x }\n  b: { command: y, sandbox_network: false }\n  c: { command: z, sandbox: none }\n  d: { url: "https://d.example/mcp" }',
        bwrap,
      ),
    ).toEqual([['info', 'process.loopback', `a can connect to programs on localhost: ${end}`]])
    expect(
      await said(
        '  a: { command: x }\n  d: { url: "http://127.0.0.1:3000/mcp" }\n  e: { url: "http://localhost:3001/mcp" }',
        bwrap,
      ),
    ).toEqual([
      ['warn', 'process.loopback', `a can connect to programs on localhost, including d, e: ${end}`],
    ])
  })

  it('says nothing where isolation is whole, nothing to isolate, or none wanted', async () => {
    expect(await said('  a: { command: x, sandbox_network: false }', { program: '/usr/bin/bwrap' })).toEqual(
      [],
    )
    expect(await said('  a: { command: x, sandbox: none }', missing)).toEqual([])
    expect(await said('', missing)).toEqual([])
  })
})
