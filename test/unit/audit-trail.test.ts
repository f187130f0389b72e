// The audit trail in its file: what is found again, what is removed in time, and what a change of it looks like.
import { createHash } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { beforeEach, describe, expect, it } from 'vitest'
import { openAuditReader } from '../../src/node/audit-reader.ts'
import { nextInChain } from '../../src/stores/audit-chain.ts'
import { columnList, readSearch, readTime } from '../../src/stores/audit.ts'
import { day, start, useAuditFile } from './audit-world.ts'

const { row, writerAt, verified, found, edit, file } = useAuditFile()
let path: string
beforeEach(() => {
  path = file()
})

describe('a chain', () => {
  it('has the hash that its format says, of the hash before and the row', () => {
    const digest = (text: string) => createHash('sha256').update(text).digest('base64url')
    const head = nextInChain({ chain: 'c', seq: 0, hash: '' }, row(1000), digest)
    expect(head).toEqual({ chain: 'c', seq: 1, hash: '_T8A-9MhgS9MLf8pAO0YDywsaYPk6MjVlrrAC0dXW_Y' })
    expect(head.hash).toBe(
      digest(
        '["postern-event-v2","c",1,1000,"call","local:ana",null,"c1","jira","tools/call","create_issue","allowed",null,null,200,0,12,"192.0.2.7","r1000",null,"g1",null,null,null]',
      ),
    )
  })
})

describe.each(['open', 'full'])('searching an %s segment', (segment) => {
  beforeEach(() => {
    const writer = writerAt(start)
    writer.append([
      row(start + 1),
      row(start + 2, { person: 'okta:ben', service: 'github', name: 'search', ms: 900 }),
      row(start + 3, { decision: 'denied', code: 'policy.tool', rule: 'deny[0]', name: 'delete_all' }),
      row(start + 4, {
        kind: 'sign-in.failed',
        decision: 'denied',
        method: null,
        name: 'Zoë',
        person: null,
        service: null,
      }),
      row(start + 5, { method: 'resources/read', name: 'search' }),
    ])
    writer.close(start + 6)
    if (segment === 'open') return
    // The next day begins another.
    const later = writerAt(start + day)
    while (later.tidy(start + day));
    later.close(start + day)
  })
  const [one, two, three, four, five] = [1, 2, 3, 4, 5].map((n) => `r${start + n}`)

  it.each([
    [['user:ana'], [five, three, one]],
    [['user:okta:ben'], [two]],
    [['service:jira,github', 'tool:search'], [two]],
    [['name:search'], [five, two]],
    [['decision:denied'], [four, three]],
    [['-decision:allowed', 'kind:call'], [three]],
    [
      ['-service:jira', 'kind:call,sign-in.failed'],
      [four, two],
    ],
    [['tool:del*'], [three]],
    [['ms:>500'], [two]],
    [['ms:<=12', 'kind:call', 'tool:create_issue'], [one]],
    [['code:policy.*'], [three]],
    [['rule:deny[0]'], [three]],
    [[`request:${two}`], [two]],
    [['ZO', 'kind:sign-in.failed'], [four]],
    [
      ['-github', 'user:*', 'kind:call'],
      [five, three, one],
    ],
    [
      ['kind:audit.*', 'until:2026-11-02'],
      ['audit.closed', 'audit.opened'],
    ],
    [['since:2026-11-02', '-kind:audit.*'], []],
    [['-ana', 'kind:call'], [two]],
    [['policy.t'], [three]],
    [
      ['until:2026-11-01T12:00:00.003Z', 'kind:call'],
      [two, one],
    ],
    [["name:x' OR 1=1 --"], []],
  ])('%j', (terms, requests) => expect(found(...terms)).toEqual(requests))

  it.each([
    ['colour:red', /Unknown field "colour"\. Fields: user, client/],
    ['ms:slow', /ms needs a number/],
    ['user:', /user needs a value/],
    ['since:yesterday', /is not a time/],
    ['-since:1d', /cannot be negated/],
  ])('%s is refused', (term, why) => expect(() => readSearch([term], start)).toThrow(why))

  it.each([
    ['7d', start - 7 * day],
    ['90m', start - 5_400_000],
    ['2026-10-01', Date.parse('2026-10-01T00:00:00Z')],
  ])('the time %s', (text, time) => expect(readTime(text, start)).toBe(time))
})

