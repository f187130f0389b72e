// The step of the access rules: each message of a call is judged, and what is denied is answered here.
import { isEnough } from '../kit/levels.ts'
import { Refusal } from '../kit/refusal.ts'
import type { SingleFlight } from '../kit/single-flight.ts'
import { type RpcId, rpcIdOf } from '../mcp/envelope.ts'
import { isRecord, parseWithoutRepeats } from '../mcp/json-rpc.ts'
import { isModern } from '../mcp/revisions.ts'
import type { Principal } from '../ports/people.ts'
import type { AskForMore, BeyondConsent } from '../ports/modules.ts'
import type {
  Denied,
  JudgedMessage,
  LearnedTool,
  MessageFacts,
  Permission,
  PinKind,
  Policy,
  ServicePolicy,
  Verdict,
} from '../ports/policy.ts'
import type { Service } from '../ports/services.ts'
import type { CallMessage, PermittedCall, ReadCall, Step, StepResult } from './admitted-call.ts'
import { type AskServer, readList, readPins } from './own-lists.ts'
import { type PartialCallDeps, keepAllowed, limitCall } from './partial-call.ts'
import type { Tasks } from './tasks.ts'
import type { EndForConsentDeps } from './upstream-credential.ts'

// The tools that servers have said they have: what is on no list is not called, so that no spelling of a name
// can mean one tool to the access rules and another one to the server.

type KnownTool = Omit<LearnedTool, 'name'>

export interface ToolCatalog {
  find(service: Service, principal: Principal | undefined, name: string): KnownTool | undefined
  /** Those that name this resource as their page. */
  shownBy(service: Service, principal: Principal | undefined, uri: string): readonly LearnedTool[]
  /**
   * Adds to what is known, because a list may have further pages. A tool that is on the list no more is the
   * server's to refuse.
   */
  learn(service: Service, principal: Principal | undefined, tools: readonly LearnedTool[]): void
  /** The server says that its tools have changed. */
  forget(service: Service): void
  /** Asks the server for its list, as this caller would; at most every so often. Never rejects. */
  refresh(call: ReadCall): Promise<void>
  /** Asks for the whole of one list. Rejects where the server did not say it in time. */
  walk(call: ReadCall, kind: PinKind): Promise<void>
}

/** Servers may show each person other tools, so each has a list of their own. */
const mostPeople = 1_000
const mostTools = 5_000
const longestName = 256
const refreshEveryMs = 30_000
const refreshTimeoutMs = 5_000
const walkTimeoutMs = 2_000

interface PersonsTools {
  readonly tools: Map<string, KnownTool>
  /** Epoch ms of the last refresh. */
  refreshedAt: number
}

/** What each person was shown of the tools of a service, the most recent last. */
export type KnownTools = WeakMap<Service, Map<string, PersonsTools>>

/** The tools that a person was shown, or else (unless only `own` ones count) those that anybody was shown last. */
export const listedTools = (
  known: KnownTools,
  service: Service,
  person: string,
  own: boolean,
): readonly LearnedTool[] => {
  const people = known.get(service)
  const shown = (key: string): PersonsTools['tools'] | undefined => {
    const tools = people?.get(key)?.tools
    return tools && tools.size > 0 ? tools : undefined
  }
  const others = own ? [] : [...(people?.keys() ?? [])].reverse()
  const key = [person, ...others].find((one) => shown(one))
  const tools = key === undefined ? undefined : shown(key)
  return [...(tools ?? [])].map(([name, tool]) => ({ name, ...tool }))
}

export interface ToolCatalogDeps {
  readonly ask: AskServer
  readonly now: () => number
  readonly singleFlight: SingleFlight
  /** The server says that its lists have changed. */
  readonly changed: (service: Service) => void
  readonly known: KnownTools
  /** What a person was shown is kept beyond this process. */
  readonly keep: (service: Service, person: string) => void
}

