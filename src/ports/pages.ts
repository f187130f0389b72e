// What the rooms hand to the pages: plain data. Every text is untrusted; the pages escape it and bound its length.
import type { Person } from './people.ts'

/** How far a client's identity can be trusted, from most to least. */
export type ClientKind = 'registered' | 'document' | 'dynamic'

export interface ClientView {
  readonly id: string
  readonly name: string
  readonly kind: ClientKind
  /** Host that vouches for the client (its metadata document), when there is one. */
  readonly host?: string
}

export interface ConsentView {
  readonly client: ClientView
  /** Where the answer goes: full URI, its host, and whether it is an app on this computer. */
  readonly redirect: { readonly uri: string; readonly host: string; readonly loopback: boolean; readonly native: boolean }
  readonly service: { readonly id: string; readonly name: string; readonly description: string; readonly resource: string }
  readonly person: Person
  readonly scopes: readonly { readonly name: string; readonly fresh: boolean }[]
  /** True when the client will be able to stay signed in (a refresh token will be issued), and for how many ms unused. */
  readonly staysMs?: number
  readonly flow: string
  readonly csrf: string
  /** Sign in as somebody else and come back to this question. */
  readonly switchAccount: string
}

export interface LoginView {
  /** The client and service that made the sign-in necessary, when one did. */
  readonly asking?: { readonly client: ClientView; readonly service: string }
  readonly providers: readonly { readonly id: string; readonly name: string }[]
  /** Whether people with a password exist. */
  readonly password: boolean
  /** Whether the built-in person signs in with a link from the terminal. */
  readonly link: boolean
  /** Hidden fields that both forms carry. */
  readonly hidden: Readonly<Record<string, string>>
  readonly problem?: string
  readonly username?: string
}

export interface HomeView {
  readonly person: Person
  readonly csrf: string
  readonly services: readonly { readonly id: string; readonly name: string; readonly description: string; readonly url: string; readonly authRequired: boolean }[]
  /** False on a loopback gateway: claude.ai and ChatGPT connect from the internet and cannot reach it. */
  readonly reachable: boolean
}

export interface ConnectView {
  readonly service: { readonly id: string; readonly name: string; readonly description: string; readonly url: string; readonly authRequired: boolean }
  readonly reachable: boolean
}

export interface ProblemView {
  readonly status: number
  readonly code: string
  readonly title: string
  /** What happened and who must act. */
  readonly what: string
  /** What to do, one step an entry. */
  readonly steps: readonly string[]
  /** Facts worth showing, e.g. registered and sent redirect URI. */
  readonly facts: readonly { readonly name: string; readonly value: string }[]
  readonly requestId: string
  /** A way on, inside this gateway (same-origin path). */
  readonly onward?: { readonly label: string; readonly href: string }
}

/** The pages, as complete HTML responses with their security headers. */
export interface Pages {
  consent(view: ConsentView, requestId: string): Response
  login(view: LoginView, requestId: string): Response
  home(view: HomeView, requestId: string): Response
  connect(view: ConnectView, requestId: string): Response
  /** Shown after a decision whose redirect goes to an app with a scheme of its own: a button and a way back. */
  goBack(view: { readonly client: ClientView; readonly href: string }, requestId: string): Response
  problem(view: ProblemView): Response
}
