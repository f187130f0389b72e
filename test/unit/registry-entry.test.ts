// Entries of the MCP registry as servers: pasted into the console, and imported in a terminal.
import { expect, it } from 'vitest'
import { createConsoleAdd, wantedFrom } from '../../src/admin/console-add.ts'
import { importedFrom } from '../../src/cli/import.ts'
import { parseConfig } from '../../src/config/schema.ts'
import { faultText } from '../../src/config/tree.ts'
import { utf8 } from '../../src/kit/bytes.ts'
import { Refusal } from '../../src/kit/refusal.ts'
import { createConsolePages } from '../../src/pages/console/pages.ts'
import { calm } from '../pages/console-frame.ts'

const schema = 'https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json'
const entry = (more: object, name = 'io.github.user/weather') => ({
  $schema: schema,
  name,
  description: 'Forecasts.',
  version: '1.0.2',
  ...more,
})
const secret = { name: 'X-API-Key', description: 'Key.', isRequired: true, isSecret: true }
const remote = { type: 'streamable-http', url: 'https://weather.example/mcp' }
const npm = {
  registryType: 'npm',
  registryBaseUrl: 'https://registry.npmjs.org',
  identifier: '@user/weather',
  version: '1.0.2',
  transport: { type: 'stdio' },
}

const added = (value: object) => {
  const { wanted, notes } = wantedFrom(JSON.stringify(value), '')
  return { services: Object.fromEntries(wanted.map(({ id, service }) => [id, service])), notes }
}
const imported = (value: object) => {
  const { services, notes } = importedFrom('server.json', JSON.stringify(value))
  return { services, notes: notes.map(faultText) }
}
const described = { description: 'Forecasts.' }

it.each([
  [
    'a server on the network',
    entry({ remotes: [{ type: 'sse', url: 'https://weather.example/sse' }, remote], packages: [npm] }),
    { weather: { url: remote.url, transport: 'streamable', ...described } },
  ],
  [
    'a URL with a variable that has a default',
    entry({
      remotes: [
        {
          type: 'sse',
          url: 'https://{region}.weather.example/sse',
          variables: { region: { default: 'eu' } },
        },
      ],
    }),
    { weather: { url: 'https://eu.weather.example/sse', transport: 'sse', ...described } },
  ],
  [
    'a package of npm',
    entry({
      packages: [
        {
          ...npm,
          packageArguments: [
            { type: 'positional', valueHint: 'folder', value: '/data' },
            { type: 'named', name: '--units', default: 'metric', description: 'Units.' },
            { type: 'named', name: '--verbose' },
            { type: 'named', name: '--port', description: 'Port.', format: 'number' },
          ],
          environmentVariables: [{ name: 'LOG_LEVEL', default: 'info' }, { name: 'OTHER' }],
        },
      ],
    }),
    {
      weather: {
        command: 'npx',
        args: ['-y', '@user/weather@1.0.2', '/data', '--units', 'metric', '--verbose'],
        env: { LOG_LEVEL: 'info' },
        ...described,
      },
    },
  ],
  [
    'a package of PyPI, as the API answers it',
    { server: entry({ packages: [{ ...npm, registryType: 'pypi', identifier: 'weather-mcp' }] }), _meta: {} },
    { weather: { command: 'uvx', args: ['weather-mcp@1.0.2'], ...described } },
  ],
  [
    'an image, in the words of a former schema',
    entry({
      version_detail: { version: '3.1.0' },
      packages: [
        {
          registry_type: 'oci',
          identifier: 'example/weather',
          version: '3.1.0',
          environment_variables: [{ name: 'UNITS', default: 'metric' }],
        },
      ],
    }),
    {
      weather: {
        command: 'docker',
        args: ['run', '-i', '--rm', '-e', 'UNITS', 'example/weather:3.1.0'],
        env: { UNITS: 'metric' },
        ...described,
      },
    },
  ],
  [
    'several servers, one of them called after its domain',
    {
      servers: [
        { server: entry({ remotes: [remote] }) },
        { server: entry({ remotes: [remote] }, 'com.example/mcp') },
      ],
    },
    {
      weather: { url: remote.url, transport: 'streamable', ...described },
      example: { url: remote.url, transport: 'streamable', ...described },
    },
  ],
])('%s is taken the same by the console and by the command', (_, value, services) => {
  expect(added(value)).toEqual({ services, notes: [] })
  expect(imported(value)).toEqual({ services, notes: [] })
})

