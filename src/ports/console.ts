// What the console hands to its pages: plain data. Every text of a person, a client or a server is untrusted; the pages
// escape it and bound its length.
import type { ListedAssertionIssuer, TestedAssertion } from './assertions.ts'
import type { ListedFlow } from './flow-record.ts'
import type { MatrixView, WhoToday, WhyView } from './matrix.ts'
import type { AddView, AddingEvent } from './services.ts'
import type { SettingsView } from './settings.ts'
import type { TrailCounts, TrailServiceCounts } from './runtime.ts'
import type { ChainedRow } from './store.ts'
import type {
  Block,
  BoundClient,
  BoundClients,
  ListedConnection,
  ListedGrant,
  ListedSession,
  ListedToken,
  Person,
} from './people.ts'
import type { ConsentTool, Permission, PinKind, PinState } from './policy.ts'

/** The pages of the console, by what the navigation calls them. */
export type ConsolePage =
  | 'overview'
  | 'services'
  | 'access'
  | 'people'
  | 'clients'
  | 'sessions'
  | 'connections'
  | 'tokens'
  | 'accounts'
  | 'activity'
  | 'flows'
  | 'settings'
  | 'search'

interface NamedService {
  readonly id: string
  readonly name: string
}

/** Something that an administrator has to look at; each is counted at one page of the navigation. */
export type Attention =
  /** Nobody can call anything. */
  | { readonly kind: 'locked'; readonly by: string; readonly at: number }
  /** The audit trail cannot be written. */
  | { readonly kind: 'trail' }
  /** Its disk is nearly full. */
  | { readonly kind: 'disk' }
  /** It was changed. */
  | { readonly kind: 'trail-fault'; readonly fault: string }
  | { readonly kind: 'service'; readonly service: NamedService; readonly where: string }
  /** Definitions of one service that are not approved. */
  | {
      readonly kind: 'definitions'
      readonly service: NamedService
      readonly changed: number
      readonly fresh: number
      /** The first of them. */
      readonly item: PinKind
      readonly name: string
      readonly at: number
      /** They are hidden and refused until somebody approves them. */
      readonly held: boolean
    }
  /** A login that stopped where only an administrator or the app can help. `more`: others that stopped alike. */
  | { readonly kind: 'flow'; readonly flow: ListedFlow; readonly more: number }

/** What every page of the console has. */
export interface ConsoleFrame {
  readonly person: Person
  readonly csrf: string
  /** ID of the browser session. */
  readonly session: string
  /** Epoch ms. */
  readonly now: number
  readonly attention: readonly Attention[]
  readonly services: readonly NamedService[]
}

/** How many of the logins that began came how far. */
export interface Funnel {
  readonly started: number
  readonly signedIn: number
  readonly allowed: number
  readonly token: number
  readonly called: number
  /** There were more; these are the newest. */
  readonly more: boolean
}

export interface OverviewView {
  readonly people: number
  readonly clients: number
  readonly services: number
  /** There are more people and clients than were counted. */
  readonly more: boolean
  /** Of those that were called, how many answer. */
  readonly up: number
  readonly down: number
  /** `off`: none is kept. */
  readonly trail: 'off' | 'written' | 'failing'
  /** Whether a method to sign in with is configured. */
  readonly signIn: boolean
  /** Whether clients on the internet can reach the gateway. */
  readonly reachable: boolean
  /** Absent where no flows are recorded. `flows`: the newest. */
  readonly logins?: { readonly funnel: Funnel; readonly flows: readonly ListedFlow[] }
  /** Of the last 24 hours, an hour a slot. Absent where no trail is kept, or it cannot be read now. */
  readonly calls?: TrailCounts | undefined
}

/** A definition that waits for a decision, or was blocked. */
export interface HeldDefinition {
  readonly service: NamedService
  readonly kind: PinKind
  readonly name: string
  readonly account?: string | undefined
  readonly state: PinState
  readonly digest?: string | undefined
  /** Epoch ms at which it was first listed like this. */
  readonly at: number
  /** It is hidden and refused until somebody approves it. */
  readonly held: boolean
  readonly approved?: { readonly by: string; readonly at: number } | undefined
  readonly blocked?: { readonly by: string; readonly at: number } | undefined
  readonly changes: readonly DefinitionDifference[]
}

