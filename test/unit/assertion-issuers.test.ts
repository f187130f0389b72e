// What `postern validate --connect` and `postern doctor` say of issuers of assertions.
import { createHash } from 'node:crypto'
import { expect, it } from 'vitest'
import { parseConfig } from '../../src/config/schema.ts'
import { checkConnections } from '../../src/connection-checks.ts'
import type { Outbound, Runtime } from '../../src/ports/runtime.ts'

const documents: Readonly<Record<string, unknown>> = {
  'https://ci.example/.well-known/openid-configuration': {
    issuer: 'https://ci.example',
    jwks_uri: 'https://keys.example/ci',
  },
  'https://keys.example/ci': { keys: [{ kty: 'EC' }, { kty: 'oct', k: 'x' }, { kty: 'RSA', use: 'enc' }] },
  'https://other.example/.well-known/openid-configuration': { issuer: 'https://evil.example' },
}
const outbound: Outbound = async (url) => {
  const found = documents[url]
  return {
    status: found === undefined ? 404 : 200,
    headers: new Headers(),
    body: new TextEncoder().encode(JSON.stringify(found ?? {})),
  }
}
const runtime = {
  now: () => 0,
  outbound,
  cache: { get: async () => undefined, put: async () => undefined },
  defer: () => undefined,
  digest: (text: string) => createHash('sha256').update(text).digest('base64url'),
} as unknown as Runtime

it('each issuer is asked for its keys as the gateway asks for them', async () => {
  const issuer = (url: string) => ({ type: 'workload' as const, issuer: url })
  const config = parseConfig({
    assertion_issuers: { ci: issuer('https://ci.example'), other: issuer('https://other.example') },
  })
  const checks = await checkConnections(config, { runtime, outboundTo: () => outbound }, () => undefined)
  expect(checks).toEqual([
    { key: 'assertion_issuers.ci', ok: true, say: 'https://ci.example has 1 key.' },
    {
      key: 'assertion_issuers.other',
      ok: false,
      refusal: 'assertion.keys-unreachable',
      say: 'No assertion of https://other.example can be verified: other: https://other.example/.well-known/openid-configuration: its issuer is "https://evil.example"; https://other.example/.well-known/oauth-authorization-server: status 404.',
    },
  ])
})
