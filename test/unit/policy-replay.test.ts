// What other rules would have said of the calls in the audit trail, without their arguments and annotations.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, describe, expect, it, vi } from 'vitest'
import { createProgram } from '../../src/cli/program.ts'
import { type Config, type ConfigInput, parseConfig } from '../../src/config/schema.ts'
import { openAuditWriter } from '../../src/node/audit-file.ts'
import { trailFile } from '../../src/node/runtime.ts'
import { replay } from '../../src/policy-replay.ts'
import type { Replayed } from '../../src/ports/policy.ts'
import type { Principal } from '../../src/ports/people.ts'
import type { AuditCombination, AuditSubject } from '../../src/ports/store.ts'
import { row } from './audit-world.ts'
import { configOfRules, question, rules } from './policy-random.ts'
import { callerOf, createAsking, organisation, tool, who } from './policy-world.ts'

const subjects = new Map<string, AuditSubject>()

const call = (caller: Principal, more: Partial<AuditCombination> = {}): AuditCombination => {
  const { person, personKey, clientId, redirectHost: redirect, scopes } = caller
  const subject = JSON.stringify([personKey, clientId, person, redirect])
  subjects.set(subject, { person, client: clientId, redirect, scopes })
  return {
    person: personKey,
    client: clientId,
    service: 'jira',
    method: 'tools/call',
    name: 'create_issue',
    subject,
    decision: 'allowed',
    code: null,
    calls: 1,
    request: 'r1',
    ...more,
  }
}

const replayed = (
  before: Config,
  after: Config,
  calls: readonly AuditCombination[],
  groups: 'then' | 'now' = 'then',
): Replayed => replay({ before, after, calls, subject: (hash) => subjects.get(hash), groups })

const before = parseConfig(organisation)
const jira = organisation.mcp_services?.['jira']
const changed = (access: object, top: object = {}): Config =>
  parseConfig({
    ...organisation,
    ...top,
    mcp_services: { ...organisation.mcp_services, jira: { ...jira, access } },
  } as ConfigInput)

