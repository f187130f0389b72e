// What a SCIM endpoint must never do, whoever asks and whatever is sent, as tests of a gateway that somebody else has
// opened with the providers `is-provisioned` and `is-grouped`.
import { describe, expect, test } from 'vitest'
import { urns } from '../../src/identity/scim-values.ts'
import type { TestGateway } from '../runtimes/runtimes.ts'
import { scimToken } from './scim.ts'

const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth)

export const scimAttacks = (house: () => TestGateway, advance: (ms: number) => void): void => {
  const send = (
    method: string,
    path: string,
    body?: string | Uint8Array<ArrayBuffer>,
    headers: Record<string, string> = {},
    provider = 'is-provisioned',
  ): Promise<Response> =>
    house().fetch(`${house().origin}/admin/scim/${provider}/v2/${path}`, {
      method,
      headers: {
        authorization: `Bearer ${scimToken}`,
        ...(body === undefined ? {} : { 'content-type': 'application/scim+json' }),
        ...headers,
      },
      ...(body !== undefined && { body }),
    })
  const statusOf = async (answer: Promise<Response>): Promise<number> => {
    const response = await answer
    const text = await response.text()
    // Whatever it is, it is said in SCIM's own form and in nobody's cache.
    if (response.status >= 400 && response.status !== 405 && response.status !== 413)
      expect(JSON.parse(text)).toMatchObject({ schemas: [urns.error], status: String(response.status) })
    expect([/\n\s+at |\.ts:/.test(text), response.headers.get('access-control-allow-origin')]).toEqual([
      false,
      null,
    ])
    return response.status
  }
  const user = (userName: string, more: object = {}) =>
    JSON.stringify({ schemas: [urns.user], userName, ...more })
  const patch = (...Operations: object[]) => JSON.stringify({ schemas: [urns.patch], Operations })
  const create = async (path: string, body: string, provider?: string): Promise<string> => {
    const response = await send('POST', path, body, {}, provider)
    expect(response.status).toBe(201)
    return ((await response.json()) as { id: string }).id
  }

  describe('SCIM under attack', () => {
    test('never answers without the whole token of this provider, where it belongs', async () => {
      // Wrong tokens of before count no more.
      advance(61_000)
      for (const authorization of [
        '',
        'Bearer',
        `Bearer ${scimToken.slice(0, -1)}`,
        `Bearer ${scimToken}x`,
        `Bearer ${scimToken}, ${scimToken}`,
        `Basic ${btoa(`:${scimToken}`)}`,
        scimToken,
      ])
        expect([
          authorization,
          await statusOf(send('GET', `Users?access_token=${scimToken}`, undefined, { authorization })),
        ]).toEqual([authorization, 401])
      expect(await statusOf(send('GET', 'Users', undefined, { authorization: `bearer ${scimToken}` }))).toBe(
        200,
      )
      for (const provider of ['signs-out', 'nobody', '__proto__'])
        expect((await send('GET', 'Users', undefined, {}, provider)).status).toBe(404)
    })

    test('never takes a body that is too large, of another type, or no object', async () => {
      const large = user('large@corp.test', { displayName: 'x'.repeat(80_000) })
      expect(await statusOf(send('POST', 'Users', large))).toBe(413)
      for (const type of [
        'text/plain',
        'multipart/form-data; boundary=x',
        'application/x-www-form-urlencoded',
        '',
      ])
        expect([
          type,
          await statusOf(send('POST', 'Users', user('typed@corp.test'), { 'content-type': type })),
        ]).toEqual([type, 415])
      for (const body of [
        '',
        'null',
        '[]',
        '7',
        '"x"',
        '{',
        nested(30_000),
        `{"userName":${nested(20_000)}}`,
        '{"userName":{}}',
        '{"__proto__":{"userName":"polluted@corp.test"}}',
        user('a\u0000b'),
        user('x'.repeat(256)),
        user('many@corp.test', { emails: Array.from({ length: 21 }, () => ({ value: 'a@corp.test' })) }),
        user('active@corp.test', { active: 'perhaps' }),
      ])
        expect([body.slice(0, 60), await statusOf(send('POST', 'Users', body))]).toEqual([
          body.slice(0, 60),
          400,
        ])
      const utf16 = new Uint8Array([0xff, 0xfe, 0x7b, 0x00])
      for (const bytes of [utf16, new Uint8Array([0x7b, 0xc3, 0x28])])
        expect(await statusOf(send('POST', 'Users', bytes))).toBe(400)
      expect(({} as Record<string, unknown>)['userName']).toBeUndefined()
    })

    test('never applies a change that it does not understand, and part of it neither', async () => {
      const id = await create('Users', user('patched@corp.test', { externalId: 'before' }))
      for (const body of [
        patch(),
        patch(...Array.from({ length: 101 }, () => ({ op: 'replace', path: 'externalId', value: 'x' }))),
        patch({ op: 'move', path: 'externalId', value: 'x' }),
        patch({ op: 'replace', path: 'externalId', value: 'after' }, { op: 'remove', path: 'active' }),
        patch(
          { op: 'replace', path: 'externalId', value: 'after' },
          { op: 'replace', path: 'userName', value: '' },
        ),
        patch({ op: 'replace', path: `emails[${' '.repeat(20_000)}`, value: 'x' }),
        patch({ op: 'replace', path: `emails[type eq "${'\\'.repeat(20_000)}"]`, value: 'x' }),
        patch({ op: 'replace', path: 'externalId.value', value: 'x' }),
        patch({ op: 'add', path: '__proto__', value: { active: false } }),
        JSON.stringify({ Operations: [{ op: 'replace', path: 'externalId', value: 'x' }] }),
      ])
        expect([body.slice(60, 160), await statusOf(send('PATCH', `Users/${id}`, body))]).toEqual([
          body.slice(60, 160),
          400,
        ])
      const odd = patch(
        { op: 'add', path: 'constructor', value: { active: false } },
        { op: 'add', value: { ['urn:other:2.0:User']: { active: false } } },
      )
      expect(await statusOf(send('PATCH', `Users/${id}`, odd))).toBe(200)
      expect(await (await send('GET', `Users/${id}`)).json()).toMatchObject({
        externalId: 'before',
        active: true,
      })
      expect(await statusOf(send('DELETE', `Users/${id}`))).toBe(204)
    })

    test('never shows or changes what another provider keeps [H-P6]', async () => {
      const id = await create('Users', user('of-one@corp.test'))
      const group = await create(
        'Groups',
        JSON.stringify({ displayName: 'of-one', members: [{ value: id }] }),
      )
      for (const path of [`Users/${id}`, `Groups/${group}`]) {
        expect(await statusOf(send('GET', path, undefined, {}, 'is-grouped'))).toBe(404)
        expect(await statusOf(send('DELETE', path, undefined, {}, 'is-grouped'))).toBe(404)
        expect(await statusOf(send('PUT', path, user('x', { displayName: 'x' }), {}, 'is-grouped'))).toBe(404)
      }
      const foreign = JSON.stringify({ displayName: 'with-a-foreign-member', members: [{ value: id }] })
      expect(await statusOf(send('POST', 'Groups', foreign, {}, 'is-grouped'))).toBe(400)
      for (const odd of ['..', '.', '%2e%2e', `${id}%00`, `${id}:`, '__proto__', 'x'.repeat(4000), '%ff'])
        expect([odd.slice(0, 9), [400, 404].includes((await send('GET', `Users/${odd}`)).status)]).toEqual([
          odd.slice(0, 9),
          true,
        ])
      expect((await send('GET', `Groups/${group}`)).status).toBe(200)
      for (const path of [`Groups/${group}`, `Users/${id}`])
        expect(await statusOf(send('DELETE', path))).toBe(204)
    })

    test('takes as many members as a provider sends at once', async () => {
      const id = await create('Users', user('one-of-many@corp.test'))
      const Operations = [
        {
          op: 'add',
          path: 'members',
          value: Array.from({ length: 1000 }, () => ({ value: id, display: 'x'.repeat(200) })),
        },
      ]
      const group = await create('Groups', JSON.stringify({ displayName: 'many' }))
      const body = JSON.stringify({ schemas: [urns.patch], Operations })
      expect(body.length).toBeGreaterThan(200_000)
      expect(await (await send('PATCH', `Groups/${group}`, body)).json()).toMatchObject({
        members: [{ value: id }],
      })
      for (const path of [`Groups/${group}`, `Users/${id}`])
        expect(await statusOf(send('DELETE', path))).toBe(204)
    })

    test('never finds by a filter that is more than an equality', async () => {
      for (const filter of [
        'userName sw "a"',
        'userName eq "a" or active eq true',
        'not (userName eq "a")',
        `userName eq "${'"'.repeat(1000)}`,
        `${' '.repeat(1000)}userName${' '.repeat(1000)}eq`,
        'password eq "x"',
        '__proto__ eq "x"',
      ])
        for (const kind of ['Users', 'Groups'])
          expect([
            filter.slice(0, 30),
            await statusOf(send('GET', `${kind}?filter=${encodeURIComponent(filter)}`)),
          ]).toEqual([filter.slice(0, 30), 400])
      for (const query of ['startIndex=x', 'count=1e9', 'count=99999999999', 'startIndex='])
        expect([query, await statusOf(send('GET', `Users?${query}`))]).toEqual([query, 400])
      for (const method of ['POST', 'DELETE', 'PATCH', 'PUT'])
        expect((await send(method, 'ServiceProviderConfig')).status).toBe(405)
    })
  })
}
