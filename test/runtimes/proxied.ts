// A house with an upstream whose answers a test can hold back, and two people who call it.
import type { ServerResponse } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import type { TestGateway, TestGatewayOptions } from './runtimes.ts'
import { ana, type Caller, callerOf, tokenOf, yamada } from './people.ts'
import { type Heard, openUpstream, type Upstream } from './upstream.ts'

/** A tool call; `hold` and the `status-…` names make the upstream behave. */
export const call = (name = 'whoami', id: unknown = 7) => ({
  jsonrpc: '2.0',
  id,
  method: 'tools/call',
  params: { name, arguments: {} },
})

const modernMeta = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientCapabilities': {},
}
export const modernCall = (name = 'whoami', id: unknown = 7) => ({
  ...call(name, id),
  params: { name, arguments: {}, _meta: modernMeta },
})
export const modernHeaders = (name = 'whoami') => ({
  'mcp-protocol-version': '2026-07-28',
  'mcp-method': 'tools/call',
  'mcp-name': name,
})

/**
 * Waits for something that happens elsewhere, at most `ms`. It pauses between two looks: turning the event loop
 * would take a whole core from the other files.
 */
export const until = async (
  condition: () => boolean | Promise<boolean>,
  what: string,
  ms = 20_000,
): Promise<void> => {
  const deadline = Date.now() + ms
  for (let looks = 1; !(await condition()); looks++) {
    if (Date.now() > deadline) throw new Error(`waited in vain for ${what}`)
    await pause(Math.min(10, looks))
  }
}

/**
 * Asks again and again until it holds, which it must for whatever is asked `ms` from now or later. How long an
 * answer takes does not count.
 */
export const holdsAfter = async (
  ms: number,
  condition: () => Promise<boolean>,
  what: string,
): Promise<void> => {
  const since = performance.now()
  for (let asked = since; !(await condition()); asked = performance.now()) {
    if (asked - since >= ms) throw new Error(`still not after ${ms} ms: ${what}`)
    await pause(5)
  }
}

/**
 * Waits for something that happens elsewhere, at most `ms` of looking every ten milliseconds. Time in which
 * a loaded machine lets nobody look does not count.
 */
export const holdsWithin = async (ms: number, condition: () => boolean, what: string): Promise<void> => {
  for (let looked = 0; !condition(); looked += 10) {
    if (looked >= ms) throw new Error(`still not within ${ms} ms: ${what}`)
    await pause(10)
  }
}

const stepMs = 250
const turnMs = 30

/**
 * What the work comes to, in at most `ms` of the gateway's time. The test moves its clock by a quarter of a second
 * again and again; in between the gateway does what is due, and how long that takes does not count.
 */
export const endsWithin = async <T>(
  ms: number,
  gateway: Pick<TestGateway, 'origin' | 'fetch' | 'advance'>,
  work: Promise<T>,
): Promise<T> => {
  let moved = 0
  let over = false
  const end = (): void => void (over = true)
  work.then(end, end)
  while (!over) {
    if (moved > ms) throw new Error(`not over within ${ms} ms`)
    gateway.advance(stepMs)
    moved += stepMs + turnMs
    // It has gone on; in workerd a timer looks at the clock every 25 ms.
    await (await gateway.fetch(`${gateway.origin}/healthz`)).text()
    await pause(turnMs)
  }
  return work
}

export interface Proxied {
  readonly house: TestGateway
  readonly upstream: Upstream
  /** Ana and Yamada at the service `echo`. */
  readonly caller: Caller
  readonly other: Caller
  /** Answers that the test itself writes, in the order the calls came. */
  readonly held: ServerResponse[]
  /** The last request the upstream heard. */
  heard(): Heard | undefined
  /** Ana at another service. */
  at(service: string): Promise<Caller>
  /** Forgets what was heard and held. */
  clear(): void
  close(): Promise<void>
}

interface Asked {
  readonly id?: unknown
  readonly method?: string
  readonly params?: { readonly name?: string }
}

const scripts: Readonly<Record<string, (response: ServerResponse) => void>> = {
  'status-401': (response) =>
    response.writeHead(401, { 'www-authenticate': 'Basic realm="theirs"', 'set-cookie': 'a=b' }).end('no'),
  'status-302': (response) => response.writeHead(302, { location: 'http://169.254.169.254/' }).end(),
  'status-403': (response) =>
    response
      .writeHead(403, {
        'www-authenticate': 'Bearer error="insufficient_scope"',
        'content-type': 'application/json',
      })
      .end('{}'),
  html: (response) =>
    response
      .writeHead(200, { 'content-type': 'text/html', 'set-cookie': '__Host-postern-session=stolen' })
      .end('<script>1</script>'),
}

const openScripted = (held: ServerResponse[]): Promise<Upstream> => {
  let sessions = 0
  return openUpstream((request, response, body) => {
    const { id = null, method, params } = (body.startsWith('{') ? JSON.parse(body) : {}) as Asked
    const what = params?.name ?? ''
    if (what === 'hold' || request.method === 'GET') held.push(response)
    else if (what in scripts) scripts[what]?.(response)
    else if (method?.startsWith('notifications/')) response.writeHead(202).end()
    else {
      if (method === 'initialize') response.setHeader('mcp-session-id', `session-${++sessions}`)
      response.setHeader('content-type', 'application/json')
      response.end(
        body.startsWith('[')
          ? body
          : JSON.stringify({ jsonrpc: '2.0', id, result: { headers: request.headers, url: request.url } }),
      )
    }
  })
}

export const openProxied = async (
  open: (options: TestGatewayOptions) => Promise<TestGateway>,
): Promise<Proxied> => {
  const held: ServerResponse[] = []
  const upstream = await openScripted(held)
  const base = upstream.url.replace('/mcp', '')
  const house = await open({
    upstream: upstream.url,
    config: {
      local_users: [ana, yamada],
      cors: { allow_origins: ['https://app.example'] },
      max_concurrent_calls: 8,
      mcp_services: {
        slow: { name: 'Slow Server', url: `${base}/slow`, timeout: 250 },
        gone: { name: 'Gone Server', url: 'http://127.0.0.1:9/mcp?key=secret' },
        open: { name: 'Open', url: `${base}/open`, auth_required: false, max_body: 2048 },
      },
    },
  })
  const resource = `${house.origin}/echo/mcp`
  return {
    house,
    upstream,
    held,
    caller: callerOf(house, resource, await tokenOf(house, ana, resource)),
    other: callerOf(house, resource, await tokenOf(house, yamada, resource)),
    heard: () => upstream.heard.at(-1),
    at: async (service) =>
      callerOf(
        house,
        `${house.origin}/${service}/mcp`,
        await tokenOf(house, ana, `${house.origin}/${service}/mcp`),
      ),
    clear() {
      upstream.heard.length = 0
      held.length = 0
    },
    async close() {
      for (const response of held) response.destroy()
      await house.close()
      await upstream.close()
    },
  }
}
