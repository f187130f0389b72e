// What SCIM requests change of a user: where the standard allows a request, another implementation of it (scimmy) agrees.
import SCIMMY from 'scimmy'
import { describe, expect, it } from 'vitest'
import type { ScimUser } from '../../src/identity/scim-users.ts'
import {
  applyPatch,
  readFilter,
  readUser,
  serviceProviderConfig,
  urns,
  userResource,
  userResourceType,
  userSchema,
} from '../../src/identity/scim-values.ts'

const user: ScimUser = {
  userName: 'ana@corp.test',
  externalId: '00u1',
  active: true,
  displayName: 'Ana Example',
  name: { givenName: 'Ana', familyName: 'Example' },
  emails: [
    { value: 'ana@corp.test', type: 'work', primary: true },
    { value: 'ana@home.test', type: 'home' },
  ],
}
const patch = (...Operations: object[]) => ({ schemas: [urns.patch], Operations })
const thrown = (work: () => unknown): unknown => {
  try {
    return work()
  } catch (error) {
    const { name, status, scimType } = error as Error & { status: number; scimType?: string }
    return [name, status, scimType]
  }
}

describe('PATCH', () => {
  it.each([
    ['Okta deactivates', [{ op: 'replace', value: { active: false } }]],
    ['Okta activates and renames', [{ op: 'replace', value: { active: true, displayName: 'Ana B.' } }]],
    ['by path', [{ op: 'Replace', path: 'active', value: false }]],
    [
      'several',
      [
        { op: 'replace', path: 'active', value: false },
        { op: 'add', path: 'name.givenName', value: 'A' },
      ],
    ],
    ['removes', [{ op: 'remove', path: 'displayName' }]],
    ['removes all addresses', [{ op: 'remove', path: 'emails' }]],
    ['removes one address', [{ op: 'remove', path: 'emails[type eq "home"]' }]],
    ['changes one address', [{ op: 'replace', path: 'emails[type eq "work"].value', value: 'a@corp.test' }]],
    ['adds an address', [{ op: 'add', path: 'emails', value: [{ value: 'b@corp.test', type: 'other' }] }]],
    ['renames', [{ op: 'replace', path: 'userName', value: 'anna@corp.test' }]],
  ])('%s as scimmy does', async (_name, operations) => {
    const request = patch(...operations)
    const theirs = new SCIMMY.Schemas.User({ schemas: [urns.user], id: '1', ...structuredClone(user) })
    const judged = new SCIMMY.Messages.PatchOp(
      structuredClone(request) as ConstructorParameters<typeof SCIMMY.Messages.PatchOp>[0],
    )
    const applied = (await judged.apply(theirs)) ?? theirs
    expect(applyPatch(user, request)).toEqual(readUser(JSON.parse(JSON.stringify(applied))))
  })

  it.each<[string, object, Partial<ScimUser>]>([
    ['a boolean as text', { op: 'Replace', path: 'active', value: 'False' }, { active: false }],
    ['the same without a path', { op: 'replace', value: { active: 'false' } }, { active: false }],
    ['in upper case', { op: 'Replace', path: 'Active', value: 'FALSE' }, { active: false }],
    [
      'with the schema in the path',
      { op: 'replace', path: `${urns.user}:active`, value: false },
      { active: false },
    ],
    [
      'paths as names of values',
      { op: 'Add', value: { 'name.familyName': 'B', 'emails[type eq "work"].value': 'b@corp.test' } },
      {
        name: { givenName: 'Ana', familyName: 'B' },
        emails: [
          { value: 'b@corp.test', type: 'work', primary: true },
          { value: 'ana@home.test', type: 'home' },
        ],
      },
    ],
    [
      'an address of a type that was not there',
      { op: 'Replace', path: 'emails[type eq "other"].value', value: 'o@corp.test' },
      { emails: [...(user.emails ?? []), { value: 'o@corp.test', type: 'other' }] },
    ],
    [
      'attributes that are not kept',
      {
        op: 'Add',
        path: 'urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department',
        value: 'Sales',
      },
      {},
    ],
    ['an attribute that is not kept', { op: 'Replace', path: 'title', value: 'Boss' }, {}],
  ])('takes what Microsoft Entra sends: %s', (_name, operation, changed) =>
    expect(applyPatch(user, patch(operation))).toEqual({ ...user, ...changed }),
  )

  it.each<[string, object, string]>([
    ['active that is no boolean', { op: 'replace', path: 'active', value: 'no' }, 'invalidValue'],
    ['active that is null', { op: 'replace', path: 'active', value: null }, 'invalidValue'],
    ['active that is removed', { op: 'remove', path: 'active' }, 'invalidValue'],
    ['active of something', { op: 'replace', path: 'active.value', value: false }, 'invalidPath'],
    ['no userName', { op: 'remove', path: 'userName' }, 'invalidValue'],
    ['an unknown operation', { op: 'delete', path: 'active' }, 'invalidSyntax'],
    ['no value', { op: 'replace', value: false }, 'invalidValue'],
    ['nothing to remove', { op: 'remove' }, 'noTarget'],
    ['a path that is none', { op: 'replace', path: 'emails[type eq', value: 'x' }, 'invalidPath'],
    ['a filter that is none', { op: 'remove', path: 'emails[type ne "x"]' }, 'invalidPath'],
    ['the path of a prototype', { op: 'replace', path: '__proto__.active', value: false }, 'invalidPath'],
    ['control characters', { op: 'replace', path: 'userName', value: 'a\nb' }, 'invalidValue'],
  ])('refuses %s', (_name, operation, scimType) =>
    expect(thrown(() => applyPatch(user, patch(operation)))).toEqual(['ScimError', 400, scimType]),
  )

  it.each([
    [{}],
    [{ schemas: [urns.user], Operations: [] }],
    [patch()],
    [{ schemas: [urns.patch], Operations: 'x' }],
    [null],
  ])('refuses the body %j', (body) =>
    expect(thrown(() => applyPatch(user, body))).toEqual(['ScimError', 400, 'invalidSyntax']),
  )
})

