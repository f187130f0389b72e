// The flow record below the gateway: which steps are joined, what is kept and for how long, and what strangers can
// make it hold.
import { describe, expect, it } from 'vitest'
import { createFirstCalls } from '../../src/flows/calls.ts'
import { createRecording } from '../../src/flows/observe.ts'
import { createFlowRecorder } from '../../src/flows/recorder.ts'
import { withSteps } from '../../src/flows/steps.ts'
import { storyOf } from '../../src/flows/story.ts'
import type { FlowRecord, FlowStep } from '../../src/ports/flow-record.ts'
import { noTimer } from '../runtimes/clock.ts'
import { all, dayMs, start, step, worldOf } from './flow-recorder-world.ts'

const directory = {
  resolve: () => undefined,
  locate: () => undefined,
  only: undefined,
  addresses: [],
  issuer: 'https://gw.test',
  assertComplete: () => undefined,
}

describe('joining', () => {
  it('of 1,000 interleaved flows of one address and one browser joins none wrongly', async () => {
    const { runtime } = await worldOf(noTimer)
    const limit = Object.assign(() => Promise.resolve(), {
      guess: () => Promise.resolve(),
      guessed: () => Promise.resolve(),
      takeBack: () => Promise.resolve(),
    })
    const recording = createRecording({
      config: { flows: { enabled: true, retention: 86_400 } },
      runtime,
      limit,
      directory,
    })
    // What the modules keep of a flow, by client, pending request and grant.
    const registered = new Map<string, string | undefined>()
    const granted = new Map<string, string | undefined>()
    const pendings = new Map<string, { clientId: string; flow?: string }>()
    const reads = recording.watchPending({
      of: async (id: string, _browser: Request) => {
        const { clientId, flow } = pendings.get(id) ?? { clientId: '' }
        return {
          pending: {
            clientId,
            client: { name: clientId },
            resource: '',
            ...(flow !== undefined && { flow }),
          },
        }
      },
      peek: () => Promise.resolve(undefined),
    })
    let ids = 0
    const app = recording.watchApp(async (request, { requestId: request_id }) => {
      const { pathname, searchParams } = new URL(request.url)
      const n = searchParams.get('n') ?? ''
      const id = `pending-request-${n}`.padEnd(32, '_')
      if (pathname === '/oauth/register') {
        registered.set(n, recording.beginFlow?.(request))
        recording.record({ event: 'client.registered', client: `client-${n}`, request_id })
        return new Response(null, { status: 201 })
      }
      if (pathname === '/oauth/authorize') {
        const flow = recording.beginFlow?.(request, registered.get(n))
        pendings.set(id, { clientId: `client-${n}`, ...(flow !== undefined && { flow }) })
        return new Response(null, { status: 303, headers: { location: `/login?flow=${id}` } })
      }
      if (pathname === '/oauth/consent') {
        await reads.of(id, request)
        granted.set(n, pendings.get(id)?.flow)
        recording.record({ event: 'consent.allowed', client: `client-${n}`, grant: `grant-${n}`, request_id })
        return new Response(null, { status: 303, headers: { location: 'https://app.example/cb' } })
      }
      const flow = granted.get(n)
      recording.record({ event: 'grant.issued', grant: `grant-${n}`, flow, request_id })
      recording.met?.({ id: `grant-${n}`, ...(flow !== undefined && { flow }) })
      return Response.json({})
    })
    const ask = (method: string, path: string, n: number) =>
      app(new Request(`https://gw.test${path}?n=${n}`, { method }), {
        requestId: `r${ids++}`,
        ip: '192.0.2.1',
      })
    const steps = [
      ['POST', '/oauth/register'],
      ['GET', '/oauth/authorize'],
      ['POST', '/oauth/consent'],
      ['POST', '/oauth/token'],
    ] as const
    // Each is a few steps behind the one before it, so that all kinds of steps meet at every moment.
    const lanes = Array.from({ length: 1000 }, (_, n) => n)
    for (let round = 0; round < steps.length + 9; round++)
      await Promise.all(
        lanes.flatMap((n) => {
          const [method, path] = steps[round - (n % 10)] ?? []
          return method && path ? [ask(method, path, n)] : []
        }),
      )
    for (const n of lanes)
      recording.recordCall({ event: 'call', grant: `grant-${n}`, result: 'answered', status: 200 })
    const { flows } = (await recording.flowAdmin?.list({}, 2000)) ?? { flows: [] }
    expect(flows).toHaveLength(1000)
    for (const flow of flows) {
      const n = flow.client?.slice('client-'.length)
      expect([flow.grant, flow.state]).toEqual([`grant-${n}`, 'completed'])
      expect(flow.steps.map(({ name }) => name)).toEqual([
        'register',
        'authorize',
        'consent',
        'code',
        'redirect',
        'token',
        'first-call',
      ])
    }
  })
})

