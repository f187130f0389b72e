// Who an OpenID provider vouches for, and whom the operator's lists admit.
import { describe, expect, test } from 'vitest'
import { typeOf } from '../../src/config/providers.ts'
import { claimAt } from '../../src/identity/providers/provider.ts'
import { personFrom, unverifiedWords } from '../../src/identity/providers/openid-person.ts'
import { denialOf } from '../../src/identity/providers/provider.ts'

const settings = { type: 'openid' as const, issuer: 'https://idp.test', groups_claim: 'groups' }
const said = (claims: Record<string, unknown>, more: object = {}) =>
  personFrom({ claims: { sub: '7', email: 'ana@corp.test', email_verified: true, ...claims } }, 'sso', {
    ...settings,
    ...more,
    type: typeOf('sso', { issuer: settings.issuer, ...more }),
  })
const vouched = (claims: Record<string, unknown>) => said(claims).person
const rules = { allowed_domains: ['corp.test'] }

describe('a person', () => {
  test('is keyed by provider and subject, and told apart from a namesake with the same address [H-F9]', () => {
    expect(vouched({ sub: '7' })).toMatchObject({ provider: 'sso', subject: '7', email: 'ana@corp.test' })
    expect(vouched({ sub: '8' })).toMatchObject({ provider: 'sso', subject: '8', email: 'ana@corp.test' })
  })

  test('has name, login, groups and picture where the provider tells them', () => {
    expect(
      vouched({
        name: 'Ana',
        preferred_username: 'ana',
        groups: ['a', 'b', 'a', 5],
        picture: 'https://img.test/a.png',
      }),
    ).toEqual({
      provider: 'sso',
      subject: '7',
      email: 'ana@corp.test',
      name: 'Ana',
      login: 'ana',
      groups: ['a', 'b'],
      avatar: 'https://img.test/a.png',
    })
  })

  test.each([false, undefined, null, 0, 1, 'yes', 'false', 'TRUE', {}])(
    'has no address while the provider does not say that it is verified: %j [H-F6]',
    (email_verified) => {
      expect(vouched({ email_verified }).email).toBeUndefined()
    },
  )

  test.each(['http://img.test/a.png', 'javascript:alert(1)', 'data:image/png;base64,', '//img.test/a', 7])(
    'has no picture at %j',
    (picture) => {
      expect(vouched({ picture }).avatar).toBeUndefined()
    },
  )

  test.each(['Ana\r\nX-Admin: 1', '', 7, 'x'.repeat(257), '\u0000'])('has no name %j', (name) => {
    expect(vouched({ name }).name).toBeUndefined()
  })

  test('may be in one group, in a list of groups, or in none', () => {
    expect(vouched({ groups: 'admins' }).groups).toEqual(['admins'])
    expect(vouched({ groups: { admins: true } }).groups).toEqual([])
    expect(vouched({}).groups).toEqual([])
  })
})

describe('an allowed domain', () => {
  test.each(['ana@corp.test', 'ANA@CORP.TEST', 'ana@Corp.Test', 'ana+mcp@corp.test'])(
    'admits %s',
    (email) => {
      expect(denialOf(vouched({ email }), rules)).toBeUndefined()
    },
  )

  test.each([
    'a@evil.test@corp.test',
    'a@corp.test.evil.test',
    'a@sub.corp.test',
    'a@evilcorp.test',
    'a@corp.test.',
    'a@corp\u200b.test',
    'a@c\u043erp.test',
    '"a@corp.test"@evil.test',
    '"a b"@corp.test',
    'a@corp.test\u0000',
    'a@corp.test, b@evil.test',
    'a@[corp.test]',
    '@corp.test',
    'corp.test',
    'a@corp.test>',
  ])('keeps out %j [H-F6]', (email) => {
    // What is no address at all is taken for none.
    const { email: read } = vouched({ email })
    expect([read, denialOf(vouched({ email }), rules)?.why]).toEqual([
      read === undefined ? undefined : email,
      read === undefined
        ? 'allowed_domains: the provider sent no email address'
        : `allowed_domains: ${email} is not in it`,
    ])
  })

  test('is not met by the letter that only lower-cases to one of its own [H-F6]', () => {
    expect(denialOf(vouched({ email: 'a@kiosk.test' }), { allowed_domains: ['kiosk.test'] })).toBeUndefined()
    expect(denialOf(vouched({ email: 'a@\u212Aiosk.test' }), { allowed_domains: ['kiosk.test'] })?.why).toBe(
      'allowed_domains: a@\u212Aiosk.test is not in it',
    )
  })

  test('keeps out an address that is not verified [H-F6]', () => {
    expect(denialOf(vouched({ email_verified: false }), rules)?.why).toBe(
      'allowed_domains: the provider sent no email address',
    )
  })
})

