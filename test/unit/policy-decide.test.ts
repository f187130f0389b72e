// What access rules say of one call, by the rules of an organisation and people in it.
import { describe, expect, it } from 'vitest'
import { type ConfigInput, parseConfig } from '../../src/config/schema.ts'
import { httpsHost } from '../../src/kit/urls.ts'
import type { Arguments, Subject } from '../../src/ports/policy.ts'
import { decide, withinConsent } from '../../src/policy/decide.ts'
import { createDecide } from '../../src/policy/policy.ts'
import { rulesOf } from '../../src/policy/rules.ts'
import {
  type Name,
  asking,
  callerOf,
  claude,
  createAsking,
  line,
  organisation,
  tool,
  who,
} from './policy-world.ts'

const jira = 'services.jira.access'

type Row = readonly [
  name: Name,
  service: string,
  subject: Subject,
  expected: string,
  more?: { client?: string; args?: Arguments },
]

const rows: readonly Row[] = [
  ['ben', 'jira', tool('create_issue'), `allow ${jira}.allow[1]`],
  ['ana', 'jira', tool('create_issue'), 'policy.permission write'],
  ['ana', 'jira', tool('delete_comment'), `allow ${jira}.allow[2]`, { client: claude }],
  ['ana', 'jira', tool('delete_comment'), 'policy.permission admin'],
  ['ana', 'jira', tool('delete_project'), `policy.denied ${jira}.deny[0]`, { client: claude }],
  ['cy', 'jira', tool('delete_comment'), 'policy.denied no-contractors'],
  ['cy', 'jira', tool('De\u200blete_Comment'), 'policy.denied no-contractors'],
  ['sue', 'jira', tool('reopen_issue'), `allow ${jira}.allow[3]`],
  ['sue', 'jira', tool('search_issues'), 'policy.tool'],
  ['ben', 'jira', tool('export_all'), 'policy.tool'],
  ['ben', 'jira', tool('mystery'), 'policy.permission execute'],
  ['ben', 'jira', tool('peek', 'read'), `allow ${jira}.allow[1]`],
  [
    'dan',
    'db',
    tool('query'),
    'allow services.db.access.allow[0]',
    { args: { database: 'analytics', limit: 10, sql: 'select 1' } },
  ],
  ['dan', 'db', tool('query'), 'policy.tool', { args: { database: 'prod', limit: 10, sql: 'select 1' } }],
  ['dan', 'db', tool('query'), 'policy.tool', { args: { database: 'analytics', sql: 'select 1' } }],
  [
    'dan',
    'db',
    tool('query'),
    'policy.denied services.db.access.deny[0]',
    { args: { database: 'analytics', limit: 10 } },
  ],
  ['dan', 'db', tool('query'), 'allow services.db.access.allow[0]', { args: 'list' }],
  ['ben', 'jira', tool('search_issues'), 'policy.client', { client: 'https://app.evil.example/c.json' }],
  ['ben', 'wiki', tool('read_page'), 'policy.service'],
  ['ben', 'jira', { kind: 'resource', uri: 'jira://issues/1' }, `allow ${jira}.allow[1]`],
  ['ben', 'jira', { kind: 'resource', uri: 'jira://secrets/a/b' }, `policy.denied ${jira}.resources.deny`],
  [
    'ben',
    'jira',
    { kind: 'resource', uri: 'JIRA://Secrets/x/../%61' },
    `policy.denied ${jira}.resources.deny`,
  ],
  ['sue', 'jira', { kind: 'resource', uri: 'jira://issues/1' }, 'policy.resource'],
  [
    'ben',
    'jira',
    { kind: 'template', template: 'jira://secrets/{name}' },
    `policy.denied ${jira}.resources.deny`,
  ],
  ['ben', 'jira', { kind: 'template', template: 'jira://{kind}/{name}' }, `allow ${jira}.allow[1]`],
  ['ben', 'jira', { kind: 'prompt', name: 'Admin_Reset' }, `policy.denied ${jira}.prompts.deny`],
  ['ben', 'jira', { kind: 'prompt', name: 'summary' }, `allow ${jira}.allow[1]`],
  ['ben', 'jira', { kind: 'method', name: 'acme/export' }, 'policy.permission execute'],
  ['ben', 'jira', { kind: 'method', name: 'acme/other' }, 'policy.method'],
  ['ben', 'jira', { kind: 'service' }, `allow ${jira}.allow[1]`],
  ['dan', 'jira', { kind: 'service' }, 'policy.service'],
]

