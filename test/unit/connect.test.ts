// The configuration files of clients: one server is added, and everything else stays as its owner wrote it.
import { describe, expect, it } from 'vitest'
import { withServer } from '../../src/cli/connect.ts'
import { StartError } from '../../src/cli/output.ts'

const entry = { url: 'http://localhost:8080/jira/mcp' }

describe('a server in the file of a client', () => {
  it.each([
    ['', { mcpServers: { jira: entry } }],
    ['{}', { mcpServers: { jira: entry } }],
    ['{"theme":"dark","mcpServers":{}}', { theme: 'dark', mcpServers: { jira: entry } }],
    [
      '{"mcpServers":{"other":{"command":"x"},"jira":{"url":"http://old"}}}',
      { mcpServers: { other: { command: 'x' }, jira: entry } },
    ],
  ])('%j', (text, expected) => {
    const changed = withServer(text, 'mcp.json', 'jira', entry)
    expect(JSON.parse(changed)).toEqual(expected)
    expect(withServer(changed, 'mcp.json', 'jira', entry)).toBe(changed)
  })

  it('leaves comments and order', () => {
    const text =
      '{\n  // mine\n  "mcpServers": {\n    "other": {\n      "command": "x" // keep\n    }\n  },\n  "z": 1\n}\n'
    expect(withServer(text, 'mcp.json', 'jira', entry)).toBe(
      '{\n  // mine\n  "mcpServers": {\n    "other": {\n      "command": "x" // keep\n    },\n    "jira": {\n      "url": "http://localhost:8080/jira/mcp"\n    }\n  },\n  "z": 1\n}\n',
    )
  })

  it.each(['{', '[]', '"text"', '{"mcpServers":[]}', 'null', '{"mcpServers":null}'])(
    'is not written into %j',
    (text) => {
      expect(() => withServer(text, 'mcp.json', 'jira', entry)).toThrow(
        new StartError('connect.file', 'mcp.json is not the JSON that was expected. Nothing was changed.'),
      )
    },
  )
})