describe('segments', () => {
  it('begin with the day, and are searched together, with indexes or without', () => {
    const writer = writerAt(start)
    for (const days of [0, 1, 2]) writer.append([row(start + days * day, { request: `day${days}` })])
    expect(found('user:ana')).toEqual(['day2', 'day1', 'day0'])
    while (writer.tidy(start + 2 * day));
    const db = new DatabaseSync(path)
    expect(
      db
        .prepare('SELECT n, rows, sealed FROM segment')
        .all()
        .map((each) => ({ ...each })),
    ).toEqual([
      { n: 1, rows: 2, sealed: 1 },
      { n: 2, rows: 1, sealed: 1 },
      { n: 3, rows: 1, sealed: 0 },
    ])
    const plan = JSON.stringify(
      db.prepare("EXPLAIN QUERY PLAN SELECT * FROM event_1 WHERE person = 'x'").all(),
    )
    expect(plan).toContain('event_1_person')
    db.close()
    expect(found('user:ana')).toEqual(['day2', 'day1', 'day0'])
    writer.close(start + 2 * day)
  })

  it('are removed when they are too old, the trail says so, and is still whole', () => {
    const other = writerAt(start)
    other.append([row(start)])
    other.close(start)
    const writer = writerAt(start + 1, 3 * day)
    for (let days = 1; days <= 6; days++) {
      writer.append([row(start + days * day, { request: `day${days}` })])
      while (writer.tidy(start + days * day));
      expect(verified().fault).toBeUndefined()
    }
    expect(found('kind:call')).toEqual(['day6', 'day5', 'day4', 'day3'])
    expect(found('kind:audit.cut')).toHaveLength(3)
    writer.close(start + 6 * day)
    expect(verified()).toMatchObject({ open: [] })
  })

  it('removed by somebody else is missed', () => {
    const writer = writerAt(start)
    for (const days of [0, 1, 2]) writer.append([row(start + days * day)])
    writer.close(start + 2 * day)
    const [last] = (() => {
      const db = new DatabaseSync(path)
      const rows = db.prepare('SELECT chain, seq, hash FROM event_1 ORDER BY id DESC LIMIT 1').all()
      db.close()
      return rows
    })()
    edit(
      'DROP TABLE event_1',
      'DELETE FROM segment WHERE n = 1',
      `INSERT INTO start VALUES ('${String(last?.['chain'])}', ${String(last?.['seq'])}, '${String(last?.['hash'])}')`,
    )
    expect(verified().fault).toMatchObject({ what: 'missing' })
  })
})

describe('a trail that was changed', () => {
  beforeEach(() => {
    const writer = writerAt(start)
    writer.append(Array.from({ length: 8 }, (_, i) => row(start + i, { name: `tool_number_${i}` })))
    writer.close(start + 9)
  })
  it('is whole before', () => expect(verified()).toEqual({ rows: 10, chains: 1, open: [] }))

  it.each([
    ['a fact', ["UPDATE event_1 SET name = 'other' WHERE seq = 4"], 'changed', 4],
    ['a time', ['UPDATE event_1 SET at = at + 1 WHERE seq = 2'], 'changed', 2],
    ['a hash', ["UPDATE event_1 SET hash = 'x' WHERE seq = 5"], 'changed', 5],
    ['the first row missing', ['DELETE FROM event_1 WHERE seq = 1'], 'missing', 1],
    ['a row missing', ['DELETE FROM event_1 WHERE seq = 4'], 'missing', 4],
    ['the last row missing', ['DELETE FROM event_1 WHERE seq = 10'], 'cut', 10],
    [
      'two rows swapped',
      [
        'UPDATE event_1 SET id = 100 WHERE seq = 3',
        'UPDATE event_1 SET id = 3 WHERE seq = 4',
        'UPDATE event_1 SET id = 4 WHERE id = 100',
      ],
      'missing',
      3,
    ],
    [
      'a row twice',
      [`INSERT INTO event_1 (${columnList}) SELECT ${columnList} FROM event_1 WHERE seq = 4`],
      'moved',
      4,
    ],
    ['rows of another chain', ["UPDATE event_1 SET chain = 'z' WHERE seq > 6"], 'missing', 1],
    [
      'the end rolled back',
      ['DELETE FROM event_1 WHERE seq > 8', "UPDATE head SET seq = 7, hash = 'x'"],
      'cut',
      7,
    ],
    ['the end forgotten', ['DELETE FROM head'], 'cut', 10],
  ])('%s is named', (_, statements, what, seq) => {
    edit(...statements)
    expect(verified().fault).toMatchObject({ what, seq })
  })

  it('one flipped byte of a row is named', () => {
    edit('PRAGMA wal_checkpoint(TRUNCATE)')
    const bytes = readFileSync(path)
    const at = bytes.indexOf('tool_number_5')
    bytes[at] = (bytes[at] ?? 0) ^ 1
    writeFileSync(path, bytes)
    const { fault } = verified()
    // Its row is the seventh of the chain.
    expect(fault).toMatchObject({ what: 'changed', seq: 7 })
    expect(fault?.say).toMatch(/^row 7 of chain \S+ was changed$/)
  })

  it('a flipped byte in the structure of the file is told, too', () => {
    edit('PRAGMA wal_checkpoint(TRUNCATE)')
    const bytes = readFileSync(path)
    const page = bytes.readUInt16BE(16)
    for (let at = page; at < bytes.length; at += page) bytes[at] = 0xff
    writeFileSync(path, bytes)
    expect(verified()).toEqual({
      fault: { what: 'damaged', say: 'the file is damaged: database disk image is malformed' },
      rows: 0,
      chains: 0,
      open: [],
    })
  })
})

