// Each key, its value, and where that came from; and the schema for editors.
import { describe, expect, it } from 'vitest'
import { configJsonSchema } from '../../src/cli/config.ts'
import { explain, explainAll } from '../../src/config/explain.ts'
import { configFlags } from '../../src/config/flags.ts'
import { logLevels } from '../../src/config/schema.ts'
import { rootShape, shapeAt } from '../../src/config/shape.ts'
import { load } from './config-world.ts'

const explained = async (key: string, text: string, env = {}) => {
  const loaded = await load(text, { env })
  if (!loaded.ok) throw new Error('does not load')
  return explain(loaded.config, loaded.sources, key)
}

describe('an explained configuration', () => {
  it('names file and line, variable, flag or default', async () => {
    const text = 'port: 9000\nhost: "${WHERE}"\n'
    expect(await explained('port', text, { WHERE: 'localhost' })).toEqual({
      rows: [{ key: 'port', value: 9000, from: 'config.yaml:1:7' }],
      meant: undefined,
    })
    expect((await explained('host', text, { WHERE: 'localhost' })).rows).toEqual([
      { key: 'host', value: 'localhost', from: 'config.yaml:2:7 (${WHERE})' },
    ])
    expect((await explained('debug', text, { WHERE: 'localhost', MCP_DEBUG: '1' })).rows).toEqual([
      { key: 'debug', value: true, from: 'environment MCP_DEBUG' },
    ])
    expect((await explained('storage', text, { WHERE: 'localhost' })).rows).toEqual([
      { key: 'storage.type', value: 'sqlite', from: 'default' },
    ])
    expect((await explained('issuer', text, { WHERE: 'localhost' })).rows).toEqual([
      { key: 'issuer', value: null, from: 'not set' },
    ])
  })

  it('explains a section, a service, and a key of a service that has none', async () => {
    const text = 'mcp_services:\n  a: { url: "http://localhost:1/mcp" }\n'
    expect((await explained('mcp_services.a', text)).rows.map(({ key }) => key)).toContain(
      'mcp_services.a.timeout',
    )
    expect((await explained('mcp_services.a.oauth_provider', text)).rows).toEqual([
      { key: 'mcp_services.a.oauth_provider', value: null, from: 'not set' },
    ])
  })

  it('has a suggestion for a key that does not exist', async () =>
    expect(await explained('prot', '')).toEqual({ rows: [], meant: 'port' }))

  it('has every key of the top level, in the order of the schema', async () => {
    const loaded = await load('')
    const keys = loaded.ok
      ? explainAll(loaded.config, loaded.sources).map(({ key }) => key.split('.')[0])
      : []
    expect([...new Set(keys)]).toEqual(rootShape.names.filter((name) => name !== '$schema'))
  })
})

describe('the schema for editors', () => {
  const schema = configJsonSchema() as {
    $schema: string
    properties: Record<string, Record<string, unknown>>
    additionalProperties: boolean
  }

  it('is JSON Schema 2020-12, closed, with a description for every key', () => {
    expect(schema.$schema).toBe('https://json-schema.org/draft/2020-12/schema')
    expect(schema.additionalProperties).toBe(false)
    expect(Object.keys(schema.properties)).toEqual(rootShape.names)
    expect(Object.entries(schema.properties).filter(([, property]) => !property['description'])).toEqual([])
  })

  it('lets a variable stand for a number, and marks what is secret', () => {
    expect(schema.properties['port']).toMatchObject({
      default: 8080,
      anyOf: [
        { type: 'integer', minimum: 0, maximum: 65_535 },
        { type: 'string', pattern: '\\$\\{' },
      ],
    })
    expect(schema.properties['session_secret']).toMatchObject({ writeOnly: true })
  })

  it('holds nothing that JSON Schema does not know', () =>
    expect(JSON.stringify(schema)).not.toMatch(/"x-|"~/))
})

describe('flags', () => {
  it('set keys that exist, with the values that the schema allows', () => {
    expect(configFlags.filter(({ key }) => shapeAt([key]) === undefined)).toEqual([])
    expect(configFlags.find(({ key }) => key === 'log_level')?.choices).toEqual([...logLevels])
  })
})
