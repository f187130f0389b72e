// What the modules hand to the pages: plain data. Every text is untrusted; the pages escape it and bound its
// length.
import type { Block, GrantFilter, Impact, ListedGrant, ListedToken, Person } from './people.ts'
import type { ConsentTool, Permission } from './policy.ts'

/** How far a client's identity can be trusted, from most to least. */
export type ClientKind = 'registered' | 'document' | 'dynamic' | 'personal'

export interface ClientView {
  readonly id: string
  readonly name: string
  readonly kind: ClientKind
  /** Host that vouches for the client (its metadata document), when there is one. */
  readonly host?: string
}

export interface ConsentView {
  readonly client: ClientView
  /**
   * Where the answer goes: full URI, its host (`URL.host`), whether that is this computer (loopback http),
   * and whether it opens an app by a scheme of its own. Absent: a device waits for it.
   */
  readonly redirect?: {
    readonly uri: string
    readonly host: string
    readonly loopback: boolean
    readonly native: boolean
  }
  /** The device that asks: when, from which network, and whether that is another than the browser’s. */
  readonly device?: { readonly askedAt: number; readonly from: string; readonly elsewhere: boolean }
  readonly service: {
    readonly id: string
    readonly name: string
    readonly description: string
    readonly resource: string
  }
  readonly person: Person
  readonly scopes: readonly { readonly name: string; readonly fresh: boolean }[]
  /** The person allowed this client before: as it is now, or when it described itself differently. */
  readonly again?: 'same' | 'changed'
  /**
   * True when the client will be able to stay signed in (a refresh token will be issued), and for how many ms
   * unused.
   */
  readonly staysMs?: number
  /** Lifetime of one access token, ms; said when the client will not be able to stay signed in. */
  readonly accessMs?: number
  /** What the app may do; absent where the service has no access rules. */
  readonly access?: ConsentLevels
  /** The upstream that will ask the person too, after Allow. */
  readonly upstream?: { readonly host: string }
  /** Whether its redirect URL may be shown, for an app that runs on another computer. */
  readonly copyable?: boolean
  readonly flow: string
  readonly csrf: string
  /** Same-origin path (GET) to sign in as somebody else and come back to this question. */
  readonly switchAccount: string
}

/** What a person may let an app do at a service with access rules. */
export interface ConsentLevels {
  /** It asks for more than it was allowed before. */
  readonly more: boolean
  /** The most that this person can allow it now. */
  readonly ceiling: Permission
  /** Selected when the page opens. */
  readonly chosen: Permission
  /** What it was allowed before. */
  readonly before?: Permission
  /** `ticked`: the person is taken to allow it unless they say otherwise. */
  readonly tools: readonly (ConsentTool & { readonly ticked: boolean })[]
}

/** Where a person enters the code that a device shows. */
export interface DeviceView {
  readonly person: Person
  readonly csrf: string
  readonly switchAccount: string
  /** What stands in the field. */
  readonly code?: string
  /** It came with a link, which somebody may have sent. */
  readonly linked: boolean
  /** Why the code was not accepted, as a sentence. */
  readonly problem?: string
}

export interface LoginView {
  /** The client and service that made the sign-in necessary, when one did. */
  readonly asking?: { readonly client: ClientView; readonly service: string }
  readonly providers: readonly {
    readonly id: string
    readonly name: string
    /** It takes any email address, typed on this page. */
    readonly anyEmail?: boolean
  }[]
  /** The provider that this browser signed in with last, or `local` for a password; it comes first. */
  readonly lastUsed?: string
  /** Whether people with a password exist. */
  readonly password: boolean
  /** Whether the built-in person signs in with a link from the terminal. */
  readonly link: boolean
  /**
   * Hidden fields that every form of the page carries; `flow` also goes into the link that reloads the page.
   */
  readonly hidden: Readonly<Record<string, string>>
  /** What went wrong with the last attempt, as a sentence; drawn next to the forms. */
  readonly problem?: string
  readonly username?: string
  /** HTTP status of the page: 401 when there is a problem and 200 otherwise, unless told. */
  readonly status?: number
}

/**
 * How a person stands with a server that asks each person for an account: none connected, one that calls are
 * made with, or one that needs them.
 */
export type AccountStatus = 'missing' | 'live' | 'ended' | 'granted'

