// What holds for any input at all: the loader never crashes and never gives a secret away.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { explainAll } from '../../src/config/explain.ts'
import { environmentNames } from '../../src/config/environment-names.ts'
import { loadConfig } from '../../src/config/load.ts'
import { rootShape } from '../../src/config/shape.ts'
import { faultText } from '../../src/config/tree.ts'
import * as printed from '../data/printed-configurations.ts'

const runs = { numRuns: 400 }

/** Pieces that a configuration file is made of, and some that it is not. */
const piece = fc.oneof(
  fc.constantFrom(
    ...rootShape.names,
    'url',
    'client_id',
    'username',
    'password',
    'headers',
    '__proto__',
    'constructor',
    '<<',
  ),
  fc.constantFrom(
    ':',
    ': ',
    '\n',
    '\n  ',
    '\n    ',
    '- ',
    '[',
    ']',
    '{',
    '}',
    ', ',
    '"',
    "'",
    '#',
    '|',
    '>',
    '&a',
    '*a',
    '!x',
    '? ',
    '---\n',
    '\t',
    '%',
    '@',
    '`',
    '\\',
    '\u0000',
    '\ufeff',
    '\ud800',
  ),
  fc.constantFrom(
    '${A}',
    '${A:-',
    '}',
    '$${',
    '${A:?m}',
    '${',
    'true',
    'null',
    '~',
    '8080',
    '-1',
    '1e999',
    '.nan',
    '0x1F',
    'http://localhost:1',
    '*',
    'redis',
  ),
  fc.string({ maxLength: 6 }),
)
const text = fc.oneof(
  fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join('')),
  fc.string({ maxLength: 200 }),
)

/** A printed configuration with a few pieces of it replaced. */
const damaged = fc
  .tuple(
    fc.constantFrom(...Object.values(printed)),
    fc.array(fc.tuple(fc.nat(2000), fc.nat(20), piece), { minLength: 1, maxLength: 4 }),
  )
  .map(([whole, cuts]) =>
    cuts.reduce<string>(
      (left, [at, length, put]) =>
        left.slice(0, at % (left.length + 1)) + put + left.slice((at % (left.length + 1)) + length),
      whole,
    ),
  )

const environment = fc.dictionary(
  fc.oneof(
    fc.constantFrom(...environmentNames.map(({ name }) => name)),
    fc.constantFrom(
      'POSTERN_CORS',
      'POSTERN_LOCAL_USERS__0',
      'POSTERN_MCP_SERVICES__A__URL',
      'POSTERN___',
      'POSTERN_',
      'POSTERN_CORS__',
      'POSTERN_SESSION_SECRET',
      'POSTERN_LOCAL_USERS__999__USERNAME',
      'POSTERN___PROTO__',
      'A',
    ),
  ),
  fc.oneof(
    fc.string({ maxLength: 20 }),
    fc.constantFrom('{}', '[]', '[{}]', '{"a":1}', '{"__proto__":{"x":1}}', '0', 'true', '-'),
  ),
  { maxKeys: 6 },
)

describe('any text and any environment', () => {
  it('end in a configuration or in faults with a place, never in a crash', async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(text, damaged), environment, async (file, env) => {
        const loaded = await loadConfig({ file: { path: 'c.yaml', text: file }, env })
        for (const fault of [...(loaded.ok ? [] : loaded.faults), ...loaded.warnings]) {
          const line = faultText(fault)
          expect(line).toMatch(/^(c\.yaml:[1-9]\d*:[1-9]\d* |environment |flag |[a-z_]+ |– )/)
          // One line of a terminal, whatever the keys were.
          expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/)
        }
        if (loaded.ok) expect(loaded.config.port).toBeTypeOf('number')
        else expect(loaded.faults.length).toBeGreaterThan(0)
        expect(Object.prototype).not.toHaveProperty('x')
      }),
      runs,
    )
  })

  it('that is small but grows without end is refused', async () => {
    const bomb = `a: &a [x,x,x,x,x,x,x,x,x]\n${'bcdefghi'
      .split('')
      .map(
        (name, i) => `${name}: &${name} [${Array.from({ length: 9 }, () => `*${'abcdefgh'[i]}`).join(',')}]`,
      )
      .join('\n')}\n`
    for (const file of [
      bomb,
      'a: &a [*a, *a]\n',
      'a: &a { b: *a }\n',
      'cors: &a\n  <<: *a\n',
      '['.repeat(50_000),
      `port: ${'9'.repeat(1_200_000)}`,
      '- '.repeat(20_000),
      '{a: '.repeat(5000),
    ]) {
      const loaded = await loadConfig({ file: { path: 'c.yaml', text: file }, env: {} })
      expect(loaded.ok).toBe(false)
    }
  })
})

