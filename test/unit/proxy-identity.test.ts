// Who the caller is, in the upstream's words: presets, encodings, bounds, and the signed assertion.
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Signer } from '../../src/ports/modules.ts'
import type { Person, Principal } from '../../src/ports/people.ts'
import type { IdentityPreset, Service } from '../../src/ports/services.ts'
import { createIdentity, headerGroups, headerText } from '../../src/proxy/identity-headers.ts'

const ana: Person = {
  provider: 'google',
  subject: '123456',
  login: 'ana',
  email: 'ana@example.com',
  name: 'Ana Example',
  avatar: 'https://example.com/ana.jpg',
  groups: ['staff', 'admins'],
}
const principal = (person: Person = ana, more: Partial<Principal> = {}): Principal => ({
  person,
  personKey: `${person.provider}:${person.subject}`,
  clientId: 'c',
  clientName: 'C',
  grantId: 'g',
  scopes: ['mcp', 'read'],
  resource: 'r',
  expiresAt: 0,
  ...more,
})

const identityOf = (
  preset: IdentityPreset,
  headers: Record<string, string> = {},
  assertion = false,
  qualified = false,
  permissions?: () => readonly string[],
) => {
  let time = 1_000_000
  const signed: unknown[] = []
  const signer: Signer = {
    algorithm: 'ES256',
    sign: (claims, options) => {
      signed.push({ claims, options })
      return Promise.resolve(`jwt-${signed.length}`)
    },
    verify: () => Promise.resolve(undefined),
    jwks: () => Promise.resolve({ keys: [] }),
    rotate: () => Promise.reject(new Error('unused')),
    published: () => Promise.resolve({ keys: [], nextAt: 0, acceptedMs: 0 }),
  }
  const service: Service = {
    id: 'demo',
    name: 'Demo',
    description: '',
    upstream: { kind: 'http', url: 'http://x' },
    authRequired: true,
    scopes: ['mcp'],
    timeoutMs: 1,
    maxBodyBytes: 1,
    identity: { preset, headers, assertion },
  }
  const identity = createIdentity({
    service,
    audience: 'https://gw.test/demo/mcp',
    signer,
    qualified,
    ...(permissions && { permissions }),
    now: () => time,
  })
  return {
    identity,
    signed,
    pass: (ms: number) => void (time += ms),
    of: async (who = principal()) => [...(await identity.headers(who))],
  }
}

