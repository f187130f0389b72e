// Two processes of one gateway on PostgreSQL, and what becomes of users while it ends connections or says nothing.
import { randomBytes } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Client as Connection } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findProgram, inCI } from '../../scripts/system-programs.mjs'
import { type CuttingProxy, openCuttingProxy } from '../runtimes/cutting-proxy.ts'
import { type Client, form, logIn, type LoginTarget, refresh, type Tokens } from '../runtimes/login.ts'
import { type PostgresServer, sharedPostgres } from '../runtimes/postgres-server.ts'
import { createTwins, type Twin, type Twins } from '../runtimes/twins.ts'

describe.skipIf(findProgram('postgres') === undefined && !inCI())('two processes on PostgreSQL', () => {
  const schema = `flow_${randomBytes(6).toString('hex')}`
  let server: PostgresServer
  let proxy: CuttingProxy
  let admin: Connection
  let twins: Twins
  let one: Twin
  let two: Twin
  // Answers calls, and keeps every stream open.
  const upstream = createServer((request, response) => {
    if (request.method === 'GET') {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      return void response.write(': open\n\n')
    }
    request.resume()
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end('{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}')
  })

  beforeAll(async () => {
    server = await sharedPostgres()
    proxy = await openCuttingProxy(server.port)
    admin = new Connection({ connectionString: server.url })
    await admin.connect()
    await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
    twins = createTwins(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}/mcp`)
    const open = (port: number) => {
      const url = `postgres://postern@127.0.0.1:${port}/postgres`
      const storage = { type: 'postgres' as const, postgres: { url, schema } }
      return twins.open({ session_secret: 's'.repeat(20) + schema, storage })
    }
    one = await open(server.port)
    two = await open(proxy.port)
  })
  afterAll(async () => {
    await twins?.close()
    await proxy?.close()
    await admin?.query(`DROP SCHEMA ${schema} CASCADE`)
    await admin?.end()
    upstream.closeAllConnections()
    await new Promise((resolve) => upstream.close(resolve))
  })

  const ask = ({ origin, fetch }: LoginTarget, { access_token }: Tokens, method: 'GET' | 'POST') =>
    fetch(`${origin}/echo/mcp`, {
      method,
      headers: {
        authorization: `Bearer ${access_token}`,
        accept: method === 'GET' ? 'text/event-stream' : 'application/json, text/event-stream',
        ...(method === 'POST' && { 'content-type': 'application/json' }),
      },
      ...(method === 'POST' && { body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/list' }) }),
    })
  const call = async (at: LoginTarget, tokens: Tokens): Promise<number> =>
    (await ask(at, tokens, 'POST')).status
  const refreshed = async (at: LoginTarget, client: Client, { refresh_token }: Tokens): Promise<Tokens> => {
    const response = await refresh(at, client, refresh_token)
    expect(response.status).toBe(200)
    return (await response.json()) as Tokens
  }
  const faults = (): unknown[] =>
    [one, two].flatMap(({ log }) => log.filter(({ event }) => event === 'fault'))

  it('a login goes through both, and what one revokes ends calls and open streams at the other', async () => {
    const { client, tokens } = await logIn(twins.inTurn(one, two))
    const latest = await refreshed(two, client, tokens)
    expect([await call(one, latest), await call(two, latest)]).toEqual([200, 200])
    const stream = await ask(two, latest, 'GET')
    expect(stream.status).toBe(200)
    const reader = (stream.body as ReadableStream<Uint8Array>).getReader()
    await reader.read()
    // It follows the record of its grant from now on, and is not asked about any more.
    twins.advance(2000)
    const listening = `SELECT count(*)::int AS n FROM pg_stat_activity WHERE query = 'LISTEN ${schema}'`
    await expect.poll(async () => (await admin.query<{ n: number }>(listening)).rows[0]?.n).toBe(1)
    await one.fetch(`${one.origin}/oauth/revoke`, form({ token: latest.refresh_token, client_id: client.id }))
    twins.advance(600)
    expect([await call(one, latest), await call(two, latest)]).toEqual([401, 401])
    let over = false
    const read = async (): Promise<void> => {
      while (!(await reader.read()).done);
    }
    const ended = read().then(
      () => (over = true),
      () => (over = true),
    )
    // What it was told is looked at a moment later.
    await expect.poll(() => (twins.advance(600), over)).toBe(true)
    await ended
    expect(faults()).toEqual([])
  })

  it('ended connections and a silent server log nobody out', async () => {
    const { client, tokens } = await logIn(two)
    const theirs = `FROM pg_stat_activity WHERE application_name = 'postern' AND query LIKE '%${schema}%'`
    await admin.query(`SELECT pg_terminate_backend(pid) ${theirs}`)
    await expect.poll(async () => (await admin.query(`SELECT pid ${theirs}`)).rows).toEqual([])
    const latest = await refreshed(two, client, tokens)
    expect(await call(two, latest)).toBe(200)
    proxy.set('silence')
    twins.advance(600)
    const refused = await refresh(two, client, latest.refresh_token)
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '1'])
    expect(await refused.json()).toMatchObject({ error: 'temporarily_unavailable' })
    expect(await call(two, latest)).toBe(503)
    proxy.set('pass')
    await expect.poll(() => call(two, latest)).toBe(200)
    await refreshed(two, client, latest)
    expect(faults()).toEqual([])
  })
})