/** One part of a definition that is not as it was. */
export interface DefinitionDifference {
  readonly path: string
  readonly is: 'changed' | 'added' | 'removed'
  readonly before?: string
  readonly after?: string
  readonly words?: readonly (readonly [is: 'same' | 'removed' | 'added', text: string])[]
  readonly consequence?: string
}

export interface ChangesView {
  /** Those that pin definitions. */
  readonly pinned: readonly NamedService[]
  readonly service?: string | undefined
  readonly held: readonly HeldDefinition[]
  /** How many there are besides. */
  readonly more: number
  /** Of the service that was chosen. */
  readonly matrix?: MatrixView | undefined
  readonly why?: WhyView | undefined
  /** Pinned tools and prompts in all. */
  readonly known: number
}

/** What flows the list shows. */
export interface FlowsFilter {
  readonly state?: string | undefined
  readonly service?: string | undefined
  readonly user?: string | undefined
  readonly client?: string | undefined
  /** Of the last day, those that came no further than the step before: `sign-in`, `consent`, `token` or `call`. */
  readonly stopped?: string | undefined
}

export interface FlowsView {
  readonly filter: FlowsFilter
  /** Absent where no flows are recorded. */
  readonly found?: { readonly flows: readonly ListedFlow[]; readonly truncated: boolean }
}

export interface FlowView {
  readonly flow: ListedFlow
  /** The flow in Markdown, for an issue. */
  readonly report: string
  /** The newest of the same client and service that came to its first call. */
  readonly good?: ListedFlow | undefined
}

/** A row of the audit trail, and the `?row=` that opens it. */
export interface ActivityRow extends ChainedRow {
  readonly key: string
}

export interface ActivityView {
  /** What was asked for, as the URL has it. */
  readonly asked: {
    readonly terms: readonly string[]
    readonly period: string
    readonly from?: string | undefined
    readonly row?: string | undefined
  }
  /** Absent where no trail is kept, or where it cannot be searched. */
  readonly found?: {
    readonly rows: readonly ActivityRow[]
    /** The cursor of the next page. */
    readonly next?: string | undefined
    /** The search took too long, and goes on with the next page. */
    readonly partial: boolean
    /** Absent with a cursor. */
    readonly counts?: TrailCounts | undefined
    /** Epoch ms. */
    readonly since: number
  }
  /** What is wrong with the search, in a sentence. */
  readonly problem?: string | undefined
  /** The row that is explained; `undefined` for one that is not there. */
  readonly row?: ActivityRow | undefined
  /** Of a call of a tool at a service that is there. */
  readonly today?: WhoToday | undefined
  /** Only events of the person who looks. */
  readonly own: boolean
  readonly kept: boolean
}

/** Who may use a service at all: anybody without signing in, everybody who can sign in, or whom the rules name. */
export type ServiceAudience = 'public' | 'everyone' | { readonly groups: readonly string[] }

export interface ServiceSummary extends NamedService {
  /** The URL that clients are given. */
  readonly url: string
  readonly kind: 'remote' | 'command' | 'built-in'
  readonly state: 'up' | 'down' | 'unknown' | 'disabled'
  /** Definitions that wait for a decision. */
  readonly waiting: number
  /** Tools that the server was seen to have; absent while nobody listed them. */
  readonly tools?: number | undefined
  /** `mcp_services.<id>.upstream_auth.type`. */
  readonly credentials: string
  readonly audience: ServiceAudience
  /** Of the last 24 hours. */
  readonly counts?: TrailServiceCounts | undefined
}

export interface ServicesView {
  /** Those of this page that match, those that need somebody first. */
  readonly found: readonly ServiceSummary[]
  readonly asked: { readonly text?: string | undefined; readonly only?: string | undefined }
  /** Of all services, by what `only` may be. */
  readonly counts: Readonly<Record<'all' | 'attention' | 'remote' | 'command', number>>
  readonly page: { readonly at: number; readonly count: number }
  /** Whether calls are counted. */
  readonly counted: boolean
}

