// Deadlines of flows in the store: what has stopped is told of once, by whichever process is there then.
import { describe, expect, it } from 'vitest'
import { createFlowRecorder } from '../../src/flows/recorder.ts'
import { dueTime } from '../../src/kit/records.ts'
import { Refusal } from '../../src/kit/refusal.ts'
import { noTimer } from '../runtimes/clock.ts'
import { all, start, step, worldOf } from './flow-recorder-world.ts'

type World = Awaited<ReturnType<typeof worldOf>>

const redirected = (at: number) => [step('authorize', at), step('consent', at), step('redirect', at)]
const note = async ({ recorder }: World, id: string, steps: readonly ReturnType<typeof step>[]) => {
  for (const one of steps) recorder.note(id, one, { client: 'client_abc', service: 'echo' })
  await recorder.flush()
}
const duesOf = async ({ store }: World) =>
  (await store.list('flow-due:')).map(({ key }) => dueTime(key) - start)
const told = ({ events }: World) => events.map(({ refusal, after, outcome }) => [refusal, after, outcome])

describe('a flow whose next step is missing', () => {
  it.each([
    ['registered and never asked', [step('register', start)], 120_000, 'flow.registered-only', 'stalled'],
    ['a page that was left', [step('authorize', start)], 600_000, 'flow.left', 'abandoned'],
    ['a code that was never redeemed', redirected(start), 60_000, 'flow.code-unused', 'stalled'],
    ['a token that was never used', [step('token', start)], 15_000, 'flow.token-unused', 'stalled'],
  ])('is told of once: %s', async (_, steps, afterMs, code, state) => {
    const world = await worldOf(noTimer)
    const id = world.recorder.newId()
    await note(world, id, steps)
    expect(await duesOf(world)).toEqual([afterMs])
    // Another process does it after a restart of this one.
    const other = createFlowRecorder(world.deps)
    world.clock.advance(afterMs - 1)
    await other.sweep()
    expect(world.events).toEqual([])
    world.clock.advance(2000)
    await Promise.all([other.sweep(), createFlowRecorder(world.deps).sweep()])
    expect(told(world)).toEqual([[code, steps.at(-1)?.step, state]])
    expect(world.events[0]).toMatchObject({
      event: 'flow.finding',
      flow: id,
      client: 'client_abc',
      service: 'echo',
    })
    world.clock.advance(600_000)
    await Promise.all([other.sweep(), createFlowRecorder(world.deps).sweep()])
    expect([world.events.length, await duesOf(world)]).toEqual([1, []])
  })

  it('has one deadline at a time, and is told of again when it stops again', async () => {
    const world = await worldOf(noTimer)
    const { recorder, clock } = world
    const id = recorder.newId()
    await note(world, id, [step('register', start)])
    clock.advance(1000)
    await note(world, id, [step('authorize', clock.now())])
    // The one of the registration is over sooner.
    expect(await duesOf(world)).toEqual([120_000])
    clock.advance(119_000)
    await recorder.sweep()
    expect([world.events, await duesOf(world)]).toEqual([[], [601_000]])
    await note(world, id, [step('redirect', clock.now())])
    expect(await duesOf(world)).toEqual([180_000, 601_000])
    clock.advance(60_000)
    await recorder.sweep()
    clock.advance(20_000)
    await note(world, id, [step('token', clock.now())])
    clock.advance(15_000)
    await recorder.sweep()
    expect(told(world).map(([code]) => code)).toEqual(['flow.code-unused', 'flow.token-unused'])
    await note(world, id, [step('first-call', clock.now())])
    clock.advance(600_000)
    await recorder.sweep()
    expect([world.events.length, await duesOf(world)]).toEqual([2, []])
  })

  it('is told of at once where its steps were written too late', async () => {
    const world = await worldOf(noTimer)
    const { recorder, clock } = world
    recorder.note(recorder.newId(), step('token', start), { client: 'client_abc' })
    clock.advance(20_000)
    await recorder.flush()
    await recorder.sweep()
    expect(told(world)).toEqual([['flow.token-unused', 'token', 'stalled']])
    clock.advance(2000)
    await recorder.sweep()
    expect([world.events.length, await duesOf(world)]).toEqual([1, []])
  })

  it('that went through at once leaves no deadline', async () => {
    const world = await worldOf(noTimer)
    await note(world, world.recorder.newId(), [
      ...redirected(start),
      step('token', start),
      step('first-call', start),
    ])
    expect(await duesOf(world)).toEqual([])
  })
})

describe('deadlines', () => {
  it('of a record that cannot be read stop none of the others', async () => {
    const world = await worldOf(noTimer)
    const { recorder, store, clock, lines } = world
    const [damaged, sound] = [recorder.newId(), recorder.newId()]
    for (const id of [damaged, sound]) await note(world, id, [step('token', start)])
    await store.put(`flow:${damaged}`, 's1.AAAA.no-record')
    clock.advance(15_000)
    const other = createFlowRecorder(world.deps)
    await other.sweep()
    expect(world.events.map(({ flow }) => flow)).toEqual([sound])
    expect(lines).toContain('flow.lost')
    expect(await duesOf(world)).toEqual([])
  })

  it('wait while the storage does not answer', async () => {
    const world = await worldOf(noTimer)
    const { recorder, store, clock } = world
    await note(world, recorder.newId(), [step('token', start)])
    clock.advance(15_000)
    const { put } = store
    store.put = () => Promise.reject(new Refusal('storage.unavailable', 'away'))
    await expect(recorder.sweep()).rejects.toThrow('away')
    store.put = put
    clock.advance(1999)
    await recorder.sweep()
    expect(world.events).toEqual([])
    clock.advance(1)
    await recorder.sweep()
    expect(world.events).toHaveLength(1)
  })

  it('of a thousand registrations of one network are as few as its flows', async () => {
    const world = await worldOf(noTimer)
    const { recorder, store, clock } = world
    for (let n = 0; n < 1000; n++) recorder.note(recorder.newId(), step('register', clock.now()))
    await recorder.flush()
    expect([(await all(recorder)).length, (await duesOf(world)).length]).toEqual([20, 20])
    clock.advance(120_000)
    await recorder.sweep()
    expect([world.events.length, (await store.list('flow-due:')).length]).toEqual([20, 0])
  })

  it('are none of somebody who only read metadata', async () => {
    const world = await worldOf(noTimer)
    const { recorder } = world
    const request = { agent: 'notes', path: '/echo/mcp' }
    recorder.seeEarly({
      ip: '192.0.2.1',
      agent: 'notes',
      service: 'echo',
      step: step('challenge', start, { request }),
    })
    await recorder.flush()
    expect([(await all(recorder)).length, await duesOf(world)]).toEqual([1, []])
  })
})
