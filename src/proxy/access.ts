// The step of the access rules: each message of a call is judged, and what is denied is answered here.
import { Refusal } from '../kit/refusal.ts'
import { type Message, type RpcId, rpcIdOf } from '../mcp/envelope.ts'
import { isRecord, parseWithoutRepeats } from '../mcp/json-rpc.ts'
import { isModern } from '../mcp/revisions.ts'
import type { Denied, MessageFacts, Policy, ServicePolicy, Verdict } from '../ports/policy.ts'
import type { CallMessage, PermittedCall, ReadCall, Step, StepResult } from './admitted-call.ts'
import type { ToolCatalog } from './tool-catalog.ts'

export interface AccessDeps {
  /** Absent: no rules. */
  readonly policy?: Policy | undefined
  readonly catalog: ToolCatalog
}

type JudgedCall = PermittedCall & CallMessage

/** Longest name that a denial repeats. */
const mostPrinted = 80

/** What the caller sent, in characters that no terminal and no page acts on. */
const printable = (name: string | undefined): string =>
  (name ?? '').slice(0, mostPrinted).replaceAll(/[^\x20-\x7e]/g, '?')

const kindNames: Readonly<Partial<Record<Denied['code'], string>>> = {
  'policy.tool': 'use the tool',
  'policy.prompt': 'use the prompt',
  'policy.resource': 'read the resource',
}

/** Undefined: the sentence of the table. */
const sentence = (
  { code, need, have, reason }: Denied,
  { name, method }: Pick<Message, 'name' | 'method'>,
  service: string,
): string | undefined => {
  const what = kindNames[code]
  if (what !== undefined)
    return name === undefined ? undefined : `Access denied: you may not ${what} ${printable(name)}.`
  if (code === 'policy.service') return `Access denied: You don't have access to server '${service}'`
  if (code === 'policy.client') return `Access denied: this app may not use server '${service}'`
  if (code === 'policy.unlisted') return `Unknown tool: ${printable(name)}`
  if (code === 'policy.method') return `Method not found: ${printable(method)}`
  if (code === 'policy.permission')
    return `Access denied: ${printable(name ?? method)} needs ${String(need)}; you have ${String(have)}.`
  if (code !== 'policy.denied') return undefined
  const denied = name === undefined ? `access to server '${service}'` : printable(name)
  return reason ?? `Access denied: a rule denies ${denied}.`
}

interface About {
  readonly service: string
  readonly message: Pick<Message, 'name' | 'method'>
  readonly rpcId: RpcId
  /** HTTP status in place of the row's. */
  readonly status?: number | undefined
}

const createDenial =
  (policy: Policy) =>
  (denied: Denied, { service, message, rpcId, status }: About): Refusal => {
    const { code, rule, need } = denied
    const told = policy.disclosesRules || code === 'policy.unlisted' || code === 'policy.method'
    const say = told ? sentence(denied, message, service) : 'Access denied.'
    const data = told
      ? { ...(rule === undefined ? {} : { rule }), ...(need === undefined ? {} : { need }) }
      : {}
    return new Refusal(code, [rule, need && `needs ${need}`].filter(Boolean).join(', '), {
      rpcId,
      rpcData: data,
      ...(rule === undefined ? {} : { rule }),
      ...(say === undefined ? {} : { say }),
      ...(status === undefined ? {} : { status }),
    })
  }

/** What a rule is told of a message; the body is read a second time, once, and only where a rule asks for it. */
const createFactsOf = (
  { body, json, address, principal, envelope }: JudgedCall,
  catalog: ToolCatalog,
): ((index: number) => MessageFacts) => {
  let messages: readonly unknown[] | undefined
  const read = (): readonly unknown[] => {
    const value = parseWithoutRepeats(json ? json.text : new TextDecoder().decode(body))
    return envelope?.batch ? (value as readonly unknown[]) : [value]
  }
  return (index) => ({
    params() {
      messages ??= read()
      const message = messages[index]
      const params = isRecord(message) ? message['params'] : undefined
      return isRecord(params) ? params : {}
    },
    tool: (name) => catalog.find(address.service, principal, name),
  })
}