describe('the rules of an organisation', () => {
  const asked = rows.map(([name, service, subject, expected, more = {}]) => ({
    name,
    service,
    subject,
    expected,
    more,
  }))
  it.each(asked)('$name at $service: $subject → $expected', ({ name, service, subject, expected, more }) => {
    expect(line(asking.ask(service, who(name, more.client), subject, more.args))).toBe(expected)
  })

  it('say why where a rule gives its reason', () => {
    expect(asking.ask('jira', who('cy'), tool('delete_comment'))).toEqual({
      allowed: false,
      code: 'policy.denied',
      rule: 'no-contractors',
      reason: 'Contractors may not delete.',
    })
  })

  it('let a rule for all services count at a service without rules of its own', () => {
    expect(line(asking.ask('wiki', callerOf('olga', ['ops']), tool('purge')))).toBe('allow access.allow[0]')
  })

  it('never allow a name that no tool has', () => {
    expect(line(asking.ask('jira', callerOf('olga', ['ops']), tool('x'.repeat(3000))))).toBe('policy.tool')
  })
})

/** Rules of the one service `a`, for somebody of whom okta says these groups. */
const askOf = (access: unknown, top?: unknown, more: Partial<ConfigInput> = {}) => {
  const config = parseConfig({
    oauth_providers: { okta: { issuer: 'https://example.okta.com', client_id: 'postern' } },
    ...more,
    ...(top === undefined ? {} : { access: top as ConfigInput['access'] & {} }),
    mcp_services: {
      a: { url: 'https://a.example/mcp', ...(access === undefined ? {} : { access: access as never }) },
    },
  })
  const { ask } = createAsking(config)
  return (subject: Subject, caller = callerOf('ana', ['staff']), args?: Arguments): string =>
    line(ask('a', caller, subject, args))
}

describe('one rule', () => {
  it('has a short form, which is one grant, one rule that denies, and the map', () => {
    const ask = askOf({
      groups: ['staff'],
      permissions: ['write'],
      tools: { deny: ['x_*'], search: 'read', wipe: 'admin' },
    })
    expect(ask(tool('search'))).toBe('allow services.a.access')
    expect(ask(tool('x_y', 'read'))).toBe('policy.denied services.a.access.tools.deny')
    expect(ask(tool('wipe'))).toBe('policy.permission admin')
    expect(ask(tool('search'), callerOf('bo', []))).toBe('policy.service')
  })

  it('may name the only tools that its users have', () => {
    const ask = askOf({ groups: ['staff'], permissions: ['admin'], tools: { allow: ['get_*'] } })
    expect(ask(tool('get_x'))).toBe('allow services.a.access')
    expect(ask(tool('put_x'))).toBe('policy.tool')
    expect(ask({ kind: 'prompt', name: 'get_x' })).toBe('policy.prompt')
  })

  it('names a tool that is called deny like any other', () => {
    const ask = askOf({ groups: ['staff'], tools: { deny: 'write' } })
    expect(ask(tool('deny'))).toBe('policy.permission write')
  })

  it('takes the strictest of the patterns that match, in whatever order they stand', () => {
    const needs = [
      { '*': 'read', 'a_*': 'admin' },
      { 'a_*': 'admin', '*': 'read' },
    ] as const
    for (const tools of needs)
      expect(askOf({ groups: ['staff'], tools })(tool('a_b'))).toBe('policy.permission admin')
    expect(askOf({ groups: ['staff'], tools: { 'a_*': 'deny', a_b: 'read' } })(tool('a_b'))).toBe(
      'allow services.a.access',
    )
  })

  it('goes by the annotations of a tool that is not named, and by unmarked where there are none', () => {
    const ask = askOf({ groups: ['staff'], permissions: ['write'], unmarked: 'admin' })
    expect(ask(tool('t', 'read'))).toBe('allow services.a.access')
    expect(ask(tool('t', 'write'))).toBe('allow services.a.access')
    expect(ask(tool('t', 'execute'))).toBe('policy.permission execute')
    expect(ask(tool('t'))).toBe('policy.permission admin')
  })

  it('gives everyone who is signed in what the default gives', () => {
    const ask = askOf(undefined, { default: 'everyone' })
    expect(ask(tool('t', 'execute'))).toBe('allow access.default')
    expect(ask(tool('t', 'admin'))).toBe('policy.permission admin')
    expect(askOf({ groups: ['ops'] }, { default: 'everyone' })(tool('t', 'read'))).toBe('policy.service')
  })

  it('counts unknown groups for a rule that denies, and not for one that grants', () => {
    const unknown = {
      ...callerOf('ana', []),
      person: { ...callerOf('ana', []).person, groupsUnknown: true as const },
    }
    expect(askOf({ groups: ['staff'] })(tool('t', 'read'), unknown)).toBe('policy.service')
    const denying = askOf({ everyone: true, deny: [{ groups: ['contractors'] }] })
    expect(denying(tool('t', 'read'), unknown)).toBe('policy.denied services.a.access.deny[0]')
    expect(denying(tool('t', 'read'))).toBe('allow services.a.access')
  })

  it('takes a group of another sign-in method for no group of its own', () => {
    const ask = askOf({ groups: ['okta:staff'] }, undefined, {
      local_users: [{ username: 'ana', password: 'correct-horse', groups: ['staff'] }],
    })
    expect(ask(tool('t', 'read'))).toBe('allow services.a.access')
    const local = callerOf('ana', ['staff'])
    expect(ask(tool('t', 'read'), { ...local, person: { ...local.person, provider: 'local' } })).toBe(
      'policy.service',
    )
  })

  it.each([
    ['document', 'https://app.example/c.json', true],
    ['document', 'desk', false],
    ['dynamic', 'client_x', true],
    ['configured', 'desk', true],
    ['configured', 'client_x', false],
    ['desk', 'desk', true],
    ['domain:app.example', 'https://app.example/c.json', true],
    ['domain:app.example', 'https://www.app.example/c.json', true],
    ['domain:app.example', 'https://notapp.example/c.json', false],
    ['domain:app.example', 'https://app.example.evil.example/c.json', false],
    ['https://app.example/*', 'https://app.example/c.json', true],
    ['https://app.example/*', 'https://app.example/a/c.json', false],
  ])('%s is the app %s: %s', (pattern, client, expected) => {
    const clients = { desk: { name: 'Desk', redirect_uris: ['https://desk.example/cb'] } }
    const ask = askOf({ everyone: true, clients: [pattern] }, undefined, { clients })
    expect(ask(tool('t', 'read'), callerOf('ana', [], client))).toBe(
      expected ? 'allow services.a.access' : 'policy.service',
    )
  })
})

