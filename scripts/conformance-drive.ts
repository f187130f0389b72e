// The client that the conformance suite tests: an MCP client in front of Postern in front of the suite's own
// server. What the suite sees is Postern as the upstream's client. It is run by the suite, once a scenario,
// with the server's URL as its argument; it fails when Postern refuses, and says why.
import {
  Client,
  type ClientOptions,
  StreamableHTTPClientTransport,
  UrlElicitationRequiredError,
} from '@modelcontextprotocol/client'
import { allow, obtainToken } from './harness/authorize.ts'
import { type Browser, createBrowser } from './harness/browser.ts'
import { person, type Running, startPostern } from './harness/postern.ts'

interface Context {
  readonly issuer?: string
  readonly client_id?: string
  readonly client_secret?: string
  readonly private_key_pem?: string
  readonly idp_client_id?: string
  readonly idp_id_token?: string
  readonly idp_token_endpoint?: string
  readonly valid_jwt?: string
  readonly toolCalls?: readonly { readonly name: string; readonly arguments: Record<string, unknown> }[]
}

const server = process.argv.at(-1) ?? ''
const scenario = process.env['MCP_CONFORMANCE_SCENARIO'] ?? ''
const version = process.env['MCP_CONFORMANCE_PROTOCOL_VERSION'] ?? '2025-11-25'
const context = JSON.parse(process.env['MCP_CONFORMANCE_CONTEXT'] ?? '{}') as Context
const modern = version >= '2026-07-28'

/** The document that the suite expects of every client; nobody fetches it. */
const document = 'https://conformance-test.local/client-metadata.json'
const anywhereHere = ['http://localhost:*']

const json = async (url: string): Promise<Record<string, unknown>> =>
  (await (await fetch(url)).json()) as Record<string, unknown>

/** Where the operator's platform puts the JWT of a scenario. */
const assertionVariable = 'CONFORMANCE_ASSERTION'

/** Whose token it is: an operator knows it, and this one reads it where the server publishes it. */
const issuerOfServer = async (): Promise<string | undefined> => {
  const { authorization_servers: servers } = await json(
    `${new URL(server).origin}/.well-known/oauth-protected-resource/mcp`,
  )
  return (servers as string[])[0]
}

/** What an operator would have written about the server. */
const upstreamAuth = async (): Promise<Record<string, unknown>> => {
  if (!scenario.startsWith('auth/')) return { type: 'none' }
  const { issuer, client_id, client_secret, private_key_pem: private_key } = context
  if (scenario.startsWith('auth/client-credentials')) {
    return {
      type: 'client_credentials',
      issuer: await issuerOfServer(),
      client_id,
      ...(private_key ? { private_key, token_endpoint_auth_method: 'private_key_jwt' } : { client_secret }),
      allow_origins: anywhereHere,
    }
  }
  const { idp_client_id, idp_token_endpoint, valid_jwt } = context
  if (idp_token_endpoint !== undefined)
    return {
      type: 'id_jag',
      issuer: await issuerOfServer(),
      client_id,
      client_secret,
      subject: 'env',
      assertion_env: assertionVariable,
      idp: { client_id: idp_client_id, token_endpoint: idp_token_endpoint },
      allow_origins: anywhereHere,
    }
  if (valid_jwt !== undefined)
    return {
      type: 'workload',
      issuer: await issuerOfServer(),
      client_id,
      assertion_env: assertionVariable,
      allow_origins: anywhereHere,
    }
  if (issuer !== undefined)
    return { type: 'oauth', issuer, client_id, client_secret, allow_origins: anywhereHere }
  return {
    type: 'auto',
    allow_origins: anywhereHere,
    ...(scenario === 'auth/basic-cimd' && { client_metadata_url: document }),
  }
}

/** The suite's authorization servers say yes at once: one redirect, back to Postern. */
const throughTheirs = async (browser: Browser, url: string) => {
  const answer = await fetch(url, { redirect: 'manual' })
  const back = answer.headers.get('location')
  if (back === null) throw new Error(`the authorization server answered ${answer.status}`)
  return browser.open(back)
}

const textOf = (html: string): string =>
  html
    .replaceAll(/<style[\s\S]*?<\/style>|<[^>]+>/g, ' ')
    .replaceAll(/\s+/g, ' ')
    .slice(0, 600)

/**
 * A person at a browser: signs in, allows, and goes where they are sent, to the upstream's own question too.
 */
const walk = async (browser: Browser, url: string): Promise<string> => {
  let location = await allow(browser, url)
  while (!location.startsWith('http://127.0.0.1:9/')) {
    const page = await throughTheirs(browser, location)
    if (page.location === undefined) throw new Error(`Postern refused (${page.status}): ${textOf(page.text)}`)
    location = page.location
  }
  return location
}

