// One fault at a time, and everything that is told of it: the page, the JSON, the line of the log, the flow, and what the
// doctor finds in the configuration. All name the same code and the same person to act.
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { actorOf } from '../../src/cli/doctor/findings.ts'
import { connectionFinding } from '../../src/cli/doctor/self.ts'
import { parseConfig } from '../../src/config/schema.ts'
import { type Check, checkConnections } from '../../src/connection-checks.ts'
import { refused } from '../../src/flows/refusal-findings.ts'
import { createOutbound } from '../../src/node/outbound.ts'
import { createNodeRuntime } from '../../src/node/runtime.ts'
import { problems } from '../../src/pages/problem-texts.ts'
import type { FlowActor } from '../../src/ports/flow-record.ts'
import type { Actor } from '../../src/ports/pages.ts'
import type { Page } from '../runtimes/browser.ts'
import { faultsOfCalls } from '../runtimes/faults-of-calls.ts'
import { faultsOfLogins } from '../runtimes/faults-of-logins.ts'
import { type FaultyWorld, openFaultyWorld, providers } from '../runtimes/faulty-world.ts'

let world: FaultyWorld
let checks: readonly Check[]
beforeAll(async () => {
  world = await openFaultyWorld()
  const config = parseConfig({
    session_secret: 'x'.repeat(43),
    storage: { type: 'memory' },
    local_users: [{ username: 'ana', password: 'correct horse battery' }],
    oauth_providers: providers,
    mcp_services: Object.fromEntries(
      Object.entries(world.services).filter(([id]) => ['gone', 'portal', 'keyed', 'off'].includes(id)),
    ),
  })
  const runtime = await createNodeRuntime({ config, stateDir: '', log: () => undefined, version: '' })
  try {
    checks = await checkConnections(
      config,
      {
        runtime,
        outboundTo: (...urls) =>
          /idp\.test/.test(urls.join(' '))
            ? world.outbound
            : createOutbound({ allowOrigins: urls.map((url) => new URL(url).origin) }),
      },
      () => undefined,
    )
  } finally {
    await runtime.close()
  }
})
afterAll(() => world.close())

const faults = [...faultsOfLogins, ...faultsOfCalls]

// What is told of each.

const bands: Readonly<Record<FlowActor, string>> = {
  user: 'What you can do',
  app: 'The app’s developer needs to fix this',
  operator: 'Contact your administrator',
  server: 'Temporary problem, try again',
  nobody: 'Temporary problem, try again',
}

const bandIn = ({ body }: Page): string | undefined =>
  Object.values(bands).find((band) => body.includes(`<strong>${band}</strong>`))

interface Answered {
  readonly code?: string
  readonly request_id?: string
  readonly error?: { readonly data?: { readonly code: string; readonly request_id: string } }
}

const lineOf = (requestId: string | null) =>
  world.house.log.find((line) => line.event === 'refused' && line.fields['request_id'] === requestId)

describe.each(faults)('$fault', ({ code, acts, why, met, flow = code, run }) => {
  it.each(met)('tells the same on %s, in the log and in the flow', async (as) => {
    const { answer, client } = await run(world, as)
    const requestId = answer.headers.get('x-request-id')
    const told =
      as === 'page'
        ? { reference: answer.body.includes(`${code} · ${requestId}`), band: bandIn(answer) }
        : namedIn(JSON.parse(answer.body) as Answered)
    expect(told).toEqual(
      as === 'page' ? { reference: true, band: bands[acts] } : { code, request_id: requestId },
    )
    const line = lineOf(requestId)
    expect(line?.fields['refusal']).toBe(code)
    expect(String(line?.fields['why'])).toMatch(why)
    if (flow === 'none') return
    const { finding } = client === 'newest' ? await newest() : await world.flowOf(client ?? '')
    expect([finding?.code, finding?.acts]).toEqual([flow, acts])
  })
})

it.each(faults.flatMap((one) => (one.doctor === undefined ? [] : { ...one, doctor: one.doctor })))(
  '$fault: the doctor tells the same',
  ({ code, acts, doctor }) => {
    const check = checks.find(({ key }) => key === doctor)
    expect(check?.ok).toBe(false)
    const finding = connectionFinding(check as Check)
    expect([finding.refusal, actorOf(finding)]).toEqual([code, acts])
    expect(finding.evidence).toMatch(
      new RegExp(`^${doctor}: .* Until then requests are refused with ${code}\\.$`),
    )
  },
)

const newest = async () => {
  const [flow] = (await world.list('?limit=1')).flows
  return { finding: flow?.finding }
}

const namedIn = ({ error, ...body }: Answered) => {
  const { code, request_id } = error?.data ?? body
  return { code, request_id }
}

// And of every refusal that has a page.

const sides: Readonly<Record<Actor, readonly FlowActor[]>> = {
  you: ['user'],
  app: ['app'],
  admin: ['operator'],
  nobody: ['nobody', 'server'],
}
/** On a page these are a form or an address of the person; in a flow they are requests of the app. */
const ofTheForm = ['request.malformed', 'request.method', 'request.media-type', 'route.unknown']

it('names the same person to act on the page and in the flow, whatever the refusal', () => {
  const differing = Object.entries(problems)
    .filter(([code, { who }]) => !sides[who].includes(refused(code).acts))
    .map(([code]) => code)
  expect(differing).toEqual(ofTheForm)
})

it('injects at least forty faults', () => expect(faults.length).toBeGreaterThanOrEqual(40))