describe('conditions on arguments', () => {
  const cases: readonly [when: unknown, args: Arguments, allow: boolean, deny: boolean][] = [
    [{ a: 1 }, { a: 1 }, true, true],
    [{ a: 1 }, { a: 2 }, false, false],
    [{ a: 1 }, { a: '1' }, false, true],
    [{ a: 1 }, {}, false, true],
    [{ a: 1 }, undefined, false, true],
    [{ a: 2 ** 53 }, { a: 2 ** 53 }, false, true],
    [{ a: true }, { a: true }, true, true],
    [{ a: null }, { a: null }, true, true],
    [{ a: null }, { a: 'x' }, false, false],
    [{ a: { not: [null] } }, { a: 'x' }, true, true],
    [{ a: 'x' }, { a: null }, false, true],
    [{ a: ['x', 'y'] }, { a: 'y' }, true, true],
    [{ a: ['x', 'y'] }, { a: 'z' }, false, false],
    [{ a: ['x', 'y'] }, { a: ['x'] }, false, true],
    [{ 'a.b': 1 }, { a: { b: 1 } }, true, true],
    [{ '/a/b.c': 1 }, { a: { 'b.c': 1 } }, true, true],
    [{ '/a/1': 1 }, { a: [0, 1] }, true, true],
    [{ 'constructor.name': 'Object' }, {}, false, true],
    [{ a: { glob: 'x*' } }, { a: 'xy' }, true, true],
    [{ a: { glob: 'x*' } }, { a: 1 }, false, true],
    [{ a: { min: 1, max: 3 } }, { a: 3 }, true, true],
    [{ a: { min: 1, max: 3 } }, { a: 4 }, false, false],
    [{ a: { max: 3 } }, { a: '1' }, false, true],
    [{ a: { not: ['x'] } }, { a: 'y' }, true, true],
    [{ a: { not: ['x'] } }, { a: 'x' }, false, false],
    [{ a: { not: ['x'] } }, {}, false, true],
    [{ a: { absent: true } }, {}, true, true],
    [{ a: { absent: true } }, { a: null }, false, false],
    [{ a: { glob: 'x*' } }, { a: 'xy', A: 'z' }, false, true],
    [{ a: { absent: true } }, { A: 1 }, false, true],
    [{ a: 1, b: 2 }, { a: 1, b: 3 }, false, false],
    [{ a: 1, b: 2 }, { a: 1 }, false, true],
  ]
  it.each(cases)('%o of %o: grants %s, denies %s', (when, args, allow, deny) => {
    const granting = askOf({ allow: [{ everyone: true, tools: ['t'], when }] })
    expect(granting(tool('t', 'read'), undefined, args).startsWith('allow')).toBe(allow)
    const denying = askOf({ everyone: true, deny: [{ tools: ['t'], when }] })
    expect(denying(tool('t', 'read'), undefined, args).startsWith('policy.denied')).toBe(deny)
  })

  it('hide nothing from lists', () => {
    const ask = askOf({
      allow: [{ everyone: true, tools: ['t'], when: { a: 1 } }],
      deny: [{ tools: ['t'], when: { b: 1 } }],
    })
    expect(ask(tool('t', 'read'), undefined, 'list')).toBe('allow services.a.access.allow[0]')
  })
})

