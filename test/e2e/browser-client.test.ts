// An MCP client that is a web page of another origin, in a real browser. What CORS keeps from it, it lacks.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Browser, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { allowInPage, describeInBrowser, launchChromium } from '../runtimes/chromium.ts'
import { type TestGateway, openInWorkerd, openOnSocket } from '../runtimes/runtimes.ts'
import { authorizeUrl } from '../runtimes/login.ts'
import { createProver } from '../runtimes/proofs.ts'
import { openUpstream, type Upstream } from '../runtimes/upstream.ts'

interface Asked {
  readonly method: string
  readonly url: string
  readonly headers?: Record<string, string>
  readonly body?: string
}

interface Told {
  readonly status: number
  /** Fields that the page may read. */
  readonly headers: Record<string, string>
  readonly body: string
}

const mcp = {
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
  'mcp-protocol-version': '2025-11-25',
}
const message = (method: string, params: object = {}, id: number | undefined = 1): string =>
  JSON.stringify({ jsonrpc: '2.0', ...(id !== undefined && { id }), method, params })

const listenAsApp = (): Promise<Server> =>
  new Promise((resolve) => {
    const server = createServer((_, response) =>
      response
        .writeHead(200, { 'content-type': 'text/html' })
        .end('<!doctype html><title>App</title><p>The app'),
    )
    server.listen(0, '127.0.0.1', () => resolve(server))
  })

/** A server with a session and a tool whose answer is a stream of two events. */
const openStreaming = (): Promise<Upstream> =>
  openUpstream((request, response, body) => {
    const { id, method } = (body === '' ? {} : JSON.parse(body)) as { id?: number; method?: string }
    if (request.method === 'DELETE') response.writeHead(200).end()
    else if (method === 'initialize') {
      response.writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': 'session-1' })
      response.end(
        JSON.stringify({
          jsonrpc: '2.0',
          id,
          result: {
            protocolVersion: '2025-11-25',
            capabilities: {},
            serverInfo: { name: 'far', version: '1' },
          },
        }),
      )
    } else if (method === 'tools/call') {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(
        `data: ${message('notifications/progress', { progressToken: 1, progress: 1 }, undefined)}\n\n`,
      )
      response.end(
        `data: ${JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: request.headers['mcp-session-id'] }] } })}\n\n`,
      )
    } else response.writeHead(202).end()
  })

