// Random access rules, callers, tools and arguments, small enough that rules and calls often meet.
import fc from 'fast-check'
import { type Config, parseConfig } from '../../src/config/schema.ts'
import type { Arguments, ToolHint } from '../../src/ports/policy.ts'
import { callerOf } from './policy-world.ts'

const some = <Value>(list: readonly Value[]) =>
  fc.subarray([...list], { minLength: 1, maxLength: Math.min(2, list.length) })
const maybe = <Value>(value: fc.Arbitrary<Value>) => fc.option(value, { nil: undefined })

const groups = ['staff', 'ops', 'guests']
const apps = ['desk', 'client_a', 'https://app.example/c.json', 'https://www.app.example/d.json']
const toolNames = ['get_a', 'get_b', 'put_a', 'delete_a', 'deny']
const toolGlobs = [...toolNames, 'get_*', '*_a', '*et_b', '*']
const permissions = ['read', 'write', 'execute', 'admin'] as const

const who = fc.record(
  {
    groups: some(groups),
    people: some(['okta:ana', 'ben@example.com']),
    everyone: fc.constant(true as const),
    clients: some([
      'configured',
      'document',
      'dynamic',
      'domain:app.example',
      'desk',
      'https://app.example/*',
    ]),
  },
  { requiredKeys: [] },
)
const value = fc.constantFrom('x', 'y', 1, 2, true, null)
const condition = fc.oneof(
  value,
  fc.array(value, { minLength: 1, maxLength: 2 }),
  fc.constant({ glob: 'x*' }),
  fc.constant({ min: 1, max: 1 }),
  fc.array(value, { minLength: 1, maxLength: 2 }).map((not) => ({ not })),
  fc.constant({ absent: true as const }),
)
const when = fc.dictionary(fc.constantFrom('p', 'q'), condition, { minKeys: 1, maxKeys: 2 })
const what = fc.record({ tools: some(toolGlobs), when }, { requiredKeys: ['tools'] })
const subject = fc.oneof(what, fc.constant({}), fc.record({ prompts: some(['p*']) }))

const allow = fc.tuple(who, subject, maybe(some(permissions))).map(([whom, about, granted]) => ({
  everyone: Object.keys(whom).some((key) => key !== 'clients') ? undefined : (true as const),
  ...whom,
  ...about,
  permissions: granted,
}))
const deny = (whenToo: boolean) =>
  fc.tuple(who, subject).map(([whom, about]) => ({
    ...whom,
    ...Object.fromEntries(Object.entries(about).filter(([key]) => whenToo || key !== 'when')),
  }))

const section = (denyWhen: boolean) =>
  fc.record({
    allow: fc.array(allow, { maxLength: 4 }),
    deny: fc.array(deny(denyWhen), { maxLength: 2 }),
    tools: fc.dictionary(fc.constantFrom(...toolGlobs), fc.constantFrom(...permissions, 'deny'), {
      maxKeys: 3,
    }),
    unmarked: fc.constantFrom(...permissions),
  })
const top = (denyWhen: boolean) =>
  fc.record({
    default: fc.constantFrom('none' as const, 'everyone' as const),
    clients: maybe(
      fc.record(
        { allow: some(['desk', 'document']), deny: some(['document', 'client_a']) },
        { requiredKeys: [] },
      ),
    ),
    allow: fc.array(allow, { maxLength: 1 }),
    deny: fc.array(deny(denyWhen), { maxLength: 1 }),
  })
/** The top level, and the section of the one service `a`. `denyWhen`: rules that deny have conditions too. */
export const rules = (denyWhen: boolean) => fc.tuple(top(denyWhen), maybe(section(denyWhen)))

const caller = fc
  .tuple(fc.constantFrom('ana', 'ben', 'cy'), fc.subarray(groups), fc.constantFrom(...apps), fc.boolean())
  .map(([name, in_, app, unknown]) => {
    const found = callerOf(name, in_, app)
    return unknown ? { ...found, person: { ...found.person, groupsUnknown: true as const } } : found
  })
const args: fc.Arbitrary<Arguments> = fc.oneof(
  fc.constant(undefined),
  fc.dictionary(fc.constantFrom('p', 'q'), fc.oneof(value, fc.constant('xyz'), fc.constant({})), {
    maxKeys: 2,
  }),
)
export const question = fc.record({
  caller,
  name: fc.constantFrom(...toolNames, 'GET_A', 'other'),
  hint: fc.constantFrom<ToolHint>(undefined, ...permissions),
  args,
})

type Draw<Of> = Of extends fc.Arbitrary<infer Value> ? Value : never
export type Written = Draw<ReturnType<typeof rules>>
export type Question = Draw<typeof question>

export const configOfRules = ([access, own]: Written): Config =>
  parseConfig({
    oauth_providers: { okta: { issuer: 'https://example.okta.com', client_id: 'postern' } },
    clients: { desk: { name: 'Desk', redirect_uris: ['https://desk.example/cb'] } },
    access,
    mcp_services: { a: { url: 'https://a.example/mcp', ...(own && { access: own }) } },
  } as never)