export const createToolCatalog = ({
  ask,
  now,
  singleFlight,
  changed,
  known,
  keep,
}: ToolCatalogDeps): ToolCatalog => {
  const toolsOf = (service: Service, principal: Principal | undefined): PersonsTools => {
    const people = known.get(service) ?? new Map<string, PersonsTools>()
    known.set(service, people)
    const person = principal?.personKey ?? ''
    const found = people.get(person) ?? { tools: new Map<string, KnownTool>(), refreshedAt: -Infinity }
    people.delete(person)
    if (people.size >= mostPeople) people.delete(people.keys().next().value as string)
    people.set(person, found)
    return found
  }
  return {
    find: (service, principal, name) =>
      known
        .get(service)
        ?.get(principal?.personKey ?? '')
        ?.tools.get(name),
    shownBy(service, principal, uri) {
      const tools = known.get(service)?.get(principal?.personKey ?? '')?.tools ?? []
      return [...tools].flatMap(([name, tool]) => (tool.page === uri ? [{ name, ...tool }] : []))
    },
    learn(service, principal, list) {
      const { tools } = toolsOf(service, principal)
      for (const { name, ...tool } of list)
        if (name.length <= longestName && (tools.size < mostTools || tools.has(name))) tools.set(name, tool)
      keep(service, principal?.personKey ?? '')
    },
    forget(service) {
      known.delete(service)
      changed(service)
    },
    async refresh(call) {
      const { service } = call.address
      const person = toolsOf(service, call.principal)
      const key = `${service.id} ${call.principal?.personKey ?? ''}`
      await singleFlight(key, async () => {
        if (now() - person.refreshedAt < refreshEveryMs) return
        person.refreshedAt = now()
        // Whatever goes wrong, the tool stays unknown.
        await readList(call, 'tool', ask, refreshTimeoutMs).catch(() => undefined)
      })
    },
    walk: (call, kind) => readList(call, kind, ask, walkTimeoutMs),
  }
}

export interface AccessDeps extends EndForConsentDeps, PartialCallDeps {
  /** Absent: no rules. */
  readonly policy?: Policy | undefined
  readonly catalog: ToolCatalog
  readonly tasks: Pick<Tasks, 'check' | 'called'>
  readonly askForMore: AskForMore
}

type JudgedCall = PermittedCall & CallMessage

/** Longest name that a denial repeats. */
const mostPrinted = 80

/** What the caller sent, in characters that no terminal and no page acts on. */
const printable = (name: string | undefined): string =>
  (name ?? '').slice(0, mostPrinted).replaceAll(/[^\x20-\x7e]/g, '?')

/** What is held back looks like what a rule hides. */
const shownAs = ({ code }: Denied, method: string | undefined): Denied['code'] =>
  code !== 'policy.pinned' ? code : method === 'tools/call' ? 'policy.tool' : 'policy.prompt'

const kindNames: Readonly<Partial<Record<Denied['code'], string>>> = {
  'policy.tool': 'use the tool',
  'policy.prompt': 'use the prompt',
  'policy.resource': 'read the resource',
}

/** Undefined: the sentence of the table. */
const sentence = (
  denied: Denied,
  { name, method }: Pick<JudgedMessage, 'name' | 'method'>,
  service: string,
): string | undefined => {
  const { need, have, reason } = denied
  const code = shownAs(denied, method)
  const act = kindNames[code]
  if (act !== undefined)
    return name === undefined ? undefined : `Access denied: you may not ${act} ${printable(name)}.`
  if (code === 'policy.service') return `Access denied: You don't have access to server '${service}'`
  if (code === 'policy.client') return `Access denied: this app may not use server '${service}'`
  if (code === 'policy.unlisted') return `Unknown tool: ${printable(name)}`
  if (code === 'policy.method') return `Method not found: ${printable(method)}`
  if (code === 'consent.tool')
    return `Access denied: the user did not allow this app to use ${printable(name)}.`
  if (code === 'policy.permission')
    return `Access denied: ${printable(name ?? method)} needs ${String(need)}; you have ${String(have)}.`
  if (code !== 'policy.denied') return undefined
  const what = name === undefined ? `access to server '${service}'` : printable(name)
  return reason ?? `Access denied: a rule denies ${what}.`
}

