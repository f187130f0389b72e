// What can be wrong with access rules, each at its line and column; and what is only worth a warning.
import { describe, expect, it } from 'vitest'
import { configOf, faultsOf, warningsOf } from './config-world.ts'

const users =
  'local_users: [{ username: ana, password: correct-horse, email: ana@example.com, groups: [staff] }]\n'
const okta = 'oauth_providers: { okta: { issuer: "https://example.okta.com", client_id: a } }\n'

/** Line 3 and what follows are the section. */
const service = (section: string): string =>
  `mcp_services:\n  a: { url: "http://localhost:3001/mcp", access: ${section} }\n${users}`
const top = (section: string): string =>
  `access: ${section}\nmcp_services: { a: { url: "http://localhost:3001/mcp", access: { everyone: true } } }\n${users}`

type Row = readonly [title: string, text: string, ...faults: string[]]

const rows: readonly Row[] = [
  [
    'a group that nobody has',
    service('{ groups: [stuff] }'),
    'config.yaml:2:61 mcp_services.a.access.groups[0] – "stuff" is a group of no user in local_users, and not declared in `access.groups`; did you mean "staff"?',
  ],
  [
    'a group that several sign-in methods may have',
    service('{ groups: [staff] }') + okta,
    'config.yaml:2:61 mcp_services.a.access.groups[0] – "staff" is in no `access.groups`, and there are several sign-in methods: write "okta:staff" or "local:staff", or declare the group',
  ],
  [
    'a rule that grants something to nobody',
    service('{ allow: [{ permissions: [read] }] }'),
    'config.yaml:2:60 mcp_services.a.access.allow[0] – grants access to nobody: set groups, people, everyone or anonymous',
  ],
  [
    'the short form without anybody',
    service('{ permissions: [read] }'),
    'config.yaml:2:42 mcp_services.a.access – grants access to nobody: set groups, people, everyone or anonymous',
  ],
  [
    'a permission that there is not',
    service('{ everyone: true, permissions: [wirte] }'),
    'config.yaml:2:82 mcp_services.a.access.permissions[0] – must be one of: read, write, execute, admin; found "wirte"; did you mean "write"?',
  ],
  [
    'a permission of a tool that there is not',
    service('{ everyone: true, tools: { t: wirte } }'),
    'config.yaml:2:80 mcp_services.a.access.tools.t – must be one of: read, write, execute, admin, deny; found "wirte"; did you mean "write"?',
  ],
  [
    'a permission that does not exist yet',
    service('{ everyone: true, tools: { t: ask } }'),
    'config.yaml:2:80 mcp_services.a.access.tools.t – must be one of: read, write, execute, admin, deny; found "ask"',
  ],
  [
    'a list as the permission of a tool',
    service('{ everyone: true, tools: { t: [read] } }'),
    'config.yaml:2:80 mcp_services.a.access.tools.t – must be one of: read, write, execute, admin, deny',
  ],
  [
    'a list of the only tools beside no users',
    service('{ allow: [{ everyone: true }], tools: { allow: [t] } }'),
    'config.yaml:2:90 mcp_services.a.access.tools.allow – needs `groups` or `people` beside `tools`; in a rule of `allow`, write the list as `tools`',
  ],
  [
    'a condition of no known form',
    service('{ allow: [{ everyone: true, tools: [t], when: { a: { like: b } } }] }'),
    'config.yaml:2:101 mcp_services.a.access.allow[0].when.a – must be a value, a list of values, or one of {glob: text}, {min: number, max: number}, {not: [values]}, {absent: true}',
  ],
  [
    'a condition in a rule without calls',
    service('{ everyone: true, deny: [{ when: { a: 1 } }] }'),
    'config.yaml:2:77 mcp_services.a.access.deny[0].when – needs `tools` or `prompts`, and no `resources`: only calls of tools and prompts have arguments',
  ],
  [
    'a pattern that ends with a backslash',
    service('{ everyone: true, deny: [{ tools: ["a\\\\"] }] }'),
    'config.yaml:2:85 mcp_services.a.access.deny[0].tools[0] – "a\\" ends with a backslash that escapes nothing',
  ],
  [
    'the name of an app',
    service('{ everyone: true, clients: ["Claude"] }'),
    'config.yaml:2:78 mcp_services.a.access.clients[0] – "Claude" is not a client: use configured, document, dynamic, personal, "domain:example.com", "redirect:app.example.com", a pattern of a metadata document’s URL, or a client_id. Names of apps cannot be used, because any app may call itself anything',
  ],
  [
    'a domain with a scheme',
    service('{ everyone: true, clients: ["domain:https://claude.ai"] }'),
    'config.yaml:2:78 mcp_services.a.access.clients[0] – "domain:https://claude.ai" is not a domain: write "domain:example.com", in lower case, without a scheme or path',
  ],
  [
    'a host of redirects with a scheme',
    service('{ everyone: true, clients: ["redirect:https://claude.ai"] }'),
    'config.yaml:2:78 mcp_services.a.access.clients[0] – "redirect:https://claude.ai" is not a host: write "redirect:app.example.com", in lower case, without a scheme or path',
  ],
  [
    'services in a rule of one service',
    service('{ allow: [{ everyone: true, services: [b] }] }'),
    'config.yaml:2:78 mcp_services.a.access.allow[0].services – cannot be set in a rule of one service; rules for several services are in `access` at the top level',
  ],
  [
    'an email address that nobody verifies',
    `mcp_services:\n  a: { url: "http://localhost:3001/mcp", access: { people: [ben@example.com] } }\n`,
    'config.yaml:2:61 mcp_services.a.access.people[0] – "ben@example.com" can match nobody: no sign-in method supplies verified email addresses. Write provider:subject, e.g. "local:ana"',
  ],
  [
    'a user of an unknown sign-in method',
    service('{ people: ["locl:ana"] }'),
    'config.yaml:2:61 mcp_services.a.access.people[0] – "locl:ana" names an unknown sign-in method (configured: local); did you mean "local"?',
  ],
  [
    'groups at a public service',
    `mcp_services:\n  a: { url: "http://localhost:3001/mcp", auth_required: false, access: { groups: [staff] } }\n${users}`,
    'config.yaml:2:74 mcp_services.a.access.groups – can match nobody: the service has `auth_required: false`, so its callers are unknown; use `anonymous: true`',
  ],
  [
    'anonymous callers of a service with login',
    service('{ anonymous: true }'),
    'config.yaml:2:52 mcp_services.a.access.anonymous – can match nobody: callers of this service sign in (`auth_required` is true)',
  ],
  [
    'one id twice',
    service('{ everyone: true, deny: [{ id: x, tools: [a] }, { id: x, tools: [b] }] }'),
    'config.yaml:2:104 mcp_services.a.access.deny[1].id – is already the ID of mcp_services.a.access.deny[0]: use a different one',
  ],
  [
    'a reason that is too long',
    service(`{ everyone: true, deny: [{ reason: ${'x'.repeat(201)} }] }`),
    'config.yaml:2:85 mcp_services.a.access.deny[0].reason – must be at most 200 characters long',
  ],
  [
    'a group without members',
    top('{ groups: { g: {} } }'),
    'config.yaml:1:21 access.groups.g – has no members: set `members` or `from`',
  ],
  [
    'a group from nowhere',
    top('{ groups: { g: { from: { okta: ["*"] } } } }'),
    'config.yaml:1:34 access.groups.g.from.okta – is not a sign-in method (configured: local)',
  ],
  [
    'an example about no service',
    top('{ tests: [{ as: "local:ana", tool: "b:t", expect: allow }] }'),
    'config.yaml:1:44 access.tests[0].tool – names "b", which is not in mcp_services; did you mean "a"?',
  ],
  [
    'a code of an example that is allowed',
    top('{ tests: [{ as: "local:ana", tool: "a:t", expect: allow, code: x }] }'),
    'config.yaml:1:66 access.tests[0].code – applies only with `expect: deny`',
  ],
]

