// What waits for the thread that writes the audit trail: what of it is handed over, and what there is no room for.
import { expect, it } from 'vitest'
import { createQueue } from '../../src/node/audit-queue.ts'
import type { ToWriter } from '../../src/node/audit-thread.ts'
import type { EventBatch } from '../../src/stores/audit-events.ts'

type Handed = Readonly<Record<string, unknown>> & { readonly body: string | undefined }

/** A queue, and what it has handed over to a writer that writes when it is told to. */
const openQueue = () => {
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
  queue.attach(writer())
  let written = 0
  return {
    ...queue,
    writer,
    /** Writes all but the newest batch. */
    writeMost() {
      for (; written < batches.length - 1; written++) queue.written(batches[written]?.times.length ?? 0)
    },
    handed: (): Handed[] =>
      batches.flatMap(({ events, bodies }) =>
        (JSON.parse(events) as object[]).map((event, i) => ({ ...event, body: bodies[i] })),
      ),
  }
}

it('has room for as many events as there are while the writer keeps up, though it is never at rest', () => {
  const { record, writeMost, handed } = openQueue()
  const path = 'x'.repeat(4000)
  for (let i = 0; i < 6_400; i++) {
    record({ event: 'call', i, path })
    writeMost()
  }
  // More than what may wait at a time.
  expect(handed()).toHaveLength(6_400)
})

it('counts what there was no room for, in the first event after that', () => {
  const { record, available, writeMost, handed } = openQueue()
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

it('keeps an event without its body rather than none', () => {
  const { record, flush, handed } = openQueue()
  const body = new TextEncoder().encode(JSON.stringify({ text: 'x'.repeat(1_000_000) }))
  for (let i = 0; i < 100; i++) record({ event: 'call', i }, body)
  flush()
  expect(handed()).toHaveLength(100)
  expect(handed().filter((event) => event.body !== undefined)).toHaveLength(8)
})

it('keeps events while there is no writer, and counts those that the one before had not written', () => {
  const { record, flush, attach, writer, available, handed } = openQueue()
  for (let i = 0; i < 3; i++) record({ event: 'call', i })
  flush()
  record({ event: 'call', i: 3 })
  attach(undefined)
  expect(available()).toBe(false)
  for (let i = 4; i < 100; i++) record({ event: 'call', i })
  expect(handed()).toHaveLength(3)
  attach(writer())
  expect(available()).toBe(true)
  const later = handed().slice(3)
  expect(later.filter(({ event }) => event === 'call').map(({ i }) => i)).toEqual(
    Array.from({ length: 97 }, (_, i) => i + 3),
  )
  expect(later).toContainEqual(expect.objectContaining({ event: 'audit.lost', rows: 3 }))
})
