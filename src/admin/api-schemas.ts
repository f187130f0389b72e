// What the API for administrators takes and answers, operation by operation, for its OpenAPI document. A test calls each
// operation and holds what it sends and gets against this.
import * as z from 'zod'
import { permissions } from '../config/access-keys.ts'
import { issuerTypes } from '../config/assertion-keys.ts'

/** Of one operation. `answers`: by status; undefined: without a body. */
export interface ApiOperation {
  readonly body?: z.ZodType
  readonly answers: Readonly<Record<number, z.ZodType | undefined>>
  /** Media type of the answer, where it is not JSON. */
  readonly type?: string
}

const text = z.string()
const texts = z.array(z.string())
const count = z.int().min(0)
/** ISO 8601. */
const time = z.iso.datetime()
const level = z.enum(permissions)
const anything = z.record(z.string(), z.unknown())
const ok = (answer: z.ZodType): ApiOperation => ({ answers: { 200: answer } })
const done: ApiOperation = { answers: { 204: undefined } }
const list = (name: string, item: z.ZodType) => z.strictObject({ [name]: z.array(item) })

const accounts = {
  accounts: count.optional(),
  revoked: count.optional(),
  pending: count.optional(),
  not_revoked: texts.optional(),
}
const impact = z.strictObject({ grants: count, users: count, clients: count, ...accounts })
/** Absent where no process says that it is there: on Workers. */
const heard = { processes: count.optional(), applied: count.optional(), ms: count.optional() }
const ended = z.strictObject({ ended: impact, ...heard })
const wouldEnd = z.strictObject({ would_end: impact.extend({ running_calls: count.optional() }) })

const services = (): Readonly<Record<string, ApiOperation>> => {
  const service = z.strictObject({
    id: text,
    name: text,
    url: text.optional(),
    command: text.optional(),
    from: z.enum(['config', 'registered']),
    addedBy: text.optional(),
    addedAt: z.number().optional(),
    network: z.enum(['public', 'anywhere']).optional(),
  })
  const steps = z.array(
    z.strictObject({
      step: z.enum(['reachable', 'mcp', 'authorization', 'tools']),
      result: z.enum(['yes', 'no', 'unknown']),
      say: text,
    }),
  )
  const addition = z.strictObject({
    id: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/),
    service: anything,
    check: z.boolean().optional(),
  })
  const process = z.strictObject({
    service: text,
    owner: text.optional(),
    pid: z.int().optional(),
    started_at: time,
    pending: count.optional(),
    ended_at: time.optional(),
    why: text.optional(),
    stderr: z.unknown(),
  })
  const checked = z.strictObject({ id: text, steps })
  return {
    'GET /api/services': ok(list('services', service)),
    'POST /api/services': { body: addition, answers: { 200: checked, 201: checked } },
    'GET /api/services/:id': ok(service),
    'DELETE /api/services/:id': done,
    'GET /api/processes': ok(list('processes', process)),
    'PUT /api/services/:id/disabled': done,
    'DELETE /api/services/:id/disabled': done,
  }
}

const access = (): Readonly<Record<string, ApiOperation>> => {
  const grant = z.strictObject({
    id: text,
    user: text,
    email: text.optional(),
    client: text,
    client_name: text,
    client_kind: text,
    service: text.optional(),
    resource: text,
    scopes: texts,
    kind: text,
    actor: texts.optional(),
    redirect_host: text,
    created_at: time,
    last_used_at: time.optional(),
    last_used_from: text.optional(),
  })
  const party = { user: text.optional(), client: text.optional(), domain: text.optional() }
  const block = z.strictObject({ ...party, grant: text.optional(), by: text, at: time })
  const wanted = z.strictObject({
    ...party,
    revoke_upstream: z.boolean().optional(),
    dry_run: z.boolean().optional(),
  })
  const closure = z.strictObject({
    locked: z.boolean(),
    by: text.optional(),
    at: time.optional(),
    disabled: z.array(z.strictObject({ service: text, by: text, at: time })),
  })
  const one = z.strictObject({ ended: z.strictObject(accounts), ...heard })
  return {
    'GET /api/grants': ok(z.strictObject({ grants: z.array(grant), truncated: z.boolean() })),
    'DELETE /api/grants': { answers: { 200: z.union([ended, wouldEnd]), 202: ended } },
    'GET /api/grants/:id': ok(grant),
    'DELETE /api/grants/:id': { answers: { 200: one, 202: one, 204: undefined } },
    'POST /api/grants/:id/end': done,
    'POST /api/grants/:id/block': { answers: { 201: ended } },
    'POST /api/grants/:id/unblock': done,
    'GET /api/blocks': ok(list('blocks', block)),
    'POST /api/blocks': { body: wanted, answers: { 200: wouldEnd, 201: ended, 202: ended } },
    'DELETE /api/blocks': done,
    'GET /api/lock': ok(closure),
    'PUT /api/lock': done,
    'DELETE /api/lock': done,
    'DELETE /api/sessions': ok(z.strictObject({ sessions: count })),
  }
}

