// A client program on the MCP TypeScript SDK: signs in through the person's browser, calls one tool, loses its access token, and calls again with a refreshed one.
//   node sdk.mjs 1|2 legacy|auto URL TOOL ARGUMENTS-AS-JSON
// Opens $BROWSER like any command-line program; prints one JSON line.
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'

const [major, mode, url, tool, input] = process.argv.slice(2)

const sdk = async () => {
  if (major === '2') return import('@modelcontextprotocol/client')
  const [client, transport, auth] = await Promise.all([
    import('@modelcontextprotocol/sdk/client/index.js'),
    import('@modelcontextprotocol/sdk/client/streamableHttp.js'),
    import('@modelcontextprotocol/sdk/client/auth.js'),
  ])
  return { ...client, ...transport, ...auth }
}
const { Client, StreamableHTTPClientTransport, UnauthorizedError } = await sdk()

let answered
const callback = new Promise((resolve) => (answered = resolve))
const server = createServer((request, response) => {
  response.end('You may close this window.')
  answered(new URL(request.url, 'http://127.0.0.1').searchParams)
})
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
const redirectUrl = `http://127.0.0.1:${server.address().port}/callback`

let visits = 0
const kept = {}
const state = randomUUID()
const authProvider = {
  redirectUrl,
  clientMetadata: { client_name: `SDK ${major} (${mode})`, redirect_uris: [redirectUrl], token_endpoint_auth_method: 'none', grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'] },
  state: () => state,
  clientInformation: () => kept.client,
  saveClientInformation: (client) => void (kept.client = client),
  tokens: () => kept.tokens,
  saveTokens: (tokens) => void (kept.tokens = tokens),
  saveCodeVerifier: (verifier) => void (kept.verifier = verifier),
  codeVerifier: () => kept.verifier,
  saveDiscoveryState: (discovery) => void (kept.discovery = discovery),
  discoveryState: () => kept.discovery,
  redirectToAuthorization: (target) => {
    visits++
    spawn(process.env.BROWSER, [target.href], { stdio: 'ignore' })
  },
}

const connect = async () => {
  const client = new Client({ name: `sdk-${major}`, version: '1.0.0' }, { versionNegotiation: { mode } })
  const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider })
  const refused = await client.connect(transport).then(() => undefined, (error) => error)
  if (refused === undefined) return { client, transport }
  if (!(refused instanceof UnauthorizedError) || visits !== 1) throw refused
  const answer = await callback
  if (answer.get('state') !== state) throw new Error('state differs')
  await transport.finishAuth(major === '2' ? answer : answer.get('code'))
  return connect()
}

const { client, transport } = await connect()
const call = async () => (await client.callTool({ name: tool, arguments: JSON.parse(input) })).content.map((part) => part.text ?? part.type).join('\n')
const first = await call()
const before = kept.tokens
kept.tokens = { ...before, access_token: 'lost' }
const second = await call()
const version = major === '2' ? client.getNegotiatedProtocolVersion() : transport.protocolVersion
console.log(JSON.stringify({ version, first, second, refreshed: kept.tokens.access_token !== 'lost' && kept.tokens.access_token !== before.access_token, visits, rotated: kept.tokens.refresh_token !== before.refresh_token }))
await client.close()
server.close()
server.closeAllConnections()
