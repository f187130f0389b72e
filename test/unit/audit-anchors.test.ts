// Anchors that are kept elsewhere: what is sent there, and what a trail looks like from there that was put back.
import { once } from 'node:events'
import { copyFileSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { openAuditWriter } from '../../src/node/audit-file.ts'
import { openAuditReader } from '../../src/node/audit-reader.ts'
import { type SinkPositions, createPositions, createSink } from '../../src/node/audit-sinks.ts'
import { createTarget } from '../../src/node/audit-targets.ts'
import { readAnchors } from '../../src/stores/audit-anchors.ts'
import { day, row, signing, start, useAuditFile } from './audit-world.ts'

const { file, writerAt, edit } = useAuditFile()
const kept = () => join(dirname(file()), 'anchors.jsonl')
const anchors = () => readAnchors(readFileSync(kept(), 'utf8'))
const check = () => {
  const reader = openAuditReader(file())
  const found = reader?.verify(undefined, anchors())
  reader?.close()
  return found?.fault
}

/** A trail whose anchors are sent to a URL. */
const openSent = (url: string, headers: Readonly<Record<string, string>> = {}) => {
  let positions: SinkPositions | undefined
  const writer = openAuditWriter(file(), {
    now: start,
    version: '1',
    retentionMs: 2 * day,
    id: 'sent',
    signing,
    begun(db, chain) {
      positions = createPositions(db, chain)
      positions.begin('audit.anchors')
    },
  })
  const failed: string[] = []
  const sink = createSink({
    name: 'audit.anchors',
    positions: positions as SinkPositions,
    target: createTarget(
      { name: 'audit.anchors', url, headers, syslogId: '', anchors: true },
      { version: '1' },
    ),
    anchors: true,
    now: Date.now,
    events: { failed: (_, why) => failed.push(why), works: () => undefined, dropped: () => undefined },
  })
  return { writer, sink, failed }
}

/** Three days of calls, with an anchor after each; the anchors are in a file. */
const write = async () => {
  const { writer, sink } = openSent(`file://${kept()}`)
  for (const days of [0, 1, 2]) {
    writer.append([row(start + days * day), row(start + days * day + 1)])
    expect(writer.anchor(start + days * day + 60_000)).toBe(true)
  }
  writer.end(start + 2 * day + 60_001)
  await sink.end(Date.now() + 60_000)
  return writer
}

describe('what is sent', () => {
  it('is what the trail writes about itself, and nothing else', async () => {
    const writer = await write()
    writer.close(start + 3 * day)
    const lines = readFileSync(kept(), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { kind: string })
    expect(lines.map(({ kind }) => kind)).toEqual([
      'audit.opened',
      ...['audit.anchor', 'audit.anchor', 'audit.anchor'],
      'audit.closed',
    ])
  })

  it('is JSON Lines in a POST, again until it is taken', async () => {
    const bodies: string[] = []
    const server = createServer((request, response) => {
      let body = ''
      request.setEncoding('utf8').on('data', (text: string) => (body += text))
      request.on('end', () => {
        bodies.push(`${request.headers.authorization} ${request.headers['content-type']}\n${body}`)
        response.writeHead(bodies.length === 1 ? 400 : 204).end()
      })
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const { writer, sink, failed } = openSent(url, { authorization: 'Bearer anchor' })
    await expect.poll(() => bodies.length, { timeout: 20_000 }).toBe(2)
    writer.append([row(start)])
    writer.end(start + 1)
    await sink.end(Date.now() + 60_000)
    writer.close(start + 1)
    server.close()
    expect(failed).toEqual(['the server answered 400'])
    expect(bodies[1]).toBe(bodies[0])
    expect(bodies[0]).toMatch(
      /^Bearer anchor application\/x-ndjson\n\{"chain":"[^\n]+"kind":"audit\.opened"[^\n]+\}\n$/,
    )
    expect(bodies.at(-1)).toContain('"kind":"audit.closed"')
    expect(bodies.join('')).not.toContain('"kind":"call"')
  })
})

describe('a trail, seen from its anchors', () => {
  it('is whole, also if some came twice, and after its old events were removed', async () => {
    const writer = await write()
    edit(`VACUUM INTO '${join(dirname(file()), 'copy.db')}'`)
    expect(check()).toBeUndefined()
    const later = writerAt(start + 5 * day, 2 * day)
    later.append([row(start + 5 * day)])
    while (later.tidy(start + 5 * day));
    later.close(start + 5 * day)
    writer.close(start + 5 * day)
    expect(check()).toBeUndefined()
  })

  it('is an older copy of itself', async () => {
    const copy = join(dirname(file()), 'copy.db')
    const early = writerAt(start - day)
    early.close(start - day)
    edit('PRAGMA wal_checkpoint(TRUNCATE)')
    copyFileSync(file(), copy)
    ;(await write()).close(start + 3 * day)
    expect(check()).toBeUndefined()
    edit('PRAGMA wal_checkpoint(TRUNCATE)')
    copyFileSync(copy, file())
    expect(check()).toMatchObject({
      what: 'cut',
      seq: 1,
      say: expect.stringMatching(/which is in the anchors, is missing$/),
    })
  })

  it('was written anew', async () => {
    ;(await write()).close(start + 3 * day)
    const [first] = anchors()
    const reader = openAuditReader(file())
    const other = { ...(first as NonNullable<typeof first>), hash: 'x' }
    expect(reader?.verify(undefined, [other]).fault).toMatchObject({ what: 'changed', seq: 1 })
    reader?.close()
  })
})

it.each(['{', '{"chain":"c"}', '[]', '{"chain":"c","seq":1.5,"hash":"h","at":1}'])(
  '%s is no anchor',
  (text) => expect(() => readAnchors(`\n${text}\n`)).toThrow('line 1 is no event of an audit trail'),
)
