// Durations in the configuration, key by key: text with units, a bare number as before, and one sentence for
// anything else.
import { describe, expect, it } from 'vitest'
import { explain } from '../../src/config/explain.ts'
import { type DurationUnit, durationText, parseDuration } from '../../src/config/key-types.ts'
import { rootShape, shapeAt } from '../../src/config/shape.ts'
import { configOf, faultsOf, load } from './config-world.ts'

/** Key, unit of a bare number, a text and its value, a text beyond the bounds, and the bounds. */
const keys: readonly (readonly [string, DurationUnit, string, number, string, string])[] = [
  ['access_token_lifetime', 's', '10m', 600, '59s', '1m to 1d'],
  ['refresh_token_lifetime', 's', '60d', 5_184_000, '366d', '5m to 365d'],
  ['refresh_grace', 's', '0s', 0, '2h', '0s to 1h'],
  ['code_lifetime', 's', '1m30s', 90, '9s', '10s to 10m'],
  ['session_timeout', 's', '8h', 28_800, '8h1s', '1m to 8h'],
  ['client_lifetime', 's', '365d', 31_536_000, '400d', '0s to 365d'],
  ['key_rotation', 's', '1h', 3600, '59m', '1h to 365d'],
  ['heartbeat', 's', '30000ms', 30, '11m', '1s to 10m'],
  ['mcp_services.a.timeout', 'ms', '30s', 30_000, '2h', '1ms to 1h'],
  ['mcp_services.a.start_timeout', 'ms', '2m', 120_000, '999ms', '1s to 1h'],
  ['mcp_services.a.session_idle', 's', '1h', 3600, '0s', '1s to 365d'],
  ['mcp_services.a.sleep_after', 's', '10m', 600, '366d', '1s to 365d'],
  ['mcp_services.a.health_interval', 's', '1m', 60, '4s', '5s to 1d'],
  ['mcp_services.a.reconnect_after', 'ms', '1m', 60_000, '61m', '0s to 1h'],
]

const written = (key: string, value: string): string =>
  key.startsWith('mcp_services.a.')
    ? `mcp_services: { a: { ${key.endsWith('health_interval') ? 'url: http://127.0.0.1:9/' : 'command: cat'}, ${key.split('.').at(-1)}: ${value} } }\n`
    : `${key}: ${value}\n`

const valueAt = async (text: string, key: string): Promise<unknown> =>
  key
    .split('.')
    .reduce<unknown>((found, part) => (found as Record<string, unknown>)[part], await configOf(text))

const saidOf = async (text: string): Promise<readonly string[]> =>
  (await faultsOf(text)).map((fault) => fault.replace(/^.* – /, ''))

describe('a duration', () => {
  it('is every key whose number is a time', () => {
    const found = [
      ...rootShape.names,
      ...(shapeAt(['mcp_services', 'a'])?.names ?? []).map((name) => `mcp_services.a.${name}`),
    ].filter((key) => shapeAt(key.split('.'))?.kind === 'duration')
    expect(found.toSorted()).toEqual(keys.map(([key]) => key).toSorted())
  })

  it.each(keys)(
    '%s is read as text, and as a bare number in its unit (%s)',
    async (key, unit, text, value) => {
      expect(await valueAt(written(key, text), key)).toBe(value)
      expect(await valueAt(written(key, String(value)), key)).toBe(value)
      expect(await valueAt(written(key, `"${value}"`), key)).toBe(value)
      expect(parseDuration(durationText(value, unit), unit)).toBe(value)
    },
  )

  it.each(keys)('%s says in one sentence what is wrong', async (...row) => {
    const [key, unit, , , beyond, bounds] = row
    const long = unit === 's' ? 'seconds' : 'milliseconds'
    const [from = '', to = ''] = bounds.split(' to ')
    for (const nonsense of ['soon', '5 minutes', '1h 30m', '30m1h', '-5s', '1.5h', '[1]', 'true'])
      expect([nonsense, await saidOf(written(key, nonsense))]).toEqual([
        nonsense,
        [`must be a duration such as "30s", "10m" or "1h30m"; a number without a unit is in ${long}`],
      ])
    expect(await saidOf(written(key, beyond))).toEqual([`must be from ${from} to ${to}`])
    expect(await saidOf(written(key, '-1'))).toEqual([`must be from ${from} to ${to}`])
    expect(await saidOf(written(key, '61.5'))).toEqual([`must be a whole number of ${long}`])
    expect(await saidOf(written(key, ''))).toEqual([expect.stringMatching(/^has no value/)])
  })

  it('of seconds has no fraction of one', async () => {
    expect(await saidOf('heartbeat: 1500ms\n')).toEqual(['must be a whole number of seconds'])
  })

  it('may come from a variable, in either form', async () => {
    const env = { ACCESS_TOKEN_LIFETIME: '2h', POSTERN_MCP_SERVICES__A__TIMEOUT: '5000', GRACE: '2m' }
    const config = await configOf(
      'mcp_services: { a: { url: https://a.example/mcp } }\nrefresh_grace: ${GRACE}\n',
      { env },
    )
    expect([config.access_token_lifetime, config.mcp_services['a']?.timeout, config.refresh_grace]).toEqual([
      7200, 5000, 120,
    ])
    expect((await faultsOf('', { env: { ACCESS_TOKEN_LIFETIME: 'soon' } }))[0]).toBe(
      'environment ACCESS_TOKEN_LIFETIME access_token_lifetime – must be a duration such as "30s", "10m" or "1h30m"; a number without a unit is in seconds',
    )
  })

  it('is explained as text, whichever way it was written', async () => {
    const loaded = await load('access_token_lifetime: 5400\n')
    if (!loaded.ok) throw new Error('does not load')
    const said = (key: string) => explain(loaded.config, loaded.sources, key).rows[0]?.value
    expect([said('access_token_lifetime'), said('code_lifetime'), said('mcp_services.x.timeout')]).toEqual([
      '1h30m',
      '5m',
      '5m',
    ])
  })
})