interface About {
  readonly service: string
  readonly message: Pick<JudgedMessage, 'name' | 'method' | 'earlier'>
  readonly rpcId: RpcId
  /** HTTP status in place of the row's. */
  readonly status?: number | undefined
}

const createDenial =
  (policy: Policy) =>
  (denied: Denied, { service, message, rpcId, status }: About): Refusal => {
    const { code, rule, need } = denied
    if (message.earlier && message.name === undefined)
      return new Refusal('task.unknown', 'nobody knows which tool made the task', { rpcId })
    const told = policy.disclosesRules || code === 'policy.unlisted' || code === 'policy.method'
    const say = told ? sentence(denied, message, service) : 'Access denied.'
    const data = told
      ? { ...(rule === undefined ? {} : { rule }), ...(need === undefined ? {} : { need }) }
      : {}
    return new Refusal(code, [rule, need && `needs ${need}`].filter(Boolean).join(', '), {
      rpcId,
      rpcData: data,
      ...(rule === undefined ? {} : { rule }),
      ...(code === 'policy.pinned' && { shownAs: shownAs(denied, message.method) }),
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
    shownBy: (uri) => catalog.shownBy(address.service, principal, uri),
  })
}

/** The server's list of tools may say otherwise: there may be such a tool, or one whose page this is. */
const isUnlisted = (verdict: Verdict, name: string | undefined): boolean =>
  !verdict.allowed &&
  (verdict.code === 'policy.unlisted' ||
    (verdict.code === 'policy.resource' && name?.startsWith('ui://') === true))

/** What the messages ask for: a task that one names is a call of its tool. */
const judgedOf = ({ judged, envelope }: JudgedCall): readonly JudgedMessage[] =>
  judged ?? envelope?.messages ?? []

/** One verdict for each message. */
const judgeMessages = (rules: ServicePolicy, call: JudgedCall, catalog: ToolCatalog): readonly Verdict[] => {
  const factsOf = createFactsOf(call, catalog)
  return judgedOf(call).map((message, i) => rules.judge(call.principal, message, factsOf(i)))
}

/** What each message of a batch is refused; undefined for those that may go on. */
const batchRefusals = (
  denial: ReturnType<typeof createDenial>,
  call: JudgedCall,
  verdicts: readonly Verdict[],
  declined?: Refusal,
): readonly (Refusal | undefined)[] =>
  verdicts.map((verdict, i) => {
    if (verdict.allowed) return undefined
    if (declined && verdict.code === 'consent.level') return declined
    const message = judgedOf(call)[i] as JudgedMessage
    const rpcId = call.envelope?.messages[i]?.id ?? null
    return denial(verdict, { service: call.address.service.id, message, rpcId })
  })

