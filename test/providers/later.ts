// What a provider says of people after they signed in, as tests of a gateway that somebody else has opened: it refreshes
// profiles and hears of logouts.
import { describe, expect, test } from 'vitest'
import { type Browser, createBrowser } from '../runtimes/browser.ts'
import { type Client, type Tokens, authorizeUrl, form, redeem, refresh, register } from '../runtimes/login.ts'
import { callerOf } from '../runtimes/people.ts'
import { call, until } from '../runtimes/proxied.ts'
import type { TestGateway } from '../runtimes/runtimes.ts'
import { leave } from './leaving.ts'
import { straightBack } from './openid-provider.ts'
import type { RunningProvider } from './process.ts'
import { scimAttacks } from './scim-attacks.ts'
import { scimTests, scimToken } from './scim.ts'

/** People who come back later: what is asked of the provider then. Each is signed in by a provider of the same name. */
export const later: Readonly<Record<string, object>> = {
  'moves-groups': {},
  'is-removed': {},
  'loses-list': { allowed_groups: ['staff'] },
  'is-away': {},
  'sends-no-token': {},
  'lies-later': {},
  'forgets-gateway': {},
  'signs-out': {},
  'is-provisioned': { scim_token: scimToken },
  // Groups that its directory pushes count as well as those that it tells.
  'is-grouped': { scim_token: scimToken, allowed_groups: ['staff', 'dev'] },
  'is-not-asked': { scopes: ['openid', 'email', 'profile'] },
}
const minutes = 60_000

interface LaterScene {
  /** Opened with the providers of `later` and a service `ruled` for their group `staff`. */
  house(): TestGateway
  /** openid-kinds.ts */
  provider(): RunningProvider
}