export interface HomeView {
  readonly person: Person
  readonly csrf: string
  readonly services: readonly {
    readonly id: string
    readonly name: string
    readonly description: string
    readonly url: string
    readonly authRequired: boolean
    /** How the person stands with a server that asks for an account of theirs. */
    readonly account?: AccountStatus | undefined
  }[]
  /** Only services that have it in their name or description are shown. */
  readonly query?: string
  /** False on a loopback gateway: claude.ai and ChatGPT connect from the internet and cannot reach it. */
  readonly reachable: boolean
  /**
   * Whether a server's domain has a host here that stands for it: then the page leads to where that is found
   * out.
   */
  readonly encodes: boolean
  /** Whether the page leads to what administrators see. */
  readonly admin: boolean
}

export interface ConnectView {
  readonly service: {
    readonly id: string
    readonly name: string
    readonly description: string
    readonly url: string
    readonly authRequired: boolean
  }
  readonly reachable: boolean
}

export interface EncodeView {
  /** What was typed. */
  readonly asked: string
  readonly domain?: string
  /** The host that stands for the domain, or would. */
  readonly host?: string
  /**
   * Who is served at encoded hosts of the domain: the URL to give a client, and the one for clients of
   * HTTP+SSE. Empty: nobody.
   */
  readonly served?: readonly {
    readonly id: string
    readonly name: string
    readonly url: string
    readonly sse: string | undefined
  }[]
  /** Why there is no host, as a sentence. */
  readonly problem?: string
}

/** A person's accounts at the server behind a service. */
export interface ConnectUpstreamView {
  readonly service: { readonly id: string; readonly name: string; readonly description: string }
  /** Host of the upstream. */
  readonly host: string
  /**
   * Whether it asks each person for an account. `open`: it answers without one, and has no sign-in;
   * `optional`: it has one.
   */
  readonly asks: 'account' | 'optional' | 'open' | 'unknown'
  /** Nobody registered the gateway there: it introduces itself. */
  readonly introduces: boolean
  readonly person: Person
  readonly csrf: string
  readonly switchAccount: string
  /** The service account that an administrator connects an account for, and the link that says so. */
  readonly forAccount?: { readonly name: string; readonly link: string }
  /** Same-origin path of what waits for the account: an authorization, mostly. */
  readonly returnTo?: string
  readonly accounts: readonly {
    readonly name: string
    /** Of the authorization server. */
    readonly issuer: string
    readonly scopes: readonly string[]
    /** Scopes that the upstream asked for beyond those. */
    readonly wanted: readonly string[]
    /** Epoch ms. */
    readonly connectedAt: number
    /** When the tokens in use came, epoch ms. */
    readonly renewedAt: number
    /** It has to be connected again. */
    readonly ended: boolean
    /** Calls are made with it. */
    readonly chosen: boolean
  }[]
}

/** The apps that a person allowed to use services. */
export interface ConnectedAppsView {
  readonly person: Person
  readonly csrf: string
  readonly switchAccount: string
  /** Most recently used first. */
  readonly apps: readonly {
    readonly client: ClientView
    /** Where its answers go: hosts, or schemes of installed apps. */
    readonly redirects: readonly string[]
    readonly services: readonly string[]
    /** It was signed in to on a device: the networks that it asked from, and that the person answered from. */
    readonly device?: { readonly from: string; readonly approvedFrom: string } | undefined
    /** Nobody was asked: the person’s company connected it, and it asks for its next token by itself. */
    readonly byCompany?: boolean
    /** Nobody was asked: it exchanged the token of another app, and does so again by itself. */
    readonly exchanged?: boolean
    /** Epoch ms: first allowed, and last used, where that is known. */
    readonly since: number
    readonly lastUsed?: number | undefined
    /** The network that its tokens were last asked for from. */
    readonly from?: string | undefined
  }[]
}

/** How a personal access token is asked for. */
export interface TokenForm {
  /** Of the token that it makes, so that it makes one however often it is sent. */
  readonly id: string
  /** Those that the person may use; `level`: the most that they may do there, where rules say it. */
  readonly services: readonly {
    readonly id: string
    readonly name: string
    readonly ruled: boolean
    readonly level: Permission
  }[]
  /** Empty where no access rules say what a tool needs. */
  readonly permissions: readonly Permission[]
  /** Seconds. */
  readonly lifetimes: readonly number[]
  // What is filled in.
  readonly name: string
  readonly chosen: readonly string[]
  readonly permission: Permission
  readonly lifetime: number
  /** What was wrong with it, as a sentence. */
  readonly problem?: string
}