describe('a callback that another process meets', () => {
  it('is joined by the pending request that it leads to', async () => {
    const world = await worldOf(noTimer)
    const deferred: Promise<unknown>[] = []
    const runtime = { ...world.runtime, defer: (work: Promise<unknown>) => void deferred.push(work) }
    const { limit } = world
    const recording = createRecording({
      config: { flows: { enabled: true, retention: 86_400 } },
      runtime,
      limit,
      directory,
    })
    const flow = world.recorder.newId()
    recording.watchPending({
      of: (_id: string, _browser: Request) => Promise.reject(new Error('not asked')),
      peek: (id: string) => Promise.resolve({ clientId: 'c', client: { name: id }, resource: '', flow }),
    })
    const location = `/oauth/consent?flow=${'p'.repeat(32)}`
    const app = recording.watchApp(async (_request, { requestId: request_id }) => {
      recording.record({ event: 'sign-in', person: 'usual:7', provider: 'usual', request_id })
      return new Response(null, { status: 303, headers: { location } })
    })
    await app(new Request('https://gw.test/oauth/callback?code=c&state=s'), {
      requestId: 'r',
      ip: '192.0.2.1',
    })
    await deferred[0]
    expect(await recording.flowAdmin?.show(flow)).toMatchObject({
      user: 'usual:7',
      steps: [{ name: 'provider-callback', result: 'done', answer: { provider: 'usual' } }],
    })
  })
})

describe('steps of others in a flow', () => {
  const begun = async () => {
    const world = await worldOf(noTimer)
    const id = world.recorder.newId()
    world.recorder.note(id, step('register', start))
    world.recorder.note(id, step('authorize', start))
    world.recorder.note(id, step('consent', start + 1), { person: 'local:ana', client: 'c' })
    await world.recorder.flush()
    const noted = async (one: FlowStep, person?: string) => {
      world.recorder.note(id, one, person === undefined ? {} : { person })
      await world.recorder.flush()
    }
    return { ...world, id, noted }
  }
  const stepsOf = (flow: FlowRecord | undefined) => flow?.steps.map(({ step: named }) => named).join(' ')

  it('begin one of their own: another person’s, wherever they come from', async () => {
    const { recorder, id, noted } = await begun()
    await noted(step('consent', start + 2), 'local:ben')
    await noted(step('token', start + 3), 'local:ana')
    await noted(step('token', start + 4), 'local:ben')
    const flow = await recorder.read(id)
    expect([flow?.person, stepsOf(flow)]).toEqual(['local:ana', 'register authorize consent token'])
    const [other, ...more] = await recorder.ofPerson('local:ben')
    expect([other?.person, stepsOf(other), more]).toEqual(['local:ben', 'consent token', []])
  })

  it('begin one of their own: of nobody, from elsewhere, who has only the app’s ID', async () => {
    const { recorder, id, noted } = await begun()
    await noted(
      step('authorize', start + 2, { ip: '203.0.113.9', result: 'refused', code: 'redirect.mismatch' }),
    )
    await noted(step('authorize', start + 3, { ip: '203.0.113.9' }))
    await noted(step('authorize', start + 4, { ip: '192.0.2.1' }))
    expect(stepsOf(await recorder.read(id))).toBe('register authorize consent authorize')
    const others = (await all(recorder)).filter((flow) => flow.id !== id)
    expect(others.map(stepsOf)).toEqual(['authorize authorize'])
  })

  it('are told apart when they come at one moment', async () => {
    const { recorder, clock } = await worldOf(noTimer)
    const id = recorder.newId()
    recorder.note(id, step('authorize', clock.now()))
    for (const [n, person] of ['ana', 'ben', 'ana', 'ben'].entries())
      recorder.note(id, step(n < 2 ? 'consent' : 'token', clock.now() + n), { person: `local:${person}` })
    await recorder.flush()
    const found = await all(recorder)
    expect(Object.fromEntries(found.map(({ person, steps }) => [person, steps.length]))).toEqual({
      'local:ana': 3,
      'local:ben': 2,
    })
  })
})

