// An access configuration as an organisation would write it, the people in it, and what they ask.
import { type Config, type ConfigInput, parseConfig } from '../../src/config/schema.ts'
import { decide } from '../../src/policy/decide.ts'
import { createDecide } from '../../src/policy/policy.ts'
import { type PolicyCaller, rulesOf } from '../../src/policy/rules.ts'
import type { Principal } from '../../src/ports/people.ts'
import type { Arguments, Subject, ToolHint, Verdict } from '../../src/ports/policy.ts'

export const organisation: ConfigInput = {
  oauth_providers: { okta: { issuer: 'https://example.okta.com', client_id: 'postern' } },
  access: {
    groups: {
      engineering: { members: ['ben@example.com'], from: { okta: ['eng-*'] } },
    },
    clients: { deny: ['domain:evil.example'] },
    allow: [{ groups: ['ops'], services: ['*'], permissions: ['admin'] }],
    deny: [
      {
        id: 'no-contractors',
        groups: ['contractors'],
        tools: ['delete_*'],
        reason: 'Contractors may not delete.',
      },
    ],
  },
  mcp_services: {
    jira: {
      url: 'https://jira.example.com/mcp',
      access: {
        allow: [
          { groups: ['staff'] },
          { groups: ['engineering'], permissions: ['write'] },
          { people: ['ana@example.com'], clients: ['domain:claude.ai'], permissions: ['admin'] },
          { groups: ['support'], permissions: ['execute'], tools: ['reopen_*'] },
        ],
        deny: [{ tools: ['delete_project'] }],
        tools: { search_issues: 'read', create_issue: 'write', 'delete_*': 'admin', export_all: 'deny' },
        resources: { deny: ['jira://secrets/**'] },
        prompts: { deny: ['admin_*'] },
        methods: ['acme/export'],
      },
    },
    db: {
      url: 'https://db.example.com/mcp',
      access: {
        allow: [
          {
            groups: ['analysts'],
            permissions: ['execute'],
            tools: ['query'],
            when: { database: ['analytics', 'staging'], limit: { max: 1000 } },
          },
        ],
        deny: [{ tools: ['query'], when: { sql: { glob: '*DROP *' } } }],
      },
    },
    wiki: { url: 'https://wiki.example.com/mcp' },
  },
}

export const claude = 'https://claude.ai/oauth/client.json'

/** A person of okta by an app. */
export const callerOf = (name: string, groups: readonly string[], clientId = 'dyn'): Principal => ({
  person: { provider: 'okta', subject: name, email: `${name}@example.com`, groups },
  personKey: `okta:${name}`,
  clientId,
  clientName: clientId,
  grantId: 'g',
  scopes: ['mcp'],
  resource: '',
  expiresAt: 0,
})

export const people = {
  ben: ['staff', 'eng-web'],
  ana: ['staff'],
  cy: ['staff', 'eng-web', 'contractors'],
  sue: ['support'],
  dan: ['analysts'],
} as const
export type Name = keyof typeof people
export const who = (name: Name, clientId?: string): Principal => callerOf(name, people[name], clientId)

export const tool = (name: string, hint?: ToolHint): Subject => ({ kind: 'tool', name, hint })

export interface Asking {
  ask(service: string, caller: PolicyCaller, subject: Subject, args?: Arguments): Verdict
}

/** Both evaluators; throws where they differ. */
export const createAsking = (config: Config): Asking => {
  const made = new Map<
    string,
    { rules: ReturnType<typeof rulesOf>; quick: ReturnType<typeof createDecide> }
  >()
  return {
    ask(service, caller, subject, args) {
      const before = made.get(service)
      const rules = before?.rules ?? rulesOf(config, service, config.mcp_services[service]?.access)
      const quick = before?.quick ?? createDecide(rules)
      made.set(service, { rules, quick })
      const straight = decide(rules, caller, subject, args)
      const same = quick(caller as Principal | undefined, subject, () => args)
      if (JSON.stringify(straight) !== JSON.stringify(same))
        throw new Error(`${JSON.stringify(straight)} is not ${JSON.stringify(same)}`)
      return straight
    },
  }
}

export const asking = createAsking(parseConfig(organisation))

/** A verdict as one line. */
export const line = (verdict: Verdict): string =>
  verdict.allowed
    ? `allow ${verdict.rule}`
    : [verdict.code, verdict.code === 'policy.permission' ? verdict.need : verdict.rule]
        .filter(Boolean)
        .join(' ')