/** A person's personal access tokens. */
export interface AccountTokensView {
  readonly person: Person
  readonly csrf: string
  readonly switchAccount: string
  /** Epoch ms. */
  readonly now: number
  /** Newest first; `services` by name. */
  readonly tokens: readonly ListedToken[]
  /** One that was just made, and where it can be used. */
  readonly made?:
    | {
        readonly token: string
        readonly name: string
        readonly expiresAt: number
        readonly service?: string
        readonly url?: string
      }
    | undefined
  readonly note?: string | undefined
  /** Absent where none can be made now. */
  readonly form?: TokenForm
  /** Same-origin path: whoever signed in a while ago signs in again before they make one. */
  readonly signInAgain?: string
}

/** What all users have allowed, and who is blocked, for administrators. */
export interface AccessView {
  readonly person: Person
  readonly csrf: string
  readonly filter: GrantFilter
  readonly services: readonly { readonly id: string; readonly name: string }[]
  /** Of all that fit. `more`: there are others, not counted. */
  readonly total: Impact & { readonly more: boolean }
  /** Of this page. */
  readonly grants: readonly ListedGrant[]
  readonly page: { readonly at: number; readonly count: number }
  readonly blocks: readonly Block[]
}

/** Who has to do something before it works. `nobody`: it passes by itself. */
export type Actor = 'you' | 'app' | 'admin' | 'nobody'

/** One stop on the way of the failed step, for the picture of where it broke. */
export interface Hop {
  readonly name: string
  readonly state: 'ok' | 'failed' | 'unreached'
}

export interface ProblemView {
  readonly status: number
  /** The refusal's code; the same in the JSON twin, the log and the documentation. */
  readonly code: string
  readonly title: string
  /** What happened, in a sentence or two. */
  readonly what: string
  readonly who?: Actor
  /** You, the gateway and whoever else took part, in order. */
  readonly hops?: readonly Hop[]
  /** What to do, one step an entry. */
  readonly steps: readonly string[]
  /** What to do in a particular client, with the command where there is one. */
  readonly recipes?: readonly { readonly client: string; readonly say: string; readonly command?: string }[]
  /** Facts worth showing, e.g. registered and sent redirect URI. */
  readonly facts: readonly { readonly name: string; readonly value: string }[]
  readonly requestId: string
  /** Where the operator's documentation explains the code. */
  readonly docs?: string | undefined
  /** A way on, inside this gateway (same-origin path). */
  readonly onward?: { readonly label: string; readonly href: string }
  /**
   * The app that the error is for, which nobody has approved yet: its name is untrusted text, and the link
   * leaves the gateway.
   */
  readonly client?: { readonly name: string; readonly host: string; readonly href: string }
  /** A second way on, for who cannot take the first. */
  readonly instead?: { readonly label: string; readonly href: string }
}

/**
 * The pages, as complete HTML responses with their security headers, readable without JavaScript. Their
 * headers stay open: append `Set-Cookie` freely. Everything in a view is taken for hostile text: it is
 * escaped, bounded in length, and rid of characters that cannot be seen or that reorder others.
 */
export interface Pages {
  consent(view: ConsentView): Response
  login(view: LoginView): Response
  device(view: DeviceView): Response
  /** After the answer to a device, which learns of it by itself. */
  deviceDone(view: { readonly client: ClientView; readonly allowed: boolean }): Response
  home(view: HomeView): Response
  connect(view: ConnectView): Response
  connectUpstream(view: ConnectUpstreamView): Response
  connectedApps(view: ConnectedAppsView): Response
  accountTokens(view: AccountTokensView): Response
  access(view: AccessView): Response
  encode(view: EncodeView): Response
  /**
   * Shown after a decision whose redirect goes to an app with a scheme of its own: opens it by itself and by
   * a button. An `href` that would run or read something in this browser (`javascript:`, `data:`, `file:` …)
   * is not linked.
   */
  goBack(view: { readonly client: ClientView; readonly href: string }): Response
  /** After an answer whose app runs on another computer: the redirect URL, to be copied into it. */
  copyRedirect(view: { readonly client: ClientView; readonly href: string }): Response
  problem(view: ProblemView): Response
}

/** The pages in the language that the browser asks for (Accept-Language, RFC 9110 §12.5.4). */
export type PagesFor = (request: { readonly headers: Pick<Headers, 'get'> }) => Pages
