// Sessions that one process of a gateway keeps, reached through another: what works, what happens when the owner is
// gone, and who may ask.
import { createHash, randomBytes } from 'node:crypto'
import https from 'node:https'
import { type AddressInfo, createServer } from 'node:net'
import type { ConnectionOptions } from 'node:tls'
import { fileURLToPath } from 'node:url'
import type { Client } from '@modelcontextprotocol/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createRecords } from '../../src/kit/records.ts'
import type { PeerHead } from '../../src/ports/runtime.ts'
import { openLegacyUpstream, type LegacyUpstream } from '../runtimes/legacy-upstream.ts'
import { logIn, type LoginTarget } from '../runtimes/login.ts'
import { callerOf } from '../runtimes/people.ts'
import { beginLegacy, textOf } from '../runtimes/revisions.ts'
import { connectWithRoots } from '../runtimes/sdk-sessions.ts'
import { openSocketUpstream, type SocketUpstream } from '../runtimes/socket-upstream.ts'
import { createTwins, type Twin, type Twins } from '../runtimes/twins.ts'

let legacy: LegacyUpstream
let socket: SocketUpstream
let twins: Twins
let a: Twin
let b: Twin
let config: object
const tokens = new Map<string, string>()
const tokenFor = async (service: string): Promise<string> => {
  const known = tokens.get(service)
  if (known !== undefined) return known
  const { tokens: made } = await logIn(twins.inTurn(a, b), `${a.origin}/${service}/mcp`)
  tokens.set(service, made.access_token)
  return made.access_token
}
const at = async (house: LoginTarget, service = 'stdio') =>
  callerOf(house, `${house.origin}/${service}/mcp`, await tokenFor(service))

beforeAll(async () => {
  legacy = await openLegacyUpstream()
  socket = await openSocketUpstream()
  twins = createTwins(legacy.url)
  const server = fileURLToPath(new URL('../stdio/server-process.mjs', import.meta.url))
  config = {
    session_secret: randomBytes(32).toString('base64url'),
    cluster: {},
    mcp_services: {
      stdio: { command: process.execPath, args: [server], sandbox: 'none' },
      socket: { url: socket.url },
    },
  }
  a = await twins.open(config)
  b = await twins.open(config)
})
afterAll(async () => {
  await twins.close()
  await legacy.close()
  await socket.close()
})

/** The status of a refusal, and its code. */
const refusedWith = async (response: Response): Promise<unknown> => [
  response.status,
  ((await response.json()) as { error: { data: { code: string } } }).error.data.code,
]

const ping = { jsonrpc: '2.0', id: 9, method: 'ping' }

const connect = async (path: string): Promise<Client> => {
  const house = twins.inTurn(a, b)
  return connectWithRoots(house, path, await tokenFor(path.split('/')[1] as string))
}

