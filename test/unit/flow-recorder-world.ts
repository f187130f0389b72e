// A flow recorder on a store and a clock of its own.
import { createFlowRecorder } from '../../src/flows/recorder.ts'
import { createKeyRing } from '../../src/kit/keyring.ts'
import { digest } from '../../src/node/crypto.ts'
import { createLimit } from '../../src/policy/rate-limit.ts'
import type { FlowRecord, FlowStep } from '../../src/ports/flow-record.ts'
import type { Timer } from '../../src/ports/runtime.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'
import { createTestClock } from '../runtimes/clock.ts'
import { random } from './oauth-world.ts'

export const start = Date.UTC(2026, 0, 1)
export const dayMs = 86_400_000

/** A recorder on a clock that is moved. `timer`: in place of the clock's own. */
export const worldOf = async (timer?: Timer) => {
  const clock = createTestClock({ start })
  const store = createMemoryStore({ now: clock.now })
  const lines: string[] = []
  const runtime = {
    now: clock.now,
    timer: timer ?? clock.timer,
    store,
    random,
    digest,
    keys: await createKeyRing([new Uint8Array(32).fill(7)], random),
    log: (_: unknown, event: string) => void lines.push(event),
    defer: () => undefined,
    about: { version: '0', runtime: 'test', storage: 'memory' },
  }
  const limit = createLimit({ now: clock.now, loopback: false })
  const events: Readonly<Record<string, unknown>>[] = []
  const deps = {
    runtime,
    limit,
    retentionMs: 30 * dayMs,
    record: (event: Readonly<Record<string, unknown>>) => void events.push(event),
    issuer: 'https://gw.test',
  }
  const recorder = createFlowRecorder(deps)
  return { events, clock, store, runtime, limit, deps, recorder, lines }
}

export const step = (named: FlowStep['step'], at: number, more: Partial<FlowStep> = {}): FlowStep => ({
  at,
  step: named,
  result: 'done',
  request: {},
  answer: {},
  ip: '192.0.2.1',
  ...more,
})

export const all = async (
  recorder: ReturnType<typeof createFlowRecorder>,
): Promise<readonly FlowRecord[]> => {
  const found: FlowRecord[] = []
  for await (const page of recorder.pages()) found.push(...page)
  return found
}
