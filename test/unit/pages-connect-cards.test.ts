// Every way to connect a client, read back the way the client would read it.
import { describe, expect, test } from 'vitest'
import { clientRecipes, shellWord } from '../../src/kit/client-recipes.ts'

const name = 'jira'
const url = 'https://mcp.example.com/jira/mcp?team=a&b=ü+1'
const cards = new Map(clientRecipes({ name, url, reachable: true }).map((card) => [card.id, card]))

const link = (id: string, start: string): URL => {
  const found = cards.get(id)?.links.find(({ href }) => href.startsWith(start))
  if (!found) throw new Error(`${id} has no link ${start}`)
  return new URL(found.href)
}
const fromBase64 = (text: string | null): unknown =>
  JSON.parse(Buffer.from(text ?? '', 'base64').toString('utf8'))

describe('connection cards', () => {
  test('Cursor reads the server from its scheme link and from the https link', () => {
    for (const start of [
      'cursor://anysphere.cursor-deeplink/mcp/install?',
      'https://cursor.com/en/install-mcp?',
    ]) {
      const { searchParams } = link('cursor', start)
      expect(searchParams.get('name')).toBe(name)
      expect(fromBase64(searchParams.get('config'))).toEqual({ url })
    }
  })

  test('VS Code reads the server from its scheme link, the https links and its command', () => {
    const scheme = link('vscode', 'vscode:mcp/install?')
    expect(JSON.parse(decodeURIComponent(scheme.search.slice(1)))).toEqual({ name, type: 'http', url })
    for (const start of [
      'https://vscode.dev/redirect/mcp/install?',
      'https://insiders.vscode.dev/redirect/mcp/install?',
    ]) {
      const { searchParams } = link('vscode', start)
      expect(searchParams.get('name')).toBe(name)
      expect(JSON.parse(searchParams.get('config') ?? '')).toEqual({ type: 'http', url })
    }
    const [, json] = /^code --add-mcp '(.*)'$/.exec(cards.get('vscode')?.commands[0] ?? '') ?? []
    expect(JSON.parse(json ?? '')).toEqual({ name, type: 'http', url })
  })

  test('LM Studio reads the server from its scheme link', () => {
    const { searchParams } = link('lm-studio', 'lmstudio://add_mcp?')
    expect(fromBase64(searchParams.get('config'))).toEqual({ url })
  })

  test('Claude Desktop reads the server from its configuration file', () => {
    expect(JSON.parse(cards.get('claude-desktop')?.snippet?.text ?? '')).toEqual({
      mcpServers: { jira: { command: 'npx', args: ['-y', 'mcp-remote', url] } },
    })
  })

  test('command lines are what the clients document', () => {
    const plain = new Map(
      clientRecipes({ name: 'demo', url: 'http://localhost:8080/demo/mcp', reachable: false }).map((card) => [
        card.id,
        card.commands,
      ]),
    )
    expect(plain.get('claude-code')).toEqual([
      'claude mcp add --transport http demo http://localhost:8080/demo/mcp',
    ])
    expect(plain.get('codex')).toEqual([
      'codex mcp add demo --url http://localhost:8080/demo/mcp',
      'codex mcp login demo',
    ])
    expect(plain.get('inspector')).toEqual([
      'npx -y -p node@24 -p @modelcontextprotocol/inspector@latest mcp-inspector --server-url http://localhost:8080/demo/mcp --transport http',
    ])
  })

  test('claude.ai and ChatGPT say that they need a public https URL when they cannot reach the gateway', () => {
    for (const reachable of [true, false]) {
      const hosted = clientRecipes({ name, url, reachable }).filter(
        ({ id }) => id === 'claude-ai' || id === 'chatgpt',
      )
      expect(hosted).toHaveLength(2)
      for (const card of hosted) {
        expect(card.available).toBe(reachable)
        expect(card.note?.includes('public https URL') ?? false).toBe(!reachable)
        expect(card.steps.length > 0).toBe(reachable)
      }
    }
  })

  test('nothing in a name or URL becomes a second shell word', () => {
    expect(shellWord('a b')).toBe("'a b'")
    expect(shellWord("a'; rm -rf ~; '")).toBe(String.raw`'a'\''; rm -rf ~; '\'''`)
    expect(shellWord('-x')).toBe("'-x'")
    expect(shellWord('https://a.example/x?y=1&z=2')).toBe("'https://a.example/x?y=1&z=2'")
    expect(shellWord('')).toBe("''")
  })
})
