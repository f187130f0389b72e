// What a caller may do with a service: the words that the access rules, the proxy and the command line share.
import type { Permission } from '../kit/levels.ts'
import type { Trim } from './call.ts'
import type { Principal } from './people.ts'
import type { Service } from './services.ts'

export type { Permission }

/**
 * What a tool says of itself, as the permission that its calls need (MCP tool annotations); undefined: nothing.
 */
export type ToolHint = Permission | undefined

/** What is asked for. `service`: what every caller with any right there may do, such as `initialize`. */
export type Subject =
  | { readonly kind: 'service' }
  | { readonly kind: 'tool'; readonly name: string; readonly hint: ToolHint }
  | { readonly kind: 'prompt'; readonly name: string }
  /** `byTool`: a tool that the caller is shown names it as the page that shows its results (MCP Apps). */
  | { readonly kind: 'resource'; readonly uri: string; readonly byTool?: true }
  | { readonly kind: 'template'; readonly template: string }
  /** A request method that MCP does not define. */
  | { readonly kind: 'method'; readonly name: string }

/** Of a call; `list`: it is asked whether a list may show it, so that no arguments are known. */
export type Arguments = Readonly<Record<string, unknown>> | undefined | 'list'

/** Refusals of the access rules (kit/refusals-mcp.ts). */
export type DenialCode =
  | 'policy.client'
  | 'policy.denied'
  | 'policy.service'
  | 'policy.tool'
  | 'policy.prompt'
  | 'policy.resource'
  | 'policy.permission'
  | 'policy.method'
  | 'policy.notification'
  | 'policy.unlisted'
  | 'policy.pinned'
  | 'consent.tool'
  /** The rules allow it, and the person consented to less: a larger consent makes the same call succeed. */
  | 'consent.level'

export interface Allowed {
  readonly allowed: true
  /** Id of the rule that grants it. */
  readonly rule: string
  readonly need: Permission
}

export interface Denied {
  readonly allowed: false
  readonly code: DenialCode
  /** Id of the rule that denies it, or of the one that grants less than is needed. */
  readonly rule?: string | undefined
  readonly need?: Permission
  /** The highest permission that is granted for it. */
  readonly have?: Permission
  /** What the rule says why. */
  readonly reason?: string | undefined
}

export type Verdict = Allowed | Denied

/** One message of a call, as far as it decides what is asked for. */
export interface JudgedMessage {
  readonly kind: 'request' | 'notification' | 'response'
  readonly method: string | undefined
  /** The tool or prompt, or the URI of the resource. */
  readonly name: string | undefined
  /** About a call that was made before: with which arguments is not known, as in a list. */
  readonly earlier?: true
}

/** What is known of the message besides; asked only where a rule needs it. */
export interface MessageFacts {
  /** `params`. */
  params(): Readonly<Record<string, unknown>>
  /** Undefined for a tool that is on no list of this server that was seen. */
  tool(name: string): { readonly hint: ToolHint } | undefined
  readonly shownBy: ToolsOfPage
}

/** Tools of this server that name this resource as the page that shows their results (MCP Apps). */
export type ToolsOfPage = (uri: string) => readonly LearnedTool[]

/** Keeps the tools of a list as the server said it, before it is trimmed. */
export type LearnTools = (tools: readonly LearnedTool[]) => void

/** A tool that a server has said it has. */
export interface LearnedTool {
  readonly name: string
  readonly hint: ToolHint
  /** What it does, in a few words of the server's. */
  readonly about?: string | undefined
  /** Its definition is not approved (`ServicePins`). */
  readonly held?: boolean
  /** The `ui://` resource that shows its results (MCP Apps). */
  readonly page?: string | undefined
}

/** One tool on the consent page. */
export interface ConsentTool extends Pick<LearnedTool, 'name' | 'about'> {
  readonly need: Permission
  /** Why this person may not use it. */
  readonly locked?: Denied
}

/** What a person may let an app do at a service. */
export interface ConsentChoices {
  /** The highest permission that the rules grant this person with this app. */
  readonly own: Permission
  readonly tools: readonly ConsentTool[]
}

// Pinned definitions (policy/pins.ts).

export type PinKind = 'tool' | 'prompt'

