// What no Worker in this place can do without: the caller's fields and body read, sixteen fields sent, an
// answer's fields and its short body read. It judges nothing.
export { SessionObject, TrailObject } from './no-sessions.ts'
export { RecordObject } from '../../src/worker/storage-object.ts'

const identity = {
  'x-user-id': '1',
  'x-user-sub': '1',
  'x-user-email': 'ada@example.test',
  'x-user-name': 'Ada',
  'x-user-login': 'ada',
  'x-user-provider': 'local',
  'x-mcp-identity': 'e'.repeat(720),
}

/** Objects that are used again for every call: what the platform copies need not be made anew. */
const sent = new Headers(identity)
const told = new Headers({
  'content-type': 'application/json',
  'x-content-type-options': 'nosniff',
  vary: 'Origin',
})
let count = 0

export default {
  async fetch(request: Request, env: { readonly UPSTREAM: string }): Promise<Response> {
    const id = `id-${count++}`
    for (const [name, value] of request.headers)
      if (name === 'content-type' || name === 'accept' || name === 'mcp-protocol-version')
        sent.set(name, value)
    const body = await request.arrayBuffer()
    sent.set('x-request-id', id)
    const timer = setTimeout(() => undefined, 30_000)
    const response = await fetch(`${env.UPSTREAM}/json`, {
      method: request.method,
      headers: sent,
      body,
      redirect: 'manual',
      signal: request.signal,
    })
    for (const [name, value] of response.headers) if (name === 'content-type') told.set(name, value)
    const whole = await response.arrayBuffer()
    clearTimeout(timer)
    told.set('x-request-id', id)
    return new Response(whole, { status: response.status, headers: told })
  },
}
