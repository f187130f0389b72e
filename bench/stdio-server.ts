// The smallest MCP server on standard input and output: what it costs is not what is measured.
import { writeSync } from 'node:fs'

interface Message {
  readonly id?: number | string
  readonly method: string
  readonly params?: { readonly protocolVersion?: string; readonly arguments?: { readonly message?: string } }
}

const resultOf = ({ method, params }: Message): unknown => {
  if (method === 'initialize')
    return {
      protocolVersion: params?.protocolVersion,
      capabilities: { tools: {} },
      serverInfo: { name: 'bench', version: '1' },
    }
  if (method === 'tools/list') return { tools: [{ name: 'echo', inputSchema: { type: 'object' } }] }
  if (method === 'tools/call')
    return { content: [{ type: 'text', text: `Echo: ${params?.arguments?.message}` }] }
  return method === 'ping' ? {} : undefined
}

/** All of it, however often the pipe is full. */
const write = (text: string): void => {
  for (let rest = Buffer.from(text); rest.length > 0;) {
    try {
      rest = rest.subarray(writeSync(1, rest))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
    }
  }
}

let begun = ''
process.stdin.setEncoding('utf8').on('data', (text: string) => {
  const lines = (begun + text).split('\n')
  begun = lines.pop() ?? ''
  let answers = ''
  for (const line of lines) {
    const message = JSON.parse(line) as Message
    if (message.id === undefined) continue
    const result = resultOf(message)
    answers += `${JSON.stringify({ jsonrpc: '2.0', id: message.id, ...(result === undefined ? { error: { code: -32601, message: 'Method not found' } } : { result }) })}\n`
  }
  if (answers !== '') write(answers)
})
