// The guard over TLS, and in the shape of fetch for libraries.
import { readFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { asFetch } from '../../src/kit/http.ts'
import { createOutbound } from '../../src/node/outbound.ts'
import { createListeners } from './listeners.ts'

const refused = { code: 'outbound.refused' }
const failed = { code: 'outbound.failed' }
const listeners = createListeners()
const { listen, serve } = listeners
// Self-signed for cimd.example, cimd.test, claude.ai, chatgpt.com, vscode.dev, localhost and 127.0.0.1;
// trusted by tests alone.
const [key, cert] = ['key', 'cert'].map((name) =>
  readFileSync(join(import.meta.dirname, '../data/tls', `${name}.pem`), 'utf8'),
) as [string, string]

afterEach(() => listeners.close())

describe('over TLS', () => {
  let port: number
  beforeEach(async () => {
    port = await listen(
      createTlsServer({ key, cert }, (request, response) =>
        response.end(`${request.headers.host} ${request.httpVersion}`),
      ),
    )
  })

  test('the name is checked against the certificate, and the answer comes over HTTP/1.1', async () => {
    const connectTo = {
      'cimd.example:443': { address: '127.0.0.1', port },
      'other.example:443': { address: '127.0.0.1', port },
    }
    const outbound = createOutbound({ allowOrigins: [], connectTo, ca: cert })
    expect(new TextDecoder().decode((await outbound('https://cimd.example/c.json')).body)).toBe(
      'cimd.example 1.1',
    )
    await expect(outbound('https://other.example/c.json')).rejects.toMatchObject({
      ...failed,
      why: expect.stringContaining('ERR_TLS_CERT_ALTNAME_INVALID') as string,
    })
  })
  test('an unknown issuer is a failed exchange', async () => {
    await expect(
      createOutbound({ allowOrigins: [], connectTo: { 'cimd.example:443': { address: '127.0.0.1', port } } })(
        'https://cimd.example/',
      ),
    ).rejects.toMatchObject(failed)
  })
})

describe('as fetch', () => {
  test('a library that asks for fetch gets the guard, with method, headers and form body', async () => {
    const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      let body = ''
      for await (const chunk of request) body += String(chunk)
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(JSON.stringify([request.method, request.headers['content-type'], request.headers['x-a'], body]))
    }
    const origin = await serve((request, response) => void answer(request, response))
    const guarded = asFetch(createOutbound({ allowOrigins: [origin] }))
    const response = await guarded(`${origin}/t`, {
      method: 'POST',
      headers: { 'x-a': 'b' },
      body: new URLSearchParams({ a: '1' }),
      redirect: 'manual',
    })
    expect(await response.json()).toEqual([
      'POST',
      'application/x-www-form-urlencoded;charset=UTF-8',
      'b',
      'a=1',
    ])
    await expect(guarded('https://127.0.0.1/')).rejects.toMatchObject(refused)
    await expect(guarded(new URL('https://localhost/'))).rejects.toMatchObject(refused)
  })
  test('answers without a body and redirects come back as they are', async () => {
    const origin = await serve((request, response) =>
      response.writeHead(Number(request.url?.slice(1)), { location: '/elsewhere' }).end(),
    )
    const guarded = asFetch(createOutbound({ allowOrigins: [origin] }))
    for (const status of [204, 302, 304, 404])
      expect((await guarded(`${origin}/${status}`)).status).toBe(status)
  })
  test('an aborted signal ends the wait', async () => {
    const origin = await serve(() => undefined)
    const guarded = asFetch(createOutbound({ allowOrigins: [origin] }))
    await expect(guarded(origin, { signal: AbortSignal.timeout(50) })).rejects.toThrow('timeout')
    await expect(guarded(origin, { signal: AbortSignal.abort(new Error('gone')) })).rejects.toThrow('gone')
  })
})