/** A tool or a prompt as it was listed last. */
export interface PinnedItem {
  /** It is neither listed nor called. */
  readonly held: boolean
  /** By what is approved of it. */
  readonly hint: ToolHint
}

export interface ApprovedDefinition {
  readonly digest: string
  /** Key of a person, `cli`, `first list` or `configuration`. */
  readonly by: string
  /** Epoch ms. */
  readonly at: number
  readonly hint?: Permission
}

/** What is kept of one tool or prompt. */
export interface Pin {
  /** The newest last. */
  readonly approved: readonly ApprovedDefinition[]
  /** Of the definition that was listed last; absent for one that cannot be pinned. */
  readonly digest?: string
  readonly hint?: Permission
  /** Epoch ms at which that one was first seen. */
  readonly seenAt: number
  /** It was on the first list. */
  readonly first?: true
  readonly blocked?: { readonly by: string; readonly at: number }
}

export type PinState = 'approved' | 'new' | 'changed' | 'blocked'

/** What is approved of the tools and prompts of one service. */
export interface ServicePins {
  /** What is not known of is not called. */
  readonly strict: boolean
  /**
   * Reads what is kept; undefined where it was read a moment ago. Rejects while the storage is away and nobody
   * may be called on a guess.
   */
  load(principal: Principal | undefined): Promise<void> | undefined
  find(principal: Principal | undefined, kind: PinKind, name: string): PinnedItem | undefined
  /** Whether the server is to be asked for its list first. `listing`: the caller asks for it anyway. */
  isDue(principal: Principal | undefined, kind: PinKind, listing: boolean): boolean
  /** `walk`: reads the whole list. Rejects with `pin.refresh` where nothing may be called without it. */
  refresh(principal: Principal | undefined, kind: PinKind, walk: () => Promise<void>): Promise<void>
  /** The server says that its lists have changed. */
  changed(): void
}

/** A pin as administrators see it. */
export interface ListedPin extends Pin {
  readonly kind: PinKind
  readonly name: string
  /** Key of the user, where each has an account of their own. */
  readonly account?: string
  readonly state: PinState
}

/** What administrators do with pins. Each rejects with `pin.unknown` for what was never listed. */
export interface PinAdmin {
  list(service: Service): Promise<readonly ListedPin[]>
  /** The definition with that digest, as canonical JSON; undefined where it is no longer kept. */
  text(service: Service, pin: ListedPin, digest: string): Promise<string | undefined>
  /** For all accounts. Rejects with `pin.moved` where that is not the definition that was listed last. */
  approve(service: Service, pin: Pick<ListedPin, 'kind' | 'name'>, digest: string, by: string): Promise<void>
  /** Whatever its definition is, until one is approved. */
  block(service: Service, pin: Pick<ListedPin, 'kind' | 'name'>, by: string): Promise<void>
}

/** What a server may ask of clients (MCP client features). */
export type ServerAsk = 'sampling' | 'elicitation' | 'roots'

/** What holds for the messages of a server besides its lists. */
export interface AnswerRules {
  /** What it is told that clients do not have, and what is answered for them. */
  readonly denied: ReadonlySet<ServerAsk>
  readonly dropsInstructions: boolean
}

/** The rules of one service. */
export interface ServicePolicy {
  /** Absent: they pass as they come. */
  readonly answers?: AnswerRules | undefined
  /** Whether the caller may read the resource, and so hear that it has changed. */
  isReadable(principal: Principal | undefined, uri: string, shownBy: ToolsOfPage): boolean
  /** Absent: its definitions are not pinned. */
  readonly pins?: ServicePins | undefined
  /** `policy.unlisted`: nobody knows such a tool; asked again after its list was read, it may be another one. */
  judge(principal: Principal | undefined, message: JudgedMessage, facts: MessageFacts): Verdict
  /** The same for a request without a message: a stream is opened, or a session ended. */
  judgeConnection(principal: Principal | undefined): Verdict
  /** What the caller may do with everything here, whatever it is named and called with. */
  permissions(principal: Principal): readonly Permission[] | undefined
  /**
   * What the consent page offers; a denial where the person may do nothing here with this app. Absent where there
   * are no rules: then nothing is asked.
   */
  readonly choices?: (
    by: Pick<Principal, 'person' | 'personKey' | 'clientId' | 'redirectHost'>,
    tools: readonly LearnedTool[],
  ) => ConsentChoices | Denied
  /** The same text for as long as the same decides what the caller is shown of lists. */
  outlook(principal: Principal | undefined): string
  /** What the caller is shown of lists. */
  trim(principal: Principal | undefined, learn: LearnTools, shownBy: ToolsOfPage): Trim
}

