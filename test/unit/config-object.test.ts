// A configuration that is an object already, as a Worker has it: what it means is what the same JSON text
// means.
import { describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load.ts'
import { type Fault, faultText } from '../../src/config/tree.ts'

const env = { TOKEN: 'k'.repeat(20), WAIT: '5000' }
const told = async (
  file: { readonly path: string; readonly text: string } | { readonly path: string; readonly value: object },
  workers = false,
) => {
  const loaded = await loadConfig({ file, env, workers })
  const faults = loaded.ok ? [] : loaded.faults
  // Where there are no lines, their order is not there either.
  const sorted = (found: readonly Fault[]) =>
    found.map((fault) => faultText(fault).replace(/^POSTERN_CONFIG(:\d+:\d+)? ?/, '')).toSorted()
  return {
    config: loaded.ok ? loaded.config : undefined,
    faults: sorted(faults),
    warnings: sorted(loaded.warnings),
  }
}
const deep = (levels: number): object => (levels === 0 ? {} : { a: deep(levels - 1) })

describe('a configuration as an object', () => {
  it.each<[string, object]>([
    ['nothing', {}],
    [
      'services and people',
      {
        mcp_services: { a: { url: 'https://a.example/mcp', timeout: 60_000, scopes: ['mcp'] } },
        local_users: [{ username: 'ana', password: 'correct horse' }],
      },
    ],
    [
      'variables in text, read as the type of their key',
      {
        mcp_services: {
          a: {
            url: 'https://a.example/mcp',
            timeout: '${WAIT}',
            upstream_auth: { type: 'static', headers: { 'X-Key': '${TOKEN}' } },
          },
        },
      },
    ],
    [
      'a variable that is not set, and one that is misspelt',
      { mcp_services: { a: { url: '${NOWHERE}', description: '${TOKE}' } } },
    ],
    ['empty sections', { mcp_services: null, cors: null, local_users: null }],
    ['unknown keys and wrong types', { mcp_service: {}, port: 'high', local_users: [{ username: 1 }] }],
    ['too deep', { mcp_services: { a: deep(50) } }],
    [
      'the file of an MCP client',
      {
        mcpServers: {
          files: { command: 'npx', args: ['-y', 'server'] },
          far: { url: 'https://far.example/mcp' },
        },
      },
    ],
    ['a list', []],
  ])('is what its text is: %s', async (_, value) => {
    expect(await told({ path: 'POSTERN_CONFIG', value })).toEqual(
      await told({ path: 'POSTERN_CONFIG', text: JSON.stringify(value, undefined, 2) }),
    )
  })

  it('names no line, and has no prototype to be changed', async () => {
    const loaded = await loadConfig({
      file: {
        path: 'POSTERN_CONFIG',
        value: JSON.parse('{"__proto__":{"debug":true},"mcp_service":{}}') as object,
      },
      env: {},
    })
    expect(loaded.ok ? [] : loaded.faults.map(faultText)).toEqual([
      'POSTERN_CONFIG – a key cannot be named __proto__',
    ])
    expect(Object.prototype).not.toHaveProperty('debug')
  })

  it('is refused on Workers for a command, also one that came with the file of an MCP client', async () => {
    const value = {
      mcpServers: {
        files: { command: 'npx', args: ['-y', 'server'] },
        far: { url: 'https://far.example/mcp' },
      },
    }
    expect((await told({ path: 'POSTERN_CONFIG', value }, true)).faults).toEqual([
      expect.stringMatching(
        /^mc\S+\.files\S* – cannot be used on Workers, which cannot start programs: set `url` to a remote MCP server, or run the gateway on Node$/,
      ),
    ])
  })
})
