// `npm run fuzz`: structured hostile requests over every endpoint (fast-check). Nothing may crash and nothing may answer an unintended 5xx.
import { request as httpRequest } from 'node:http'
import fc from 'fast-check'
import { logIn, person } from '../test/houses/login.ts'
import { startProcess, temporaryState } from '../test/houses/process.ts'
import { openUpstream } from '../test/houses/upstream.ts'

const total = Number(process.env['REQUESTS'] ?? 10_000)
const seed = Number(process.env['SEED'] ?? Date.now() % 1_000_000)

interface Shot {
  readonly method: string
  readonly path: string
  readonly headers: readonly (readonly [string, string])[]
  readonly body: string
}

const upstream = await openUpstream()
const state = temporaryState()
const gateway = await startProcess({ config: { local_users: [person], mcp_services: { echo: { url: upstream.url }, open: { url: upstream.url, auth_required: false } }, default_service: 'echo' }, stateDir: state.dir })
const { client, tokens } = await logIn(gateway)
const { hostname, port } = new URL(gateway.origin)

const nasty = fc.constantFrom('', '%00', '..', '../..', '//', '\\', '%2f', '%2e%2e', ';', '<script>', '"', "'", '\u202E', '𝓐', '{}', '[]', 'null', '-1', '1e309', 'a'.repeat(5000), '%', '%zz', '#', '?', '&', '=')
const word = fc.oneof(nasty, fc.string({ maxLength: 40 }), fc.constantFrom(client.id, client.redirectUri, tokens.refresh_token, tokens.access_token, 'code', 'S256', 'none', 'mcp', 'authorization_code', 'refresh_token', gateway.origin, `${gateway.origin}/echo/mcp`, 'pc_a.b', 'pr_a.1.b.c', 'https://example.com/client.json', 'http://127.0.0.1:1/x'))
const paths = [
  '/', '/login', '/login/x', '/logout', '/oauth/authorize', '/authorize', '/oauth/consent', '/oauth/token', '/token', '/oauth/register', '/register', '/oauth/register/x', `/oauth/register/${client.id}`, '/oauth/revoke',
  '/oauth/introspect', '/oauth/jwks', '/oauth/callback', '/oauth/callback/x', '/callback', '/health', '/healthz', '/readyz', '/services', '/services/echo', '/.well-known/oauth-authorization-server', '/.well-known/oauth-protected-resource',
  '/.well-known/oauth-protected-resource/echo/mcp', '/.well-known/openid-configuration', '/assets/x', '/echo/mcp', '/echo/mcp/more', '/open/mcp', '/mcp', '/nowhere',
]
const names = ['client_id', 'redirect_uri', 'response_type', 'code_challenge', 'code_challenge_method', 'state', 'scope', 'resource', 'prompt', 'grant_type', 'code', 'code_verifier', 'refresh_token', 'token', 'token_type_hint', 'client_secret', 'flow', 'csrf', 'decision', 'username', 'password', 'return_to', 't', 'service_id', 'request_uri']
const pairs = fc.array(fc.tuple(fc.oneof({ weight: 9, arbitrary: fc.constantFrom(...names) }, { weight: 1, arbitrary: word }), word), { maxLength: 8 })
const encoded = pairs.map((list) => list.map(([name, value]) => `${encodeURIComponent(name.toWellFormed())}=${encodeURIComponent(value.toWellFormed())}`).join('&'))
const headerValue = word.map((text) => text.replaceAll(/[^\t\x20-\x7E\x80-\xFF]/g, '').trim())
const header = fc.tuple(fc.constantFrom('authorization', 'content-type', 'accept', 'origin', 'cookie', 'mcp-session-id', 'mcp-protocol-version', 'mcp-method', 'mcp-name', 'mcp-param-x', 'last-event-id', 'x-forwarded-for', 'x-forwarded-host', 'forwarded', 'x-user-id', 'sec-fetch-site', 'accept-language', 'x-request-id', 'content-encoding'), fc.oneof(headerValue, fc.constantFrom(`Bearer ${tokens.access_token}`, 'application/json', 'application/x-www-form-urlencoded', 'text/html', 'text/event-stream', '2025-06-18', '2026-07-28', gateway.origin)))
const rpc = fc.oneof(fc.json(), fc.record({ jsonrpc: fc.constantFrom('2.0', '1.0'), id: fc.oneof(fc.integer(), fc.string(), fc.constant(null)), method: fc.oneof(fc.constantFrom('tools/call', 'initialize', 'tools/list', 'server/discover'), fc.string()), params: fc.jsonValue() }).map((value) => JSON.stringify(value)))
const shot: fc.Arbitrary<Shot> = fc.record({
  method: fc.constantFrom('GET', 'POST', 'POST', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'HEAD'),
  path: fc.tuple(fc.constantFrom(...paths), fc.oneof({ weight: 6, arbitrary: fc.constant('') }, { weight: 1, arbitrary: nasty.map((text) => encodeURI(text.toWellFormed())) }, { weight: 1, arbitrary: fc.constantFrom('%', '%ff', '/%ff', '/%c0%af', '/%00', '%zz', '/%E0%A4%A') }), fc.oneof(fc.constant(''), encoded.map((query) => `?${query}`))).map((parts) => parts.join('').replaceAll(/[^\x21-\x7E]/g, '')),
  headers: fc.array(header, { maxLength: 6 }),
  body: fc.oneof(fc.constant(''), encoded, rpc, fc.string({ maxLength: 300 })),
})

/** 502 and 504 speak of the upstream, which answers everything here; no shot may cause them either. */
const fire = ({ method, path, headers, body }: Shot): Promise<number> =>
  new Promise((resolve, reject) => {
    const request = httpRequest({ hostname, port, method, path, headers: headers.flat() as unknown as string[], timeout: 10_000, agent: false, setHost: false }, (response) => {
      response.resume()
      response.once('end', () => resolve(response.statusCode ?? 0))
      response.once('error', reject)
    })
    request.once('timeout', () => request.destroy(new Error('no answer in 10 s')))
    request.once('error', reject)
    request.end(method === 'GET' || method === 'HEAD' ? undefined : body)
  })

const seen = new Map<number, number>()
const wrong: string[] = []
for (const [i, next] of fc.sample(shot, { numRuns: total, seed }).entries()) {
  const withHost: Shot = { ...next, headers: [['host', `localhost:${port}`], ...next.headers.filter(([name]) => !(next.method === 'GET' && name === 'content-encoding'))] }
  const status = await fire(withHost).catch((error: Error) => {
    wrong.push(`#${i} ${next.method} ${next.path.slice(0, 200)}: ${error.message}`)
    return 0
  })
  seen.set(status, (seen.get(status) ?? 0) + 1)
  if (status >= 500) wrong.push(`#${i} ${status} ${JSON.stringify(next).slice(0, 600)}`)
}
const alive = await gateway.fetch(`${gateway.origin}/health`).then(
  (response) => response.status === 200,
  () => false,
)
const rejections = gateway.lines.filter((line) => /unhandled|uncaught/i.test(line))
const code = await gateway.end()
await upstream.close()
state.remove()
console.log(`${total} requests, seed ${seed}: ${[...seen].sort(([a], [b]) => a - b).map(([status, times]) => `${times} × ${status}`).join(', ')}`)
console.log(`crashes: ${alive && code === 0 ? 0 : 1} · unhandled rejections: ${rejections.length} · unintended 5xx or lost answers: ${wrong.length}`)
for (const line of wrong.slice(0, 20)) console.log(line)
process.exitCode = alive && code === 0 && wrong.length === 0 && rejections.length === 0 ? 0 : 1