const warnings: readonly Row[] = [
  [
    'a rule that another one makes useless',
    service('{ allow: [{ groups: [staff], tools: [a] }], deny: [{ tools: [a, b] }] }'),
    'config.yaml:2:60 mcp_services.a.access.allow[0] – has no effect: mcp_services.a.access.deny[0] denies all that it grants',
  ],
  [
    'services that nobody may use',
    `access: { disclose: code }\nmcp_services: { a: { url: "http://localhost:3001/mcp" }, b: { url: "http://localhost:3002/mcp" } }\n${users}`,
    'config.yaml:1:9 access – leaves a, b without access rules, so nobody can use them: add `access` there, or set access.default to everyone',
  ],
  [
    'a public service that the default is not about',
    `access: { default: everyone }\nmcp_services: { a: { url: "http://localhost:3001/mcp", auth_required: false } }\n${users}`,
    'config.yaml:1:9 access – leaves a without access rules, so nobody can use it: add `access: { anonymous: true }` there, because access.default is about users who are signed in',
  ],
  [
    'no rules at a public gateway',
    `issuer: https://gw.example\nmcp_services: { a: { url: "http://localhost:3001/mcp" } }\n${users}`,
    'config.yaml:2:15 mcp_services – has no access rules, so every user who can sign in can use every tool: add `access`, or set access.default to everyone',
  ],
  [
    'a group from a provider without groups',
    `access: { default: everyone, groups: { g: { from: { google: ["*"] } } } }\noauth_providers: { google: { client_id: a, allowed_domains: [example.com] } }\n`,
    'config.yaml:1:61 access.groups.g.from.google – has no members: this provider sends no groups',
  ],
]

describe('access rules', () => {
  it.each(rows.map(([title, text, ...faults]) => ({ title, text, faults })))(
    'are refused with $title',
    async ({ text, faults }) => {
      expect(await faultsOf(text)).toEqual(faults)
    },
  )

  it.each(warnings.map(([title, text, ...told]) => ({ title, text, told })))(
    'are warned about with $title',
    async ({ text, told }) => {
      expect([await faultsOf(text), await warningsOf(text)]).toEqual([[], told])
    },
  )

  it('are taken in both forms', async () => {
    const { access, mcp_services: services } = await configOf(
      top('{ default: everyone, allow: [{ people: ["local:ana"], services: [a], permissions: [admin] }] }'),
    )
    expect(access).toMatchObject({ default: 'everyone', disclose: 'rule', deny: [], tests: [] })
    expect(services['a']?.access).toMatchObject({ everyone: true, unmarked: 'execute', unlisted: 'refuse' })
  })
})

describe('a service that needs the audit trail', () => {
  const needing = 'mcp_services:\n  a: { url: "http://localhost:3001/mcp", audit: { required: true } }\n'

  it('is refused where none is kept', async () => {
    const fault = 'mcp_services.a.audit.required – needs an audit trail: add `audit: {}`'
    expect(await faultsOf(needing)).toEqual([`config.yaml:2:61 ${fault}`])
    expect(await faultsOf(`${needing}audit: { enabled: false }\n`)).toEqual([`config.yaml:2:61 ${fault}`])
    expect(await faultsOf(`${needing}audit: { retention: 90d }\n`)).toEqual([])
  })
})
