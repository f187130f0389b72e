// Sessions of an upstream belong to the person and client who opened them.
import { beforeEach, describe, expect, it } from 'vitest'
import { Refusal } from '../../src/kit/refusal.ts'
import { digest } from '../../src/node/crypto.ts'
import type { RunningCall } from '../../src/ports/call.ts'
import type { AuditEvent } from '../../src/ports/modules.ts'
import type { Principal } from '../../src/ports/people.ts'
import type { Service } from '../../src/ports/services.ts'
import type { Store } from '../../src/ports/store.ts'
import { createConcurrencyLimit, createMcpSessions, createRunningCalls } from '../../src/proxy/callers.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'

const hour = 3_600_000
const service = { id: 'demo' } as Service
const who = (subject: string, clientId = 'c'): Principal => ({
  person: { provider: 'local', subject, groups: [] },
  clientId,
  personKey: `local:${subject}`,
  clientName: '',
  grantId: `g-${subject}`,
  scopes: [],
  resource: '',
  expiresAt: 0,
})
const codeOf = (work: Promise<unknown> | undefined): Promise<string> =>
  Promise.resolve(work).then(
    () => 'passed',
    (error: unknown) => (error instanceof Refusal ? error.code : String(error)),
  )

let time = 0
let store: Store
let events: AuditEvent[]
const open = () =>
  createMcpSessions({
    alive: () => Promise.resolve(true),
    runtime: { now: () => time, digest, store },
    record: (event) => void events.push(event),
  })

beforeEach(() => {
  time = 1_000_000
  store = createMemoryStore({ now: () => time })
  events = []
})

describe('a session', () => {
  it('is its owner’s alone: another person, another client and another service find nothing [B7] [H-M1]', async () => {
    const sessions = open()
    await sessions.learn('s-1', service, who('ana'))
    expect(await codeOf(sessions.check('s-1', service, who('ana')))).toBe('passed')
    expect(events.map(({ event }) => event)).toEqual(['session.opened'])
    expect(await codeOf(sessions.check('s-1', service, who('bo')))).toBe('session.unknown')
    expect(await codeOf(sessions.check('s-1', service, who('ana', 'other client')))).toBe('session.unknown')
    expect(await codeOf(sessions.check('s-1', { id: 'other' } as Service, who('ana')))).toBe(
      'session.unknown',
    )
    expect(await codeOf(sessions.check('s-2', service, who('ana')))).toBe('session.unknown')
    expect(events.map(({ event, person, client }) => [event, person, client])).toEqual([
      ['session.opened', 'local:ana', 'c'],
      ['session.foreign', 'local:bo', 'c'],
      ['session.foreign', 'local:ana', 'other client'],
    ])
    expect(JSON.stringify(events)).not.toContain('s-1')
    expect(await codeOf(sessions.check('s-1', service, who('ana')))).toBe('passed')
  })

  it('is known to every process of one store, and after a restart', async () => {
    await open().learn('s-1', service, who('ana'))
    const elsewhere = open()
    expect(await codeOf(elsewhere.check('s-1', service, who('bo')))).toBe('session.unknown')
    expect(await codeOf(elsewhere.check('s-1', service, who('ana')))).toBe('passed')
  })

  it('ends when it is deleted, everywhere, and is not revived by use', async () => {
    const [here, there] = [open(), open()]
    await here.learn('s-1', service, who('ana'))
    await there.check('s-1', service, who('ana'))
    await here.forget('s-1', service)
    expect(await codeOf(here.check('s-1', service, who('ana')))).toBe('session.unknown')
    time += 2 * hour
    expect(await codeOf(there.check('s-1', service, who('ana')))).toBe('session.unknown')
    expect(await codeOf(there.check('s-1', service, who('ana')))).toBe('session.unknown')
  })

  it('lives on with use and is forgotten after a day without', async () => {
    const sessions = open()
    await sessions.learn('s-1', service, who('ana'))
    for (let i = 0; i < 10; i++) {
      time += 20 * hour
      expect(await codeOf(sessions.check('s-1', service, who('ana')))).toBe('passed')
    }
    time += 25 * hour
    expect(await codeOf(open().check('s-1', service, who('ana')))).toBe('session.unknown')
  })

  it('given to a second caller under the same id is the upstream’s fault and changes nothing', async () => {
    const sessions = open()
    await sessions.learn('1', service, who('ana'))
    expect(await codeOf(sessions.learn('1', service, who('bo')))).toBe('upstream.session')
    expect(await codeOf(sessions.learn('1', service, who('ana')))).toBe('passed')
    expect(await codeOf(sessions.check('1', service, who('bo')))).toBe('session.unknown')
  })

  it('has an id of visible ASCII', async () => {
    for (const id of ['', 'a b', 'a\n', 'é', 'x'.repeat(1025)]) {
      expect(await codeOf(open().check(id, service, who('ana')))).toBe('session.unknown')
      expect(await codeOf(open().learn(id, service, who('ana')))).toBe('upstream.session')
    }
  })

  it('is kept without anything that tells whose it is', async () => {
    await open().learn('secret-session', service, who('ana'))
    const records = JSON.stringify(await store.list('mcp-session:demo:'))
    expect(records).toContain('mcp-session:demo:')
    for (const word of ['secret-session', 'ana', 'local']) expect(records).not.toContain(word)
  })
})

describe('places for calls', () => {
  it('are counted for each caller and given back once [H-R9]', () => {
    const running = createRunningCalls()
    const take = createConcurrencyLimit(2, running)
    const call = (): RunningCall => ({ principal: undefined, address: { service: {} as Service } })
    const first = take('ana', call())
    take('ana', call())
    expect(() => take('ana', call())).toThrow(Refusal)
    take('bo', call())
    expect(running.all().length).toBe(3)
    first()
    first()
    expect(running.all().length).toBe(2)
    take('ana', call())
    expect(() => take('ana', call())).toThrow(Refusal)
    expect(running.all().length).toBe(3)
  })
})