describe('A session, whatever process is asked', () => {
  it('of a stdio server is one, and the server asks its client through either [H-N9]', async () => {
    const client = await connect('/stdio/mcp')
    const said: unknown[] = []
    for (let i = 0; i < 3; i++)
      said.push(JSON.parse(textOf(await client.callTool({ name: 'echo', arguments: { i } }))))
    const { pid } = said[0] as { pid: number }
    expect(said).toEqual([0, 1, 2].map((i) => ({ pid, i })))
    expect(textOf(await client.callTool({ name: 'roots', arguments: {} }))).toContain('file:///ana')
    await client.close()
  })

  it('of a server on a WebSocket is one connection', async () => {
    const client = await connect('/socket/mcp')
    const before = socket.heard.length
    for (let i = 0; i < 4; i++) await client.listTools()
    expect([before, socket.heard.length]).toEqual([1, 1])
    await client.close()
  })

  it.each(['/echo/sse', '/echo/mcp'])('of a server of HTTP with SSE is one stream, at %s', async (path) => {
    const client = await connect(path)
    const streams = legacy.streams.size
    for (let i = 0; i < 4; i++) expect(textOf(await client.callTool({ name: 'whoami' }))).not.toBe('')
    expect(legacy.streams.size).toBe(streams)
    await client.close()
  })

  it('ends by a DELETE at the other process, for both', async () => {
    const [one, other] = [await at(a), await at(b)]
    const { session } = await beginLegacy(one)
    expect((await other.post(ping, session)).status).toBe(200)
    expect((await other.delete(session)).status).toBe(204)
    const after = await Promise.all([one.post(ping, session), other.post(ping, session)])
    expect(after.map(({ status }) => status)).toEqual([404, 404])
  })

  it('never tells the owner what its caller was let in by', async () => {
    const { session } = await beginLegacy(await at(a))
    const before = b.asked.length
    const more = { ...session, cookie: 'postern=secret', 'proxy-authorization': 'Basic c2VjcmV0' }
    expect((await (await at(b)).post(ping, more)).status).toBe(200)
    const [asked] = b.asked.slice(before)
    const head = asked?.head as PeerHead
    const names = head.rawHeaders.filter((_, i) => i % 2 === 0).map((name) => name.toLowerCase())
    expect(names.toSorted()).toEqual([
      'accept',
      'content-length',
      'content-type',
      'mcp-protocol-version',
      'mcp-session-id',
    ])
    expect(JSON.stringify(head)).not.toMatch(/secret|eyJ/)
    expect(head.settled).toMatchObject({ service: 'stdio', principal: { personKey: 'local:ana' } })
  })

  it('never serves another user who was let in elsewhere [H-M1]', async () => {
    const { session } = await beginLegacy(await at(a))
    const bob = await logIn(b, `${b.origin}/stdio/mcp`)
    const theirs = callerOf(b, `${b.origin}/stdio/mcp`, bob.tokens.access_token)
    // Another client of the same user is another owner.
    expect((await theirs.post(ping, session)).status).toBe(404)
    expect(a.log.some(({ event }) => event === 'session.foreign')).toBe(true)
  })
})

describe('A revoked grant', () => {
  it('ends calls and streams through the other process [H-I1]', async () => {
    const { tokens: own, client } = await logIn(a, `${a.origin}/stdio/mcp`)
    const [one, other] = [a, b].map((twin) => callerOf(twin, `${twin.origin}/stdio/mcp`, own.access_token))
    const { session } = await beginLegacy(one!)
    const stream = await other!.get(session)
    expect(stream.status).toBe(200)
    const ended = stream.text().then(
      () => true,
      () => true,
    )
    const revoked = await a.fetch(`${a.origin}/oauth/revoke`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: new URLSearchParams({ token: own.refresh_token, client_id: client.id }).toString(),
    })
    expect(revoked.status).toBe(200)
    await expect.poll(async () => (await other!.post(ping, session)).status, { timeout: 10_000 }).toBe(401)
    expect(await ended).toBe(true)
  }, 20_000)
})

// Whoever has the secret may ask; this is how.

interface Hop {
  readonly node?: string
  readonly at?: number
  readonly nonce?: string
  readonly head?: Partial<PeerHead>
  /** What is sent in place of what was authenticated. */
  readonly sent?: Buffer
  readonly keyId?: string
  readonly psk?: Buffer
  readonly authorization?: string
}

const pack = (head: object, body: string): Buffer => {
  const text = Buffer.from(JSON.stringify(head))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(text.length)
  return Buffer.concat([length, text, Buffer.from(body)])
}
const digest = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('base64url')