/** A tool of a service, and which groups may call it. */
export interface ServiceTool extends Pick<ConsentTool, 'name' | 'about'> {
  /** What its calls need; absent where the service has no rules and the server marks nothing. */
  readonly need?: Permission | undefined
  /** The server does not say what the tool can do. */
  readonly unmarked: boolean
  /** It is hidden and refused until somebody approves it. */
  readonly held: boolean
  /** By the groups of `AccessMatrix`: whether their people may call it. */
  readonly allowed: readonly boolean[]
}

/** What the access rules let each group do at a service. */
export interface AccessMatrix {
  /** Absent: there are no rules, and everybody may call everything. */
  readonly groups?: readonly string[]
  readonly tools: readonly ServiceTool[]
}

export interface ServiceView {
  readonly service: ServiceSummary
  readonly description: string
  readonly tab: 'connect' | 'tools' | 'processes'
  /** Whether clients on the internet can reach the gateway. */
  readonly reachable: boolean
  /** Where its server is, without what may be secret in it. */
  readonly where: string
  /** Absent: it is in the configuration. */
  readonly added?: { readonly by: string; readonly at: number } | undefined
  readonly disabled?: { readonly by: string; readonly at: number } | undefined
  /** How many grants there are for it. */
  readonly grants: number
  readonly access: AccessMatrix
  /** Of a command. */
  readonly processes?: readonly ServiceProcess[] | undefined
}

export interface ServiceProcess {
  readonly owner: string
  readonly pid?: number | undefined
  /** Epoch ms. */
  readonly startedAt: number
  /** Absent while it runs. */
  readonly endedAt?: number
  readonly why?: string
  /** The last lines of its standard error output. */
  readonly stderr: string
}

/** Somebody with access, or an app with access of users: the same grants from two sides. */
export interface HolderSummary {
  /** Key of a person, or what a client is found by. */
  readonly id: string
  readonly name: string
  /** Email address of a person; where a client sends users back to. */
  readonly detail?: string | undefined
  /** Of clients. */
  readonly kind?: string | undefined
  /** Registrations that a client has under this name and host. */
  readonly ids: readonly string[]
  /** Apps of a person, or users of a client. */
  readonly others: number
  readonly services: readonly string[]
  readonly grants: number
  /** Epoch ms. */
  readonly lastUsed?: number | undefined
  readonly blocked: boolean
}

export interface HoldersView {
  readonly side: 'people' | 'clients'
  readonly found: readonly HolderSummary[]
  readonly asked?: string | undefined
  /** Of all. */
  readonly count: number
  readonly page: { readonly at: number; readonly count: number }
  /** There are more grants than were read. */
  readonly more: boolean
  /** What is blocked although nobody has access by it. */
  readonly blocks: readonly Block[]
}

/** What somebody may do at a service, and why. */
export interface PersonService extends NamedService {
  /** Tools that they may call, of those that are known. */
  readonly allowed: number
  readonly tools: number
  /** There are no rules, or nobody signs in there. */
  readonly because: 'open' | 'public' | 'rules' | 'denied' | 'provider'
  /** The rule that denies it, or the code. */
  readonly rule?: string | undefined
}

export interface PersonView {
  readonly user: string
  /** As their provider described them last; absent where they have no grant. */
  readonly about?: Person | undefined
  readonly grants: readonly ListedGrant[]
  readonly services: readonly PersonService[]
  readonly blocked?: Block | undefined
  /** It is the person who looks. */
  readonly self: boolean
}

export interface ClientPageView {
  readonly client: string
  readonly grants: readonly ListedGrant[]
  readonly blocked?: Block | undefined
}

export interface SessionsView {
  readonly asked?: string | undefined
  /** Of all that were read. */
  readonly all: number
  readonly people: number
  /** There are more sessions than were read. */
  readonly more: boolean
  /** ID of the session of whoever looks. */
  readonly own: string
  readonly items: readonly ListedSession[]
  readonly page: { readonly at: number; readonly count: number }
}

export interface TokensView extends Omit<SessionsView, 'more' | 'own' | 'items'> {
  readonly items: readonly ListedToken[]
}