export const laterTests = (scene: LaterScene): void => {
  describe('later', () => {
    let browser: Browser
    /** How far the gateway's clock is ahead of the provider's. */
    let ahead = 0
    const advance = (ms: number): void => {
      ahead += ms
      scene.house().advance(ms)
    }
    const says = async (person: string, said: object): Promise<unknown> =>
      (
        await fetch(
          `${scene.provider().url}/offline/set?${new URLSearchParams({ person, later: JSON.stringify(said) })}`,
        )
      ).text()
    interface Visitor {
      readonly id: string
      readonly client: Client
      tokens: Tokens
    }
    const visit = async (id: string, said = {}): Promise<Visitor> => {
      await says(id, said)
      browser = createBrowser(scene.house().fetch, scene.house().origin)
      const client = await register(scene.house())
      const asking = authorizeUrl(scene.house(), client, { resource: `${scene.house().origin}/ruled/mcp` })
      const consent = await browser.go(await straightBack(await leave(browser, id, asking.url)))
      const back = new URL((await browser.submit(consent, '/oauth/consent', { decision: 'allow' })).url)
      const answer = await redeem(scene.house(), client, back.searchParams.get('code') ?? '', asking.verifier)
      return { id, client, tokens: (await answer.json()) as Tokens }
    }
    /** `allowed`, `denied` by a rule, or the status. */
    const called = async ({ tokens }: Visitor): Promise<unknown> => {
      const answer = await callerOf(
        scene.house(),
        `${scene.house().origin}/ruled/mcp`,
        tokens.access_token,
      ).post(call())
      if (answer.status !== 200) return answer.status
      return (await answer.text()).includes('"error"') ? 'denied' : 'allowed'
    }
    /** What was known of a grant is forgotten after half a second of the gateway's time. */
    const soon = (visitor: Visitor, wanted: unknown): Promise<void> =>
      until(async () => {
        advance(500)
        return (await called(visitor)) === wanted
      }, String(wanted))
    const refreshed = async (visitor: Visitor): Promise<unknown> => {
      const answer = await refresh(scene.house(), visitor.client, visitor.tokens.refresh_token)
      const body = (await answer.json()) as Tokens & { readonly code?: string }
      if (answer.status === 200) visitor.tokens = body
      return answer.status === 200 ? 200 : `${answer.status} ${body.code}`
    }
    const home = async (): Promise<boolean> => !(await browser.go('/')).url.includes('/login')

    test('a group reaches an access rule, and its loss and its return take effect in use', async () => {
      const visitor = await visit('moves-groups')
      expect(await called(visitor)).toBe('allowed')
      await says('moves-groups', { claims: { groups: ['dev'] } })
      expect(await called(visitor)).toBe('allowed')
      advance(16 * minutes)
      await soon(visitor, 'denied')
      await says('moves-groups', {})
      expect(await refreshed(visitor)).toBe(200)
      expect(await called(visitor)).toBe('denied')
      advance(16 * minutes)
      expect(await refreshed(visitor)).toBe(200)
      await soon(visitor, 'allowed')
      expect(scene.house().log.findLast(({ event }) => event === 'person.changed')?.fields).toMatchObject({
        person: 'moves-groups:moves-groups',
        groups_added: ['staff'],
        groups_removed: ['dev'],
      })
    })

    test.each([
      ['is-removed', { mode: 'refused' }],
      ['loses-list', { claims: { groups: [] } }],
    ] as const)('never keeps access for who %s [H-D22]', async (id, said) => {
      const visitor = await visit(id)
      await says(id, said)
      expect([await refreshed(visitor), await home()]).toEqual([200, true])
      advance(16 * minutes)
      expect(await refreshed(visitor)).toBe('400 person.removed')
      await soon(visitor, 401)
      expect([await refreshed(visitor), await home()]).toEqual(['400 refresh.unknown', false])
      expect(scene.house().log.findLast(({ event }) => event === 'person.removed')?.fields['person']).toBe(
        `${id}:${id}`,
      )
      const again = await visit(id)
      expect([await called(again), await refreshed(again)]).toEqual(['allowed', 200])
    })

    test('a provider that is away leaves access as it is for a day, then there is none until it is back', async () => {
      const visitor = await visit('is-away')
      await says('is-away', { mode: 'down' })
      advance(16 * minutes)
      expect([await refreshed(visitor), await called(visitor)]).toEqual([200, 'allowed'])
      advance(24 * 60 * minutes)
      expect(await refreshed(visitor)).toBe('503 provider.unreachable')
      expect(await refreshed(visitor)).toBe('503 provider.unreachable')
      await says('is-away', {})
      advance(2 * minutes)
      expect([await refreshed(visitor), await called(visitor)]).toEqual([200, 'allowed'])
    })

    test('without a new ID token, groups come from userinfo', async () => {
      const visitor = await visit('sends-no-token')
      await says('sends-no-token', { mode: 'no-id-token', claims: { groups: ['dev'] } })
      advance(16 * minutes)
      expect(await refreshed(visitor)).toBe(200)
      await soon(visitor, 'denied')
    })

    test.each(['other-person', 'other-key'] as const)(
      'never believes a later ID token of %s [H-F5]',
      async (mode) => {
        const visitor = await visit('lies-later')
        await says('lies-later', { mode, claims: { groups: ['dev'] } })
        advance(16 * minutes)
        expect([await refreshed(visitor), await called(visitor)]).toEqual([200, 'allowed'])
        expect(
          scene.house().log.findLast(({ event }) => event === 'profile.not-refreshed')?.fields['person'],
        ).toBe('lies-later:lies-later')
      },
    )

    test('a provider that does not know the gateway any more says nothing of the person', async () => {
      const visitor = await visit('forgets-gateway')
      await says('forgets-gateway', { mode: 'unknown-client' })
      advance(16 * minutes)
      expect([await refreshed(visitor), await called(visitor)]).toEqual([200, 'allowed'])
      await says('forgets-gateway', { claims: { groups: [] } })
      advance(2 * minutes)
      expect(await refreshed(visitor)).toBe(200)
      await soon(visitor, 'denied')
    })

    test('a provider that was not asked for offline access is not asked again', async () => {
      const visitor = await visit('is-not-asked')
      await says('is-not-asked', { mode: 'refused', claims: { groups: [] } })
      advance(16 * minutes)
      expect([await refreshed(visitor), await called(visitor)]).toEqual([200, 'allowed'])
    })

    const logout = async (
      change: object,
      { key = '', at = 'signs-out', token = '' } = {},
    ): Promise<{ readonly response: Response; readonly token: string }> => {
      const query = new URLSearchParams({ change: JSON.stringify(change), key, ahead: String(ahead) })
      const sent =
        token || (await (await fetch(`${scene.provider().url}/offline/logout-token?${query}`)).text())
      return {
        token: sent,
        response: await scene
          .house()
          .fetch(`${scene.house().origin}/oauth/backchannel-logout/${at}`, form({ logout_token: sent })),
      }
    }
    const heads = ({ status, headers }: Response) => [status, headers.get('cache-control')]
    const ana = { sub: 'signs-out' }

    test.each([
      ['sub', ana],
      ['sid', { sid: 'session-signs-out' }],
      [
        'sub and sid, and the type that was usual at first',
        { ...ana, sid: 'session-signs-out', header: { typ: 'JWT' } },
      ],
    ])('a logout at the provider ends all access here at once: %s', async (_name, claims) => {
      const visitor = await visit('signs-out')
      expect([await called(visitor), await home()]).toEqual(['allowed', true])
      const stream = await callerOf(
        scene.house(),
        `${scene.house().origin}/ruled/mcp`,
        visitor.tokens.access_token,
      ).get()
      expect(stream.status).toBe(200)
      const ended = stream.text().catch(() => '')
      const { response, token } = await logout(claims)
      expect(heads(response)).toEqual([200, 'no-store'])
      advance(500)
      expect(await called(visitor)).toBe(401)
      expect([await refreshed(visitor), await home()]).toEqual(['400 refresh.unknown', false])
      advance(5000)
      await ended
      // Once more it would end what began since.
      const again = await visit('signs-out')
      const repeats = await Promise.all(Array.from({ length: 10 }, () => logout({}, { token })))
      for (const repeat of repeats) expect(heads(repeat.response)).toEqual([400, 'no-store'])
      expect([await called(again), await home()]).toEqual(['allowed', true])
    })

    test('a logout of one session ends what came of it, and nothing else of the person', async () => {
      // What earlier sign-ins have left is gone first.
      expect((await logout(ana)).response.status).toBe(200)
      const stays = await visit('signs-out', { claims: { sid: 'another-session' } })
      const other = browser
      const leaves = await visit('signs-out')
      expect((await logout({ sid: 'session-signs-out', sub: 'signs-out' })).response.status).toBe(200)
      advance(500)
      expect([await called(leaves), await home()]).toEqual([401, false])
      browser = other
      expect([await called(stays), await refreshed(stays), await home()]).toEqual(['allowed', 200, true])
      expect(scene.house().log.findLast(({ event }) => event === 'backchannel.logout')?.fields).toMatchObject(
        {
          one_session: true,
          grants: 1,
        },
      )
      expect((await logout(ana)).response.status).toBe(200)
      advance(500)
      expect([await called(stays), await home()]).toEqual([401, false])
    })

    test.each<[string, object, object?]>([
      ['without sub and sid', {}],
      ['with a nonce', { ...ana, nonce: 'n' }],
      ['without events', { ...ana, events: null }],
      ['with another event', { ...ana, events: { 'http://schemas.openid.net/event/other': {} } }],
      [
        'with an event that is no object',
        { ...ana, events: { 'http://schemas.openid.net/event/backchannel-logout': true } },
      ],
      ['without jti', { ...ana, jti: null }],
      ['without iat', { ...ana, iat: null }],
      ['from the future', { ...ana, iat: 9_000_000_000, exp: 9_000_000_100 }],
      ['without exp', { ...ana, exp: null }],
      ['that expired', { ...ana, exp: 1_600_000_000 }],
      ['of another issuer', { ...ana, iss: 'https://evil.test' }],
      ['for another client', { ...ana, aud: 'another' }],
      ['with a sub that is a list', { sub: ['signs-out'] }],
      ['of an empty sub', { sub: '' }],
      ['whose sid is of another user', { sub: 'somebody', sid: 'session-signs-out' }],
      ['with alg none', { ...ana, header: { alg: 'none' } }],
      ['signed with the client secret', { ...ana, header: { alg: 'HS256' } }],
      ['that is an access token', { ...ana, header: { typ: 'at+jwt' } }],
      ['signed with another key', ana, { key: 'other' }],
      ['that never expires', { ...ana, exp: 1e300 }],
      ['that is none', {}, { token: 'x.y.z' }],
    ])('never takes a logout token %s [H-F5]', async (_name, claims, how = {}) => {
      const visitor = before ?? (await visit('signs-out'))
      before = visitor
      expect(heads((await logout(claims, how)).response)).toEqual([400, 'no-store'])
      expect(await called(visitor)).toBe('allowed')
    })
    let before: Visitor | undefined

    test('a logout of somebody who was never here is no failure; at a provider that is not there it is one', async () => {
      expect((await logout({ sid: 'unknown' })).response.status).toBe(200)
      expect((await logout(ana, { at: 'nobody' })).response.status).toBe(404)
      expect(
        (await scene.house().fetch(`${scene.house().origin}/oauth/backchannel-logout/signs-out`)).status,
      ).toBe(405)
    })

    let provisioned: Visitor | undefined
    let grouped: Visitor | undefined
    const isKeptOut = async (id: string, code: string): Promise<boolean> => {
      const other = createBrowser(scene.house().fetch, scene.house().origin)
      const page = await other.go(await straightBack(await leave(other, id)), {
        headers: { accept: 'application/json' },
      })
      return page.status === 403 && page.body.includes(code)
    }
    scimTests(scene.house, {
      groups: {
        async signIn(told) {
          grouped = await visit('is-grouped', { claims: { groups: told } })
        },
        async calls() {
          if (!grouped) throw new Error('nobody signed in')
          advance(500)
          return called(grouped)
        },
        async listens() {
          const { access_token: token = '' } = grouped?.tokens ?? {}
          const at = `${scene.house().origin}/ruled/mcp`
          const { status, body } = await callerOf(scene.house(), at, token).get()
          expect(status).toBe(200)
          let over = false
          const read = async (): Promise<void> => {
            for await (const _ of body ?? []) continue
          }
          read()
            .catch(() => undefined)
            .finally(() => void (over = true))
          return () =>
            until(() => {
              if (!over) advance(500)
              return over
            }, 'the end of the stream')
        },
        async refresh() {
          if (!grouped) throw new Error('nobody signed in')
          return refreshed(grouped)
        },
        isKeptOut: () => isKeptOut('is-grouped', 'person.not-allowed'),
      },
      async signIn() {
        provisioned = await visit('is-provisioned')
      },
      isKeptOut: () => isKeptOut('is-provisioned', 'person.deactivated'),
      async standing() {
        if (!provisioned) throw new Error('nobody signed in')
        return [await called(provisioned), await refreshed(provisioned), await home()]
      },
      advance,
      async revoked() {
        const heard = await (await fetch(`${scene.provider().url}/heard`)).json()
        return (heard as { revoked: string[] }).revoked
      },
    })
    scimAttacks(scene.house, advance)
  })
}
