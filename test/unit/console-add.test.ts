// Adding services in the console: what is made of what somebody types, and a page that arrives step by step.
import { expect, it } from 'vitest'
import { suggestedId, wantedFrom } from '../../src/admin/console-add.ts'
import { createConsolePages } from '../../src/pages/console/pages.ts'
import { calm } from '../pages/console-frame.ts'
import { hostileNames } from '../pages/states.ts'

it.each([
  ['https://mcp.jira.example/mcp', 'jira'],
  ['https://api.example.com', 'example'],
  ['wss://tools.example.com/ws', 'tools'],
  ['https://mcp.api', 'mcp'],
  ['npx -y @modelcontextprotocol/server-filesystem .', 'filesystem'],
  ['uvx mcp-server-git --repository .', 'git'],
  ['node ./weather/server.js', 'server'],
  ['/opt/tools/grafana.exe', 'grafana'],
  ['npx -y 日本', ''],
])('%s is called %s', (source, id) => expect(suggestedId(source)).toBe(id))

it('takes a URL, a command or a block of a client', () => {
  const wanted = (source: string, id = '') => wantedFrom(source, id).wanted
  expect(wanted('https://a.example/mcp', 'mine')).toEqual([
    { id: 'mine', service: { url: 'https://a.example/mcp' } },
  ])
  expect(wanted('npx -y "a b" c')).toEqual([
    { id: 'a-b', service: { command: 'npx', args: ['-y', 'a b', 'c'] } },
  ])
  const block = {
    servers: { Wiki: { type: 'sse', url: 'https://w.example/sse', headers: { 'X-Key': '${KEY}' } }, bad: 1 },
  }
  expect(wantedFrom(JSON.stringify(block), '')).toEqual({
    wanted: [
      {
        id: 'wiki',
        service: {
          name: 'Wiki',
          url: 'https://w.example/sse',
          transport: 'sse',
          upstream_auth: { type: 'static', headers: { 'X-Key': '${KEY}' } },
        },
      },
    ],
    notes: [expect.stringContaining('servers.bad') as unknown],
  })
  expect(wanted('{"mcpServers":{"a":{"command":"x"}}}', 'mine').map(({ id }) => id)).toEqual(['mine'])
  const many = Object.fromEntries(Array.from({ length: 21 }, (_, i) => [`s${i}`, { command: 'x' }]))
  expect(() => wanted(JSON.stringify({ mcpServers: many }))).toThrow('service.invalid')
  expect(() => wanted('x'.repeat(100_001))).toThrow('service.invalid')
  expect(() => wanted(`{"mcpServers":${'['.repeat(5000)}${']'.repeat(5000)}}`)).toThrow('service.invalid')
  expect(
    wanted('{"__proto__":{"mcpServers":{}},"mcpServers":{"a":{"url":"https://a.example"}}}'),
  ).toHaveLength(1)
})

it('sends each step when it has happened, escaped, and ends whole whoever leaves', async () => {
  const pages = createConsolePages({ issuer: 'https://mcp.example.com', version: '0' })
  const held = Promise.withResolvers<void>()
  const response = pages.adding(
    calm,
    { source: hostileNames.markup, commands: true, count: 1 },
    async (push) => {
      push({ kind: 'service', id: 'a', where: `https://a.example/${hostileNames.markup}` })
      push({ kind: 'step', result: 'yes', say: hostileNames.markup })
      await held.promise
      push({ kind: 'failed', id: 'a', say: `<!--steps-->${hostileNames.markup}`, code: 'service.unusable' })
    },
  )
  expect(response.headers.get('content-security-policy')).toContain("default-src 'none'")
  const reader = (response.body as ReadableStream<Uint8Array>).getReader()
  const decoder = new TextDecoder()
  let text = ''
  while (!text.includes('Passed: ')) text += decoder.decode((await reader.read()).value, { stream: true })
  expect([
    text.includes('Checking the server'),
    text.includes('Not added'),
    text.includes('</html>'),
  ]).toEqual([true, false, false])
  held.resolve()
  for (let read = await reader.read(); !read.done; read = await reader.read())
    text += decoder.decode(read.value, { stream: true })
  expect(text.trimEnd().endsWith('</html>')).toBe(true)
  expect(text).not.toContain(hostileNames.markup)
  expect(text.match(/<section/g)?.length).toBe(text.match(/<\/section>/g)?.length)

  const left = pages.adding(calm, { commands: true, count: 1 }, async (push) => {
    await held.promise
    push({ kind: 'note', say: 'nobody reads this' })
  })
  await left.body?.cancel()
})