/** The same person opens a link that a call was answered with. */
const connect = async (url: string): Promise<void> => {
  const browser = createBrowser(new URL(url).origin)
  let page = await browser.open(url)
  if (/name="password"/.test(page.text))
    page = await browser.submit(page, { username: person.username, password: person.password })
  page = await browser.submit(page, { action: 'connect' })
  if (page.location === undefined) throw new Error(`Postern refused (${page.status}): ${textOf(page.text)}`)
  page = await throughTheirs(browser, page.location)
  if (page.status !== 200) throw new Error(`Postern refused (${page.status}): ${textOf(page.text)}`)
}

const linkIn = (text: string): string | undefined =>
  /https?:\/\/[^\s"\\]+\/connect\/[^\s"\\]+/.exec(text)?.[0]

/**
 * A call, made again after the person did what its answer asked; at most twice, as a patient person would.
 */
const patiently = async <T>(call: () => Promise<T>): Promise<T> => {
  for (let tries = 0; ; tries++) {
    try {
      const result = await call()
      const link = (result as { isError?: boolean } | undefined)?.isError
        ? linkIn(JSON.stringify(result))
        : undefined
      if (link === undefined || tries === 2) return result
      await connect(link)
    } catch (error) {
      const link =
        error instanceof UrlElicitationRequiredError
          ? error.elicitations[0]?.url
          : linkIn(JSON.stringify((error as { data?: unknown }).data ?? '') + String(error))
      if (link === undefined || tries === 2) throw error
      await connect(link)
    }
  }
}

const capabilities = {
  elicitation: { form: { applyDefaults: true }, url: {} },
  roots: {},
  sampling: {},
} as NonNullable<ClientOptions['capabilities']>

const createClient = (): Client => {
  const client = new Client(
    { name: 'conformance', version: '1.0.0' },
    { capabilities, ...(modern && { versionNegotiation: { mode: 'auto' } as const }) },
  )
  client.setRequestHandler('elicitation/create', async ({ params }) => {
    if (params.mode === 'url') {
      await connect(params.url)
      return { action: 'accept' }
    }
    return { action: 'accept', content: scenario.startsWith('sep-2322') ? { confirmed: true } : {} }
  })
  return client
}

/** Arguments that fit: the scenarios' tools take numbers, texts, or nothing. */
const argumentsFor = (schema: {
  readonly properties?: Readonly<Record<string, unknown>> | undefined
}): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(schema.properties ?? {}).map(([name, about]) => [
      name,
      (about as { type?: string }).type === 'number' ? 2 : 'x',
    ]),
  )

const use = async (client: Client): Promise<void> => {
  const { tools } =
    client.getServerCapabilities()?.tools || scenario.startsWith('auth/')
      ? await patiently(() => client.listTools())
      : await client.listTools().catch(() => ({ tools: [] }))
  const has = (name: string): boolean => tools.some((tool) => tool.name === name)
  if (has('json_schema_echo')) {
    await client.callTool({
      name: 'json_schema_echo',
      arguments: { schema: tools.find(({ name }) => name === 'json_schema_2020_12_tool')?.inputSchema },
    })
    return
  }
  // That server has tools to list, not to call.
  if (scenario === 'json-schema-ref-no-deref') return
  const calls =
    context.toolCalls ??
    tools.map(({ name, inputSchema }) => ({ name, arguments: argumentsFor(inputSchema) }))
  for (const call of calls) {
    const result = patiently(() => client.callTool(call))
    // Here the SDK is stricter than the revision, which reads a missing `resultType` as complete; what the
    // suite looks at is that nothing is asked again.
    await (call.name === 'test_mrtr_no_result_type' ? result.catch(() => undefined) : result)
  }
  // The second call of the migration's scenario is the one that finds the authorization server changed.
  if (scenario === 'auth/authorization-server-migration') await patiently(() => client.listTools())
  if (scenario !== 'http-standard-headers') return
  for (const { uri } of (await client.listResources()).resources) await client.readResource({ uri })
  for (const { name } of (await client.listPrompts()).prompts) await client.getPrompt({ name })
}

const run = async (postern: Running): Promise<void> => {
  const url = `${postern.url}/conformance/mcp`
  const token = await obtainToken(url, 'Conformance', walk)
  const client = createClient()
  const transport = new StreamableHTTPClientTransport(new URL(url), {
    requestInit: { headers: { authorization: `Bearer ${token}` } },
  })
  await patiently(async () => client.connect(transport))
  await use(client)
  await client.close()
}

const postern = await startPostern({
  config: {
    mcp_services: {
      conformance: { url: server, transport: 'streamable', upstream_auth: await upstreamAuth() },
    },
    local_users: [person],
  },
  env: { [assertionVariable]: context.valid_jwt ?? context.idp_id_token ?? '' },
})
try {
  await run(postern)
} catch (error) {
  console.error(error instanceof Error ? error.message.slice(0, 600) : String(error))
  process.exitCode = 1
} finally {
  await postern.stop()
  // Lines are written when there is time; after the end all are there.
  if (process.exitCode) console.error(postern.process.output().slice(-3000))
}