describe('a replay', () => {
  it('counts what would be refused, by rule, person and tool, and who is left without anything', () => {
    const after = changed({
      allow: [{ groups: ['staff'] }, { groups: ['support'], permissions: ['execute'] }],
      tools: { search_issues: 'read', create_issue: 'write' },
    })
    const found = replayed(before, after, [
      call(who('ben'), { calls: 40, request: 'ben-1' }),
      call(who('ben'), { name: 'search_issues', calls: 5 }),
      call(who('sue'), { name: 'search_issues', decision: 'denied', code: 'policy.tool', calls: 7 }),
      call(who('sue'), { name: 'search_issues', decision: 'denied', code: 'calls.limited', calls: 3 }),
      call(callerOf('eve', ['eng-web']), { request: 'eve-1' }),
    ])
    expect(found).toMatchObject({
      calls: 56,
      refused: 41,
      granted: 7,
      unsaid: 0,
      drifted: 0,
      skipped: 3,
      people: ['okta:ben', 'okta:eve'],
      byRule: { 'services.jira.access.allow[0]': 40, 'policy.service': 1 },
      byTool: { 'jira:create_issue': 41 },
      shutOut: ['okta:eve'],
    })
    expect(found.examples.map(({ request, code }) => [request, code])).toEqual([
      ['ben-1', 'policy.permission'],
      ['eve-1', 'policy.service'],
    ])
  })

  it('does not say what depends on arguments that changed rules ask for, and knows what stays as it is', () => {
    const db = (own: object): Config =>
      parseConfig({
        ...organisation,
        mcp_services: { db: { url: 'https://db.example.com/mcp', access: own } },
      } as ConfigInput)
    const own = organisation.mcp_services?.['db']?.access as { allow: object[]; deny: object[] }
    const asked = [call(who('dan'), { service: 'db', name: 'query', calls: 12 })]
    expect(replayed(db(own), db(own), asked)).toMatchObject({ refused: 0, unsaid: 0, drifted: 0 })
    const stricter = { ...own, deny: [...own.deny, { tools: ['query'], when: { limit: { min: 10 } } }] }
    expect(replayed(db(own), db(stricter), asked)).toMatchObject({ refused: 0, unsaid: 12 })
    expect(replayed(db(own), db({ ...own, deny: [{ tools: ['query'] }] }), asked)).toMatchObject({
      refused: 12,
    })
    const open = { ...own, allow: [{ groups: ['analysts'], permissions: ['execute'] }] }
    expect(replayed(db(own), db({ ...open, deny: [] }), asked)).toMatchObject({ refused: 0, unsaid: 0 })
  })

  it('infers annotations from what happened', () => {
    const peek = (more: Partial<AuditCombination>) => [call(who('ana'), { name: 'peek', ...more })]
    const [read, write] = [{ groups: ['staff'] }, { groups: ['staff'], permissions: ['write'] }]
    // Ana may read, and it was allowed: the tool says that it reads. Denied, it says something else.
    const after = changed({ allow: [write] })
    expect(replayed(changed({ allow: [read] }), after, peek({}))).toMatchObject({ refused: 0, unsaid: 0 })
    const denied = { decision: 'denied', code: 'policy.permission' } as const
    expect(replayed(changed({ allow: [read] }), after, peek(denied))).toMatchObject({ granted: 0, unsaid: 1 })
    expect(replayed(changed({ allow: [write] }), changed({ allow: [read] }), peek({}))).toMatchObject({
      refused: 0,
      unsaid: 1,
    })
  })

  it('says where rules or groups are not those of then, and what nobody knows', () => {
    expect(replayed(before, before, [call(who('dan'))])).toMatchObject({ drifted: 1, refused: 0, granted: 0 })
    for (const more of [
      { subject: null },
      { name: 'x'.repeat(256) },
      { method: 'completion/complete', name: null },
      { service: 'added-later' },
    ])
      expect([more, replayed(before, changed({ allow: [] }), [call(who('ben'), more)])]).toMatchObject([
        more,
        { unsaid: 1, refused: 0 },
      ])
    const without = parseConfig({ ...organisation, mcp_services: {} } as ConfigInput)
    expect(replayed(before, without, [call(who('ben'))])).toMatchObject({ refused: 1 })
    // Rules where there were none.
    const none = parseConfig({ mcp_services: { jira: { url: 'https://jira.example.com/mcp' } } })
    expect(replayed(none, before, [call(who('dan'))])).toMatchObject({ refused: 1, drifted: 0 })
  })

  it('does not say what depends on where the code of an app went, where that was not kept', () => {
    const after = changed({
      allow: [{ groups: ['staff'], clients: ['redirect:app.example'], permissions: ['write'] }],
    })
    expect(replayed(before, after, [call(who('ben'))])).toMatchObject({ refused: 0, unsaid: 1 })
    const kept = { ...who('ben'), redirectHost: '' }
    expect(replayed(before, after, [call(kept)])).toMatchObject({ refused: 1, unsaid: 0 })
  })

  it('takes local users with the groups of now, on request', () => {
    const local = (groups: readonly string[]): Config =>
      parseConfig({
        local_users: [{ username: 'ana', password: 'correct-horse', groups: [...groups] }],
        mcp_services: {
          jira: {
            url: 'https://jira.example.com/mcp',
            access: { groups: ['crew'], permissions: ['write'], tools: { create_issue: 'write' } },
          },
        },
      })
    const ana = {
      ...who('ana'),
      person: { provider: 'local', subject: 'ana', groups: ['crew'] },
      personKey: 'local:ana',
    }
    const [was, is] = [local(['crew']), local([])]
    expect(replayed(was, is, [call(ana)])).toMatchObject({ refused: 0, drifted: 0 })
    expect(replayed(was, is, [call(ana)], 'now')).toMatchObject({ refused: 0, drifted: 1 })
    expect(replayed(is, was, [call(ana, { subject: null })], 'now')).toMatchObject({ refused: 0, unsaid: 0 })
  })
})

