// The internal hop: how the processes of one gateway ask one another about the sessions that each keeps. A listener of
// its own, which the public port never leads to. Both sides prove the shared root secret before anything is said (TLS
// with a pre-shared key, RFC 5489 and RFC 7905), so that whoever has taken the address of a process that is gone
// learns nothing; each request is authenticated besides, for one process, once, and for half a minute.
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import type { ConnectionOptions } from 'node:tls'
import { networkReason } from '../kit/log.ts'
import { createRecords } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { AnswerPeer } from '../ports/call.ts'
import type { PeerCall, PeerHead, Peers, Runtime } from '../ports/runtime.ts'

/** Where another process finds this one; sealed in the storage under the name of the process. */
interface StoredPeer {
  readonly host: string
  readonly port: number
  readonly version: string
  /** Id of the root secret that proves both sides. */
  readonly key: string
}

const lifetimeMs = 15_000
const renewMs = 5_000
const path = '/hop'
/** On every answer of a session: what another server answers there is not one. */
const mark = 'x-postern-hop'
const scheme = 'Postern-Hop'
/** How far the clocks of two processes may be apart, ms. */
const mostSkewMs = 30_000
/** Nonces of a minute are remembered: whoever sends more is no process of this gateway. */
const mostNonces = 200_000
const mostBytes = 134_217_728
const connectMs = 2_000

const secured = {
  ciphers: 'ECDHE-PSK-CHACHA20-POLY1305',
  minVersion: 'TLSv1.2',
  maxVersion: 'TLSv1.2',
} as const

type Keys = Runtime['keys']
interface Key {
  readonly id: string
  /** For the connection; other bytes than those that authenticate a request. */
  readonly psk: Buffer
}

const keyOf = async (keys: Keys, id: string): Promise<Key> => {
  const psk = await keys.mac('hop-connection', 'v1', id)
  if (!psk) throw new Refusal('upstream.unreachable', `the other process uses key ${id}, which is not here`)
  return { id, psk: Buffer.from(psk) }
}

// What is sent: the length of the head, the head as JSON, and the body of the call.

const pack = (head: PeerHead, body: Uint8Array = new Uint8Array()): Buffer => {
  const text = Buffer.from(JSON.stringify(head))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(text.length)
  return Buffer.concat([length, text, body])
}

const split = (packed: Buffer): { readonly head: Buffer; readonly body: Buffer } => {
  const length = packed.length < 4 ? 0 : packed.readUInt32BE()
  return { head: packed.subarray(4, 4 + length), body: packed.subarray(4 + length) }
}

const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('base64url')

interface Proof {
  /** The process that is asked. */
  readonly node: string
  /** Epoch ms. */
  readonly at: string
  readonly nonce: string
  readonly packed: Buffer
  /** Id of the root secret. */
  readonly key: string
}

const macOf = (keys: Keys, { node, at, nonce, packed, key }: Proof) => {
  const { head, body } = split(packed)
  const said = ['POST', path, node, at, nonce, digestOf(head), digestOf(body)].join('\n')
  return keys.mac('hop', said, key)
}

type HopRuntime = Pick<Runtime, 'now' | 'store' | 'keys' | 'log'> & {
  readonly about: { readonly version: string }
}

/** Why a request is not of a process of this gateway; undefined when it is. */
type Judge = (authorization: string | undefined, packed: Buffer) => Promise<string | undefined>

const createJudge = (node: string, { keys, now }: HopRuntime): Judge => {
  const nonces = new Map<string, number>()
  const isNew = (nonce: string, time: number): boolean => {
    for (const [old, until] of nonces) {
      if (until > time && nonces.size < mostNonces) break
      nonces.delete(old)
    }
    if (nonces.has(nonce)) return false
    nonces.set(nonce, time + 2 * mostSkewMs)
    return true
  }
  return async (authorization = '', packed) => {
    const [, key = '', at = '', nonce = '', mac = ''] =
      /^Postern-Hop ([\da-f]{8})\.(\d{1,15})\.([\w-]{22})\.([\w-]{43})$/.exec(authorization) ?? []
    const right = key === '' ? undefined : await macOf(keys, { node, at, nonce, packed, key })
    if (!right || !timingSafeEqual(Buffer.from(mac, 'base64url'), right)) return 'not authenticated'
    const time = now()
    if (Math.abs(Number(at) - time) > mostSkewMs) return 'sent more than 30 s from now'
    return isNew(nonce, time) ? undefined : 'sent before'
  }
}