describe('what a server is told that a caller may do', () => {
  const permissions = (name: Name, service: string, clientId?: string) =>
    createDecide(rulesOf(config, service, config.mcp_services[service]?.access)).permissions(
      who(name, clientId),
    )
  const config = parseConfig(organisation)

  it('is what holds for everything there, and no more', () => {
    expect([
      permissions('ben', 'jira'),
      permissions('ana', 'jira'),
      permissions('ana', 'jira', claude),
      // Some tools, some arguments, no right at all, and an app that may not call.
      permissions('sue', 'jira'),
      permissions('dan', 'db'),
      permissions('ben', 'wiki'),
      permissions('ben', 'jira', 'https://app.evil.example/c.json'),
    ]).toEqual([['read', 'write'], ['read'], ['read', 'write', 'execute', 'admin'], [], [], [], []])
    const denied = parseConfig({
      ...organisation,
      access: { ...organisation.access, deny: [{ groups: ['eng-web'] }] },
    })
    const decide = createDecide(rulesOf(denied, 'jira', denied.mcp_services['jira']?.access))
    expect([decide.permissions(who('ben')), decide.permissions(who('ana'))]).toEqual([[], ['read']])
  })
})

describe('an app by where its code went', () => {
  const config = parseConfig({
    oauth_providers: { okta: { issuer: 'https://example.okta.com', client_id: 'postern' } },
    mcp_services: {
      a: {
        url: 'https://a.example/mcp',
        access: { everyone: true, clients: ['redirect:app.example', 'redirect:dev.example:8443'] },
      },
    },
  })
  const { ask } = createAsking(config)
  it.each([
    ['app.example', true],
    ['dev.example:8443', true],
    ['dev.example', false],
    ['evil.app.example', false],
    ['app.example.evil.example', false],
    ['', false],
    [undefined, false],
  ])('%s', (redirectHost, allowed) => {
    const caller = { ...who('ana'), ...(redirectHost !== undefined && { redirectHost }) }
    expect(ask('a', caller, { kind: 'service' }).allowed).toBe(allowed)
  })

  it.each([
    ['https://app.example/cb', 'app.example'],
    ['https://app.example:443/cb?x=1', 'app.example'],
    ['https://APP.example:8443/', 'app.example:8443'],
    ['https://app.example@evil.example/', 'evil.example'],
    ['http://app.example/', ''],
    ['http://127.0.0.1:5000/cb', ''],
    ['cursor://app.example/cb', ''],
    ['https://', ''],
  ])('%s went to %j', (uri, host) => expect(httpsHost(uri)).toBe(host))
})

describe('a consent to read', () => {
  const rules = rulesOf(
    parseConfig(organisation),
    'jira',
    parseConfig(organisation).mcp_services['jira']?.access,
  )
  const judged = (
    name: Name,
    subject: Subject,
    excluded: readonly string[] = [],
    args?: Arguments,
  ): string => {
    const caller = { ...who(name), consented: { level: 'read' as const, excluded } }
    return line(withinConsent(decide(rules, caller, subject, args), caller, subject, args))
  }
  it('is too small for what the rules allow, and changes nothing of what they deny', () => {
    expect(judged('ben', tool('create_issue'))).toBe(`consent.level ${jira}.allow[1]`)
    expect(judged('ana', tool('create_issue'))).toBe('policy.permission write')
    expect(judged('ben', tool('search_issues'))).toBe(`allow ${jira}.allow[1]`)
  })
  it('leaves lists as they are, but for what was unticked', () => {
    expect(judged('ben', tool('create_issue'), [], 'list')).toBe(`allow ${jira}.allow[1]`)
    expect(judged('ben', tool('search_issues'), ['search_issues'], 'list')).toBe('consent.tool')
    expect(judged('ben', { kind: 'prompt', name: 'search_issues' }, ['search_issues'])).toBe(
      `allow ${jira}.allow[1]`,
    )
  })
})
