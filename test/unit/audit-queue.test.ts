// What waits for the thread that writes the audit trail: what of it is handed over, and what there is no room for.
import { describe, expect, it } from 'vitest'
import { createQueue } from '../../src/node/audit-queue.ts'
import type { ToWriter } from '../../src/node/audit-thread.ts'
import type { Principal } from '../../src/ports/people.ts'
import { type EventBatch, createAuditRows } from '../../src/stores/audit-events.ts'

type Handed = Readonly<Record<string, unknown>> & { readonly body: boolean }

/** A queue, and what it has handed over to a writer that writes when it is told to. */
const openQueue = async () => {
  const batches: EventBatch[] = []
  const queue = createQueue({
    keys: { mac: () => Promise.resolve(undefined) },
    now: () => 1000,
    log: () => undefined,
  })
  const writer = () => ({
    postMessage(said: ToWriter) {
      if (typeof said === 'object' && 'events' in said) batches.push(said)
    },
  })
  await queue.attach(writer())
  let written = 0
  return {
    ...queue,
    writer,
    /** Writes all but the newest batch. */
    writeMost() {
      for (; written < batches.length - 1; written++) queue.written(batches[written]?.times.length ?? 0)
    },
    handed: (): Handed[] =>
      batches.flatMap(({ events, lengths }) =>
        (JSON.parse(events) as object[]).map((event, i) => ({ ...event, body: (lengths[i] ?? -1) >= 0 })),
      ),
    batches,
  }
}

it('has room for as many events as there are while the writer keeps up, though it is never at rest', async () => {
  const { record, writeMost, handed } = await openQueue()
  const path = 'x'.repeat(4000)
  for (let i = 0; i < 6_400; i++) {
    record({ event: 'call', i, path })
    writeMost()
  }
  // More than what may wait at a time.
  expect(handed()).toHaveLength(6_400)
})

it('counts what there was no room for, in the first event after that', async () => {
  const { record, available, writeMost, handed } = await openQueue()
  const path = 'x'.repeat(20_000)
  for (let i = 0; i < 1000; i++) record({ event: 'call', i, path })
  expect(available()).toBe(false)
  const [before] = [handed().length]
  writeMost()
  expect(available()).toBe(true)
  for (let i = 0; i < 64; i++) record({ event: 'ping' })
  const [lost] = handed()
    .slice(before)
    .filter(({ event }) => event === 'audit.lost')
  const kept = handed().filter(({ event }) => event === 'call').length
  expect(lost).toMatchObject({ rows: 1000 - kept, from: 1000, to: 1000 })
  expect(handed().findIndex(({ event }) => event === 'audit.lost')).toBe(kept)
})

it('keeps an event without its body rather than none', async () => {
  const { record, flush, handed } = await openQueue()
  const body = new TextEncoder().encode(JSON.stringify({ text: 'x'.repeat(1_000_000) }))
  for (let i = 0; i < 100; i++) record({ event: 'call', i }, body)
  flush()
  expect(handed()).toHaveLength(100)
  expect(handed().filter(({ body: has }) => has)).toHaveLength(8)
})

it('hands over each event with its own body and caller', async () => {
  const { record, flush, batches } = await openQueue()
  const rowsOf = createAuditRows({
    digest: (text) => text,
    parse: (bytes) => JSON.parse(new TextDecoder().decode(bytes)) as unknown,
    mac: (_, text) => text,
  })
  const bodyOf = (text: string) =>
    new TextEncoder().encode(JSON.stringify({ method: 'tools/call', params: { arguments: { text } } }))
  const call = { event: 'call', method: 'tools/call', name: 't', person: 'p' }
  const callers = ['ana', 'ben'].map((subject) => ({ person: { subject } }) as Principal)
  const [ana, ben] = callers
  const texts = ['one', 'ünï€', 'x'.repeat(70_000), '', 'last']
  for (let round = 0; round < 2; round++) {
    record(call)
    for (const [i, text] of texts.entries()) record(call, bodyOf(text), i % 2 === 0 ? ana : ben)
    record({ event: 'sign-in' })
    flush()
  }
  const canonical = texts.map((text) => `p\0t\0${JSON.stringify({ text })}`)
  for (const batch of batches) {
    const { rows, subjects } = rowsOf(batch)
    expect(rows.map(({ digest }) => digest)).toEqual([null, ...canonical, null])
    const found = rows.map(({ subject }) => (/ana|ben/.exec(subject ?? '') ?? [null])[0])
    expect(found).toEqual([null, 'ana', 'ben', 'ana', 'ben', 'ana', null])
    expect(subjects.size).toBe(2)
  }
})

describe('a writer that is gone', () => {
  const numbers = (events: readonly Handed[]) => events.map(({ i }) => i)
  const to = (end: number, from = 0) => Array.from({ length: end - from }, (_, i) => i + from)

  it('leaves what it has not written to the next, and what comes meanwhile', async () => {
    const { record, flush, detach, attach, writer, available, handed } = await openQueue()
    for (let i = 0; i < 3; i++) record({ event: 'call', i })
    flush()
    record({ event: 'call', i: 3 })
    detach()
    expect(available()).toBe(false)
    for (let i = 4; i < 100; i++) record({ event: 'call', i })
    expect(numbers(handed())).toEqual(to(3))
    await attach(writer())
    expect(available()).toBe(true)
    expect(numbers(handed().slice(3))).toEqual(to(100))
  })

  it('is no reason to try the same a third time: it may be what ends them', async () => {
    const { record, flush, detach, attach, writer, handed } = await openQueue()
    for (let i = 0; i < 3; i++) record({ event: 'call', i })
    flush()
    for (let i = 0; i < 2; i++) {
      detach()
      await attach(writer())
    }
    expect(numbers(handed())).toEqual([...to(3), ...to(3)])
    record({ event: 'call', i: 3 })
    flush()
    expect(handed().slice(6)).toMatchObject([{ event: 'audit.lost', rows: 3 }, { i: 3 }])
  })

  it('before it has begun gets nothing', async () => {
    const { record, detach, attach, writer, available, handed } = await openQueue()
    detach()
    const attached = attach(writer())
    detach()
    await attached
    for (let i = 0; i < 100; i++) record({ event: 'call', i })
    expect(available()).toBe(false)
    expect(handed()).toEqual([])
  })
})
