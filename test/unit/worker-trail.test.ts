// The audit trail of an isolate of a Worker: events of the same moment go to the object together, and what the object
// did not take is sent again as it was.
import { describe, expect, it } from 'vitest'
import type { Appended, AppendedRows, TrailCalls } from '../../src/worker/trail-calls.ts'
import { createTrail } from '../../src/worker/trail.ts'

const createWorld = () => {
  let time = 1_700_000_000_000
  const sent: AppendedRows[] = []
  const [works, slept]: [Promise<unknown>[], number[]] = [[], []]
  const log: string[] = []
  let append: (rows: AppendedRows) => Promise<Appended> = () => Promise.resolve({ low: false })
  const object = {
    append: (rows: AppendedRows) => {
      sent.push(rows)
      return append(rows)
    },
  } as unknown as TrailCalls
  const trail = createTrail({
    object: () => object,
    keys: { mac: (_purpose, message) => Promise.resolve(new TextEncoder().encode(`key ${message}`)) },
    log: (level, event) => void log.push(`${level} ${event}`),
    now: () => time,
    waitUntil: (work) => void works.push(work),
    pause: async (ms) => void slept.push(ms),
  })
  const record = (n: number, more = {}) =>
    trail.record({ event: 'call', method: 'tools/call', request_id: `r${n}`, ...more })
  return {
    ...{ trail, sent, slept, works, log, record },
    pass: (ms: number) => void (time += ms),
    answer: (how: typeof append) => void (append = how),
    settle: async () => void (await Promise.all(works.splice(0))),
    requests: () => sent.map(({ rows }) => rows.map(({ request }) => request)),
  }
}
const away = () => Promise.reject(new Error('away'))

describe('events of an isolate', () => {
  it('that are recorded at once are sent as one, after a moment and by one request', async () => {
    const { record, works, sent, slept, settle } = createWorld()
    for (let i = 0; i < 50; i++) record(i)
    expect([works.length, sent.length]).toEqual([1, 0])
    await settle()
    expect([sent.length, sent[0]?.rows.length, slept]).toEqual([1, 50, [20]])
  })

  it('have a digest of their arguments, with the key of the day, and the snapshot of their caller once', async () => {
    const { trail, sent, settle } = createWorld()
    const body = (id: number) =>
      new TextEncoder().encode(
        JSON.stringify({ id, method: 'tools/call', params: { name: 't', arguments: { id: 1 } } }),
      )
    const person = { provider: 'local', subject: 'ana', groups: [] }
    const caller = { person, clientId: 'c', scopes: [] } as unknown as Parameters<typeof trail.record>[2]
    for (const id of [1, 2])
      trail.record({ event: 'call', method: 'tools/call', name: 't', person: 'local:ana' }, body(id), caller)
    await settle()
    const [one, two] = sent[0]?.rows ?? []
    expect(one?.digest).toMatch(/^[\w-]{22}$/)
    expect(two?.digest).toBe(one?.digest)
    expect(sent[0]?.subjects.map(([hash]) => hash)).toEqual([one?.subject])
  })

  it('that the object did not take are tried twice more, and then with the next one, as they were', async () => {
    const { trail, record, sent, settle, slept, answer, requests, log } = createWorld()
    answer(away)
    record(1)
    expect(trail.available()).toBe(true)
    await settle()
    expect([requests(), slept]).toEqual([
      [['r1'], ['r1'], ['r1']],
      [20, 100, 500],
    ])
    expect([trail.available(), log]).toEqual([false, ['error audit.unavailable']])
    answer(() => Promise.resolve({ low: false }))
    record(2)
    await settle()
    expect(requests().slice(3)).toEqual([['r1'], ['r2']])
    expect(new Set(sent.slice(0, 4).map(({ id }) => id)).size).toBe(1)
    expect(trail.available()).toBe(true)
  })

  it('of a request that the platform ended before it could send them are sent by another', async () => {
    const { record, requests, settle, answer, pass, works } = createWorld()
    answer(() => new Promise(() => undefined))
    record(1)
    await expect.poll(requests).toEqual([['r1']])
    works.length = 0
    answer(() => Promise.resolve({ low: false }))
    // It may still be under way.
    pass(2_000)
    record(2)
    await settle()
    expect(requests()).toEqual([['r1'], ['r2']])
    pass(15_000)
    record(3)
    await settle()
    expect(requests()).toEqual([['r1'], ['r2'], ['r1'], ['r3']])
  })

  it('are counted where there is no room, and the count comes first afterwards', async () => {
    const { trail, record, sent, settle, answer, log } = createWorld()
    answer(away)
    for (let i = 0; i < 2_010; i++) record(i)
    await settle()
    expect(trail.available()).toBe(false)
    answer(() => Promise.resolve({ low: true }))
    record(0)
    await settle()
    record(3_000)
    await settle()
    const rows = sent.slice(3).flatMap((batch) => batch.rows)
    expect(rows).toHaveLength(2_002)
    expect([rows.at(-2)?.kind, rows.at(-2)?.detail]).toEqual([
      'audit.lost',
      expect.stringMatching(/^\{"rows":11,/),
    ])
    expect(log).toEqual(['error audit.unavailable', 'warn audit.disk-low', 'error audit.lost'])
    expect(trail.condition?.()).toEqual({ diskLow: true, fault: undefined })
  })

  it('tell what the object found to be changed, once in the log and for as long as it says so', async () => {
    const { trail, record, settle, answer, log } = createWorld()
    answer(() => Promise.resolve({ low: false, fault: 'row 7 was changed' }))
    for (let i = 0; i < 2; i++) {
      record(i)
      await settle()
    }
    expect([trail.condition?.(), log]).toEqual([
      { diskLow: false, fault: 'row 7 was changed' },
      ['error audit.changed'],
    ])
    answer(() => Promise.resolve({ low: false }))
    record(3)
    await settle()
    expect(trail.condition?.()).toEqual({ diskLow: false, fault: undefined })
  })

  it('of what is told in the log alone are kept too', async () => {
    const { trail, sent, settle } = createWorld()
    const { log } = trail
    for (let i = 0; i < 3; i++)
      log('info', 'refused', {
        refusal: 'token.missing',
        service: 'jira',
        path: '/jira/mcp',
        ip: '192.0.2.1',
      })
    await settle()
    expect(sent.flatMap(({ rows }) => rows.map(({ kind, service }) => [kind, service]))).toEqual([
      ['bearer.refused', 'jira'],
    ])
  })
})
