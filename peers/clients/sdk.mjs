// A client program on the MCP TypeScript SDK: signs in through the person's browser, calls one tool, loses its access token, and calls again with a refreshed one.
//   node sdk.mjs 1|2 legacy|auto URL TOOL ARGUMENTS-AS-JSON
// Opens $BROWSER like any command-line program; prints one JSON line.
import { createClientSide } from '../../scripts/harness/client-side.ts'

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
const { authProvider, kept, answer, visits, close } = await createClientSide(`SDK ${major} (${mode})`)

const connect = async () => {
  const client = new Client({ name: `sdk-${major}`, version: '1.0.0' }, { versionNegotiation: { mode } })
  const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider })
  const refused = await client.connect(transport).then(
    () => undefined,
    (error) => error,
  )
  if (refused === undefined) return { client, transport }
  if (!(refused instanceof UnauthorizedError) || visits() !== 1 || kept.tokens) throw refused
  const parameters = await answer
  await transport.finishAuth(major === '2' ? parameters : parameters.get('code'))
  return connect()
}

const { client, transport } = await connect()
const call = async () => (await client.callTool({ name: tool, arguments: JSON.parse(input) })).content.map((part) => part.text ?? part.type).join('\n')
const first = await call()
const before = kept.tokens
kept.tokens = { ...before, access_token: 'lost' }
const second = await call()
const after = kept.tokens
const version = major === '2' ? client.getNegotiatedProtocolVersion() : transport.protocolVersion
console.log(JSON.stringify({ version, first, second, refreshed: !['lost', before.access_token].includes(after.access_token), rotated: after.refresh_token !== before.refresh_token, visits: visits() }))
await client.close()
close()
