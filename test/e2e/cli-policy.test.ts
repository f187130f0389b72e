// `postern policy`: why a call is allowed or denied, and examples that the rules must decide as written.
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Place, createPlace, errorOf, postern } from './cli-process.ts'

let place: Place
beforeEach(() => {
  place = createPlace()
})
afterEach(() => place.remove())

const config = (tests: readonly object[] = []): void =>
  void place.write(
    'postern.json',
    JSON.stringify({
      local_users: [
        { username: 'ana', password: 'correct-horse', email: 'ana@example.com', groups: ['staff'] },
      ],
      access: { tests },
      mcp_services: {
        jira: {
          url: 'http://localhost:3001/mcp',
          access: {
            allow: [{ groups: ['staff'], permissions: ['write'] }],
            deny: [{ id: 'no-drop', tools: ['query'], when: { sql: { glob: '*DROP*' } } }],
            tools: { query: 'read', edit: 'write', wipe: 'admin' },
          },
        },
      },
    }),
  )

const run = (...args: readonly string[]) => postern(place, ['policy', ...args, '-c', 'postern.json'])

describe('postern policy explain', () => {
  it('prints each rule, why it counts or not, and the verdict', async () => {
    config()
    const { code, out } = await run('explain', '--as', 'local:ana', '--tool', 'jira:wipe')
    expect([code, out.trimEnd().split('\n')]).toEqual([
      0,
      [
        '○ deny  no-drop                                  does not name this tool',
        '● allow services.jira.access.allow[0]            matches and grants write',
        'The tool needs admin, its annotations aside.',
        'Denied: policy.permission by services.jira.access.allow[0]. The tool needs admin, and the rules grant write.',
      ],
    ])
  })

  it.each([
    [
      ['--as', 'ana@example.com', '--tool', 'jira:query', '--arguments', '{"sql":"select 1"}'],
      'Allowed by services.jira.access.allow[0].',
    ],
    [
      ['--as', 'ana@example.com', '--tool', 'jira:query', '--arguments', '{"sql":"DROP a"}'],
      'Denied: policy.denied by no-drop.',
    ],
    [['--as', 'ana@example.com', '--tool', 'jira:query'], 'Denied: policy.denied by no-drop.'],
    [['--as', 'local:ben', '--tool', 'jira:query'], 'Denied: policy.denied by no-drop.'],
    [['--as', 'local:ben', '--tool', 'jira:wipe'], 'Denied: policy.service.'],
    [['--as', 'local:ben', '--groups', 'a, staff', '--tool', 'jira:wipe'], /^Denied: policy\.permission/],
    [['--as', 'anonymous', '--tool', 'jira:wipe'], 'Denied: policy.service.'],
    [
      ['--as', 'ana@example.com', '--tool', 'jira:edit', '--consent', 'read'],
      'Allowed with more consent: services.jira.access.allow[0] allows it, but the app needs the user’s consent to write.',
    ],
  ])('answers %j', async (args, last) => {
    config()
    const { out } = await run('explain', ...args)
    expect(out.trimEnd().split('\n').at(-1)).toEqual(
      last instanceof RegExp ? expect.stringMatching(last) : last,
    )
  })

  it('prints the same as JSON', async () => {
    config()
    const { out } = await run(
      'explain',
      '--as',
      'local:ana',
      '--tool',
      'jira:query',
      '--arguments',
      '{"sql":"x"}',
      '--json',
    )
    expect(JSON.parse(out)).toMatchObject({
      open: false,
      need: 'read',
      verdict: { allowed: true, rule: 'services.jira.access.allow[0]' },
      rules: [
        { id: 'no-drop', effect: 'deny', matched: false, why: 'has conditions that do not hold' },
        {
          id: 'services.jira.access.allow[0]',
          effect: 'allow',
          matched: true,
          why: 'matches and grants write',
        },
      ],
    })
  })

  it.each([
    [
      ['--as', 'local:ana', '--tool', 'jria:x'],
      'There is no service "jria" in the configuration; did you mean "jira"?',
    ],
    [
      ['--as', 'local:ana', '--tool', 'x'],
      '--tool needs service:tool, for example --tool jira:create_issue.',
    ],
    [
      ['--as', 'local:ana', '--tool', 'jira:x', '--arguments', '[1]'],
      `--arguments must be a JSON object, for example --arguments '{"id":1}'.`,
    ],
  ])('refuses %j', async (args, message) => {
    config()
    const ran = await run('explain', ...args)
    expect([ran.code, errorOf(ran)['message']]).toEqual([2, message])
  })

  it('says that there are no rules', async () => {
    place.write('postern.json', JSON.stringify({ mcp_services: { a: { url: 'http://localhost:3001/mcp' } } }))
    const { out } = await run('explain', '--as', 'local:owner', '--tool', 'a:x')
    expect(out).toBe('Allowed: the configuration has no access rules, so every user may use every tool.\n')
  })
})

describe('examples in the configuration', () => {
  const right = { as: 'local:ana', tool: 'jira:wipe', expect: 'deny', code: 'policy.permission' }
  const wrong = { as: 'local:ana', tool: 'jira:wipe', expect: 'allow' }

  it('are run by policy test', async () => {
    config([right, { as: 'local:ana', tool: 'jira:query', arguments: { sql: 'x' }, expect: 'allow' }])
    expect(await run('test')).toMatchObject({
      code: 0,
      out: '✓ local:ana calls jira:wipe: denied: policy.permission by services.jira.access.allow[0]\n✓ local:ana calls jira:query: allowed by services.jira.access.allow[0]\n',
    })
    config([right, wrong])
    const ran = await run('test')
    expect([ran.code, ran.out.trimEnd().split('\n').at(-1)]).toEqual([
      1,
      '✗ local:ana calls jira:wipe: expected allow, but denied: policy.permission by services.jira.access.allow[0]',
    ])
  })

  it('are faults of validate where the rules decide otherwise', async () => {
    config([right])
    expect((await postern(place, ['validate', '-c', 'postern.json'])).code).toBe(0)
    config([wrong])
    const ran = await postern(place, ['validate', '-c', 'postern.json'])
    expect([ran.code, errorOf(ran)['faults']]).toEqual([
      1,
      [
        expect.objectContaining({
          key: 'access.tests[0]',
          file: 'postern.json',
          message:
            'local:ana calls jira:wipe: expected allow, but denied: policy.permission by services.jira.access.allow[0]',
        }),
      ],
    ])
  })
})
