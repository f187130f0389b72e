// The part of oidc-provider that the mock provider and the benchmark use; the package brings no types.
declare module 'oidc-provider' {
  import type { IncomingMessage, ServerResponse } from 'node:http'

  export interface Interaction {
    readonly uid: string
    readonly prompt: { readonly name: string }
    readonly params: Readonly<Record<string, unknown>>
  }

  export interface Grant {
    addOIDCScope(scope: string): void
    addResourceScope(resource: string, scope: string): void
    save(): Promise<string>
  }

  export interface Context {
    readonly path: string
    readonly querystring: string
    status: number
    body: unknown
    get(header: string): string
    readonly oidc: {
      readonly client: { readonly clientId: string }
      readonly session: { readonly accountId: string }
      readonly params: { readonly scope?: string; readonly [name: string]: unknown }
      readonly entities?: { readonly AccessToken?: { readonly jkt?: string } }
    }
  }

  export class Provider {
    constructor(issuer: string, configuration: object)
    readonly Client: {
      find(id: string): Promise<
        | {
            backchannelLogoutUri?: string
            backchannelLogout(subject: string, session: string | undefined): Promise<void>
          }
        | undefined
      >
    }
    readonly Grant: new (of: { readonly clientId: string; readonly accountId: string }) => Grant
    on(event: 'grant.success', listener: (context: Context) => void): void
    on(event: 'grant.error', listener: (context: Context, error: { readonly error: string }) => void): void
    use(middleware: (context: Context, next: () => Promise<void>) => Promise<void>): void
    registerGrantType(
      name: string,
      handler: (context: Context) => Promise<void>,
      parameters: readonly string[],
    ): void
    callback(): (request: IncomingMessage, response: ServerResponse) => void
    interactionDetails(request: IncomingMessage, response: ServerResponse): Promise<Interaction>
    interactionFinished(
      request: IncomingMessage,
      response: ServerResponse,
      result: object,
      options?: { readonly mergeWithLastSubmission: boolean },
    ): Promise<void>
  }
}