export interface Policy {
  /** Asked first, because most gateways have no rules. Never again false once it was true. */
  readonly services: { readonly ruled: boolean }
  /** Undefined: no rules are configured, and every caller may use everything. */
  of(service: Pick<Service, 'id' | 'generation' | 'auth'>): ServicePolicy | undefined
  /** What has to be waited for before `of` is asked (`StoredRules`). */
  fresh(): Promise<void> | undefined
  readonly pins: PinAdmin
  /** Whether a denial names the rule. */
  readonly disclosesRules: boolean
}

// Access rules beside those of the configuration (admin/stored-rules.ts).

/** Seed 004's record: one grant to a person, and the declared groups that they are in. */
export interface AccessRecord {
  /** `provider:subject`, or a verified email address. */
  readonly userId: string
  /** Patterns of service IDs; `*`: every service. */
  readonly servers: readonly string[]
  readonly permissions: readonly Permission[]
  readonly groups: readonly string[]
}

/** One of `record`, `allow` and `deny`. */
export interface StoredRule {
  readonly id: string
  readonly record?: AccessRecord
  /** As an entry of `access.allow` in the configuration. */
  readonly allow?: Readonly<Record<string, unknown>>
  /** As an entry of `access.deny`. */
  readonly deny?: Readonly<Record<string, unknown>>
  /** Who changed it last: a person key, or `cli`. */
  readonly by: string
  /** Epoch ms. */
  readonly at: number
}

export interface StoredRules {
  /** As they were read last: the same array for as long as they are the same. */
  now(): readonly StoredRule[]
  /**
   * Undefined while they were read within the last second; what to wait for otherwise. Rejects if the storage
   * does not respond: nobody is let through by rules that may have changed.
   */
  fresh(): Promise<void> | undefined
}

// Rates of calls (policy/call-rates.ts).

export interface RateExceeded {
  /** Until the caller may send as much again. */
  readonly waitMs: number
  /** Of the limit. */
  readonly calls: number
  readonly withinMs: number
  readonly per: 'user' | 'client' | 'service'
}

/**
 * Counts the messages of one call, each by itself, by every limit that they fall under; or none of them, and
 * answers the limit that leaves no room for them. Responses to the server count nowhere. A promise only where
 * the counts that all processes share are asked.
 */
export type CountCalls = (
  caller: { readonly principal: Principal | undefined; readonly ip: string },
  messages: readonly JudgedMessage[],
) => RateExceeded | undefined | Promise<RateExceeded | undefined>

export interface CallRates {
  /** Asked first, because most gateways have no limits. Never again false once it was true. */
  readonly services: { readonly limited: boolean }
  /** Undefined: calls of this service are not counted. */
  of(service: Service): CountCalls | undefined
}

// What other rules would have said of calls (policy-replay.ts).

export interface ReplayExample {
  readonly request: string | undefined
  readonly person: string
  readonly service: string
  readonly what: string
  readonly code: string
}

export interface Replayed {
  readonly calls: number
  /** Calls that were allowed and would be refused. */
  readonly refused: number
  readonly granted: number
  /** Calls of which it cannot be said. */
  readonly unsaid: number
  /** Calls of which today's rules or groups already say something else than happened. */
  readonly drifted: number
  /** Refused before the rules were asked, or by none of them. */
  readonly skipped: number
  readonly people: readonly string[]
  readonly tools: readonly string[]
  readonly byRule: Readonly<Record<string, number>>
  readonly byPerson: Readonly<Record<string, number>>
  readonly byTool: Readonly<Record<string, number>>
  readonly examples: readonly ReplayExample[]
  /** People who would be left without any call. */
  readonly shutOut: readonly string[]
}
