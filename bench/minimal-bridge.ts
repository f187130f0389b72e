// The measure of the stdio bridge: the smallest one that a careful hand would write on node:http, for one
// process and one session: a verified token from a cache, the method and tool from the body against an
// allow-list, requests under ids of its own, answers under the caller's. Usage: node bench/minimal-bridge.ts
// <token> <command> [argument …]
import { spawn } from 'node:child_process'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

const [, , token = '', command = '', ...args] = process.argv
const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
const verified = new Map([[`Bearer ${token}`, { id: '1', until: Date.now() + 3_600_000 }]])
const allowed = new Set(['tools/call echo', 'initialize undefined'])

interface Message {
  id: number | string
  readonly method: string
  readonly params?: { readonly name?: string }
}

const waiting = new Map<number, { readonly id: number | string; readonly response: ServerResponse }>()
let ids = 0
let begun = ''

child.stdout.setEncoding('utf8').on('data', (text: string) => {
  const lines = (begun + text).split('\n')
  begun = lines.pop() ?? ''
  for (const line of lines) {
    const message = JSON.parse(line) as Message
    const call = waiting.get(message.id as number)
    if (!call) continue
    waiting.delete(message.id as number)
    message.id = call.id
    const body = JSON.stringify(message)
    call.response.writeHead(200, [
      'Content-Type',
      'application/json',
      'Content-Length',
      String(Buffer.byteLength(body)),
    ])
    call.response.end(body)
  }
})

const refuse = (response: ServerResponse, status: number): void =>
  void response.writeHead(status, { 'content-length': 0 }).end()

const server = createServer((request, response) => {
  const who = verified.get(request.headers.authorization ?? '')
  if (!who || who.until < Date.now()) return refuse(response, 401)
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const message = JSON.parse(
      (chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)).toString(),
    ) as Message
    if (!allowed.has(`${message.method} ${message.params?.name}`)) return refuse(response, 403)
    const own = ++ids
    waiting.set(own, { id: message.id, response })
    response.on('close', () => waiting.delete(own))
    message.id = own
    child.stdin.write(`${JSON.stringify(message)}\n`)
  })
})
process.on('SIGTERM', () => {
  child.kill()
  process.exit(0)
})
server.keepAliveTimeout = 65_000
server.listen(0, '127.0.0.1', () =>
  process.stdout.write(`listening ${(server.address() as AddressInfo).port}\n`),
)
