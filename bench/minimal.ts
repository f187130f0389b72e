// The measure: the smallest proxy on node:http and undici's dispatch that a careful hand would write, tuned,
// for one upstream. `bare` forwards and nothing else. `job` does what a gateway must at the least: a verified
// token from a cache, the method and tool from the body against an allow-list, hop-by-hop and identity fields
// dropped, identity written. Usage: node bench/minimal.ts <upstream origin> <bare|job> <token>
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Dispatcher, Pool } from 'undici'

const [, , origin = '', mode = 'bare', token = ''] = process.argv
const pool = new Pool(origin, { pipelining: 1, headersTimeout: 0, bodyTimeout: 0 })

const drop = new Set([
  'host',
  'connection',
  'content-length',
  'transfer-encoding',
  'keep-alive',
  'authorization',
  'cookie',
  'x-user-id',
  'x-user-email',
  'x-user-name',
  'expect',
  'upgrade',
  'te',
  'trailer',
])
const hop = new Set(['connection', 'keep-alive', 'transfer-encoding'])
const keep = new Map<string, boolean>()
const kept = (name: string, list: ReadonlySet<string>, prefix: string): boolean => {
  const key = prefix + name
  let known = keep.get(key)
  if (known === undefined) keep.set(key, (known = !list.has(name.toLowerCase())))
  return known
}
const verified = new Map([
  [`Bearer ${token}`, { id: '1', email: 'ada@example.test', name: 'Ada', until: Date.now() + 3_600_000 }],
])
const allowed = new Set(['tools/call echo'])

interface Call extends Dispatcher.DispatchHandler {
  response: ServerResponse | undefined
  controller: Dispatcher.DispatchController | undefined
  head: string[]
  status: number
  held: Buffer | undefined
}

function onRequestStart(this: Call, controller: Dispatcher.DispatchController): void {
  this.controller = controller
  if (!this.response) controller.abort(new Error('left'))
}
function onResponseStart(this: Call, controller: Dispatcher.DispatchController, status: number): void {
  const raw = controller.rawHeaders as Buffer[]
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] as Buffer).toString('latin1')
    if (kept(name, hop, '<')) this.head.push(name, (raw[i + 1] as Buffer).toString('latin1'))
  }
  this.status = status
}
function onResponseData(this: Call, controller: Dispatcher.DispatchController, chunk: Buffer): void {
  const { response } = this
  if (!response) return
  if (!response.headersSent && !this.held) {
    this.held = chunk
    process.nextTick(flush, this)
    return
  }
  if (this.held) flush(this)
  if (!response.write(chunk)) {
    controller.pause()
    response.once('drain', () => controller.resume())
  }
}
const flush = (call: Call): void => {
  const { response, held } = call
  if (!response || !held) return
  call.held = undefined
  if (!response.headersSent) response.writeHead(call.status, call.head)
  response.write(held)
}
function onResponseEnd(this: Call): void {
  const { response, held } = this
  if (!response) return
  this.response = undefined
  if (!response.headersSent) response.writeHead(this.status, this.head)
  response.end(held)
  this.held = undefined
  this.controller = undefined
}
function onResponseError(this: Call): void {
  const { response } = this
  this.response = undefined
  if (!response) return
  if (response.headersSent) response.destroy()
  else response.writeHead(502, { 'content-length': 0 }).end()
}

const forward = (
  request: IncomingMessage,
  response: ServerResponse,
  headers: string[],
  body: Buffer | null,
): void => {
  const call: Call = {
    response,
    controller: undefined,
    head: [],
    status: 0,
    held: undefined,
    onRequestStart,
    onResponseStart,
    onResponseData,
    onResponseEnd,
    onResponseError,
  }
  response.on('close', () => {
    if (!call.response) return
    call.response = undefined
    call.controller?.abort(new Error('left'))
  })
  pool.dispatch(
    { path: request.url ?? '/', method: request.method as Dispatcher.HttpMethod, headers, body },
    call,
  )
}

const refuse = (response: ServerResponse, status: number): void =>
  void response.writeHead(status, { 'content-length': 0 }).end()

const server = createServer((request, response) => {
  const raw = request.rawHeaders
  const headers: string[] = []
  let authorization = ''
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string
    if (kept(name, drop, '>')) headers.push(name, raw[i + 1] as string)
    else if (name.length === 13 && name.toLowerCase() === 'authorization')
      authorization = raw[i + 1] as string
  }
  if (mode === 'job') {
    const who = verified.get(authorization)
    if (!who || who.until < Date.now()) return refuse(response, 401)
    headers.push('X-User-Id', who.id, 'X-User-Email', who.email, 'X-User-Name', who.name)
  }
  if (request.method === 'GET') return forward(request, response, headers, null)
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const body = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
    if (mode === 'job') {
      const message = JSON.parse(body.toString()) as { method: string; params: { name: string } }
      if (!allowed.has(`${message.method} ${message.params.name}`)) return refuse(response, 403)
    }
    forward(request, response, headers, body)
  })
})
process.on('SIGTERM', () => process.exit(0))
server.keepAliveTimeout = 65_000
server.listen(0, '127.0.0.1', () =>
  process.stdout.write(`listening ${(server.address() as AddressInfo).port}\n`),
)