describe('an allow-list', () => {
  test('of addresses admits exactly these, in any case', () => {
    const listed = { allowed_emails: ['Ana@corp.test'] }
    expect(denialOf(vouched({ email: 'ana@CORP.test' }), listed)).toBeUndefined()
    expect(denialOf(vouched({ email: 'ana+x@corp.test' }), listed)?.why).toBe(
      'allowed_emails: ana+x@corp.test is not in it',
    )
    expect(denialOf(vouched({ email_verified: false }), listed)?.why).toBe(
      'allowed_emails: the provider sent no email address',
    )
  })

  test('that says * admits everybody, one that is empty nobody', () => {
    expect(denialOf(vouched({ email_verified: false }), { allowed_emails: ['*'] })).toBeUndefined()
    expect(denialOf(vouched({}), { allowed_emails: [] })?.why).toBe(
      'allowed_emails: ana@corp.test is not in it',
    )
    expect(denialOf(vouched({}), { allowed_domains: [] })?.why).toBe(
      'allowed_domains: ana@corp.test is not in it',
    )
    expect(denialOf(vouched({ groups: ['a'] }), { allowed_groups: [] })?.why).toBe(
      'allowed_groups: none of its groups (a) is in it',
    )
  })

  test('of groups asks for one of them, spelt the same', () => {
    expect(denialOf(vouched({ groups: ['staff', 'admins'] }), { allowed_groups: ['admins'] })).toBeUndefined()
    expect(denialOf(vouched({ groups: ['Admins'] }), { allowed_groups: ['admins'] })?.why).toBe(
      'allowed_groups: none of its groups (Admins) is in it',
    )
  })

  test('`*` in a list admits whoever the provider lets in, and leaves the other lists as they are', () => {
    for (const key of ['allowed_emails', 'allowed_domains', 'allowed_groups'] as const)
      expect(denialOf({ provider: 'p', subject: 's', groups: [] }, { [key]: ['*'] })).toBeUndefined()
    expect(
      denialOf(
        { provider: 'p', subject: 's', groups: ['x'] },
        { allowed_domains: ['*'], allowed_groups: ['admins'] },
      ),
    ).toMatchObject({ why: 'allowed_groups: none of its groups (x) is in it' })
  })

  test('narrows another: every list that is written must admit the person', () => {
    const both = { allowed_emails: ['ana@corp.test', 'bo@else.test'], allowed_domains: ['corp.test'] }
    expect(denialOf(vouched({}), both)).toBeUndefined()
    expect(denialOf(vouched({ email: 'bo@else.test' }), both)?.why).toBe(
      'allowed_domains: bo@else.test is not in it',
    )
    expect(denialOf(vouched({ email: 'cy@corp.test' }), both)?.why).toBe(
      'allowed_emails: cy@corp.test is not in it',
    )
  })
})