const programs = (): Readonly<Record<string, ApiOperation>> => {
  const token = z.strictObject({
    id: text,
    name: text,
    user: text,
    kind: text,
    services: texts,
    permission: level.optional(),
    created_at: time,
    expires_at: time,
    last_used_at: time.optional(),
  })
  const account = z.strictObject({
    id: text,
    user: text,
    name: text,
    owner: text.optional(),
    groups: texts,
    services: texts,
    permissions: z.array(level).optional(),
    clients: texts,
    grants: count,
    last_used_at: time.optional(),
  })
  const issuer = z.strictObject({
    id: text,
    type: z.enum(issuerTypes),
    issuer: text.optional(),
    trust_domain: text.optional(),
    provider: text.optional(),
    keys: z.enum(['metadata', 'jwks_uri', 'jwks']),
    clients: texts,
    services: texts,
    permissions: z.array(level).optional(),
    service_accounts: texts,
  })
  const binding = z.strictObject({ client: text, account: text, by: text, at: time })
  return {
    'GET /api/client-bindings': ok(
      z.strictObject({
        client_bindings: z.array(binding),
        unbound_clients: z.array(
          z.strictObject({ client: text, name: text, method: text, registered_at: time }),
        ),
        truncated: z.boolean(),
      }),
    ),
    'POST /api/client-bindings': {
      body: z.strictObject({ client: text, account: text }),
      answers: { 201: binding },
    },
    'DELETE /api/client-bindings': ok(z.strictObject({ ended: count })),
    'GET /api/assertion-issuers': ok(list('assertion_issuers', issuer)),
    'GET /api/tokens': ok(list('tokens', token)),
    'DELETE /api/tokens/:id': done,
    'GET /api/service-accounts': ok(list('service_accounts', account)),
    'GET /api/service-accounts/:id': ok(account),
  }
}

const rules = (): Readonly<Record<string, ApiOperation>> => {
  const record = z.strictObject({
    userId: text,
    servers: texts.optional(),
    permissions: z.array(level).optional(),
    groups: texts.optional(),
  })
  const rule = z.strictObject({
    id: text,
    record: record.optional(),
    allow: anything.optional(),
    deny: anything.optional(),
    by: text,
    at: time,
    in_force: z.boolean(),
    faults: texts.optional(),
  })
  const counts = z.record(z.string(), count)
  const replay = z.strictObject({
    access: anything,
    since: text.optional(),
    groups: z.enum(['then', 'now']).optional(),
  })
  const example = z.strictObject({
    request: text.optional(),
    person: text,
    service: text,
    what: text,
    code: text,
  })
  const replayed = z.strictObject({
    calls: count,
    refused: count,
    granted: count,
    unsaid: count,
    drifted: count,
    skipped: count,
    partial: z.boolean(),
    by_rule: counts,
    by_tool: counts,
    tools: texts,
    people: texts.optional(),
    by_person: counts.optional(),
    examples: z.array(example).optional(),
    shut_out: texts.optional(),
  })
  return {
    'GET /api/access': ok(z.strictObject({ stored: z.enum(['any', 'deny', 'off']), rules: z.array(rule) })),
    'POST /api/access': {
      body: z.union([record, z.strictObject({ allow: anything }), z.strictObject({ deny: anything })]),
      answers: { 201: rule },
    },
    'DELETE /api/access': done,
    'GET /api/access/:id': ok(rule),
    'DELETE /api/access/:id': done,
    'POST /api/policy/replay': { body: replay, answers: { 200: replayed } },
  }
}

const tools = (): Readonly<Record<string, ApiOperation>> => {
  const decision = z.strictObject({
    service: text,
    tool: text.optional(),
    prompt: text.optional(),
    action: z.enum(['approve', 'block']),
    digest: text.optional(),
  })
  const by = { by: text, at: time }
  const tool = z.strictObject({
    service: text,
    kind: z.enum(['tool', 'prompt']),
    name: text,
    account: text.optional(),
    state: text,
    digest: text.optional(),
    seen_at: time,
    approved: z.array(z.strictObject({ digest: text, ...by })),
    blocked: z.strictObject(by).optional(),
    definition: z.unknown().optional(),
    approved_definition: z.unknown().optional(),
    changes: z.array(anything).optional(),
  })
  return {
    'GET /api/tools': ok(list('tools', tool)),
    'POST /api/tools': { body: decision, answers: { 200: list('tools', tool) } },
  }
}

const records = (): Readonly<Record<string, ApiOperation>> => {
  const flow = z.looseObject({
    id: text,
    at: time,
    state: z.enum(['open', 'waiting', 'completed', 'stalled', 'failed', 'abandoned']),
    steps: z.array(z.looseObject({ at: time, delta: z.number(), lane: text, name: text, meaning: text })),
  })
  const event = z.looseObject({ at: z.number(), time, kind: text, decision: text, seq: z.int(), hash: text })
  const check = z.strictObject({
    ok: z.boolean(),
    rows: count,
    chains: count,
    open: z.array(z.strictObject({ chain: text, seq: z.int() })),
    keys: texts,
    damaged: z.array(z.strictObject({ file: text, at: time })),
    fault: anything.optional(),
  })
  const body = z.looseObject({ body: text, time })
  return {
    'GET /api/flows': ok(z.strictObject({ flows: z.array(flow), truncated: z.boolean() })),
    'GET /api/flows/:id': ok(flow),
    'GET /api/audit': ok(
      z.strictObject({ events: z.array(event), next: text.optional(), partial: z.boolean().optional() }),
    ),
    'GET /api/audit/export': { answers: { 200: z.string() }, type: 'application/jsonl' },
    'GET /api/audit/bodies/:hash': ok(body),
    'POST /api/audit/verify': ok(check),
  }
}

/** By `METHOD /path` of the route table. Made when somebody asks for the document. */
export const apiOperations = (): Readonly<Record<string, ApiOperation>> => ({
  ...services(),
  ...access(),
  ...programs(),
  ...rules(),
  ...tools(),
  ...records(),
})