describe('a preset', () => {
  it.each([
    [
      'all',
      [
        'X-User-Id',
        '123456',
        'X-User-Sub',
        '123456',
        'X-User-Email',
        'ana@example.com',
        'X-User-Name',
        'Ana Example',
        'X-User-Login',
        'ana',
        'X-User-Provider',
        'google',
        'X-User-Avatar',
        'https://example.com/ana.jpg',
        'X-User-Groups',
        'staff,admins',
      ],
    ],
    [
      'profile',
      [
        'x-user-id',
        '123456',
        'x-user-email',
        'ana@example.com',
        'x-user-name',
        'Ana Example',
        'x-user-provider',
        'google',
        'x-user-avatar',
        'https://example.com/ana.jpg',
      ],
    ],
    ['minimal', ['X-User-Id', '123456', 'X-User-Name', 'ana']],
    [
      'claims',
      [
        'X-User-Email',
        'ana@example.com',
        'X-User-Name',
        'Ana Example',
        'X-User-Sub',
        '123456',
        'X-User-Groups',
        'staff,admins',
      ],
    ],
    [
      'context',
      ['X-User-Context', btoa('{"userId":"123456","serverId":"demo","permissions":["mcp","read"]}')],
    ],
    ['none', []],
  ] as const)('%s writes its fields byte for byte', async (preset, expected) => {
    expect(await identityOf(preset).of()).toEqual(expected)
  })

  it('says what access rules grant with the call that they grant it for', async () => {
    let granted: readonly string[] = ['read', 'write']
    const { of } = identityOf('context', {}, false, false, () => granted)
    const permissions = async () =>
      (JSON.parse(atob((await of())[1] ?? '')) as { permissions: unknown }).permissions
    expect(await permissions()).toEqual(['read', 'write'])
    granted = []
    expect(await permissions()).toEqual([])
  })

  it.each([
    ['all', { 'X-User-Id': 'google:123456', 'X-User-Sub': 'google:123456', 'X-User-Provider': 'google' }],
    ['profile', { 'x-user-id': 'google:123456' }],
    ['minimal', { 'X-User-Id': 'google:123456', 'X-User-Name': 'ana' }],
    ['claims', { 'X-User-Sub': 'google:123456' }],
    [
      'context',
      { 'X-User-Context': btoa('{"userId":"google:123456","serverId":"demo","permissions":["mcp","read"]}') },
    ],
  ] as const)(
    '%s never has one id for two people who sign in in different ways [H-F9]',
    async (preset, expected) => {
      const sent = async (who: Person) => {
        const flat = await identityOf(preset, {}, false, true).of(principal(who))
        return Object.fromEntries(flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1]]] : [])))
      }
      expect(await sent(ana)).toMatchObject(expected)
      const other = await sent({ ...ana, provider: 'corp' })
      for (const name of Object.keys(expected).filter((name) => /id|sub|context/i.test(name)))
        if (name !== 'X-User-Provider')
          expect(other[name]).not.toBe((expected as Record<string, string>)[name])
    },
  )

  it('leaves the operator’s own fields the bare subject', async () => {
    expect(await identityOf('minimal', { 'X-User-Id': '${id}' }, false, true).of()).toEqual([
      'X-User-Name',
      'ana',
      'X-User-Id',
      '123456',
    ])
  })

  it('leaves out what is not known of the person', async () => {
    expect(await identityOf('all').of(principal({ provider: 'local', subject: 'bo', groups: [] }))).toEqual([
      'X-User-Id',
      'bo',
      'X-User-Sub',
      'bo',
      'X-User-Provider',
      'local',
    ])
  })

  it('is joined by configured fields, whose names no caller may use and which never frame a message', async () => {
    const { identity, of } = identityOf('none', {
      'X-Team': '${groups}',
      'X-Key': '${provider}_${id}',
      'X-Face': 'see ${avatar}',
    })
    expect(identity.reserved).toEqual(new Set(['x-team', 'x-key', 'x-face']))
    expect(await of()).toEqual([
      'X-Team',
      'staff,admins',
      'X-Key',
      'google_123456',
      'X-Face',
      'see https://example.com/ana.jpg',
    ])
    expect(await of(principal({ provider: 'local', subject: 'bo', groups: [] }, { grantId: 'h' }))).toEqual([
      'X-Key',
      'local_bo',
    ])
    for (const name of ['Host', 'Content-Length', 'Transfer-Encoding', 'Connection', 'X-MCP-Identity'])
      expect(() => identityOf('none', { [name]: '${id}' })).toThrow(RangeError)
  })
})

describe('a configured header', () => {
  it('takes the place of the preset’s of that name, in any spelling', async () => {
    const { of } = identityOf('all', {
      'x-user-ID': 'mock_user_${id}',
      X_User_Groups: 'none',
      'X-User-Avatar': '${avatar}',
    })
    const { avatar: _, ...faceless } = ana
    expect(await of(principal(faceless))).toEqual([
      'X-User-Sub',
      '123456',
      'X-User-Email',
      'ana@example.com',
      'X-User-Name',
      'Ana Example',
      'X-User-Login',
      'ana',
      'X-User-Provider',
      'google',
      'x-user-ID',
      'mock_user_123456',
      'X_User_Groups',
      'none',
    ])
    expect(await identityOf('context', { 'X-User-Context': '${id}' }).of()).toEqual([
      'X-User-Context',
      '123456',
    ])
  })

  it('is encoded once', async () => {
    const { of } = identityOf('none', {
      A: '${name}',
      B: '${provider}: ${name}',
      C: '${groups}',
      D: '${name}/${groups}',
      E: "UTF-8''${login}",
    })
    const values = await of(principal({ ...ana, name: 'José', groups: ['Büro', '100%', 'a,b'] }))
    expect(values).toEqual([
      'A',
      "UTF-8''Jos%C3%A9",
      'B',
      "UTF-8''google%3A%20Jos%C3%A9",
      'C',
      'B%C3%BCro,100%25,a%2Cb',
      'D',
      "UTF-8''Jos%C3%A9%2FB%C3%BCro%2C100%2525%2Ca%252Cb",
      'E',
      "UTF-8''UTF-8%27%27ana",
    ])
    expect(decodeURIComponent((values[7] ?? '').slice(7))).toBe('José/Büro,100%25,a%2Cb')
  })
})