describe('an address that the provider does not call verified', () => {
  const silent = { email_verified: undefined }
  const entra = { issuer: 'https://login.microsoftonline.com/5c1a3b0e-8a7e-4a57-9f0e-0d8f0c1f2a3b/v2.0' }

  test.each([
    ['where the operator vouches for the provider', silent, { email_verified: 'trust' }],
    ['of one tenant of Microsoft Entra, which gives its addresses out', silent, entra],
    [
      'of such a tenant by its domain',
      silent,
      { issuer: 'https://login.microsoftonline.com/corp.test/v2.0/' },
    ],
    [
      'that its tenant owns by its own word',
      { ...silent, xms_edov: true },
      { ...entra, email_verified: 'claim' },
    ],
    ['but says so as text (Cognito)', { email_verified: 'true' }, {}],
  ])('counts %s', (_, claims, more) => expect(said(claims, more).person.email).toBe('ana@corp.test'))

  test.each([
    ['by default', silent, {}],
    ['where it says no, whoever vouches', { email_verified: false }, { email_verified: 'trust' }],
    ['where it says something else, whoever vouches', { email_verified: 'no' }, { email_verified: 'trust' }],
    ['of Entra for everybody', silent, { issuer: 'https://login.microsoftonline.com/common/v2.0' }],
    [
      'of Entra for all organizations',
      silent,
      { issuer: 'https://login.microsoftonline.com/organizations/v2.0' },
    ],
    [
      'of Entra for private people',
      silent,
      { issuer: 'https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0' },
    ],
    [
      'of a host that only looks like it',
      silent,
      { issuer: 'https://login.microsoftonline.com.evil.test/corp.test/v2.0' },
    ],
    ['of such a tenant where the operator wants the claim', silent, { ...entra, email_verified: 'claim' }],
    ['that some other provider calls owned', { ...silent, xms_edov: true }, {}],
  ])('does not count %s', (_, claims, more) =>
    expect(said(claims, more as object).person.email).toBeUndefined(),
  )

  test('is named to the operator, with the key that lets it through', () => {
    const { person, unverified } = said(silent)
    expect(denialOf(person, rules, unverified && unverifiedWords(unverified, 'sso'))?.why).toBe(
      'allowed_domains: the provider does not say that ana@corp.test is verified (email_verified is absent); if it gives out only addresses that it has checked, set oauth_providers.sso.email_verified: trust',
    )
    expect(denialOf(vouched({ email: 'ana@evil.test' }), rules)?.why).toBe(
      'allowed_domains: ana@evil.test is not in it',
    )
  })

  test('never borrows the word of userinfo for the address of the token, nor the other way round', () => {
    const told = {
      claims: { sub: '7', email: 'ana@corp.test' },
      userinfo: { sub: '7', email: 'other@evil.test', email_verified: true },
    }
    expect(personFrom(told, 'sso', settings).person.email).toBe('other@evil.test')
    expect(
      personFrom({ ...told, userinfo: { sub: '7', email_verified: true } }, 'sso', settings).person.email,
    ).toBeUndefined()
  })
})

describe('a claim', () => {
  const claims = {
    'groups': ['a'],
    'cognito:groups': ['b'],
    'https://corp.test/roles': ['c'],
    'realm_access': { roles: ['d'], 'a.b': ['e'] },
    'resource_access': { 'my.app': { roles: ['f'] } },
    'x.y': ['g'],
    'x': { y: ['h'] },
  }
  test.each([
    ['groups', ['a']],
    ['cognito:groups', ['b']],
    ['https://corp.test/roles', ['c']],
    ['realm_access.roles', ['d']],
    ['realm_access.a.b', ['e']],
    ['resource_access.my.app.roles', ['f']],
    ['x.y', ['g']],
    ['nothing', undefined],
    ['realm_access.nothing', undefined],
    ['groups.length', undefined],
    ['constructor.name', undefined],
    ['realm_access.__proto__', undefined],
  ])('is found by its name or its path: %s', (path, value) => expect(claimAt(claims, path)).toEqual(value))

  test('of groups may stand in userinfo below a member that the token has too', () => {
    const told = {
      claims: { sub: '7', realm_access: {} },
      userinfo: { sub: '7', realm_access: { roles: ['staff'] } },
    }
    expect(
      personFrom(told, 'sso', { ...settings, groups_claim: 'realm_access.roles' }).person.groups,
    ).toEqual(['staff'])
  })
})
