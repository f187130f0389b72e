// What other systems get of the audit trail: each format read by a parser of its own, and sinks that go away.
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type IncomingMessage, type ServerResponse, createServer as createHttp } from 'node:http'
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { createServer as createTlsServer } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { trailDatabase } from '../../src/node/audit-database.ts'
import { openAuditWriter } from '../../src/node/audit-file.ts'
import {
  type AuditSink,
  type SinkPositions,
  createPositions,
  createSink,
} from '../../src/node/audit-sinks.ts'
import { type SinkTarget, createTarget } from '../../src/node/audit-targets.ts'
import type { ChainedRow } from '../../src/ports/store.ts'
import { otlpBody, syslogMessage } from '../../src/stores/audit-formats.ts'
import { row, signing, start, useAuditFile } from './audit-world.ts'

const chained = (more: Partial<ChainedRow> = {}): ChainedRow => ({
  ...row(start),
  chain: 'c1',
  seq: 7,
  hash: 'h',
  ...more,
})
const origin = { host: 'gate', pid: 42, id: 'postern@32473' }

/** RFC 5424 §6, with nothing let through that it does not allow. */
const parseSyslog = (text: string) => {
  const head =
    /^<(\d{1,3})>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) ([\x21-\x7E]{1,255}) ([\x21-\x7E]{1,48}) ([\x21-\x7E]{1,128}) ([\x21-\x7E]{1,32}) \[([\x21\x23-\x3C\x3E-\x5C\x5E-\x7E]{1,32})/.exec(
      text,
    )
  if (!head) throw new Error(`no header: ${text}`)
  let at = head[0].length
  const facts: Record<string, string> = {}
  for (;;) {
    const [whole, name = '', value = ''] =
      /^ ([\x21\x23-\x3C\x3E-\x5C\x5E-\x7E]{1,32})="((?:[^"\\\]]|\\["\\\]])*)"/.exec(text.slice(at)) ?? []
    if (whole === undefined) break
    facts[name] = value.replaceAll(/\\(["\\\]])/g, '$1')
    at += whole.length
  }
  if (!text.startsWith('] ', at)) throw new Error(`no end of the data: ${text.slice(at)}`)
  const message = text.slice(at + 2)
  if (/[^\x00-\x7F]/.test(message) && !message.startsWith('\uFEFF')) throw new Error('UTF-8 without its mark')
  const [, priority, time, host, app, process, kind, id] = head
  return { priority: Number(priority), time, host, app, process, kind, id, facts, message }
}

describe('a syslog message', () => {
  it('has facility 13, the kind, every fact, and one sentence', () =>
    expect(parseSyslog(syslogMessage(chained({ code: 'policy.tool', decision: 'denied' }), origin))).toEqual({
      priority: 13 * 8 + 4,
      time: '2026-11-01T12:00:00.000Z',
      host: 'gate',
      app: 'postern',
      process: '42',
      kind: 'call',
      id: 'postern@32473',
      facts: expect.objectContaining({
        chain: 'c1',
        seq: '7',
        person: 'local:ana',
        tool: 'create_issue',
        decision: 'denied',
        code: 'policy.tool',
        ms: '12',
        hash: 'h',
      }),
      message: 'local:ana: tools/call create_issue at jira: denied (policy.tool)',
    }))

  it.each([
    [{}, 5],
    [{ decision: 'failed' as const }, 4],
    [{ kind: 'refresh.reuse', decision: 'denied' as const }, 2],
    [{ kind: 'audit.lost', decision: 'failed' as const }, 2],
  ])('of %j has severity %i', (more, severity) =>
    expect(parseSyslog(syslogMessage(chained(more), origin)).priority).toBe(13 * 8 + severity),
  )

  it.each([
    ['"] forged="1"][x', '"] forged="1"][x'],
    ['back\\slash\\', 'back\\slash\\'],
    ['line\r\nbreak\u0000\u0085', 'line  break  '],
    ['Zoë 😀', 'Zoë 😀'],
    ['= [] ]', '= [] ]'],
  ])('the hostile name %j comes out as it went in, without controls', (name, read) => {
    const text = syslogMessage(chained({ name, kind: 'sign-in failed\n' }), origin)
    expect(parseSyslog(text).facts['tool']).toBe(read)
    expect(parseSyslog(text).facts).not.toHaveProperty('forged')
  })

  it('fits into a datagram, by what can be done without', () => {
    const long = syslogMessage(chained({ detail: 'd'.repeat(4000), name: '😀'.repeat(60) }), origin, true)
    expect(Buffer.byteLength(long)).toBeLessThanOrEqual(2048)
    expect(parseSyslog(long).facts).toMatchObject({ chain: 'c1', seq: '7', hash: 'h', person: 'local:ana' })
    const most = chained({ person: '😀'.repeat(255), method: '😀'.repeat(255), ip: '😀'.repeat(255) })
    expect(parseSyslog(syslogMessage(most, origin, true)).facts).toMatchObject({ seq: '7', hash: 'h' })
  })
})

it('an OTLP request has a resource for each chain, with names of the conventions', () => {
  const rows = [chained(), chained({ seq: 8, kind: 'audit.lost', is_error: null }), chained({ chain: 'c2' })]
  const { resourceLogs } = JSON.parse(otlpBody(rows, '1.0')) as {
    resourceLogs: { resource: object; scopeLogs: { logRecords: Record<string, unknown>[] }[] }[]
  }
  expect(resourceLogs).toHaveLength(2)
  expect(JSON.stringify(resourceLogs[0]?.resource)).toContain(
    '{"key":"service.instance.id","value":{"stringValue":"c1"}}',
  )
  const [first, second] = resourceLogs[0]?.scopeLogs[0]?.logRecords ?? []
  expect(first).toMatchObject({
    timeUnixNano: `${start}000000`,
    severityNumber: 9,
    eventName: 'postern.call',
    attributes: expect.arrayContaining([
      { key: 'gen_ai.tool.name', value: { stringValue: 'create_issue' } },
      { key: 'http.response.status_code', value: { intValue: '200' } },
      { key: 'postern.is_error', value: { boolValue: false } },
      { key: 'postern.hash', value: { stringValue: 'h' } },
    ]),
  })
  expect(second).toMatchObject({ severityNumber: 17, severityText: 'ERROR' })
})

const soon = <T>(get: () => T) => expect.poll(get, { timeout: 20_000 })

const { file } = useAuditFile()
const listening = async (server: Server): Promise<number> => {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** Octet counting (RFC 6587 §3.4.1). */
const createFrames = () => {
  const messages: string[] = []
  return {
    messages,
    of(socket: Socket) {
      let held = Buffer.alloc(0)
      socket.on('error', () => undefined)
      socket.on('data', (piece: Buffer) => {
        held = Buffer.concat([held, piece])
        for (;;) {
          const [whole = '', size = ''] = /^([1-9]\d{0,5}) /.exec(held.toString('latin1', 0, 8)) ?? []
          if (whole === '' || held.length < whole.length + Number(size)) return
          messages.push(held.toString('utf8', whole.length, whole.length + Number(size)))
          held = held.subarray(whole.length + Number(size))
        }
      })
    },
  }
}

describe('a sink', () => {
  let positions: SinkPositions
  let writer: ReturnType<typeof openAuditWriter>
  let db: DatabaseSync
  let sinks: AuditSink[]
  let told: string[]
  let closing: (() => unknown)[]
  beforeEach(() => {
    writer = openAuditWriter(file(), { now: start, version: '1', retentionMs: 1e12, id: 'w', signing })
    db = new DatabaseSync(file())
    positions = createPositions(trailDatabase(db), 'me')
    sinks = []
    told = []
    closing = []
  })
  afterEach(async () => {
    await Promise.all(sinks.map((sink) => sink.end(0)))
    await Promise.all(closing.map((close) => close()))
    db.close()
    writer.close(start)
  })
  const open = (target: SinkTarget, by = positions): AuditSink => {
    by.begin('siem')
    const sink = createSink({
      name: 'siem',
      positions: by,
      target,
      now: Date.now,
      events: {
        failed: () => void told.push('failed'),
        works: () => void told.push('works'),
        dropped: (_, rows) => void told.push(`dropped ${rows}`),
      },
    })
    sinks.push(sink)
    return sink
  }
  const targetOf = (url: string, ca?: string): SinkTarget =>
    createTarget(
      { name: 'siem', url, headers: { 'x-key': 'k' }, syslogId: 'postern@32473' },
      { version: '1', ...(ca && { ca }) },
    )
  const write = (...names: string[]): void => writer.append(names.map((name) => row(start, { name })))
  const ends = (sink: AuditSink): Promise<void> => sink.end(Date.now() + 20_000)
  const toolsIn = (messages: readonly string[]) => messages.map((text) => parseSyslog(text).facts['tool'])

  it('over TCP gets what is written after it began, in order, and the rest at the end', async () => {
    const frames = createFrames()
    const server = createServer((socket) => frames.of(socket))
    const port = await listening(server)
    closing.push(() => server.close())
    write('before')
    const sink = open(targetOf(`syslog+tcp://127.0.0.1:${port}`))
    const names = Array.from({ length: 450 }, (_, i) => `tool ${i} "]\\`)
    write(...names)
    await ends(sink)
    await soon(() => frames.messages.length).toBe(450)
    expect(toolsIn(frames.messages)).toEqual(names)
    expect(told).toEqual([])
  })

  it('over TLS sends to a server whose certificate is good, and to no other', async () => {
    const folder = join(import.meta.dirname, '../data/tls')
    const [key, cert] = ['key', 'cert'].map((name) => readFileSync(join(folder, `${name}.pem`), 'utf8'))
    const frames = createFrames()
    const server = createTlsServer({ key, cert }, (socket) => frames.of(socket))
    server.on('tlsClientError', () => undefined)
    const port = await listening(server)
    closing.push(() => server.close())
    const untrusted = open(targetOf(`syslog+tls://localhost:${port}`))
    write('one')
    untrusted.nudge()
    await soon(() => told).toEqual(['failed'])
    await ends(untrusted)
    expect(frames.messages).toEqual([])
    await ends(open(targetOf(`syslog+tls://localhost:${port}`, cert)))
    await soon(() => toolsIn(frames.messages)).toEqual(['one'])
  })

  it('of which the server goes away gets everything, some of it twice, and it is told once', async () => {
    const frames = createFrames()
    const sockets: Socket[] = []
    const server = createServer((socket) => {
      sockets.push(socket)
      frames.of(socket)
    })
    const port = await listening(server)
    const sink = open(targetOf(`syslog+tcp://127.0.0.1:${port}`))
    write('one')
    sink.nudge()
    await soon(() => frames.messages.length).toBe(1)
    // What was sent may not have been read: it is sent again.
    for (const socket of sockets) socket.destroy()
    server.close()
    await once(server, 'close')
    write('two')
    sink.nudge()
    await soon(() => told).toEqual(['failed'])
    const again = createServer((socket) => frames.of(socket))
    again.listen(port, '127.0.0.1')
    closing.push(() => again.close())
    await soon(() => told).toEqual(['failed', 'works'])
    await ends(sink)
    await soon(() => [...new Set(toolsIn(frames.messages))]).toEqual(['one', 'two'])
  })

  it('over UDP, and in a file, gets every row', async () => {
    const socket = createSocket('udp4')
    const datagrams: string[] = []
    socket.on('message', (message) => void datagrams.push(message.toString()))
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    closing.push(() => socket.close())
    const sink = open(targetOf(`syslog+udp://127.0.0.1:${socket.address().port}`))
    write('one', 'two')
    await ends(sink)
    await soon(() => toolsIn(datagrams)).toEqual(['one', 'two'])
    const path = `${file()}.jsonl`
    write('three\u2028')
    await ends(open(targetOf(`file://${path}`)))
    const lines = readFileSync(path, 'utf8').split('\n')
    expect(lines).toHaveLength(2)
    expect(lines[0]).not.toContain('\u2028')
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      name: 'three\u2028',
      seq: 4,
      hash: expect.any(String),
    })
  })

  it('to a collector waits where it is told to, and tells what is refused for ever', async () => {
    const answers = [503, 200, 400, 200]
    const bodies: string[] = []
    const collect = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      let body = ''
      for await (const piece of request) body += String(piece)
      bodies.push(body)
      expect(request.headers).toMatchObject({ 'x-key': 'k', 'content-type': 'application/json' })
      const partial = bodies.length === 4 ? '{"partialSuccess":{"rejectedLogRecords":"1"}}' : '{}'
      response.writeHead(answers[bodies.length - 1] ?? 200).end(partial)
    }
    const server = createHttp((request, response) => void collect(request, response))
    const port = await listening(server)
    closing.push(() => server.close())
    const sink = open(targetOf(`http://127.0.0.1:${port}/v1/logs`))
    write('one')
    sink.nudge()
    await soon(() => told).toEqual(['failed', 'works'])
    expect(bodies[1]).toBe(bodies[0])
    write('two', 'three')
    sink.nudge()
    await soon(() => told).toEqual(['failed', 'works', 'dropped 2'])
    write('four')
    await ends(sink)
    expect(told.at(-1)).toBe('dropped 1')
    expect(bodies).toHaveLength(4)
  })

  it('is served by one process at a time, and goes on where the one before stopped', async () => {
    const sent: [string, string | null][] = []
    const targetFor = (who: string): SinkTarget => ({
      settleMs: 0,
      broken: () => false,
      close: () => undefined,
      send: async (rows) => {
        for (const { name } of rows) sent.push([who, name])
        return 0
      },
    })
    const other = new DatabaseSync(file())
    closing.push(() => other.close())
    const first = open(targetFor('one'))
    const second = open(targetFor('two'), createPositions(trailDatabase(other), 'they'))
    write('a')
    first.nudge()
    second.nudge()
    await soon(() => sent).toEqual([['one', 'a']])
    await ends(first)
    write('b')
    await ends(second)
    expect(sent.at(-1)).toEqual(['two', 'b'])
    expect(sent).toHaveLength(2)
  })
})
