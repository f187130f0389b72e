// What is shared among the calls of one isolate, and what a call leaves behind: header objects are used
// again, and the runtime ends what a call began.
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openInWorkerd } from '../runtimes/runtimes.ts'
import { call, openProxied, type Proxied, until } from '../runtimes/proxied.ts'

let proxied: Proxied
beforeAll(async () => {
  proxied = await openProxied(openInWorkerd)
}, 60_000)
afterAll(() => proxied.close())
beforeEach(() => proxied.clear())

/** How many of the answers that the test writes are still waited for. */
const countOpen = (held: Proxied['held']): (() => number) => {
  let open = 0
  const seen = new Set<unknown>()
  return () => {
    for (const response of held) {
      if (seen.has(response)) continue
      seen.add(response)
      open++
      response.on('close', () => open--)
    }
    return open
  }
}

describe('never leaves a request to an upstream open in workerd', () => {
  it('that took too long, with its answer or with the rest of it [H-R10]', async () => {
    const slow = await proxied.at('slow')
    const { held } = proxied
    const open = countOpen(held)
    const stuck = Array.from({ length: 6 }, () => slow.post(call('hold')))
    await until(() => held.length === 6, 'six calls')
    expect(open()).toBe(6)
    held[0]!.writeHead(200, { 'content-type': 'application/json' }).write('{"half":')
    held[1]!.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' }).write('{"half":')
    const answers = await Promise.all(stuck)
    // The beginning of a small answer is not passed on before it is whole.
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 504))
    await Promise.all(answers.map((answer) => answer.text().catch(() => undefined)))
    await until(() => open() === 0, 'every upstream request to end')
  })
})

it('never tells an upstream of one caller what another sent or is, and never one caller what another was answered, however they alternate', async () => {
  const { caller, other } = proxied
  const people = [
    { who: caller, email: 'ana@example.com' },
    { who: other, email: 'taro@example.com' },
  ] as const
  const ask = async (i: number): Promise<void> => {
    const { who, email } = people[i % 2]!
    // Same fields, other values; now and then a field more, or some that are not theirs to send.
    const extra: Record<string, string> =
      i % 5 === 0 ? { 'x-note': `note-${i}` } : i % 7 === 0 ? { 'x-user-email': 'mallory@example.com' } : {}
    const response = await who.post(call('whoami', i), { 'x-trace': `trace-${i}`, ...extra })
    const { id, result } = (await response.json()) as {
      id: number
      result: { headers: Record<string, string> }
    }
    expect([
      id,
      result.headers['x-trace'],
      result.headers['x-user-email'],
      result.headers['x-request-id'],
    ]).toEqual([i, `trace-${i}`, email, response.headers.get('x-request-id')])
    expect(result.headers['x-note']).toBe(i % 5 === 0 ? `note-${i}` : undefined)
  }
  for (let round = 0; round < 10; round++)
    await Promise.all(Array.from({ length: 12 }, (_, i) => ask(round * 12 + i)))
})

it('never keeps more of one caller’s unfinished calls than their share of an isolate, while others are served [H-R9]', async () => {
  const { caller, other, held } = proxied
  const large = {
    ...call('hold'),
    params: { name: 'hold', arguments: { text: 'x'.repeat(3 * 1024 * 1024) } },
  }
  const first = caller.post(large)
  await until(() => held.length === 1, 'the first large call')
  const second = await caller.post(large)
  expect([second.status, second.headers.get('retry-after')]).toEqual([503, '1'])
  expect(await second.json()).toMatchObject({
    error: {
      code: 1503,
      message: 'The gateway has reached its memory limit for pending calls. Try again in a moment.',
    },
  })
  expect((await caller.post(call('whoami'))).status).toBe(200)
  const others = other.post(large)
  await until(() => held.length === 2, 'the large call of somebody else')
  for (const response of held)
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end('{"jsonrpc":"2.0","id":7,"result":{}}')
  expect([(await first).status, (await others).status]).toEqual([200, 200])
  const again = caller.post(large)
  await until(() => held.length === 3, 'the large call, asked again')
  held[2]!.writeHead(200, { 'content-type': 'application/json' }).end('{"jsonrpc":"2.0","id":7,"result":{}}')
  expect((await again).status).toBe(200)
})