/** An account of programs. */
export interface ServiceAccountRow {
  readonly id: string
  readonly name: string
  readonly owner?: string | undefined
  readonly groups: readonly string[]
  readonly services: readonly string[]
  readonly permissions?: readonly string[] | undefined
  /** IDs of the clients that act as it. */
  readonly clients: readonly string[]
  /** Entries of `assertion_issuers` with a rule that leads to it. */
  readonly issuers: readonly string[]
  /** Epoch ms; absent where none was recorded in 400 days. */
  readonly lastUsed?: number | undefined
  readonly blocked: boolean
}

export interface AssertionIssuerRow extends ListedAssertionIssuer {
  /** Of the last 24 hours, the most frequent first; absent where no trail is kept, or it cannot be read now. */
  readonly refused?: readonly CountedRefusal[] | undefined
}

interface CountedRefusal {
  readonly code: string
  readonly count: number
}

export interface ServiceAccountsView {
  readonly accounts: readonly ServiceAccountRow[]
  /** Clients that registered themselves, and act as an account. */
  readonly bound: readonly BoundClient[]
  /** Whether clients may register client_credentials. */
  readonly registrable: boolean
  /** Those that have, and wait to be bound. */
  readonly unbound: Awaited<ReturnType<BoundClients['unbound']>>
  readonly issuers: readonly AssertionIssuerRow[]
  /** Whether a trail is kept that can be read here. */
  readonly counted: boolean
  /** There were more refusals than were counted. */
  readonly more: boolean
  /** Refusals of assertions whose signature was not verified. */
  readonly ofNobody: readonly CountedRefusal[]
  /** What became of the assertion that was tested, and how it was said to be sent. */
  readonly tested?: TestedAssertion | undefined
  readonly asked: Readonly<Record<string, string>>
}

/** An account, with what is known of the server that it is for. */
export interface ConnectionRow extends ListedConnection {
  readonly down: boolean
  readonly email?: string | undefined
}

export interface ConnectionsView extends Omit<SessionsView, 'own' | 'items'> {
  /** Only those that need their user. */
  readonly needsUser: boolean
  /** How many of all need their user. */
  readonly waiting: number
  readonly items: readonly ConnectionRow[]
}

export interface SearchHit {
  readonly kind: 'page' | 'service' | 'user' | 'client' | 'flow' | 'events'
  readonly name: string
  readonly detail?: string | undefined
  /** Of a page of the console. */
  readonly href: string
}

/** What a search found, by what it is; each at most so many. */
export interface SearchView {
  readonly asked: string
  readonly found: readonly SearchHit[]
  /** There are more than are shown. */
  readonly more: boolean
}

/** The pages of the console, as complete HTML responses. */
export interface ConsolePages {
  overview(frame: ConsoleFrame, view: OverviewView): Response
  services(frame: ConsoleFrame, view: ServicesView): Response
  service(frame: ConsoleFrame, view: ServiceView): Response
  changes(frame: ConsoleFrame, view: ChangesView): Response
  holders(frame: ConsoleFrame, view: HoldersView): Response
  person(frame: ConsoleFrame, view: PersonView): Response
  client(frame: ConsoleFrame, view: ClientPageView): Response
  activity(frame: ConsoleFrame, view: ActivityView): Response
  flowList(frame: ConsoleFrame, view: FlowsView): Response
  flow(frame: ConsoleFrame, view: FlowView): Response
  settings(frame: ConsoleFrame, view: SettingsView): Response
  sessions(frame: ConsoleFrame, view: SessionsView): Response
  tokens(frame: ConsoleFrame, view: TokensView): Response
  accounts(frame: ConsoleFrame, view: ServiceAccountsView): Response
  connections(frame: ConsoleFrame, view: ConnectionsView): Response
  search(frame: ConsoleFrame, view: SearchView): Response
  add(frame: ConsoleFrame, view: AddView): Response
  /** Sent while `run` tells what happens. */
  adding(
    frame: ConsoleFrame,
    view: AddView & { readonly count: number },
    run: (push: (event: AddingEvent) => void) => Promise<void>,
  ): Response
}
