// Connections to upstreams: used again while that is safe, never for two at once, and only with whom the
// certificate names.
import { readFileSync } from 'node:fs'
import { createServer as createHttps } from 'node:https'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type Pool, abandon, closePool, createPool, send, take } from '../../src/node/http-client/pool.ts'

const servers: Server[] = []
const pools: Pool[] = []
afterEach(() => {
  for (const pool of pools.splice(0)) closePool(pool)
  for (const server of servers.splice(0)) server.close()
})

let time = 0
const listen = async (server: Server): Promise<number> => {
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()))
  return (server.address() as AddressInfo).port
}
const poolOf = (origin: string): Pool => {
  const pool = createPool(origin, { now: () => time })
  pools.push(pool)
  return pool
}

/** Sends one request and resolves with the body of its answer, or the code of what went wrong. */
const ask = (pool: Pool, text = 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'): Promise<string> =>
  new Promise((resolve) => {
    let body = ''
    const connection = take(pool, {
      head: () => undefined,
      data: (piece) => (body += piece.toString('latin1')),
      turn: () => undefined,
      end: () => resolve(body),
      failed: (error) => resolve(`failed ${error.code ?? error.name}`),
    })
    send(connection, text, undefined)
  })

/** Answers each piece it gets with the number of the connection it came on. */
const counting = async (fields = ''): Promise<{ readonly port: number; readonly sockets: Socket[] }> => {
  const sockets: Socket[] = []
  const port = await listen(
    createServer((socket) => {
      const number = String(sockets.push(socket))
      socket.on('error', () => undefined)
      socket.on('data', () =>
        socket.write(`HTTP/1.1 200 OK\r\n${fields}Content-Length: ${number.length}\r\n\r\n${number}`),
      )
    }),
  )
  return { port, sockets }
}

describe('a connection', () => {
  it('is used again, the last one first, and by one request at a time', async () => {
    const { port } = await counting()
    const pool = poolOf(`http://127.0.0.1:${port}`)
    expect([await ask(pool), await ask(pool)]).toEqual(['1', '1'])
    expect((await Promise.all([ask(pool), ask(pool), ask(pool)])).toSorted()).toEqual(['1', '2', '3'])
  })

  it('is not used again after four idle seconds, or a second before the server said it would close', async () => {
    const { port } = await counting()
    const pool = poolOf(`http://127.0.0.1:${port}`)
    expect(await ask(pool)).toBe('1')
    time += 3900
    expect(await ask(pool)).toBe('1')
    time += 4000
    expect(await ask(pool)).toBe('2')
    const patient = await counting('Keep-Alive: timeout=30\r\n')
    const other = poolOf(`http://127.0.0.1:${patient.port}`)
    expect(await ask(other)).toBe('1')
    time += 28_900
    expect(await ask(other)).toBe('1')
    time += 29_000
    expect(await ask(other)).toBe('2')
    const hasty = await counting('Keep-Alive: timeout=1\r\n')
    const third = poolOf(`http://127.0.0.1:${hasty.port}`)
    expect([await ask(third), await ask(third)]).toEqual(['1', '2'])
  })

  it('that the server closed meanwhile is not used again', async () => {
    const { port, sockets } = await counting()
    const pool = poolOf(`http://127.0.0.1:${port}`)
    expect(await ask(pool)).toBe('1')
    const [connection] = pool.free
    const closed = new Promise((resolve) => connection?.socket.once('close', resolve))
    sockets[0]?.end()
    await closed
    expect(await ask(pool)).toBe('2')
  })

  it('is not used again when its answer came before the whole request was sent', async () => {
    const { port } = await counting()
    const pool = poolOf(`http://127.0.0.1:${port}`)
    const answer = new Promise<string>((resolve) => {
      let body = ''
      const connection = take(pool, {
        head: () => undefined,
        data: (piece) => (body += piece.toString()),
        turn: () => undefined,
        end: () => resolve(body),
        failed: (error) => resolve(error.message),
      })
      send(
        connection,
        'POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\n\r\n',
        Buffer.alloc(50_000_000),
      )
    })
    expect(await answer).toBe('1')
    expect(pool.free).toEqual([])
  })

  it('that is abandoned tells its user nothing more and is closed', async () => {
    const { port } = await counting()
    const pool = poolOf(`http://127.0.0.1:${port}`)
    const told: string[] = []
    const note = (what: string) => () => void told.push(what)
    const connection = take(pool, {
      head: note('head'),
      data: note('data'),
      turn: note('turn'),
      end: note('end'),
      failed: note('failed'),
    })
    send(connection, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n', undefined)
    abandon(connection)
    await new Promise((resolve) => connection.socket.once('close', resolve))
    expect(told).toEqual([])
  })

  it('that cannot be made is a failure of its request alone', async () => {
    expect(await ask(poolOf('http://127.0.0.1:9'))).toBe('failed ECONNREFUSED')
    expect(await ask(poolOf('http://nothing.invalid'))).toMatch(/^failed (ENOTFOUND|EAI_AGAIN)$/)
  })

  it('is not made with a server whose certificate nobody vouches for, and the request stays unsent', async () => {
    const heard: string[] = []
    const [key, cert] = ['key.pem', 'cert.pem'].map((name) =>
      readFileSync(new URL(`../data/tls/${name}`, import.meta.url)),
    )
    const port = await listen(
      createHttps({ key, cert }, (request, response) => {
        heard.push(request.url ?? '')
        response.end()
      }) as unknown as Server,
    )
    expect(await ask(poolOf(`https://127.0.0.1:${port}`))).toMatch(
      /^failed (DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_VERIFY_LEAF_SIGNATURE|SELF_SIGNED_CERT_IN_CHAIN)$/,
    )
    expect(heard).toEqual([])
  })
})
