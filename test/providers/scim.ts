// A provider that provisions users, as tests of a gateway that somebody else has opened: requests as Okta and Microsoft
// Entra send them, with answers that scimmy judges.
import SCIMMY from 'scimmy'
import { describe, expect, test } from 'vitest'
import { urns } from '../../src/identity/scim-values.ts'
import type { TestGateway } from '../runtimes/runtimes.ts'

export const scimToken = 'a-token-of-the-provider-for-tests-only'

/** A person at the provider `is-provisioned`, who uses the service `ruled`. */
interface Provisioned {
  /** Signs in, allows an app and calls. */
  signIn(): Promise<void>
  /** Whether the sign-in is refused. */
  isKeptOut(): Promise<boolean>
  /** Status of a call, of a refresh, and whether the browser is signed in. */
  standing(): Promise<readonly [unknown, unknown, boolean]>
  advance(ms: number): void
  /** Tokens that were revoked at the provider. */
  revoked(): Promise<readonly string[]>
}

interface ScimAnswer {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
  readonly headers: Headers
}

export const scimTests = (house: () => TestGateway, person: Provisioned): void => {
  const ask = async (
    method: string,
    path: string,
    body?: object | string,
    token = scimToken,
    provider = 'is-provisioned',
  ): Promise<ScimAnswer> => {
    const response = await house().fetch(`${house().origin}/admin/scim/${provider}/v2/${path}`, {
      method,
      headers: {
        ...(token === '' ? {} : { authorization: `Bearer ${token}` }),
        'content-type': 'application/scim+json',
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const text = await response.text()
    const said = (text === '' ? {} : JSON.parse(text)) as ScimAnswer['body']
    return { status: response.status, body: said, headers: response.headers }
  }
  const named = (userName: string) => `Users?filter=${encodeURIComponent(`userName eq "${userName}"`)}`
  const newUser = (userName: string, more: object = {}) => ({ schemas: [urns.user], userName, ...more })
  const patch = (operation: object) => ({ schemas: [urns.patch], Operations: [operation] })
  const create = async (userName: string, more: object = {}): Promise<string> => {
    const { status, body } = await ask('POST', 'Users', newUser(userName, more))
    expect([status, body['userName']]).toEqual([201, userName])
    return String(body['id'])
  }
  const gone = [401, '400 refresh.unknown', false]
  const within = ['allowed', 200, true]

  describe('SCIM', () => {
    test('says what it is, in the words of the standard', async () => {
      const config = await ask('GET', 'ServiceProviderConfig')
      expect([config.status, config.headers.get('content-type')]).toEqual([200, 'application/scim+json'])
      expect(() => new SCIMMY.Schemas.ServiceProviderConfig(config.body, 'out')).not.toThrow()
      for (const path of ['Schemas', 'ResourceTypes']) {
        const { body } = await ask('GET', path)
        const list = new SCIMMY.Messages.ListResponse(body as never)
        expect(list.totalResults).toBe(1)
        expect((await ask('GET', `${path}/${(list.Resources as { id: string }[])[0]?.id}`)).body).toEqual(
          list.Resources[0],
        )
        expect((await ask('GET', `${path}/other`)).status).toBe(404)
      }
      expect((await ask('GET', 'Groups')).status).toBe(404)
    })

    test('creates, finds, lists, replaces and deletes users', async () => {
      expect((await ask('GET', named('li@corp.test'))).body).toMatchObject({ totalResults: 0, Resources: [] })
      const created = await ask(
        'POST',
        'Users',
        newUser('li@corp.test', { externalId: 'x1', active: 'True' }),
      )
      expect(() => new SCIMMY.Schemas.User(created.body, 'out')).not.toThrow()
      const id = String(created.body['id'])
      expect(created.headers.get('location')).toBe(
        `${house().origin}/admin/scim/is-provisioned/v2/Users/${id}`,
      )
      for (const path of [named('LI@corp.test'), `Users?filter=${encodeURIComponent('externalId eq "x1"')}`])
        expect((await ask('GET', path)).body).toMatchObject({ totalResults: 1, Resources: [{ id }] })
      expect((await ask('POST', 'Users', newUser('Li@corp.test'))).body).toMatchObject({
        schemas: [urns.error],
        status: '409',
        scimType: 'uniqueness',
      })
      const other = await create('mo@corp.test')
      expect((await ask('PUT', `Users/${other}`, newUser('li@corp.test'))).status).toBe(409)
      expect((await ask('PUT', `Users/${other}`, newUser('moe@corp.test'))).body).toMatchObject({
        userName: 'moe@corp.test',
      })
      expect((await ask('GET', named('mo@corp.test'))).body['totalResults']).toBe(0)
      const page = await ask('GET', 'Users?startIndex=2&count=1')
      expect(page.body).toMatchObject({ startIndex: 2, itemsPerPage: 1 })
      expect(Number(page.body['totalResults'])).toBeGreaterThan(1)
      for (const user of [id, other]) expect((await ask('DELETE', `Users/${user}`)).status).toBe(204)
      expect((await ask('GET', `Users/${id}`)).body).toMatchObject({ status: '404' })
      expect((await ask('DELETE', `Users/${id}`)).status).toBe(404)
      await ask('DELETE', `Users/${await create('li@corp.test')}`)
    })

    test.each<[string, object]>([
      ['Okta', { op: 'replace', value: { active: false } }],
      ['Entra', { op: 'Replace', path: 'active', value: 'False' }],
    ])(
      'never lets anybody stay whom %s deactivates, until it activates them [H-D22]',
      async (_name, operation) => {
        await person.signIn()
        expect(await person.standing()).toEqual(within)
        const found = await ask('GET', named('is-provisioned@corp.test'))
        const [known] = found.body['Resources'] as readonly { id: string }[]
        const id = known?.id ?? (await create('is-provisioned@corp.test', { active: true }))
        expect(await person.standing()).toEqual(within)
        const revoked = (await person.revoked()).length
        const changed = await ask('PATCH', `Users/${id}`, patch(operation))
        expect([changed.status, changed.body['active']]).toEqual([200, false])
        person.advance(500)
        expect(await person.standing()).toEqual(gone)
        expect(await person.isKeptOut()).toBe(true)
        expect((await person.revoked()).length).toBeGreaterThan(revoked)
        expect(house().log.findLast(({ event }) => event === 'scim.request')?.fields).toMatchObject({
          provider: 'is-provisioned',
          action: 'deactivated',
          user_name: 'is-provisioned@corp.test',
          grants: expect.any(Number) as unknown,
        })
        await ask('PATCH', `Users/${id}`, patch({ op: 'replace', path: 'active', value: true }))
        await person.signIn()
        expect(await person.standing()).toEqual(within)
      },
    )

    test('never lets in who was deleted, until a user of that name is created [H-D22]', async () => {
      const { body } = await ask('GET', named('is-provisioned@corp.test'))
      const [known] = body['Resources'] as readonly { id: string }[]
      await person.signIn()
      // Under another userName it is the subject that says who it is.
      await ask('PUT', `Users/${known?.id}`, newUser('old-name', { externalId: 'is-provisioned' }))
      expect((await ask('DELETE', `Users/${known?.id}`)).status).toBe(204)
      person.advance(500)
      expect(await person.standing()).toEqual(gone)
      expect(await person.isKeptOut()).toBe(true)
      await create('new-name', { externalId: 'IS-PROVISIONED', active: false })
      expect(await person.isKeptOut()).toBe(true)
      const [again] = (await ask('GET', named('new-name'))).body['Resources'] as readonly { id: string }[]
      await ask('PUT', `Users/${again?.id}`, newUser('new-name', { externalId: 'is-provisioned' }))
      await person.signIn()
      expect(await person.standing()).toEqual(within)
    })

    test.each<[string, string, string, object | string | undefined, number]>([
      ['a body that is no JSON', 'POST', 'Users', '{', 400],
      ['no userName', 'POST', 'Users', {}, 400],
      ['a filter that is none', 'GET', 'Users?filter=userName', undefined, 400],
      ['a page that is none', 'GET', 'Users?count=x', undefined, 400],
      [
        'a user that is not there',
        'PATCH',
        'Users/nobody',
        patch({ op: 'replace', value: { active: false } }),
        404,
      ],
      ['a body that is too large', 'POST', 'Users', 'x'.repeat(70_000), 413],
    ])('refuses %s', async (_name, method, path, body, status) =>
      expect((await ask(method, path, body)).status).toBe(status),
    )

    test('never answers without the token, and only so many guesses a minute', async () => {
      for (const token of ['', 'x', `${scimToken}x`, `${scimToken}, ${scimToken}`]) {
        const { status, body, headers } = await ask('GET', 'Users', undefined, token)
        expect([status, body['schemas'], headers.get('www-authenticate')]).toEqual([
          401,
          [urns.error],
          'Bearer realm="scim"',
        ])
      }
      expect((await ask('GET', 'Users', undefined, scimToken, 'is-not-asked')).status).toBe(404)
      let last = 401
      for (let i = 0; i < 10; i++) last = (await ask('GET', 'Users', undefined, 'guess')).status
      expect(last).toBe(429)
      expect((await ask('GET', 'Users')).status).toBe(200)
    })
  })
}