it('moves the value of a header to a variable of the file, and keeps it in the console', () => {
  const token = { name: 'Authorization', value: 'Bearer {token}', variables: { token: { value: 'abc' } } }
  const value = entry({ remotes: [{ ...remote, headers: [token, { name: 'X-Optional' }] }] })
  const headersIn = ({ services }: { readonly services: Readonly<Record<string, object>> }) =>
    services['weather'] as { upstream_auth: { headers: object } }
  expect(headersIn(added(value)).upstream_auth.headers).toEqual({ Authorization: 'Bearer abc' })
  expect(headersIn(imported(value)).upstream_auth.headers).toEqual({
    Authorization: '${SECRET_WEATHER_AUTHORIZATION}',
  })
})

it('names what an entry asks for: a variable for a file, and no server without a value in the console', () => {
  const asking = entry({ remotes: [{ ...remote, headers: [secret] }] })
  expect(imported(asking)).toEqual({
    services: {
      weather: {
        url: remote.url,
        transport: 'streamable',
        upstream_auth: { type: 'static', headers: { 'X-API-Key': '${X_API_KEY}' } },
        ...described,
      },
    },
    notes: ['io.github.user/weather – needs the header X-API-Key: set the variable X_API_KEY'],
  })
  expect(() => added(asking)).toThrow(
    expect.objectContaining({
      say: 'io.github.user/weather – needs a value for the header X-API-Key. Write it as "value" into what you paste',
    }) as Error,
  )
})

it.each([
  ['a program of its own choice', { ...npm, runtimeHint: '/bin/sh' }, /is to be run by "\/bin\/sh"/],
  ['an option in place of a package', { ...npm, identifier: '--eval=x' }, /package name that cannot be used/],
  ['a word more in the name', { ...npm, identifier: 'a b' }, /package name that cannot be used/],
  [
    'an unknown kind',
    { ...npm, registryType: 'constructor' },
    /of the type "constructor", which is not supported/,
  ],
  ['a bundle', { ...npm, registryType: 'mcpb' }, /of the type "mcpb"/],
  [
    'a folder of this computer',
    {
      ...npm,
      registryType: 'oci',
      identifier: 'a/b',
      runtimeArguments: [{ type: 'named', name: '-v', value: '/:/host' }],
    },
    /is to be run with -v, which may open this computer to it/,
  ],
  [
    'a folder of this computer, as one word',
    {
      ...npm,
      registryType: 'oci',
      identifier: 'a/b',
      runtimeArguments: [{ type: 'positional', value: '--volume=/:/host' }],
    },
    /is to be run with --volume=\/:\/host/,
  ],
  [
    'an HTTP server of its own',
    { ...npm, transport: { type: 'streamable-http', url: 'http://localhost:{port}/mcp' } },
    /starts an HTTP server of its own/,
  ],
])('never takes an entry with %s into the console', (_, pack, said) => {
  expect(() => added(entry({ packages: [pack] }))).toThrow(
    expect.objectContaining({ say: expect.stringMatching(said) as string }) as Error,
  )
})

it('never fills a place of a URL that nobody names', () => {
  const open = entry({ remotes: [{ type: 'sse', url: 'https://{tenant}.weather.example/sse' }] })
  expect(() => added(open)).toThrow(
    expect.objectContaining({
      say: expect.stringContaining('has a URL with an open place') as string,
    }) as Error,
  )
})

it('fetches an entry by its URL in the console, and adds what it names', async () => {
  const asked: string[] = []
  const kept: object[] = []
  const adding = createConsoleAdd({
    runtime: {
      log: () => undefined,
      outbound: async (url) => {
        asked.push(url)
        return Promise.resolve({
          status: url.includes('gone') ? 404 : 200,
          headers: new Headers(),
          body: utf8(JSON.stringify({ server: entry({ remotes: [remote] }) })),
        })
      },
    },
    registry: {
      config: () => parseConfig({}),
      list: () => Promise.resolve([]),
      remove: () => Promise.reject(new Error('unused')),
      add: (one) => {
        kept.push({ id: one.id, service: one.service })
        return Promise.reject(new Refusal('service.taken', 'enough for this test'))
      },
    },
    directory: { service: () => undefined, services: [], addresses: [] },
    record: () => undefined,
    consolePages: createConsolePages({ issuer: 'https://gw.example', version: '0' }),
  })
  const add = async (source: string) =>
    (await adding.add(calm, new Map([['source', source]]), 'local:ana')).text()
  const url = 'https://registry.example/v0.1/servers/io.github.user%2Fweather/versions/latest'
  await add(url)
  expect(asked).toEqual([url])
  expect(kept).toEqual([
    { id: 'weather', service: { url: remote.url, transport: 'streamable', ...described } },
  ])
  expect(await add('https://registry.example/gone/server.json')).toContain('The registry answered 404.')
  // The URL of a server is asked by the steps that add it, as ever.
  await add('https://weather.example/mcp')
  expect(asked).toHaveLength(2)
})