describe('a user', () => {
  it('is read whatever the case of its attributes, and without what is not kept', () =>
    expect(
      readUser({ USERNAME: 'a', Active: 'True', Emails: { Value: 'a@b.test' }, nickName: 'x', name: null }),
    ).toEqual({ userName: 'a', active: true, emails: [{ value: 'a@b.test' }] }))

  it.each([
    [{}],
    [{ userName: '' }],
    [{ userName: 7 }],
    [{ userName: 'a'.repeat(256) }],
    [{ userName: 'a', active: 0 }],
  ])('never is %j', (body) =>
    expect(thrown(() => readUser(body))).toEqual(['ScimError', 400, 'invalidValue']),
  )

  it.each([
    ['userName eq "ANA@corp.test"', true],
    ['USERNAME EQ "ana@corp.test"', true],
    ['externalId eq "00u1"', true],
    ['id eq "id1"', true],
    ['emails.value eq "ana@home.test"', true],
    ['emails[type eq "work"].value eq "ana@corp.test"', true],
    ['userName eq "ana@corp.test2"', false],
    [`${urns.user}:userName eq "ana@corp.test"`, true],
  ])('is found by %s: %s', (filter, found) => expect(readFilter(filter).matches(user, 'id1')).toBe(found))

  it.each([
    '',
    'userName',
    'userName co "a"',
    'userName eq a',
    'password eq "x"',
    'userName eq "a" or active eq "true"',
  ])('is not looked for by %j', (filter) =>
    expect(thrown(() => readFilter(filter))).toEqual(['ScimError', 400, 'invalidFilter']),
  )
})

it('resources are what scimmy takes for such', () => {
  const base = 'https://mcp.example.com/admin/scim/company/v2'
  const resource = userResource({ id: '1', value: { user, created: 1, changed: 2 } }, base)
  const judge = (schema: new (resource: object, direction?: string) => object, sent: object): unknown =>
    JSON.parse(JSON.stringify(new schema(structuredClone(sent), 'out')))
  expect(judge(SCIMMY.Schemas.User, resource)).toMatchObject({ ...user, id: '1' })
  expect(judge(SCIMMY.Schemas.ServiceProviderConfig, serviceProviderConfig(base))).toMatchObject({
    patch: { supported: true },
    bulk: { supported: false },
  })
  expect(judge(SCIMMY.Schemas.ResourceType, userResourceType(base))).toMatchObject({ schema: urns.user })
  // Every attribute that is advertised is one of the standard's, of the same kind.
  const standard = SCIMMY.Schemas.User.definition.describe().attributes as readonly {
    name: string
    type: string
  }[]
  for (const { name, type } of userSchema(base).attributes)
    expect(standard.find((known) => known.name === name)?.type).toBe(type)
})