describe('a secret', () => {
  const canary = fc.stringMatching(/^[A-Za-z0-9]{4}CANARY[A-Za-z0-9]{0,30}$/)
  /** Where secrets stand, in files that are wrong in many ways. */
  const frames: readonly ((secret: string) => string)[] = [
    (secret) => `session_secret: ${secret}\n`,
    (secret) => `session_secret: "${secret}\nport: 1\n`,
    (secret) => `session_secret: [${secret}]\n`,
    (secret) => `session_secret: { a: ${secret} }\n`,
    (secret) => `session_secret: ${secret}: x\n`,
    (secret) => `session_secret: @${secret}\n`,
    (secret) => `session_secret: *${secret}\n`,
    (secret) => `session_secret: !${secret} x\n`,
    (secret) => `previous_secrets: [${secret}, ${secret}]\nsession_secret: ${secret}\n`,
    (secret) => `local_users:\n  - { username: a, password: ${secret}, password_hash: ${secret} }\n`,
    (secret) => `oauth_providers:\n  google: { client_id: a, client_secret: [${secret}] }\n`,
    (secret) => `clients:\n  a: { name: a, redirect_uris: ["x"], client_secret: ${secret} }\n`,
    (secret) => `mcp_services:\n  a: { url: "http://u:${secret}@localhost:1/mcp" }\n`,
    (secret) => `issuer: "https://u:${secret}@x.example/y"\n`,
    (secret) =>
      `port: "\${TOKEN}"\nhost: "\${TOKEN}"\nlog_level: "\${TOKEN}"\ndefault_service: "\${TOKEN:?no}"\n# ${secret}\n`,
    () => 'storage: { type: "${TOKEN}" }\nmcp_services:\n  a: { url: "${TOKEN}", oauth_provider: x }\n',
  ]

  it('is in no fault and no warning, however wrong the configuration is', async () => {
    await fc.assert(
      fc.asyncProperty(
        canary,
        fc.constantFrom(...frames),
        fc.boolean(),
        async (secret, frame, byEnvironment) => {
          const env = {
            TOKEN: secret,
            ...(byEnvironment
              ? {
                  SESSION_SECRET: secret,
                  GATEWAY_JWT_SECRET: `${secret}2`,
                  LOCAL_PASSWORD: secret,
                  POSTERN_OAUTH_PROVIDERS__A__CLIENT_SECRET: secret,
                }
              : {}),
          }
          const loaded = await loadConfig({
            file: { path: 'c.yaml', text: frame(secret) },
            env,
            secrets: { MCP_SESSION_SECRET_FILE: { text: secret } },
          })
          expect(JSON.stringify([loaded.ok ? [] : loaded.faults, loaded.warnings])).not.toContain('CANARY')
        },
      ),
      runs,
    )
  })

  it('is masked where the configuration is explained', async () => {
    const text = `session_secret: CANARY7Lw2Kp8Rb5Ny7Hc4Jd6Gf1Ms0AxQz9\nprevious_secrets: [CANARYzLw2Kp8Rb5Ny7Hc4Jd6Gf1Ms0AxQz9]\noauth_providers: { google: { client_id: a, client_secret: CANARY } }\nlocal_users:\n  - { username: a, password: CANARY-password }\n`
    const loaded = await loadConfig({ file: { path: 'c.yaml', text }, env: {} })
    expect(loaded.ok && JSON.stringify(explainAll(loaded.config, loaded.sources))).not.toMatch(/CANARY/)
    expect(loaded.ok && loaded.writtenSecrets).toEqual([
      'session_secret',
      'previous_secrets[0]',
      'oauth_providers.google.client_secret',
      'local_users[0].password',
    ])
  })
})