const isUnlisted = (verdict: Verdict): boolean => !verdict.allowed && verdict.code === 'policy.unlisted'

/** One verdict for each message. */
const judgeMessages = (rules: ServicePolicy, call: JudgedCall, catalog: ToolCatalog): readonly Verdict[] => {
  const factsOf = createFactsOf(call, catalog)
  return (call.envelope?.messages ?? []).map((message, i) => rules.judge(call.principal, message, factsOf(i)))
}

/**
 * Nothing of a batch is passed on that was not allowed: the messages that were denied are told so, and the
 * others that they were not sent.
 */
const batchDenial = (
  denial: ReturnType<typeof createDenial>,
  call: JudgedCall,
  verdicts: readonly Verdict[],
): Refusal => {
  const service = call.address.service.id
  const messages = call.envelope?.messages ?? []
  const refusals = verdicts.map((verdict, i) => {
    const message = messages[i] as Message
    return verdict.allowed
      ? new Refusal('policy.batch')
      : denial(verdict, { service, message, rpcId: message.id ?? null })
  })
  const first = refusals.find(({ code }) => code !== 'policy.batch') ?? new Refusal('policy.batch')
  const answers = messages.flatMap(({ kind, id }, i) =>
    kind === 'request' ? [{ id: id ?? null, refusal: refusals[i] as Refusal }] : [],
  )
  return new Refusal(first.code, first.why, {
    answers,
    status: answers.length === 0 ? 202 : 200,
    ...(first.detail.rule === undefined ? {} : { rule: first.detail.rule }),
  })
}

/** Of a message that comes alone. */
const messageDenial = (
  denial: ReturnType<typeof createDenial>,
  call: JudgedCall,
  denied: Denied,
): Refusal => {
  const message = call.envelope?.messages[0] as Message
  const service = call.address.service.id
  if (message.kind !== 'request') {
    const dropped = denial(denied, { service, message, rpcId: null })
    // The sender of a notification is told nothing (JSON-RPC 2.0 §4.1).
    return new Refusal(dropped.code, dropped.why, { ...dropped.detail, answers: [], status: 202 })
  }
  const modern = call.inbound.versions.some((version) => isModern(version))
  const status = denied.code === 'policy.method' && modern ? 404 : undefined
  return denial(denied, { service, message, rpcId: rpcIdOf(call.envelope), status })
}

/** Throws what is denied. */
const check = (
  denial: ReturnType<typeof createDenial>,
  call: JudgedCall,
  verdicts: readonly Verdict[],
): undefined => {
  const denied = verdicts.find((verdict) => !verdict.allowed)
  if (!denied) return undefined
  throw call.envelope?.batch ? batchDenial(denial, call, verdicts) : messageDenial(denial, call, denied)
}

const createCheck = ({ policy, catalog }: AccessDeps) => {
  if (!policy) return (): StepResult => undefined
  const denial = createDenial(policy)
  return (call: ReadCall): StepResult | Promise<StepResult> => {
    if (!policy.services.ruled) return undefined
    const { address, principal, envelope } = call
    const rules = policy.of(address.service)
    if (!rules) return undefined
    if (!envelope) {
      const verdict = rules.judgeConnection(principal)
      if (verdict.allowed) return undefined
      const message = { name: undefined, method: undefined }
      throw denial(verdict, { service: address.service.id, message, rpcId: null, status: 403 })
    }
    // What a client of HTTP+SSE posts becomes a call of its own, which passes here.
    if (address.transport === 'sse') return undefined
    const verdicts = judgeMessages(rules, call, catalog)
    if (!verdicts.some(isUnlisted)) return check(denial, call, verdicts)
    return catalog.refresh(call).then(() => check(denial, call, judgeMessages(rules, call, catalog)))
  }
}

/** Throws `policy.*`. */
export const checkAccess: Step<AccessDeps, ReadCall, ReadCall> = {
  name: 'policy',
  make: createCheck,
}
