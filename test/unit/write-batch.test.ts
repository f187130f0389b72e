// Writes to sockets that are made together, at the end of a turn of the event loop.
import type { AddressInfo } from 'node:net'
import { createServer } from 'node:http'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { createWriteBatch } from '../../src/node/proxy/forward.ts'
import { createUpstreams } from '../../src/node/proxy/http-exchange.ts'
import type { Admission, ResponseSink } from '../../src/ports/call.ts'

const writers = (calls: number) => {
  const batch = createWriteBatch()
  batch.calls = calls
  const written: number[] = []
  const add = (n: number): void => batch.gather({ flush: () => void written.push(n) }, 100)
  return { batch, written, add }
}

describe('the writes of one turn', () => {
  it('are made at its end, in their order, and once', async () => {
    const { written, add } = writers(2)
    add(1)
    add(2)
    expect(written).toEqual([])
    await turn()
    expect(written).toEqual([1, 2])
    add(3)
    expect(written).toEqual([1, 2])
    await turn()
    await turn()
    expect(written).toEqual([1, 2, 3])
  })

  it('wait for no more than sixteen', async () => {
    const { written, add } = writers(20)
    for (let n = 1; n <= 18; n++) add(n)
    expect(written).toHaveLength(16)
    await turn()
    expect(written).toEqual(Array.from({ length: 18 }, (_, i) => i + 1))
  })

  it('include what is added while they are made only in the next turn', async () => {
    const { batch, written, add } = writers(2)
    batch.gather({ flush: () => add(2) }, 100)
    add(1)
    await turn()
    expect(written).toEqual([1])
    await turn()
    expect(written).toEqual([1, 2])
  })

  it('include none of a body over 16 KiB', () => {
    const { batch, written } = writers(2)
    batch.gather({ flush: () => void written.push(1) }, 16_385)
    batch.gather({ flush: () => void written.push(2) }, 16_384)
    expect(written).toEqual([1])
  })

  it('of a call that is alone are made at once', () => {
    const { written, add } = writers(1)
    add(1)
    expect(written).toEqual([1])
  })
})

describe('a request that waits to be written', () => {
  it('is not sent when its call ends before', async () => {
    const heard: (string | undefined)[] = []
    const server = createServer(({ url }, response) => {
      heard.push(url)
      response.end()
    })
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
    const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
    const { batch } = writers(2)
    const upstreams = createUpstreams({ gather: batch.gather, now: Date.now })
    const ended = Promise.withResolvers<void>()
    const send = (path: string): ResponseSink => {
      const upstream = { kind: 'http', origin: `http://${host}`, host, path }
      const call = { upstream, method: 'POST', headers: [], identity: [], body: new Uint8Array(2) }
      const sink = {
        source: undefined,
        head: () => undefined,
        piece: () => true,
        turn: () => undefined,
        end: () => ended.resolve(),
      } as unknown as ResponseSink
      upstreams.send(call as unknown as Admission, sink)
      return sink
    }
    send('/left').source?.close(false)
    send('/stays')
    await ended.promise
    upstreams.close()
    server.close()
    expect(heard).toEqual(['/stays'])
  })
})