/** Of a message that comes alone. */
const messageDenial = (
  denial: ReturnType<typeof createDenial>,
  call: JudgedCall,
  denied: Denied,
): Refusal => {
  const message = judgedOf(call)[0] as JudgedMessage
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

/**
 * What the rules allow and the person's consent does not: one challenge for all of it, and nothing is sent on. Of a
 * batch none is, because a challenge is the answer to the whole request.
 */
const beyondConsent = (call: JudgedCall, verdicts: readonly Verdict[]): BeyondConsent | undefined => {
  const { principal, address, origin } = call
  let most: Permission | undefined
  let what: JudgedMessage | undefined
  verdicts.forEach((verdict, i) => {
    if (verdict.allowed || verdict.code !== 'consent.level' || !verdict.need) return
    if (most !== undefined && isEnough(most, verdict.need)) return
    most = verdict.need
    what = judgedOf(call)[i]
  })
  if (most === undefined || !principal) return undefined
  return { principal, address, origin, need: most, what: printable(what?.name ?? what?.method) }
}

/**
 * Throws what is denied, and rejects with what the person has to be asked for. Of a batch only the messages that
 * are allowed go on.
 */
const createEnforcement = (deps: AccessDeps, policy: Policy) => {
  const denial = createDenial(policy)
  const ask = async (
    call: JudgedCall,
    beyond: BeyondConsent,
    verdicts: readonly Verdict[],
  ): Promise<StepResult> => {
    const refusal = await deps.askForMore(beyond)
    if (call.envelope?.batch && refusal.code !== 'consent.level')
      return keepAllowed(deps, call, batchRefusals(denial, call, verdicts, refusal))
    throw new Refusal(refusal.code, refusal.why, { ...refusal.detail, rpcId: rpcIdOf(call.envelope) })
  }
  return (call: JudgedCall, verdicts: readonly Verdict[]): StepResult | Promise<StepResult> => {
    call.rules = verdicts.map(({ rule }) => rule)
    const denied = verdicts.find((verdict) => !verdict.allowed)
    if (!denied) return undefined
    const beyond = beyondConsent(call, verdicts)
    if (beyond) return ask(call, beyond, verdicts)
    if (call.envelope?.batch) return keepAllowed(deps, call, batchRefusals(denial, call, verdicts))
    throw messageDenial(denial, call, denied)
  }
}

const createCheck = (deps: AccessDeps) => {
  const { policy, catalog } = deps
  if (!policy) return (): StepResult => undefined
  const denial = createDenial(policy)
  const check = createEnforcement(deps, policy)
  const decided = (rules: ServicePolicy, call: ReadCall, verdicts: readonly Verdict[]) => {
    const goOn = (end: StepResult): StepResult => {
      if (end === undefined)
        limitCall(rules, call, (uri) => catalog.shownBy(call.address.service, call.principal, uri))
      return end
    }
    const end = check(call, verdicts)
    return end instanceof Promise ? end.then(goOn) : goOn(end)
  }
  const judgeBy = (rules: ServicePolicy, call: ReadCall): StepResult | Promise<StepResult> => {
    const verdicts = judgeMessages(rules, call, catalog)
    const messages = judgedOf(call)
    if (!verdicts.some((verdict, i) => isUnlisted(verdict, messages[i]?.name)))
      return decided(rules, call, verdicts)
    return catalog.refresh(call).then(() => decided(rules, call, judgeMessages(rules, call, catalog)))
  }
  const judge = (call: ReadCall): StepResult | Promise<StepResult> => {
    const { address, principal, envelope } = call
    const rules = policy.of(address.service)
    if (!rules) return undefined
    if (!envelope) {
      const verdict = rules.judgeConnection(principal)
      // What a stream brings is looked at too.
      if (verdict.allowed) return rules.pins?.load(principal)?.then(() => undefined)
      const message = { name: undefined, method: undefined }
      throw denial(verdict, { service: address.service.id, message, rpcId: null, status: 403 })
    }
    // What a client of HTTP+SSE posts becomes a call of its own, which passes here.
    if (address.transport === 'sse') return undefined
    const reading = rules.pins && readPins(rules.pins, rules, call, deps)
    return reading ? reading.then((end) => end ?? judgeBy(rules, call)) : judgeBy(rules, call)
  }
  return (call: ReadCall): StepResult | Promise<StepResult> => {
    if (!policy.services.ruled) return undefined
    const reading = policy.fresh()
    return reading ? reading.then(() => judge(call)) : judge(call)
  }
}

/** Throws `policy.*`, `pin.refresh`, `task.unknown`, and `storage.unavailable` where definitions are pinned. */
export const checkAccess: Step<AccessDeps, ReadCall, ReadCall> = {
  name: 'policy',
  make(deps) {
    const { tasks, policy } = deps
    const check = createCheck(deps)
    return (call) => {
      const { envelope } = call
      const first = envelope?.messages[0]
      if (policy && (envelope?.batch || first?.spawnsTask)) tasks.called(call)
      if (!envelope?.batch && !first?.method?.startsWith('tasks/')) return check(call)
      return tasks.check(call).then((judged) => {
        call.judged = judged
        return check(call)
      })
    }
  },
}
