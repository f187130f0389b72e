// How many processes have heard of an end, and how many calls run in all of them.
import { describe, expect, it } from 'vitest'
import { createRollCall } from '../../src/admin/roll-call.ts'
import { createKeyRing } from '../../src/kit/keyring.ts'
import type { RunningCall } from '../../src/ports/call.ts'
import type { Principal } from '../../src/ports/people.ts'
import type { Service } from '../../src/ports/services.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'
import { createTestClock } from '../runtimes/clock.ts'

const callOf = (subject: string, clientId: string, id: string): RunningCall => ({
  principal: {
    person: { provider: 'local', subject, email: `${subject}@example.com` },
    personKey: `local:${subject}`,
    clientId,
  } as Principal,
  address: { service: { id } as Service },
})

/** Processes on one store, whose clock moves when they wait. */
const openProcesses = async () => {
  const clock = createTestClock()
  const store = createMemoryStore(clock)
  const random = (n: number) => crypto.getRandomValues(new Uint8Array(n))
  const keys = await createKeyRing([new Uint8Array(32).fill(7)], random)
  const open = (running: RunningCall[] = []) => {
    const told = { forgotten: 0, refreshed: 0, failures: 0 }
    const rollCall = createRollCall({
      runtime: {
        store,
        keys,
        now: clock.now,
        random,
        log: () => void told.failures++,
        timer: (ms, run) => {
          const answered = Promise.all([...looking].map((look) => look()))
          void answered.then(() => {
            clock.advance(ms)
            run()
          })
          return () => undefined
        },
      },
      forget: () => void told.forgotten++,
      closures: { refresh: () => Promise.resolve(void told.refreshed++) },
      running: { all: () => running },
    })
    return { ...rollCall, told, running }
  }
  /** What the processes do while somebody waits. */
  const looking = new Set<() => Promise<void>>()
  const serve = async (running?: RunningCall[]) => {
    const process = open(running)
    await process.answer()
    looking.add(process.answer)
    return {
      ...process,
      stall: () => void looking.delete(process.answer),
      resume: () => looking.add(process.answer),
    }
  }
  return { clock, open, serve }
}

describe('a roll call', () => {
  it('says nothing where no process says that it is there', async () => {
    const { open } = await openProcesses()
    const command = open()
    expect([await command.confirm(), await command.runningCalls({ user: 'local:ana' })]).toEqual([
      undefined,
      undefined,
    ])
  })

  it('waits until each process has forgotten what it remembered', async () => {
    const { open, serve } = await openProcesses()
    const [one, other] = [await serve(), await serve()]
    const command = open()
    const before = [one.told.forgotten, other.told.forgotten]
    expect(await command.confirm()).toEqual({ processes: 2, applied: 2, ms: expect.any(Number) as number })
    expect([one.told.forgotten, other.told.forgotten]).toEqual(before.map((count) => count + 1))
    expect([one.told.refreshed, other.told.refreshed]).toEqual([one.told.forgotten, other.told.forgotten])
    // A process that ends something itself waits for nobody where it is alone.
    await other.leave()
    other.stall()
    expect(await one.confirm()).toEqual({ processes: 1, applied: 1, ms: 0 })
    expect(one.told.failures).toBe(0)
  })

  it('names as missing a process that does not answer within a second, once', async () => {
    const { clock, open, serve } = await openProcesses()
    const [one, killed] = [await serve(), await serve()]
    killed.stall()
    const command = open()
    expect(await command.confirm()).toEqual({ processes: 2, applied: 1, ms: 1000 })
    // It may only be slow.
    expect(await command.confirm()).toEqual({ processes: 2, applied: 1, ms: 1000 })
    clock.advance(3000)
    expect(await command.confirm()).toEqual({ processes: 1, applied: 1, ms: expect.any(Number) as number })
    // It was: and remembers nothing when it is back.
    const before = killed.told.forgotten
    killed.resume()
    await killed.answer()
    expect(killed.told.forgotten).toBe(before + 1)
    expect(await command.confirm()).toMatchObject({ processes: 2, applied: 2 })
    await one.leave()
    await one.answer()
    one.stall()
    expect(await command.confirm()).toMatchObject({ processes: 1, applied: 1 })
  })

  it('counts the calls in progress of whoever is meant, in all processes', async () => {
    const { open, serve } = await openProcesses()
    const client = 'https://app.example/client.json'
    const anonymous: RunningCall = { principal: undefined, address: { service: { id: 'jira' } as Service } }
    const one = await serve([callOf('ana', client, 'jira'), callOf('ben', client, 'jira'), anonymous])
    const other = await serve([callOf('ana', 'client_1', 'wiki')])
    const command = open()
    const before = [one.told.forgotten, other.told.forgotten]
    const counts = []
    for (const filter of [
      { user: 'local:ana' },
      { user: 'ANA@example.com' },
      { client },
      { domain: 'example' },
      { service: 'jira' },
      { user: 'local:ana', service: 'jira' },
      { user: 'local:cy' },
    ])
      counts.push(await command.runningCalls(filter))
    expect(counts).toEqual([2, 2, 2, 2, 2, 1, 0])
    expect([one.told.forgotten, other.told.forgotten]).toEqual(before)
    one.running.length = 0
    expect(await command.runningCalls({ user: 'local:ana' })).toBe(1)
  })
})
