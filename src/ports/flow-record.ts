// The flow record: the steps of one attempt of an app to get access, from its first challenge to its first call,
// joined under one ID.
import type { RefusalCode } from '../kit/refusal.ts'
import type { RefusalActor } from '../kit/refusal-actors.ts'

/**
 * The ID of the flow that a request belongs to: `known`, if there is one, or a new one. Undefined where no flows
 * are recorded.
 */
export type BeginFlow = (request: Request, known?: string) => string | undefined

/** What a grant knows of its flow. */
export interface FlowGrant {
  readonly id: string
  readonly flow?: string
}

export type FlowStepKind =
  | 'probe'
  | 'challenge'
  | 'preflight'
  | 'resource-metadata'
  | 'server-metadata'
  | 'client-document'
  | 'register'
  | 'authorize'
  | 'device'
  | 'sign-in'
  | 'provider-redirect'
  | 'provider-callback'
  | 'consent'
  | 'upstream-connect'
  | 'code'
  | 'redirect'
  | 'token'
  | 'first-call'
  | 'step-up'
  | 'refresh'
  | 'revoke'

/** What is kept of a request or an answer, by an allow-list; a secret is the beginning of its digest, `‹…›`. */
export type FlowFacts = Readonly<Record<string, string | number | readonly string[]>>

export interface FlowStep {
  /** Epoch ms. */
  readonly at: number
  readonly step: FlowStepKind
  /**
   * `done`: it was carried out. `asked`: somebody is away or at a page, and the next step is theirs. `refused`:
   * `code` says why.
   */
  readonly result: 'done' | 'asked' | 'refused'
  /** Of the refusal, or `sign-in.failed`. */
  readonly code?: RefusalCode | 'sign-in.failed' | 'device.reported'
  /** HTTP status. */
  readonly status?: number
  readonly request: FlowFacts
  readonly answer: FlowFacts
  /** Address of whoever asked. */
  readonly ip?: string
  readonly requestId?: string
  /** How sure it is that the step is of this flow; absent: certain. Below 0.7 nobody is accused by it. */
  readonly confidence?: number
}

export interface FlowRecord {
  readonly id: string
  /** Epoch ms of its first step. */
  readonly at: number
  readonly client?: string
  /** Untrusted text. */
  readonly clientName?: string
  readonly service?: string
  /** Key of the person (kit/records.ts), once somebody has signed in. */
  readonly person?: string
  readonly grant?: string
  readonly steps: readonly FlowStep[]
  /** There were more steps than are kept. */
  readonly cut?: true
  /** The flow of the same app and person before this one. */
  readonly previous?: string
  /** A later flow of the same app and person names this one. */
  readonly followed?: true
  /** How often the app sent this person within ten minutes, and registered anew within an hour; if more than once. */
  readonly attempts?: number
  readonly registrations?: number
  /** Flows that may have begun this one: it is not known which. */
  readonly related?: readonly string[]
  /** Attempts of the same network that are not recorded, because there were too many. */
  readonly unrecorded?: number
  /** The earliest deadline of its next step that is in the store. Epoch ms. */
  readonly due?: number
  /** What was told of it last, and the time of the step after which it stopped. */
  readonly told?: { readonly code: string; readonly after: number }
}

/** Who has to act for it to go on. */
export type FlowActor = RefusalActor

/** What a flow came to, or where it stopped and who must do what. */
export interface FlowFinding {
  readonly code: string
  readonly acts: FlowActor
  readonly say: string
  readonly fix?: string
  /** How sure it is, where it is not certain whose the steps are that it rests on. `acts` is `nobody` then. */
  readonly confidence?: number
}

/** What a flow waits for. Times are ISO 8601. */
export interface FlowGap {
  readonly after: FlowStepKind
  readonly expects: FlowStepKind
  readonly since: string
  /** When its absence is told. */
  readonly due: string
}

/** Where a flow differs from the last good one of the same app. */
export interface FlowComparison {
  /** ID of that flow, and when it began. */
  readonly flow: string
  readonly at: string
  readonly steps: readonly FlowDifference[]
}

/** `missing`: only the good flow has the step. `extra`: only this one has it. */
export interface FlowDifference {
  readonly name: FlowStepKind
  readonly differs: 'missing' | 'extra' | 'refused' | 'slower' | 'request' | 'same'
  /** Milliseconds since the step before, here and there. */
  readonly delta?: number
  readonly good_delta?: number
  /** Names of the facts of the request that differ. */
  readonly facts?: readonly string[]
}

/**
 * `open`: it goes on. `waiting`: for a person. `completed`: the app has called the service. `stalled`: the app
 * has not gone on. `failed`: a step was refused. `abandoned`: the person has not gone on.
 */
export type FlowState = 'open' | 'waiting' | 'completed' | 'stalled' | 'failed' | 'abandoned'

export interface FlowStory {
  readonly state: FlowState
  readonly finding?: FlowFinding
}

/** What flows are looked for by. */
export interface FlowFilter {
  readonly user?: string | undefined
  readonly client?: string | undefined
  readonly service?: string | undefined
  readonly state?: string | undefined
  /** Epoch ms: only those that began then or later. */
  readonly since?: number | undefined
}

/** A flow as it is told, over HTTP and by the command line. Texts of apps are untrusted. */
export interface ListedFlow extends FlowStory {
  readonly id: string
  readonly at: string
  readonly client?: string
  readonly client_name?: string
  readonly service?: string
  readonly user?: string
  readonly grant?: string
  readonly previous?: string
  readonly related?: readonly string[]
  readonly unrecorded?: number
  readonly steps: readonly ListedFlowStep[]
  readonly gap?: FlowGap
  /** Only where one flow is shown; and why the access of the flow before it did not serve. */
  readonly compare?: FlowComparison
  readonly previous_access?: string
  readonly cut?: true
}

/** Whose step it is. */
export type FlowLane = 'client' | 'gateway' | 'provider' | 'upstream'

export interface ListedFlowStep extends Omit<FlowStep, 'at' | 'step' | 'requestId'> {
  readonly at: string
  /** Milliseconds since the step before. */
  readonly delta: number
  readonly lane: FlowLane
  readonly name: FlowStepKind
  /** One sentence. */
  readonly meaning: string
  readonly finding?: FlowFinding
  readonly request_id?: string
}

/** Whoever asks for their own flows, and from where. */
export interface FlowOwner {
  readonly person: string
  readonly ip: string
}

export interface FoundFlows {
  readonly flows: readonly ListedFlow[]
  /** Older ones were not looked at. */
  readonly truncated: boolean
}

export interface FlowAdmin {
  list(filter: FlowFilter, limit: number, own?: FlowOwner): Promise<FoundFlows>
  /**
   * By its ID, or the newest that has this request, grant or client. `share`: with pseudonyms. Throws
   * `flow.unknown`.
   */
  show(id: string, own?: FlowOwner, share?: boolean): Promise<ListedFlow>
  /** In Markdown, for an issue: how the app asked and was answered, without users and addresses. */
  report(id: string, own?: FlowOwner): Promise<string>
  /** Records an event for each flow whose next step is missing; asks the store at most every two seconds. */
  sweep(): Promise<void>
  /** The same for these deadlines, by their keys in the store, and for no other (Workers). */
  tellOf(deadlines: readonly string[]): Promise<void>
}