describe('what is kept', () => {
  it('survives a restart between the token and the time at which its first call is missed', async () => {
    const { recorder, deps, clock } = await worldOf()
    const id = recorder.newId()
    recorder.note(id, step('authorize', start), { client: 'c' })
    recorder.note(id, step('token', start))
    await recorder.flush()
    clock.advance(15_000)
    const [flow] = await all(createFlowRecorder(deps))
    expect(storyOf(flow as FlowRecord, clock.now())).toMatchObject({
      state: 'stalled',
      finding: { code: 'flow.token-unused' },
    })
  })

  it('is written a quarter of a second later, the steps of two processes in their order', async () => {
    const { recorder, deps, clock } = await worldOf()
    const other = createFlowRecorder(deps)
    const id = recorder.newId()
    recorder.note(id, step('authorize', start), { client: 'c' })
    other.note(id, step('sign-in', start + 2), { person: 'local:ana' })
    recorder.note(id, step('sign-in', start + 1, { result: 'asked' }))
    expect(await recorder.read(id)).toBeUndefined()
    clock.advance(250)
    await Promise.all([recorder.flush(), other.flush()])
    const flow = await recorder.read(id)
    expect(flow?.steps.map(({ at }) => at - start)).toEqual([0, 1, 2])
    expect(flow).toMatchObject({ client: 'c', person: 'local:ana' })
  })

  it('is one first call, some refreshes, and no more steps than are of use', () => {
    const empty: FlowRecord = { id: 'f', at: 0, steps: [], person: 'local:ana' }
    const of = (flow: FlowRecord, named: FlowStep['step'], n: number, more: Partial<FlowStep> = {}) =>
      withSteps(
        flow,
        Array.from({ length: n }, (_, i) => step(named, i, more)),
        {},
      )
    expect(of(empty, 'first-call', 5).steps).toHaveLength(1)
    expect(of(empty, 'first-call', 5, { result: 'refused' }).steps).toHaveLength(3)
    expect(of(empty, 'refresh', 60).steps).toHaveLength(50)
    expect(of(of(empty, 'refresh', 60), 'refresh', 5)).toEqual(of(empty, 'refresh', 60))
    const full = of(empty, 'sign-in', 300)
    expect([full.steps.length, full.cut]).toEqual([200, true])
    expect(of(full, 'sign-in', 1)).toBe(full)
    expect(of({ id: 'f', at: 0, steps: [] }, 'authorize', 300).steps).toHaveLength(40)
  })

  it('is gone after the retention, and after a day where nobody signed in', async () => {
    const { recorder, clock } = await worldOf()
    const [stranger, ana] = [recorder.newId(), recorder.newId()]
    recorder.note(stranger, step('authorize', start))
    recorder.note(ana, step('authorize', start), { person: 'local:ana' })
    await recorder.flush()
    clock.advance(dayMs - 1)
    expect(await all(recorder)).toHaveLength(2)
    clock.advance(1)
    expect((await all(recorder)).map(({ id }) => id)).toEqual([ana])
    // A later step does not make it last longer.
    clock.advance(28 * dayMs)
    recorder.note(ana, step('refresh', clock.now()))
    await recorder.flush()
    clock.advance(dayMs)
    expect(await all(recorder)).toEqual([])
    // What is gone does not come back by a refresh.
    recorder.note(ana, step('refresh', clock.now()))
    await recorder.flush()
    expect(await all(recorder)).toEqual([])
  })

  it('is sealed, the newest first, and an ID is never taken for an option', async () => {
    const { recorder, store, clock } = await worldOf()
    const ids: string[] = []
    for (let i = 0; i < 3; i++) {
      const id = recorder.newId()
      ids.unshift(id)
      recorder.note(id, step('authorize', clock.now()), { client: 'a-client', person: 'local:ana' })
      await recorder.flush()
      clock.advance(1)
    }
    expect((await all(recorder)).map(({ id }) => id)).toEqual(ids)
    expect((await recorder.ofPerson('local:ana')).map(({ id }) => id)).toEqual(ids)
    for (const { value } of await store.list('flow:')) expect(value).toMatch(/^s1\./)
    for (const id of ids) expect(id).toMatch(/^[0-9a-z]{21}$/)
  })
})

