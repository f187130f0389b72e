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
  /** A person at the provider `is-grouped`, of whom the service `ruled` wants the group `staff`. */
  readonly groups: {
    /** The provider tells these groups at the sign-in. */
    signIn(told: readonly string[]): Promise<void>
    /** `allowed`, `denied` by a rule, or the status. */
    calls(): Promise<unknown>
    /** Listens at the service; resolves with what waits for the end of the stream. */
    listens(): Promise<() => Promise<void>>
    refresh(): Promise<unknown>
    /** Whether the lists refuse the sign-in. */
    isKeptOut(): Promise<boolean>
  }
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
        const resources = list.Resources as readonly { id: string }[]
        expect(resources.map(({ id }) => id.split(':').at(-1))).toEqual(['User', 'Group'])
        for (const resource of resources)
          expect((await ask('GET', `${path}/${resource.id}`)).body).toEqual(resource)
        expect((await ask('GET', `${path}/other`)).status).toBe(404)
      }
      expect((await ask('GET', 'Bulk')).status).toBe(404)
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

    const asGrouped = async (
      method: string,
      path: string,
      body?: object,
    ): Promise<{ readonly status: number; readonly body: ScimAnswer['body']; readonly id: string }> => {
      const { status, body: said } = await ask(method, path, body, scimToken, 'is-grouped')
      return { status, body: said, id: String(said['id']) }
    }
    const newGroup = (displayName: string, ...members: readonly string[]) => ({
      schemas: [urns.group],
      displayName,
      members: members.map((value) => ({ value })),
    })

    test('gives access by groups that are pushed, and takes it away with them at once', async () => {
      const { groups } = person
      const user = await asGrouped('POST', 'Users', newUser('is-grouped@corp.test'))
      const other = await asGrouped('POST', 'Users', newUser('other@corp.test'))
      const made = await asGrouped('POST', 'Groups', newGroup('staff', user.id))
      await groups.signIn(['dev'])
      expect([made.status, await groups.calls()]).toEqual([201, 'allowed'])
      const ended = await groups.listens()
      await asGrouped('PUT', `Groups/${made.id}`, newGroup('staff', other.id))
      expect(await groups.calls()).toBe('denied')
      // What was open with the group is closed without it.
      await ended()
      expect(() => new SCIMMY.Schemas.Group(made.body, 'out')).not.toThrow()
      const member = [{ value: user.id, display: 'is-grouped@corp.test' }]
      const changes: readonly (readonly [object, unknown])[] = [
        // As Okta and Microsoft Entra send them.
        [{ op: 'add', path: 'members', value: member }, 'allowed'],
        [{ op: 'remove', path: `members[value eq "${user.id}"]` }, 'denied'],
        [{ op: 'Add', path: 'members', value: member }, 'allowed'],
        [{ op: 'Remove', path: 'members', value: [{ value: user.id }] }, 'denied'],
        [{ op: 'Add', value: { members: member } }, 'allowed'],
        [{ op: 'replace', path: 'displayName', value: 'former staff' }, 'denied'],
        [{ op: 'Replace', value: { id: made.id, displayName: 'staff' } }, 'allowed'],
        [{ op: 'remove', path: 'members' }, 'denied'],
        [{ op: 'replace', path: 'members', value: [...member, { value: other.id }] }, 'allowed'],
      ]
      for (const [operation, called] of changes) {
        expect((await asGrouped('PATCH', `Groups/${made.id}`, patch(operation))).status).toBe(200)
        expect([operation, await groups.calls()]).toEqual([operation, called])
      }
      // What was issued meanwhile does not outlast the group.
      expect([await groups.refresh(), await groups.calls()]).toEqual([200, 'allowed'])
      expect((await asGrouped('PUT', `Groups/${made.id}`, newGroup('staff', other.id))).status).toBe(200)
      expect([await groups.calls(), await groups.refresh(), await groups.calls()]).toEqual([
        'denied',
        200,
        'denied',
      ])
      await asGrouped('PUT', `Groups/${made.id}`, newGroup('staff', user.id))
      // The lists of who may sign in count it too.
      await groups.signIn([])
      expect(await groups.calls()).toBe('allowed')
      expect((await asGrouped('DELETE', `Groups/${made.id}`)).status).toBe(204)
      expect([await groups.calls(), await groups.isKeptOut()]).toEqual([401, true])
      expect(house().log.findLast(({ event }) => event === 'scim.request')?.fields).toMatchObject({
        provider: 'is-grouped',
        action: 'group_deleted',
        group: 'staff',
      })
    })

    test('never gives the groups of a user to somebody who only is called like them', async () => {
      const { groups } = person
      const [same] = (await asGrouped('GET', named('is-grouped@corp.test'))).body['Resources'] as readonly {
        id: string
      }[]
      const made = await asGrouped('POST', 'Groups', newGroup('staff', same?.id ?? ''))
      await groups.signIn(['dev'])
      expect(await groups.calls()).toBe('allowed')
      const rename = (user: object) => asGrouped('PUT', `Users/${same?.id}`, user)
      await rename(newUser('somebody@corp.test', { displayName: 'is-grouped', externalId: 'IS-GROUPED' }))
      expect(await groups.calls()).toBe('denied')
      await rename(newUser('somebody@corp.test', { externalId: 'is-grouped' }))
      expect(await groups.calls()).toBe('allowed')
      // Two users have the address: which of them it is, nobody knows.
      const address = { emails: [{ value: 'is-grouped@corp.test' }] }
      await rename(newUser('somebody@corp.test', address))
      expect(await groups.calls()).toBe('allowed')
      const twin = await asGrouped('POST', 'Users', newUser('twin@corp.test', address))
      expect(await groups.calls()).toBe('denied')
      await asGrouped('PUT', `Users/${twin.id}`, newUser('twin@corp.test'))
      expect(await groups.calls()).toBe('allowed')
      // With the user goes the membership: who comes after them starts without groups.
      await asGrouped('DELETE', `Users/${same?.id}`)
      expect(await groups.calls()).toBe(401)
      await asGrouped('POST', 'Users', newUser('is-grouped@corp.test'))
      expect((await asGrouped('GET', `Groups/${made.id}`)).body['members']).toEqual([])
      expect((await asGrouped('DELETE', `Groups/${made.id}`)).status).toBe(204)
    })

    test('finds, lists and names groups', async () => {
      const user = await asGrouped('POST', 'Users', newUser('member@corp.test'))
      const made = await asGrouped('POST', 'Groups', { ...newGroup('Sales', user.id), externalId: 'g-1' })
      for (const filter of ['displayName eq "sales"', 'externalId eq "g-1"', `id eq "${made.id}"`]) {
        const found = await asGrouped('GET', `Groups?filter=${encodeURIComponent(filter)}`)
        expect([found.body['totalResults'], (found.body['Resources'] as unknown[])[0]]).toEqual([
          1,
          made.body,
        ])
      }
      const { meta, members, ...short } = made.body
      expect(members).toEqual([
        { value: user.id, type: 'User', $ref: expect.stringContaining(user.id) as string },
      ])
      expect((await asGrouped('GET', `Groups/${made.id}?excludedAttributes=members`)).body).toEqual({
        ...short,
        meta,
      })
      const unknown = await asGrouped(
        'PATCH',
        `Groups/${made.id}`,
        patch({ op: 'add', path: 'members', value: [{ value: 'nobody' }] }),
      )
      expect(unknown.body).toMatchObject({ status: '400', scimType: 'invalidValue' })
      expect((await asGrouped('POST', 'Groups', newGroup('sales'))).body).toMatchObject({
        status: '409',
        scimType: 'uniqueness',
      })
      const second = await asGrouped('POST', 'Groups', newGroup('Marketing'))
      expect((await asGrouped('PUT', `Groups/${second.id}`, newGroup('SALES'))).status).toBe(409)
      expect((await asGrouped('GET', 'Groups?startIndex=2&count=1')).body).toMatchObject({
        totalResults: 2,
        itemsPerPage: 1,
      })
      for (const { id } of [made, second])
        expect((await asGrouped('DELETE', `Groups/${id}`)).status).toBe(204)
      expect((await asGrouped('GET', `Groups/${made.id}`)).status).toBe(404)
      expect((await asGrouped('DELETE', `Groups/${made.id}`)).status).toBe(404)
    })

    test.each<[string, string, string, object | string | undefined, number]>([
      ['a group without a name', 'POST', 'Groups', { members: [] }, 400],
      ['a member that is none', 'POST', 'Groups', { displayName: 'x', members: [{ value: '../x' }] }, 400],
      ['a filter of groups that is none', 'GET', 'Groups?filter=members', undefined, 400],
      [
        'a filter with a broken text',
        'GET',
        `Groups?filter=${encodeURIComponent('displayName eq "\\x"')}`,
        undefined,
        400,
      ],
      [
        'a user filter with a broken text',
        'GET',
        `Users?filter=${encodeURIComponent('userName eq "\\x"')}`,
        undefined,
        400,
      ],
      ['a group that is too large', 'POST', 'Groups', 'x'.repeat(1_100_000), 413],
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