it('never says what running the calls again would not: 1,000 calls', () => {
  let said = 0
  fc.assert(
    fc.property(
      rules(true),
      rules(true),
      fc.array(question, { minLength: 10, maxLength: 10 }),
      (one, other, all) => {
        const [was, would] = [configOfRules(one), configOfRules(other)]
        const [askedThen, askedNow] = [createAsking(was).ask, createAsking(would).ask]
        for (const { caller, name, hint, args } of all) {
          if (hint === 'admin') continue
          const then = askedThen('a', caller, tool(name, hint), args).allowed
          const now = askedNow('a', caller, tool(name, hint), args).allowed
          const more = then ? {} : ({ decision: 'denied', code: 'policy.tool' } as const)
          const found = replayed(was, would, [call(caller, { service: 'a', name, ...more })])
          expect(found.drifted).toBe(0)
          if (found.unsaid === 0) {
            said++
            expect([found.refused, found.granted]).toEqual([then && !now ? 1 : 0, !then && now ? 1 : 0])
          }
        }
      },
    ),
    { numRuns: 100 },
  )
  expect(said).toBeGreaterThan(300)
})

describe('postern policy replay', () => {
  const dir = mkdtempSync(join(tmpdir(), 'postern-replay-'))
  afterAll(() => rmSync(dir, { recursive: true }))
  const local = (permission: string): string => {
    const file = join(dir, `${permission}.json`)
    const access = { groups: ['crew'], permissions: [permission], tools: { create_issue: 'write' } }
    const users = [{ username: 'ana', password: 'correct-horse', groups: ['crew'] }]
    const services = { jira: { url: 'http://localhost:2/mcp', access } }
    writeFileSync(
      file,
      JSON.stringify({ issuer: 'http://localhost:1', local_users: users, mcp_services: services }),
    )
    return file
  }
  const run = async (...words: readonly string[]) => {
    const out: string[] = []
    const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => out.push(String(text)) > 0)
    const exit = process.exitCode
    try {
      process.exitCode = undefined
      await createProgram().parseAsync(
        ['policy', 'replay', local('read'), ...words, '-c', local('write'), '--state', dir],
        { from: 'user' },
      )
      return { lines: out.join('').trimEnd().split('\n'), code: process.exitCode }
    } finally {
      process.exitCode = exit
      spy.mockRestore()
    }
  }

  it('prints what would change, and fails where it is told to', async () => {
    const now = Date.now()
    const snapshot = JSON.stringify({
      person: { provider: 'local', subject: 'ana', groups: ['crew'] },
      client: 'c1',
      scopes: ['mcp'],
    })
    const writer = openAuditWriter(trailFile(dir), { now, version: '1', retentionMs: 1e10, id: 'test' })
    const rows = [now - 1000, now - 500].map((at) => row(at, { subject: 's' }))
    writer.append([...rows, row(now - 9e7, { subject: 's' })], new Map([['s', snapshot]]))
    writer.close(now)
    const { lines, code } = await run()
    expect([code, lines]).toEqual([
      undefined,
      [
        '2 of 2 calls since 24h would have been refused (1 person, 1 tool); 0 more would have been allowed; 0 cannot be said.',
        'By rule:',
        '  2  services.jira.access',
        'By person:',
        '  2  local:ana',
        'By tool:',
        '  2  jira:create_issue',
        'Examples:',
        `  r${now - 500}  local:ana  jira:create_issue  policy.permission`,
        'Left without any call: local:ana',
        'Not in it: calls that were never made, tools added since, and calls that the trail holds no more.',
      ],
    ])
    const failed = await run('--since', '7d', '--fail-on', 'refused', '--json')
    expect([failed.code, JSON.parse(failed.lines[0] ?? '')]).toMatchObject([1, { calls: 3, refused: 3 }])
    expect((await run('--fail-on', 'granted')).code).toBeUndefined()
  })
})