describe('several writers', () => {
  it('each have a chain, and the first row of one names the end of the others', () => {
    const one = writerAt(start)
    one.append([row(start + 1)])
    const two = writerAt(start + 2)
    two.append([row(start + 3)])
    one.append([row(start + 4)])
    two.close(start + 5)
    expect(verified()).toMatchObject({ rows: 6, chains: 2, open: [{ seq: 3 }] })
    one.close(start + 6)
    const reader = openAuditReader(path)
    const [opened] = reader?.search(readSearch(['kind:audit.opened'], start), 1) ?? []
    expect(JSON.parse(opened?.detail ?? '')).toMatchObject({
      heads: [[expect.any(String), 2, expect.any(String)]],
    })
    reader?.close()
  })

  it('one that goes on from a head that has moved is refused, and nothing of it is kept', () => {
    const writer = writerAt(start)
    edit("UPDATE head SET seq = 5, hash = 'moved'")
    expect(() => writer.append([row(start)])).toThrow('continued by another process')
    expect(found('kind:call')).toEqual([])
  })
})

describe('bodies', () => {
  const text = JSON.stringify({ salt: 's', arguments: { q: 'canary-of-a-body' } })
  const hash = createHash('sha256').update(text).digest('base64url')
  const keep = () => {
    const writer = writerAt(start, 400 * day, day)
    const body = { hash, text, at: start, person: 'local:ana', request: 'r1' }
    writer.append([row(start, { detail: JSON.stringify({ body: hash }) })], new Map(), [body])
    return writer
  }
  const kept = () => {
    const reader = openAuditReader(path)
    const found = reader?.body(hash)
    reader?.close()
    return found?.text
  }

  it('are removed before their rows, leave nothing in the file, and break no chain', () => {
    const writer = keep()
    expect(kept()).toBe(text)
    expect(writer.tidy(start + day)).toBe(false)
    expect(writer.tidy(start + day + 1)).toBe(true)
    writer.close(start + day + 2)
    expect(kept()).toBeUndefined()
    expect(readFileSync(path).includes('canary-of-a-body')).toBe(false)
    expect(verified()).toMatchObject({ rows: 3 })
    expect(verified()).not.toHaveProperty('fault')
  })

  it('that were changed are named', () => {
    keep().close(start + 1)
    edit("UPDATE body SET text = replace(text, 'canary', 'other')")
    expect(verified().fault).toMatchObject({ what: 'changed', say: expect.stringContaining(hash) })
  })
})

it('only the owner may read the file', () => {
  const writer = writerAt(start)
  for (const name of [path, `${path}-wal`]) expect(statSync(name).mode & 0o077).toBe(0)
  writer.close(start)
})

it('there is no reader where no trail was written', () => expect(openAuditReader(path)).toBeUndefined())