describe('the assertion', () => {
  it('is a short JWT about the person for this service, shown again for 20 s and signed anew after that', async () => {
    const { of, signed, pass } = identityOf('none', {}, true)
    expect(await of()).toEqual(['X-MCP-Identity', 'jwt-1'])
    pass(19_000)
    expect(await of()).toEqual(['X-MCP-Identity', 'jwt-1'])
    pass(2000)
    expect(await of()).toEqual(['X-MCP-Identity', 'jwt-2'])
    expect(await of(principal(ana, { grantId: 'other' }))).toEqual(['X-MCP-Identity', 'jwt-3'])
    expect(signed[0]).toEqual({
      claims: {
        aud: 'https://gw.test/demo/mcp',
        sub: 'google:123456',
        provider: 'google',
        user_id: '123456',
        login: 'ana',
        email: 'ana@example.com',
        name: 'Ana Example',
        groups: ['staff', 'admins'],
        client_id: 'c',
        scope: 'mcp read',
        service: 'demo',
      },
      options: { typ: 'mcp-identity+jwt', lifetimeMs: 60_000 },
    })
  })

  it('says when it leaves groups out', async () => {
    const { of, signed } = identityOf('none', {}, true)
    await of(principal({ ...ana, groups: Array.from({ length: 500 }, (_, i) => `group-${i}`) }))
    expect((signed[0] as { claims: { groups: string[]; groups_cut: boolean } }).claims).toMatchObject({
      groups_cut: true,
    })
  })
})

describe('a header value', () => {
  it('keeps printable ASCII and writes the rest as an RFC 8187 value [H-L3]', () => {
    expect(headerText('Ana Example', 256)).toBe('Ana Example')
    expect(headerText('山田 太郎', 256)).toBe("UTF-8''%E5%B1%B1%E7%94%B0%20%E5%A4%AA%E9%83%8E")
    expect(headerText('a\r\nX-Admin: 1', 256)).toBe('a X-Admin: 1')
    expect(headerText("UTF-8''x", 256)).toBe("UTF-8''UTF-8%27%27x")
    for (const nothing of [undefined, '', ' ', '\r\n', '\u0000'])
      expect(headerText(nothing, 256)).toBeUndefined()
  })

  it('is cut where it is only shown, and left out where cutting would name somebody else [H-L3]', () => {
    expect(headerText('x'.repeat(8000), 256, true)).toBe('x'.repeat(256))
    expect(headerText('x'.repeat(8000), 256)).toBeUndefined()
  })

  it('is always one printable line that decodes to what was said', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 200 }), (text) => {
        const value = headerText(text, 1000)
        if (value === undefined) return
        expect(value).toMatch(/^[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?$/)
        const decoded = value.startsWith("UTF-8''") ? decodeURIComponent(value.slice(7)) : value
        expect(decoded).toBe(
          text
            .toWellFormed()
            .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')
            .trim(),
        )
      }),
    )
  })

  it('never makes two groups of one or one of two [H-L4]', () => {
    expect(headerGroups(['admin,root', 'a;b', 'say "x"', 'x\ny', 'ärzte', '100%', ' ', 'plain group'])).toBe(
      'admin%2Croot,a%3Bb,say %22x%22,x y,%C3%A4rzte,100%25,plain group',
    )
    fc.assert(
      fc.property(fc.array(fc.string({ unit: 'binary', maxLength: 30 }), { maxLength: 20 }), (groups) => {
        const calm = groups
          .map((group) =>
            group
              .toWellFormed()
              .replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')
              .trim(),
          )
          .filter((group) => group !== '')
        const value = headerGroups(groups)
        if (value !== undefined) expect(value).toMatch(/^[\x20-\x7e]*$/)
        expect(value === undefined ? [] : value.split(',').map(decodeURIComponent)).toEqual(calm)
      }),
    )
    const many = headerGroups(Array.from({ length: 2000 }, (_, i) => `group-${i}`)) ?? ''
    expect(many.length).toBeLessThanOrEqual(8000)
    expect(many.split(',').every((group) => /^group-\d+$/.test(group))).toBe(true)
  })
})