// The side that keeps sessions.

const readPacked = async (request: IncomingMessage): Promise<Buffer> => {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of request as AsyncIterable<Buffer>) {
    bytes += piece.length
    if (bytes > mostBytes) throw new RangeError('too large')
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}

const writeResponse = async (
  { status, headers, body }: Response,
  to: ServerResponse,
  node: string,
): Promise<void> => {
  const fields = [...headers].flatMap(([name, value]) => (name === 'content-length' ? [] : [name, value]))
  to.writeHead(status, [...fields, mark, node])
  to.flushHeaders()
  if (body) {
    for await (const piece of Readable.fromWeb(body as Parameters<typeof Readable.fromWeb>[0]))
      if (!to.write(piece)) await once(to, 'drain')
  }
  to.end()
}

interface AnsweringDeps {
  readonly node: string
  readonly judge: Judge
  readonly log: Runtime['log']
  readonly answer: () => Promise<AnswerPeer>
}

const answerRequest = async (
  { node, judge, log, answer }: AnsweringDeps,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> => {
  const refuse = (status: number, why: string): void => {
    log('warn', 'hop.refused', { why, from: request.socket.remoteAddress })
    response.writeHead(status, { 'content-type': 'text/plain', connection: 'close' }).end()
  }
  if (request.method !== 'POST' || request.url !== path) return refuse(404, 'not the path of the hop')
  const packed = await readPacked(request)
  if (request.headers['x-postern-node'] !== node) return refuse(421, 'for another process')
  const wrong = await judge(request.headers.authorization, packed)
  if (wrong !== undefined) return refuse(401, wrong)
  const { head, body } = split(packed)
  const said = JSON.parse(head.toString()) as PeerHead
  const left = new AbortController()
  response.once('close', () => left.abort())
  const work = await answer()
  await writeResponse(
    await work(said, said.method === 'POST' ? body : undefined, left.signal),
    response,
    node,
  )
}

// The side that asks.

const isAbsent = (error: unknown): boolean => {
  const { code = '', message } = error as NodeJS.ErrnoException
  // Whoever answers there without the secret is somebody else.
  return (
    code === 'ECONNREFUSED' ||
    code === 'ENOTFOUND' ||
    code === 'EPROTO' ||
    code.startsWith('ERR_SSL') ||
    /ssl|TLS/.test(message)
  )
}

interface Target extends StoredPeer {
  readonly node: string
  readonly secret: Key
}

/** The answer, once its head is there. Rejects with the error of the connection, or `upstream.timeout`. */
const send = (
  agent: https.Agent,
  { node, host, port, secret }: Target,
  authorization: string,
  packed: Buffer,
  { signal, timeoutMs }: PeerCall,
): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const late = (why: string) => (): void =>
      void request.destroy(new Refusal('upstream.timeout', `${node} ${why}`))
    const options: https.RequestOptions & Pick<ConnectionOptions, 'pskCallback'> = {
      ...secured,
      ...{ agent, host, port, path, signal, method: 'POST' },
      headers: {
        authorization,
        'x-postern-node': node,
        'content-type': 'application/octet-stream',
        'content-length': packed.length,
      },
      pskCallback: () => ({ psk: secret.psk, identity: secret.id }),
      // The key has proved who it is.
      checkServerIdentity: () => undefined,
    }
    const request = https.request(options)
    let waiting = setTimeout(late('takes no connection'), connectMs)
    request.on('socket', (socket) => {
      const connected = (): void => {
        clearTimeout(waiting)
        waiting = setTimeout(late('does not answer'), timeoutMs)
      }
      if (!request.reusedSocket && socket.connecting) socket.once('secureConnect', connected)
      else connected()
    })
    request.on('response', (response) => {
      clearTimeout(waiting)
      resolve(response)
    })
    request.on('error', (error) => {
      clearTimeout(waiting)
      reject(error)
    })
    request.end(packed)
  })

const bodiless = new Set([204, 205, 304])

const responseOf = (answer: IncomingMessage): Response => {
  const headers = new Headers()
  for (let i = 0; i + 1 < answer.rawHeaders.length; i += 2) {
    const name = (answer.rawHeaders[i] as string).toLowerCase()
    if (!['connection', 'date', 'keep-alive', 'transfer-encoding', mark].includes(name))
      headers.append(name, answer.rawHeaders[i + 1] as string)
  }
  const { statusCode: status = 502 } = answer
  if (bodiless.has(status)) {
    answer.resume()
    return new Response(null, { status, headers })
  }
  return new Response(Readable.toWeb(answer) as ReadableStream<Uint8Array>, { status, headers })
}

