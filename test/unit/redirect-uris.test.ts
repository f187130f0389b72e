// One redirect URI for each authorization server, and the one that an operator wrote.
import { describe, expect, it } from 'vitest'
import { createClientRegistrations } from '../../src/connections/client-registration.ts'
import { type AuthorizedUpstream, createGuardedFetch, silent } from '../../src/connections/upstream.ts'
import { utf8 } from '../../src/kit/bytes.ts'
import { createKeyRing } from '../../src/kit/keyring.ts'
import { createRecords } from '../../src/kit/records.ts'
import { callbackPathOf, isCallbackOf, shareCallback } from '../../src/kit/urls.ts'
import { digest } from '../../src/node/crypto.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'
import { random } from './oauth-world.ts'

const gateway = 'https://gw.test'
const pathOf = {
  as: await callbackPathOf('https://as.test'),
  evil: await callbackPathOf('https://evil.test'),
}

describe('the path of an authorization server', () => {
  it('is the same for every spelling of its issuer, and another for every other', async () => {
    const paths = await Promise.all(
      ['https://as.test', 'https://as.test/', 'HTTPS://AS.test:443'].map(callbackPathOf),
    )
    expect(new Set(paths)).toEqual(new Set([expect.stringMatching(/^\/connect\/callback\/[\w-]{22}$/)]))
    const others = [
      'https://as.test/tenant',
      'https://as.test/Tenant',
      'https://as.test:8443',
      'http://as.test',
    ]
    expect(new Set([...paths, ...(await Promise.all(others.map(callbackPathOf)))]).size).toBe(5)
  })

  const own = `${gateway}${pathOf.as}`
  it.each([
    [own, pathOf.as, true],
    [own, pathOf.evil, false],
    [own, '/connect/callback', false],
    [own, '/oauth/callback', false],
    [`${gateway}/oauth/callback`, '/oauth/callback', true],
    [`${gateway}/oauth/callback`, '/connect/callback', false],
    [`${gateway}/connect/callback`, '/oauth/callback', false],
    [`${gateway}/connect/callback`, pathOf.as, false],
    // Another address in front, which a proxy maps to one of these.
    ['https://login.example/back', '/oauth/callback', true],
    ['https://login.example/back', pathOf.as, false],
  ])('%s takes an answer at %s: %s', (redirectUri, path, takes) => {
    expect(isCallbackOf(redirectUri, path)).toBe(takes)
  })

  it.each([
    [`${gateway}/connect/callback`, 'https://GW.test/connect/callback', true],
    ['https://login.example/a', 'https://login.example/b', true],
    ['https://login.example/a', `${gateway}/oauth/callback`, true],
    [`${gateway}/connect/callback`, `${gateway}/oauth/callback`, false],
    [own, 'https://login.example/a', false],
  ])('%s and %s share one: %s', (a, b, shared) => {
    expect([shareCallback(a, b), shareCallback(b, a)]).toEqual([shared, shared])
  })
})

describe('registrations', () => {
  const as = {
    issuer: 'https://as.test',
    token_endpoint: 'https://as.test/token',
    registration_endpoint: 'https://as.test/register',
    token_endpoint_auth_methods_supported: ['none'],
  }
  const upstream: AuthorizedUpstream = {
    id: 'far',
    name: 'Far',
    url: new URL('https://far.test/mcp'),
    origin: 'https://far.test',
    auth: silent,
    origins: [],
  }

  it('of version 0.1.0 are renewed at the next connect, and not once more', async () => {
    const bodies: { redirect_uris: string[]; application_type: string }[] = []
    const outbound = (_url: string, { body = '' }: { readonly body?: string } = {}) => {
      bodies.push(JSON.parse(body) as (typeof bodies)[number])
      const answer = utf8(JSON.stringify({ client_id: `client-${bodies.length}` }))
      return Promise.resolve({
        status: 201,
        headers: new Headers({ 'content-type': 'application/json' }),
        body: answer,
      })
    }
    const now = () => 1_000_000_000_000
    const runtime = {
      now,
      digest,
      outbound,
      store: createMemoryStore({ now }),
      keys: await createKeyRing([random(32)], random),
      log: () => undefined,
      defer: (work: Promise<unknown>) => void work.catch(() => undefined),
    }
    const old = { clientId: 'old', method: 'none', redirectUri: `${gateway}/connect/callback` }
    const id = digest(JSON.stringify([as.issuer, upstream.id]))
    await createRecords<typeof old>(runtime, 'upstream-client:').put(id, old, { only: 'absent' })
    const enrolments = createClientRegistrations({ runtime, issuer: gateway, services: () => [] })
    const web = createGuardedFetch(runtime, upstream)
    for (let i = 0; i < 2; i++)
      expect(await enrolments.at(as, upstream, undefined, web)).toEqual({
        clientId: 'client-1',
        method: 'none',
        redirectUri: `${gateway}${pathOf.as}`,
        how: 'registered',
      })
    // OpenID Connect Registration §2: a client at an https URL is a web client.
    expect(bodies.map(({ redirect_uris: uris, application_type: type }) => ({ uris, type }))).toEqual([
      { uris: [`${gateway}${pathOf.as}`], type: 'web' },
    ])
    const documents = { ...as, client_id_metadata_document_supported: true }
    expect(await enrolments.at(documents, upstream, undefined, web)).toEqual({
      clientId: `${gateway}/oauth/client-metadata/${pathOf.as.slice('/connect/callback/'.length)}.json`,
      method: 'none',
      redirectUri: `${gateway}${pathOf.as}`,
      how: 'document',
    })
  })
})