describe('what strangers can make it hold', () => {
  it('is twenty flows a minute of one network, and keeps nobody out who has signed in', async () => {
    const { recorder, clock } = await worldOf(noTimer)
    for (let i = 0; i < 1000; i++)
      recorder.note(recorder.newId(), step('authorize', start, { ip: `2001:db8::${i % 100}` }))
    await recorder.flush()
    expect(await all(recorder)).toHaveLength(20)
    const mine = recorder.newId()
    recorder.note(mine, step('consent', start, { ip: '2001:db8::1' }), { person: 'local:ana' })
    await recorder.flush()
    expect(await recorder.read(mine)).toMatchObject({ person: 'local:ana' })
    clock.advance(60_000)
    recorder.note(recorder.newId(), step('authorize', clock.now(), { ip: '2001:db8::1' }))
    await recorder.flush()
    expect(await all(recorder)).toHaveLength(22)
  })

  it('is some fifty flows of each person, whose oldest go', async () => {
    const { recorder, clock } = await worldOf()
    const ids: string[] = []
    for (let i = 0; i < 71; i++) {
      const id = recorder.newId()
      ids.unshift(id)
      recorder.note(id, step('authorize', clock.now()), { person: i === 0 ? 'local:ben' : 'local:ana' })
      await recorder.flush()
      clock.advance(10_000)
    }
    const kept = (await all(recorder)).map(({ id }) => id)
    // Removed a few at a time, and never those of others.
    expect(kept).toEqual([...ids.slice(0, 59), ids.at(-1)])
  })

  it('never stops a login: a store that fails costs the record alone', async () => {
    const { recorder, store, lines } = await worldOf()
    store.put = () => Promise.reject(new Error('gone'))
    recorder.note(recorder.newId(), step('authorize', start))
    await recorder.flush()
    expect(lines).toEqual(['flow.lost'])
  })
})

it('a first call stands where it began, although it is told of when it is over', async () => {
  const { recorder } = await worldOf(noTimer)
  const noted: FlowStep[] = []
  const calls = createFirstCalls(
    { ...recorder, note: (_flow, steps) => void noted.push(...[steps].flat()) },
    () => 1000,
  )
  calls.met({ id: 'a grant', flow: 'a flow' })
  const heard = calls.firstCalls.get('a grant')
  // Events of the grant that are no calls, and a stream, which is none yet.
  heard?.({ event: 'grant.refreshed' })
  heard?.({ event: 'call', http: 'GET', result: 'aborted', status: 200, first_byte_ms: 2, duration_ms: 900 })
  heard?.({ event: 'call', result: 'answered', status: 200, duration_ms: 40 })
  expect(noted).toMatchObject([
    { at: 100, step: 'first-call', result: 'asked', answer: { first_byte_ms: 2, duration_ms: 900 } },
    { at: 960, step: 'first-call', result: 'done' },
  ])
})
