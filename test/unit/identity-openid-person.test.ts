// Who an OpenID provider vouches for, and whom the operator's lists admit.
import { describe, expect, test } from 'vitest'
import { barOf, personFrom } from '../../src/identity/providers/openid-person.ts'

const vouched = (claims: Record<string, unknown>) => personFrom({ sub: '7', email: 'ana@corp.test', email_verified: true, ...claims }, 'sso', 'groups')
const rules = { allowed_domains: ['corp.test'] }

describe('a person', () => {
  test('is keyed by provider and subject, and told apart from a namesake with the same address [hostile F9]', () => {
    expect(vouched({ sub: '7' })).toMatchObject({ provider: 'sso', subject: '7', email: 'ana@corp.test' })
    expect(vouched({ sub: '8' })).toMatchObject({ provider: 'sso', subject: '8', email: 'ana@corp.test' })
  })

  test('has name, login, groups and picture where the provider tells them', () => {
    expect(vouched({ name: 'Ana', preferred_username: 'ana', groups: ['a', 'b', 'a', 5], picture: 'https://img.test/a.png' })).toEqual({
      provider: 'sso',
      subject: '7',
      email: 'ana@corp.test',
      name: 'Ana',
      login: 'ana',
      groups: ['a', 'b'],
      avatar: 'https://img.test/a.png',
    })
  })

  test.each([false, undefined, null, 0, 1, 'yes', 'false', 'TRUE', {}])('has no address while the provider does not say that it is verified: %j [hostile F6]', (email_verified) => {
    expect(vouched({ email_verified }).email).toBeUndefined()
  })

  test.each(['http://img.test/a.png', 'javascript:alert(1)', 'data:image/png;base64,', '//img.test/a', 7])('has no picture at %j', (picture) => {
    expect(vouched({ picture }).avatar).toBeUndefined()
  })

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
  test.each(['ana@corp.test', 'ANA@CORP.TEST', 'ana@Corp.Test', 'ana+mcp@corp.test'])('admits %s', (email) => {
    expect(barOf(vouched({ email }), rules)).toBeUndefined()
  })

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
  ])('keeps out %j [hostile F6]', (email) => {
    expect(barOf(vouched({ email }), rules)).toBeDefined()
  })

  test('is not met by the letter that only lower-cases to one of its own [hostile F6]', () => {
    expect(barOf(vouched({ email: 'a@kiosk.test' }), { allowed_domains: ['kiosk.test'] })).toBeUndefined()
    expect(barOf(vouched({ email: 'a@\u212Aiosk.test' }), { allowed_domains: ['kiosk.test'] })).toBeDefined()
  })

  test('keeps out an address that is not verified [hostile F6]', () => {
    expect(barOf(vouched({ email_verified: false }), rules)).toBeDefined()
  })
})

describe('an allow-list', () => {
  test('of addresses admits exactly these, in any case', () => {
    const listed = { allowed_emails: ['Ana@corp.test'] }
    expect(barOf(vouched({ email: 'ana@CORP.test' }), listed)).toBeUndefined()
    expect(barOf(vouched({ email: 'ana+x@corp.test' }), listed)).toBeDefined()
    expect(barOf(vouched({ email_verified: false }), listed)).toBeDefined()
  })

  test('that says * admits everybody, one that is empty nobody', () => {
    expect(barOf(vouched({ email_verified: false }), { allowed_emails: ['*'] })).toBeUndefined()
    expect(barOf(vouched({}), { allowed_emails: [] })).toBeDefined()
    expect(barOf(vouched({}), { allowed_domains: [] })).toBeDefined()
    expect(barOf(vouched({ groups: ['a'] }), { allowed_groups: [] })).toBeDefined()
  })

  test('of groups asks for one of them, spelt the same', () => {
    expect(barOf(vouched({ groups: ['staff', 'admins'] }), { allowed_groups: ['admins'] })).toBeUndefined()
    expect(barOf(vouched({ groups: ['Admins'] }), { allowed_groups: ['admins'] })).toBeDefined()
  })

  test('`*` in a list admits whoever the provider lets in, and leaves the other lists as they are', () => {
    for (const key of ['allowed_emails', 'allowed_domains', 'allowed_groups'] as const) expect(barOf({ provider: 'p', subject: 's', groups: [] }, { [key]: ['*'] })).toBeUndefined()
    expect(barOf({ provider: 'p', subject: 's', groups: ['x'] }, { allowed_domains: ['*'], allowed_groups: ['admins'] })).toMatchObject({ why: 'in none of allowed_groups' })
  })

  test('narrows another: every list that is written must admit the person', () => {
    const both = { allowed_emails: ['ana@corp.test', 'bo@else.test'], allowed_domains: ['corp.test'] }
    expect(barOf(vouched({}), both)).toBeUndefined()
    expect(barOf(vouched({ email: 'bo@else.test' }), both)).toBeDefined()
    expect(barOf(vouched({ email: 'cy@corp.test' }), both)).toBeDefined()
  })
})
