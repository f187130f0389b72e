// What the gateway keeps of an event stream that runs, for as long as somebody listens: who it is for, and
// nothing that only its beginning needed.
import type { AddressInfo } from 'node:net'
import { createServer, type IncomingMessage, get as httpGet } from 'node:http'
import { afterEach, describe, expect, it } from 'vitest'
import { createForward } from '../../src/node/proxy/forward.ts'
import { timer } from '../../src/node/runtime.ts'
import type { Admission, Head, Upstream } from '../../src/ports/call.ts'
import type { Principal } from '../../src/ports/people.ts'
import type { LocatedAddress, Service } from '../../src/ports/services.ts'
import { createAdmission } from '../../src/proxy/admission.ts'
import { createCall } from '../../src/proxy/admit.ts'
import { createRequestHeaders } from '../../src/proxy/inbound-request.ts'
import { createRespond } from '../../src/proxy/response-sink.ts'
import { envelopeOf } from '../../src/mcp/envelope.ts'

const service = {
  id: 'notes',
  authRequired: true,
  timeoutMs: 1000,
  upstream: { kind: 'http' },
} as unknown as Service
const principal = { personKey: 'local:ada', clientId: 'c1', grantId: 'g1' } as Principal
const rawHeaders = [
  ...['Host', 'gw.example.test', 'Authorization', 'Bearer secret', 'User-Agent', 'test'],
  ...['Last-Event-ID', '7'],
]
const http: Upstream = { kind: 'http', origin: 'http://u.test', host: 'u.test', path: '/mcp' }
const local: Upstream = { kind: 'local', url: 'http://u.test', handle: () => Promise.reject(new Error()) }

const admitted = (method: string, upstream: Upstream, asked?: string) => {
  const head: Head = {
    method,
    target: '/notes/mcp',
    host: 'gw.example.test',
    rawHeaders,
    ip: '192.0.2.1',
    requestId: 'r1',
  }
  const call = createCall(head, () => Promise.reject(new Error('read')), 0)
  call.address = { service, path: '/notes/mcp', resource: '' }
  call.context = { target: { shown: 'u.test' } } as typeof call.context
  call.inbound = createRequestHeaders(new Set())(rawHeaders)
  call.principal = principal
  call.identity = ['X-User-Id', 'ada']
  call.credential = { headers: ['Authorization', 'Bearer upstream'] } as typeof call.credential
  call.upstream = upstream
  if (asked !== undefined) call.envelope = envelopeOf({ jsonrpc: '2.0', id: 1, method: asked, params: {} })
  const ends: unknown[] = []
  const events: unknown[] = []
  const admit = createAdmission({
    runtime: { log: () => undefined, transports: {} as never },
    cors: { answer: () => [] } as never,
    finish: (ended, outcome) => void ends.push(ended.head.requestId, ended.principal, outcome),
    record: ({ event, person, end }) => void events.push([event, person, end]),
    sessions: { learn: () => Promise.resolve() } as never,
    watch: {} as never,
    keepAliveMs: 1000,
    always: [],
    recovery: {} as never,
    access: {
      catalog: { forget: () => undefined } as never,
      newest: (principal) => principal,
      tasks: { hear: () => undefined, called: () => undefined, check: () => Promise.resolve([]) },
      trim: undefined,
      rulesOf: () => undefined,
      watchLists: () => () => undefined,
      replyOf: () => () => undefined,
    },
  })
  return { call, admission: admit(call), ends, events }
}

const said = ({ call, admission }: ReturnType<typeof admitted>) => ({
  headers: admission.headers,
  identity: admission.identity,
  own: call.identity,
  authorization: call.inbound.authorization,
  forward: call.inbound.forward,
  resume: call.inbound.resume,
})
const nothing = {
  headers: [],
  identity: [],
  own: [],
  authorization: [],
  forward: [],
  resume: undefined,
}

describe('the record of a call whose answer is an event stream', () => {
  it.each([
    ['that is listened to with GET', 'GET', undefined],
    ['that is listened to with a request', 'POST', 'subscriptions/listen'],
  ])('%s holds neither token nor identity nor header fields', (_, method, asked) => {
    const stream = admitted(method, http, asked)
    expect(said(stream)).toMatchObject({
      authorization: ['Bearer secret'],
      identity: ['X-User-Id', 'ada'],
      resume: '7',
    })
    expect(stream.admission.headers.slice(-2)).toEqual(['Authorization', 'Bearer upstream'])
    stream.admission.streams()
    expect(said(stream)).toEqual(nothing)
  })

  it('still says who listened, and where, when it ends', () => {
    const { admission, ends, events } = admitted('GET', http)
    expect(events).toEqual([])
    admission.streams()
    expect(events).toEqual([['stream.opened', 'local:ada', undefined]])
    expect(admission.fault('closed', 'why').code).toBe('upstream.closed')
    expect([admission.address.service.id, admission.principal]).toEqual(['notes', principal])
    const outcome = { result: 'aborted', status: 200, bytesOut: 3 } as const
    admission.end(outcome)
    expect(ends).toEqual(['r1', principal, outcome])
    expect(events).toHaveLength(2)
    expect(events[1]).toEqual(['stream.closed', 'local:ada', 'aborted'])
  })

  it('stays whole for the answer to a call, and for a service in this process, which may go by it', () => {
    for (const call of [admitted('POST', http, 'tools/call'), admitted('GET', local)]) {
      const before = said(call)
      expect(before.authorization).toEqual(['Bearer secret'])
      call.admission.streams()
      expect(said(call)).toEqual(before)
    }
  })
})

describe('on Node, the request of an event stream', () => {
  const closing: (() => void)[] = []
  afterEach(() => closing.splice(0).forEach((close) => close()))

  const listening = async (server: ReturnType<typeof createServer>): Promise<string> => {
    closing.push(() => {
      server.close()
      server.closeAllConnections()
    })
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
    return `127.0.0.1:${(server.address() as AddressInfo).port}`
  }

  it('keeps its host, and no other field once the stream has begun', async () => {
    const silent = await listening(
      createServer((_, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).write('data: 1\n\n')
      }),
    )
    const stream = admitted('GET', { ...http, origin: `http://${silent}`, host: silent })
    const forward = createForward({
      admit: (): Promise<Admission> => Promise.resolve({ ...stream.admission, watch: undefined }),
      respond: createRespond({ runtime: { now: Date.now, timer } }),
      refuse: (error) => {
        throw error
      },
      now: Date.now,
      timer,
    })
    closing.push(() => forward.close())
    let request: IncomingMessage | undefined
    const origin = await listening(
      createServer((came, response) => {
        request = came
        forward.serve(came, response, { ip: '192.0.2.1', requestId: 'r1' }, {} as LocatedAddress)
      }),
    )
    const headers = { authorization: 'Bearer secret' }
    const heard = await new Promise<string>((resolve, reject) => {
      httpGet(`http://${origin}/notes/mcp`, { headers }, (answer) => {
        answer.on('data', (piece: Buffer) => resolve(`${answer.statusCode} ${piece.toString()}`))
      }).once('error', reject)
    })
    expect(heard).toBe('200 data: 1\n\n')
    expect(request?.rawHeaders).toEqual(['Host', origin])
    expect(request?.headers).toEqual({})
  })
})