/** Throws what the caller is told in place of an answer. */
const refuseFor = (node: string, status: number): never => {
  if (status === 421) throw new Refusal('session.unknown', `another process has the address of ${node}`)
  throw new Refusal('upstream.unreachable', `process ${node} refused the hop (${status})`)
}

const createAsk = (runtime: HopRuntime, agent: https.Agent, forget: (node: string) => Promise<unknown>) => {
  const { keys, now } = runtime
  return async (target: Target, call: PeerCall): Promise<Response> => {
    const { node, key } = target
    const packed = pack(call.head, call.body)
    const [at, nonce] = [String(now()), randomBytes(16).toString('base64url')]
    const mac = await macOf(keys, { node, at, nonce, packed, key })
    const proof = `${scheme} ${key}.${at}.${nonce}.${Buffer.from(mac as Uint8Array).toString('base64url')}`
    try {
      const answer = await send(agent, target, proof, packed, call)
      if (answer.headers[mark] === node) return responseOf(answer)
      answer.resume()
      return refuseFor(node, answer.statusCode ?? 0)
    } catch (error) {
      if (error instanceof Refusal && error.code !== 'session.unknown') throw error
      if (!(error instanceof Refusal) && !isAbsent(error))
        throw new Refusal('upstream.unreachable', `process ${node}: ${networkReason(error)}`)
      await forget(node).catch(() => undefined)
      throw new Refusal(
        'session.unknown',
        `process ${node} is gone: ${(error as Error).message.slice(0, 200)}`,
      )
    }
  }
}

// Both together.

export interface HopOptions {
  readonly listen: { readonly host: string; readonly port: number }
  /** Where the other processes reach it; absent: where it listens. */
  readonly address?: { readonly host: string; readonly port: number } | undefined
  /** As of `Peers`; default: 1. */
  readonly siblings?: number
  readonly runtime: HopRuntime
}

export interface PeerListener extends Peers {
  readonly port: number
  /** Other processes are answered from here on; what they ask earlier waits. */
  open(answer: AnswerPeer): void
  /** Nobody is sent here any more, and what is open ends. */
  close(): Promise<void>
}

/** Listens, and keeps its address in the storage. Rejects with the error of either. */
export const openHop = async ({
  listen,
  address,
  siblings = 1,
  runtime,
}: HopOptions): Promise<PeerListener> => {
  const { keys, log } = runtime
  const node = randomBytes(12).toString('base64url')
  const records = createRecords<StoredPeer>(runtime, 'node:')
  const own = await keyOf(keys, keys.current)
  const opened = Promise.withResolvers<AnswerPeer>()
  const answering = { node, judge: createJudge(node, runtime), log, answer: () => opened.promise }
  const server = https.createServer(
    { ...secured, pskCallback: (_, id) => (id === own.id ? own.psk : null) },
    (request, response) => {
      answerRequest(answering, request, response).catch(() => response.destroy())
    },
  )
  server.keepAliveTimeout = 65_000
  server.on('tlsClientError', (error) => log('warn', 'hop.refused', { why: error.message }))
  // In a worker of node:cluster, a port of its own.
  server.listen({ ...listen, exclusive: true })
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const record = { ...(address ?? { host: listen.host, port }), version: runtime.about.version, key: own.id }
  const write = () => records.put(node, record, { ttlMs: lifetimeMs })
  await write()
  const renewing = setInterval(() => {
    write().catch((error: unknown) => log('warn', 'hop.unannounced', { why: String(error) }))
  }, renewMs).unref()
  const agent = new https.Agent({ keepAlive: true, timeout: 30_000 })
  const ask = createAsk(runtime, agent, (other) => records.take(other))
  return {
    node,
    siblings,
    port,
    open: opened.resolve,
    async find(other) {
      const found = await records.get(other)
      if (!found) return undefined
      const target = { ...found.value, node: other, secret: await keyOf(keys, found.value.key) }
      return (call) => ask(target, call)
    },
    async close() {
      clearInterval(renewing)
      await records.take(node).catch(() => undefined)
      agent.destroy()
      server.close()
      server.closeAllConnections()
    },
  }
}
