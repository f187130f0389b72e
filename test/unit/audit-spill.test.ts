// Audit events that cannot be written are kept on another disk, and are in the trail afterwards, in their order.
import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createKeyRing } from '../../src/kit/keyring.ts'
import { type SpillTold, withSpill } from '../../src/node/audit-spill.ts'
import { openAuditTrail } from '../../src/node/audit-writer.ts'
import { row, start, useAuditFile } from './audit-world.ts'

const { file, writerAt, verified, found, edit } = useAuditFile()

let dir: string
beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), 'postern-spill-')), 'spill')
})
afterEach(() => rmSync(join(dir, '..'), { recursive: true, force: true }))

class Full extends Error {
  readonly code = 'ERR_SQLITE_ERROR'
}
const mayPass = (error: unknown): boolean => error instanceof Full

/** A writer whose disk can be full. */
const open = (id = 'a', mostBytes?: number) => {
  const told: SpillTold[] = []
  const disk = { full: false }
  const writer = writerAt(start)
  const writing = withSpill(
    {
      ...writer,
      append(...rows) {
        if (disk.full) throw new Full('database or disk is full')
        writer.append(...rows)
      },
    },
    { dir, id, now: Date.now, mayPass, say: (said) => void told.push(said), ...(mostBytes && { mostBytes }) },
  )
  return { disk, told, ...writing }
}
/** Newest first; the trail's own events are no calls. */
const requests = () => found('kind:call')
const calls = (...ids: string[]) => ids.map((request, i) => row(start + i, { request }))

describe('audit events that cannot be written', () => {
  it('are kept in a file of this user alone, and are in the trail before what comes after', () => {
    const { append, close, disk, told } = open()
    append(calls('one'))
    expect(readdirSync(dir)).toEqual([])
    disk.full = true
    const text = '{"salt":"s"}'
    const hash = createHash('sha256').update(text).digest('base64url')
    const body = { hash, text, at: start, person: 'local:ana', request: 'three' }
    append(calls('two'), new Map([['hash', '{"a":1}']]))
    append(calls('three'), new Map(), [body])
    expect(requests()).toEqual(['one'])
    const [name = ''] = readdirSync(dir)
    expect([statSync(dir).mode & 0o777, statSync(join(dir, name)).mode & 0o777]).toEqual([0o700, 0o600])
    disk.full = false
    append(calls('four'))
    expect(requests()).toEqual(['four', 'three', 'two', 'one'])
    expect(readdirSync(dir)).toEqual([])
    expect(told).toEqual([
      { spill: dir, why: 'database or disk is full' },
      { spill: dir, why: undefined },
    ])
    close(start)
    expect(verified().fault).toBeUndefined()
  })

  it('are read back by the next process, whoever left them, but not while their writer lives', () => {
    const killed = open('killed')
    killed.disk.full = true
    killed.append(calls('left'))
    const next = open('next')
    // The disk is full for a moment, so that it looks for what is there.
    const look = (request: string): void => {
      next.disk.full = true
      next.append(calls(request))
      next.disk.full = false
      next.append([])
    }
    look('one')
    expect(requests()).toEqual(['one'])
    const [name = ''] = readdirSync(dir)
    const longAgo = (Date.now() - 61_000) / 1000
    utimesSync(join(dir, name), longAgo, longAgo)
    look('two')
    expect(requests().map(String).toSorted()).toEqual(['left', 'one', 'two'])
    expect(readdirSync(dir)).toEqual([])
    killed.close(start)
    next.close(start)
    expect(verified().fault).toBeUndefined()
  })

  it('are not lost with a line that was cut, and a foreign file is let alone', () => {
    mkdirSync(dir)
    const [long, other] = [join(dir, 'audit-spill-0-0.gone'), join(dir, 'notes.txt')]
    writeFileSync(
      long,
      `${JSON.stringify({ rows: calls('whole'), subjects: [], bodies: [] })}\n{"rows":[{"at":1,"ki`,
    )
    writeFileSync(other, 'mine')
    utimesSync(long, 1, 1)
    const { append, close, disk } = open()
    disk.full = true
    append(calls('new'))
    disk.full = false
    append(calls('last'))
    expect(requests().map(String).toSorted()).toEqual(['last', 'new', 'whole'])
    expect(readdirSync(dir)).toEqual(['notes.txt'])
    close(start)
  })

  it('stay in memory where there is no room, and other faults are no reason to keep them', () => {
    const { append, close, disk, told } = open('a', 2000)
    disk.full = true
    append(calls('one'))
    expect(() => append(calls(...Array.from({ length: 20 }, (_, i) => `many ${i}`)))).toThrow(
      'database or disk is full',
    )
    // A directory that went away is no better.
    rmSync(dir, { recursive: true })
    expect(() => append(calls('two'))).toThrow('database or disk is full')
    expect(told).toEqual([{ spill: dir, why: 'database or disk is full' }])
    close(start)
    const damaged = withSpill(
      {
        ...writerAt(start),
        append() {
          throw new Error('database disk image is malformed')
        },
      },
      { dir, id: 'b', now: Date.now, mayPass, say: () => undefined },
    )
    expect(() => damaged.append(calls('three'))).toThrow('malformed')
    expect(readdirSync(dir)).toEqual([])
    damaged.close(start)
  })

  it('keep no service waiting that needs the trail, and are in it once it can be written', async () => {
    const events: string[] = []
    const trail = await openAuditTrail({
      ...{ path: file(), version: '1', retentionMs: 1e12, bodiesMs: 1e12, closeMs: 60_000 },
      ...{ durable: false, makeRoom: false, sinks: [], spill: dir, now: Date.now },
      keys: await createKeyRing([new Uint8Array(32).fill(7)], (n) =>
        crypto.getRandomValues(new Uint8Array(n)),
      ),
      log: (_level, event) => void events.push(event),
    })
    const recorded = (request: string): void => {
      trail.record({ event: 'call', request_id: request, person: 'local:ana' })
    }
    edit("CREATE TRIGGER full BEFORE INSERT ON event_1 BEGIN SELECT RAISE(ABORT, 'disk full'); END")
    recorded('one')
    await expect.poll(() => readdirSync(dir).length, { timeout: 20_000 }).toBe(1)
    recorded('two')
    expect(trail.available()).toBe(true)
    expect(found('kind:call')).toEqual([])
    edit('DROP TRIGGER full')
    await expect.poll(() => requests().map(String).toSorted(), { timeout: 20_000 }).toEqual(['one', 'two'])
    await expect.poll(() => events, { timeout: 20_000 }).toContain('audit.spill-read')
    expect(readdirSync(dir)).toEqual([])
    expect(events.filter((event) => event.startsWith('audit.') && event !== 'audit.open')).toEqual([
      'audit.spilling',
      'audit.spill-read',
    ])
    expect(await trail.close()).toBe(true)
    expect(verified().fault).toBeUndefined()
  })
})