describeInBrowser('a page of another origin', () => {
  let app: Server
  let origin: string
  let upstream: Upstream
  let browser: Browser
  beforeAll(async () => {
    app = await listenAsApp()
    origin = `http://127.0.0.1:${(app.address() as AddressInfo).port}`
    upstream = await openStreaming()
    browser = await launchChromium()
  })
  afterAll(async () => {
    await browser.close()
    await upstream.close()
    app.close()
  })

  describe.each([
    ['on Node, any origin', openOnSocket, false],
    ['on Node, a named origin', openOnSocket, true],
    ['on Workers, any origin', openInWorkerd, false],
    ['on Workers, a named origin', openInWorkerd, true],
  ] as const)('%s', (_, open, named) => {
    let house: TestGateway
    let page: Page
    beforeAll(async () => {
      house = await open({
        upstream: upstream.url,
        config: { dpop: {}, ...(named && { cors: { allow_origins: [origin], allow_credentials: true } }) },
      })
      page = await (await browser.newContext()).newPage()
      page.setDefaultTimeout(60_000)
    })
    afterAll(async () => {
      await page.context().close()
      await house.close()
    })

    /** `fetch` in the page; rejects where the browser keeps the answer from it. */
    const ask = (asked: Asked): Promise<Told> =>
      page.evaluate(async ({ url, ...init }) => {
        const answer = await fetch(url, init)
        return {
          status: answer.status,
          headers: Object.fromEntries(answer.headers),
          body: await answer.text(),
        }
      }, asked)

    test('sends proofs, and reads the nonce that it is told (case 73)', async () => {
      await page.goto(origin)
      const key = await createProver()
      const url = `${house.origin}/oauth/token`
      const ofForm = { 'content-type': 'application/x-www-form-urlencoded' }
      const asked = await ask({
        method: 'POST',
        url,
        headers: { ...ofForm, dpop: await key.proof({ url }) },
        body: 'grant_type=refresh_token',
      })
      expect([asked.status, JSON.parse(asked.body)]).toMatchObject([400, { error: 'use_dpop_nonce' }])
      expect(asked.headers['dpop-nonce']).toMatch(/^[\w-]{24}$/)
      const resource = `${house.origin}/echo/mcp`
      const challenge = await ask({
        method: 'POST',
        url: resource,
        headers: { ...mcp, authorization: 'DPoP x', dpop: await key.proof({ url: resource }) },
        body: message('initialize'),
      })
      expect([challenge.status, challenge.headers['dpop-nonce']]).toEqual([
        401,
        expect.stringMatching(/^[\w-]{24}$/),
      ])
    })

    test('registers, reads metadata, redeems a code, calls, streams and manages its registration [A12, C22]', async () => {
      await page.goto(origin)
      const resource = `${house.origin}/echo/mcp`
      const challenge = await ask({
        method: 'POST',
        url: resource,
        headers: mcp,
        body: message('initialize'),
      })
      expect([challenge.status, challenge.headers['www-authenticate']]).toEqual([
        401,
        expect.stringContaining(`${house.origin}/.well-known/oauth-protected-resource/echo/mcp`),
      ])
      for (const path of [
        '/.well-known/oauth-protected-resource/echo/mcp',
        '/.well-known/oauth-authorization-server',
      ]) {
        expect([
          path,
          (
            await ask({
              method: 'GET',
              url: `${house.origin}${path}`,
              headers: { 'mcp-protocol-version': '2025-11-25' },
            })
          ).status,
        ]).toEqual([path, 200])
      }
      const registering = {
        client_name: 'Page',
        redirect_uris: [`${origin}/callback`],
        token_endpoint_auth_method: 'client_secret_basic',
      }
      const registered = await ask({
        method: 'POST',
        url: `${house.origin}/oauth/register`,
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(registering),
      })
      expect(registered.status).toBe(201)
      const client = JSON.parse(registered.body) as Record<
        'client_id' | 'client_secret' | 'registration_client_uri' | 'registration_access_token',
        string
      >

      const asking = authorizeUrl(
        house,
        { id: client.client_id, redirectUri: `${origin}/callback` },
        { resource },
      )
      await allowInPage(page, asking.url)
      await page.waitForURL(`${origin}/callback**`)
      const code = new URL(page.url()).searchParams.get('code') ?? ''
      const redeeming = new URLSearchParams({
        grant_type: 'authorization_code',
        code,
        redirect_uri: `${origin}/callback`,
        code_verifier: asking.verifier,
      }).toString()
      const basic = `Basic ${btoa(`${client.client_id}:${client.client_secret}`)}`
      const redeemed = await ask({
        method: 'POST',
        url: `${house.origin}/oauth/token`,
        headers: { 'content-type': 'application/x-www-form-urlencoded', authorization: basic },
        body: redeeming,
      })
      expect(redeemed.status).toBe(200)
      const authorization = `Bearer ${(JSON.parse(redeemed.body) as { access_token: string }).access_token}`

      const begun = await ask({
        method: 'POST',
        url: resource,
        headers: { ...mcp, authorization },
        body: message('initialize', {
          protocolVersion: '2025-11-25',
          capabilities: {},
          clientInfo: { name: 'page', version: '1' },
        }),
      })
      expect([begun.status, begun.headers['mcp-session-id'], begun.headers['x-request-id']]).toEqual([
        200,
        'session-1',
        expect.any(String),
      ])
      const called = await ask({
        method: 'POST',
        url: resource,
        headers: { ...mcp, authorization, 'mcp-session-id': 'session-1' },
        body: message('tools/call', { name: 'x' }),
      })
      expect([called.status, called.body.match(/"text":"session-1"|notifications\/progress/g)]).toEqual([
        200,
        ['notifications/progress', '"text":"session-1"'],
      ])
      expect(
        (
          await ask({
            method: 'DELETE',
            url: resource,
            headers: { authorization, 'mcp-session-id': 'session-1' },
          })
        ).status,
      ).toBe(200)

      const managing = {
        authorization: `Bearer ${client.registration_access_token}`,
        'content-type': 'application/json',
      }
      const changed = await ask({
        method: 'PUT',
        url: client.registration_client_uri,
        headers: managing,
        body: JSON.stringify({ ...registering, client_id: client.client_id, client_name: 'Renamed' }),
      })
      expect([changed.status, (JSON.parse(changed.body) as { client_name: string }).client_name]).toEqual([
        200,
        'Renamed',
      ])
      expect(
        (await ask({ method: 'DELETE', url: client.registration_client_uri, headers: managing })).status,
      ).toBe(204)
    })
  })
})