const ask = async (hop: Hop): Promise<{ status: number; text: string; authorization: string }> => {
  const { keys, now } = a.runtime
  const node = hop.node ?? (a.hop?.node as string)
  const [body, id] = [JSON.stringify(ping), hop.keyId ?? keys.current]
  const head = {
    method: 'POST',
    target: '/stdio/mcp',
    host: 'localhost:8080',
    rawHeaders: [],
    ip: '192.0.2.1',
  }
  const packed = pack({ ...head, requestId: 'r', settled: { service: 'stdio' }, ...hop.head }, body)
  const time = String(hop.at ?? now())
  const nonce = hop.nonce ?? randomBytes(16).toString('base64url')
  const length = packed.readUInt32BE()
  const digests = [digest(packed.subarray(4, 4 + length)), digest(packed.subarray(4 + length))]
  const said = ['POST', '/hop', node, time, nonce, ...digests].join('\n')
  const mac = Buffer.from((await keys.mac('hop', said)) as Uint8Array).toString('base64url')
  const authorization = hop.authorization ?? `Postern-Hop ${id}.${time}.${nonce}.${mac}`
  const psk = hop.psk ?? Buffer.from((await keys.mac('hop-connection', 'v1')) as Uint8Array)
  const options: https.RequestOptions & ConnectionOptions = {
    ...{ host: '127.0.0.1', port: a.hop?.port, path: '/hop', method: 'POST', agent: false },
    ...{ ciphers: 'ECDHE-PSK-CHACHA20-POLY1305', maxVersion: 'TLSv1.2' },
    headers: { authorization, 'x-postern-node': node },
    pskCallback: () => ({ psk, identity: keys.current }),
    checkServerIdentity: () => undefined,
  }
  return new Promise((resolve, reject) => {
    const request = https.request(options, (response) => {
      let text = ''
      response.on('data', (piece) => (text += String(piece)))
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text, authorization }))
    })
    request.on('error', reject)
    request.end(hop.sent ?? packed)
  })
}
const refusedHops = (): unknown[] =>
  a.log.filter(({ event }) => event === 'hop.refused').map(({ fields }) => fields['why'])

describe('The internal hop', () => {
  it('never takes a request twice, altered, late, for another process, or under another key', async () => {
    const before = refusedHops().length
    const time = a.runtime.now()
    const first = await ask({ nonce: 'A'.repeat(22), at: time - 20_000 })
    expect(first.status).toBe(401)
    // It was heard: what is wrong is that nobody was let in.
    expect(JSON.parse(first.text)).toMatchObject({ error: { code: 1401, data: { code: 'token.audience' } } })
    const statuses: number[] = []
    for (const hop of [
      { nonce: 'A'.repeat(22), at: time - 20_000 },
      { sent: pack({ method: 'POST', target: '/socket/mcp', settled: {} }, JSON.stringify(ping)) },
      { at: time - 90_000 },
      { at: time + 90_000 },
      { keyId: 'ffffffff' },
      { authorization: `Bearer ${await tokenFor('stdio')}` },
      { node: b.hop?.node as string },
    ])
      statuses.push((await ask(hop)).status)
    expect(statuses).toEqual([401, 401, 401, 401, 401, 401, 421])
    expect(refusedHops().slice(before)).toEqual([
      'sent before',
      'not authenticated',
      'sent more than 30 s from now',
      'sent more than 30 s from now',
      'not authenticated',
      'not authenticated',
      'for another process',
    ])
  })

  it('never speaks to anybody without the secret', async () => {
    await expect(ask({ psk: randomBytes(32) })).rejects.toThrow(/bad record mac|EPROTO/)
    await expect(fetch(`http://127.0.0.1:${a.hop?.port}/hop`, { method: 'POST' })).rejects.toThrow()
  })

  it('never takes a dead grant, or the session of another service, for an owner', async () => {
    const known = b.asked.at(-1)?.head.settled
    const alive = { ...known?.principal, grantId: 'x'.repeat(32) }
    const refusals: unknown[] = []
    for (const settled of [
      { ...known, principal: alive },
      { ...known, service: 'socket' },
      { ...known, principal: { ...known?.principal, expiresAt: 1 } },
    ])
      refusals.push((await ask({ head: { settled: settled as never } })).status)
    expect(refusals).toEqual([401, 401, 401])
  })

  it('never exists on the public port', async () => {
    const { session } = await beginLegacy(await at(a))
    const head = Buffer.from(JSON.stringify({ settled: b.asked.at(-1)?.head.settled })).toString('base64url')
    const hop = await b.fetch(`${b.origin}/hop`, {
      method: 'POST',
      headers: { 'x-postern-node': a.hop?.node ?? '' },
    })
    const spoofed = await b.fetch(`${b.origin}/stdio/mcp`, {
      method: 'POST',
      headers: {
        ...session,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        authorization: 'Postern-Hop 00000000.1.AAAAAAAAAAAAAAAAAAAAAA.x',
        'x-postern-hop': a.hop?.node ?? '',
        'x-postern-node': a.hop?.node ?? '',
        'x-postern-head': head,
        settled: head,
      },
      body: JSON.stringify(ping),
    })
    expect([hop.status, spoofed.status]).toEqual([404, 401])
  })
})

