// What is joined to a flow by address, program and time alone: never with confidence where it could be somebody
// else's, and never without bound.
import { describe, expect, it } from 'vitest'
import type { FlowStep } from '../../src/ports/flow-record.ts'
import { noTimer } from '../runtimes/clock.ts'
import { all, start, step, worldOf } from './flow-recorder-world.ts'

const ip = '203.0.113.7'

const early = (named: FlowStep['step'], at: number, n: number, agent = 'notes') => ({
  ip,
  agent,
  service: 'echo',
  step: step(named, at, { ip, request: { agent, path: '/echo/mcp', n } }),
})

describe('flows of one address that are interleaved', () => {
  const clients = {
    'registered apps': (n: number) => `client_${String(n).padStart(22, '0')}`,
    'apps of known clients': (n: number) => `https://app.example/${n}.json`,
  }
  it.each(Object.entries(clients))('are not taken for one another with confidence: %s', async (_, idOf) => {
    const { recorder, clock } = await worldOf(noTimer)
    const ids: string[] = []
    for (let n = 0; n < 1000; n++) {
      ids.push(recorder.newId())
      recorder.seeEarly(early('challenge', clock.now(), n))
      recorder.seeEarly(early('resource-metadata', clock.now() + 1, n))
      // Each begins its flow only when four others have been seen.
      const begun = n - 4
      if (begun >= 0)
        recorder.note(ids[begun] as string, step('authorize', clock.now(), { ip, request: { n: begun } }), {
          client: idOf(begun),
          service: 'echo',
          person: `local:${begun}`,
        })
      clock.advance(n % 7 === 0 ? 400 : 3)
      if (n % 5 === 0) await recorder.flush()
    }
    await recorder.flush()
    const flows = (await all(recorder)).filter(({ client }) => client !== undefined)
    expect(flows.length).toBe(996)
    for (const { steps } of flows) {
      const own = steps.find(({ step: named }) => named === 'authorize')?.request['n']
      const wrong = steps.filter(({ request, confidence = 1 }) => request['n'] !== own && confidence >= 0.7)
      expect(wrong).toEqual([])
    }
  })

  it('are told apart where one app after the other comes and is known', async () => {
    const { recorder, clock } = await worldOf(noTimer)
    const confidences: unknown[] = []
    for (let n = 0; n < 3; n++) {
      const id = recorder.newId()
      recorder.seeEarly(early('challenge', clock.now(), n))
      const about = { client: 'https://app.example/c.json', service: 'echo' }
      recorder.note(id, step('authorize', clock.now(), { ip }), about)
      await recorder.flush()
      confidences.push((await recorder.read(id))?.steps[0]?.confidence)
      clock.advance(n === 0 ? 120_000 : 10_000)
    }
    // The third comes when the second has hardly gone.
    expect(confidences).toEqual([0.7, 0.7, 0.5])
  })

  it('are not believed at all where a network has many', async () => {
    const { recorder } = await worldOf(noTimer)
    for (const agent of ['a', 'b', 'c', 'd']) recorder.seeEarly(early('challenge', start, 0, agent))
    const id = recorder.newId()
    recorder.note(id, step('register', start, { ip, request: { agent: 'c' } }))
    await recorder.flush()
    expect((await recorder.read(id))?.steps).toMatchObject([{ step: 'challenge', confidence: 0.3 }, {}])
  })
})

describe('probes', () => {
  it('10,000 of one network leave a bounded record, and the rest is counted', async () => {
    const { recorder, store, clock } = await worldOf(noTimer)
    for (let n = 0; n < 10_000; n++) {
      recorder.seeEarly(early(n % 2 === 0 ? 'challenge' : 'probe', clock.now(), n, `scan${n}`))
      if (n % 100 === 99) await recorder.flush()
    }
    const flows = await all(recorder)
    expect(flows).toHaveLength(20)
    expect(Math.max(...flows.map(({ unrecorded = 0 }) => unrecorded))).toBe(4980)
    expect(await store.list('flow-early:')).toHaveLength(1)
    clock.advance(120_000)
    expect(await store.list('flow-early:')).toEqual([])
    // Nobody signed in: gone after a day.
    clock.advance(86_400_000)
    expect(await all(recorder)).toEqual([])
  })

  it('of one program that looks again and again are one attempt', async () => {
    const { recorder } = await worldOf(noTimer)
    for (let n = 0; n < 50; n++) recorder.seeEarly(early('challenge', start + n, n))
    await recorder.flush()
    const flows = await all(recorder)
    expect(flows.map(({ steps }) => steps.length)).toEqual([12])
  })

  it('that only look, without a call, are no flow', async () => {
    const { recorder, store } = await worldOf(noTimer)
    recorder.seeEarly(early('probe', start, 0))
    recorder.seeEarly(early('preflight', start, 0))
    await recorder.flush()
    expect([await all(recorder), await store.list('flow-early:')]).toEqual([[], []])
  })
})