describe('An owner that is gone', () => {
  const records = () =>
    createRecords<{ host: string; port: number; version: string; key: string }>(b.runtime, 'node:')
  /** A session of a process whose record leads to that port. */
  const owned = async (port: number) => {
    const node = randomBytes(12).toString('base64url')
    await records().put(node, { host: '127.0.0.1', port, version: '1', key: b.runtime.keys.current })
    const { session } = await beginLegacy(await at(b))
    const id = session['mcp-session-id'].replace(/\.[\w-]{16}$/, `.${node}`)
    const service = { id: 'stdio' }
    const { principal } = b.asked.at(-1)?.head.settled ?? {}
    const owner = b.runtime.digest(JSON.stringify([principal?.personKey, principal?.clientId]))
    await b.runtime.store.put(`mcp-session:${service.id}:${b.runtime.digest(id)}`, owner, { ttlMs: 60_000 })
    return { node, session: { ...session, 'mcp-session-id': id } }
  }
  const listening = async (heard: Buffer[], answer?: string): Promise<{ port: number; close(): void }> => {
    const server = createServer((one) => {
      one.on('error', () => undefined)
      one.on('data', (piece) => {
        heard.push(piece)
        if (answer !== undefined) one.end(answer)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return { port: (server.address() as AddressInfo).port, close: () => server.close() }
  }

  it('is a 404, and the client begins a new session at the process that is left', async () => {
    const third = await twins.open(config)
    const { session } = await beginLegacy(await at(third))
    expect((await (await at(b)).post(ping, session)).status).toBe(200)
    await third.close()
    const lost = await (await at(b)).post(ping, session)
    expect(await refusedWith(lost)).toEqual([404, 'session.unknown'])
    expect((await beginLegacy(await at(b))).begun.status).toBe(200)
  })

  it('never hands its sessions to whoever has its address now', async () => {
    const heard: Buffer[] = []
    const impostor = await listening(
      heard,
      'HTTP/1.1 200 OK\r\nx-postern-hop: x\r\ncontent-length: 2\r\n\r\n{}',
    )
    const { node, session } = await owned(impostor.port)
    const call = { ...ping, method: 'tools/call', params: { name: 'echo', arguments: { private: 'words' } } }
    const lost = await (await at(b)).post(call, session)
    expect(await refusedWith(lost)).toEqual([404, 'session.unknown'])
    expect(heard.length).toBeGreaterThan(0)
    expect(Buffer.concat(heard).toString('latin1')).not.toMatch(/private|words|stdio|ana/)
    expect(await records().get(node)).toBeUndefined()
    impostor.close()
  })

  it('is not taken for gone while it is slow: 504, and its session is kept', async () => {
    const silent = await listening([])
    const { node, session } = await owned(silent.port)
    const late = await (await at(b)).post(ping, session)
    expect(await refusedWith(late)).toEqual([504, 'upstream.timeout'])
    expect((await records().get(node))?.value.port).toBe(silent.port)
    silent.close()
  })
})
