// Calls whose server is not known to speak their era, or known not to: the parts for each service, made when the first such call comes.
import { metaKeys } from '../../mcp/envelope.ts'
import { type Rpc, isRecord, metaOf } from '../../mcp/json-rpc.ts'
import { parseExactText } from '../../mcp/json.ts'
import { isModern, publishedVersions } from '../../mcp/revisions.ts'
import type { Upstream } from '../../ports/call.ts'
import type { Principal } from '../../ports/people.ts'
import type { Runtime } from '../../ports/runtime.ts'
import type { Service } from '../../ports/services.ts'
import { type AdmittedCall, ownerOf } from '../admitted-call.ts'
import { askedOf, refusedOf } from '../error-response.ts'
import { callStdio } from '../fetch-handler.ts'
import { isRepeatableText } from '../retry.ts'
import { type AttendedCallsDeps, createAttendedCalls } from '../transports/attended-call.ts'
import type { ServerAdapter } from '../transports/server-adapter.ts'
import { type EndpointOf, fetchAt } from '../upstream-endpoint.ts'
import { type Caller, type RevisionCall, createSendNotification, requestOf } from './exchange.ts'
import { type LegacyClient, type LegacyClientDeps, createLegacyClient } from './legacy-client.ts'
import { type ModernClient, type ModernClientDeps, createModernClient } from './modern-client.ts'
import {
  type VersionProbe,
  type NegotiatedVersions,
  createVersionProbe,
  createNegotiatedVersions,
} from './negotiate.ts'

// A server for clients of both eras of MCP, whichever it speaks itself. A call of the era that the server speaks is none of this way's: it goes straight.

/** A call as far as it matters here. */
export interface RevisionChoice {
  readonly principal: Principal | undefined
  /** Of a revision without sessions. */
  readonly modern: boolean
  readonly session: string | undefined
  /** Of the first message. */
  readonly method: string | undefined
}

export interface Translation {
  /** Whether this call goes this way: the server is not known to speak its era, or known not to. */
  needed(approach: RevisionChoice): boolean
  /** One request of Streamable HTTP, of either era. Rejects with `Refusal`. */
  readonly ask: (
    request: Request,
    about: Pick<Caller, 'principal' | 'asked' | 'refused'>,
  ) => Promise<Response>
}

export interface TranslationDeps {
  readonly runtime: AttendedCallsDeps['runtime']
  readonly attend: AttendedCallsDeps['attend']
  /** The server itself. */
  readonly straight: RevisionCall
  readonly verdicts: NegotiatedVersions
  readonly scout: VersionProbe
  readonly older: LegacyClient
  readonly newer: ModernClient
}

const parse = (text: string): { readonly batch: boolean; readonly messages: readonly Rpc[] } => {
  const value = parseExactText(text)
  return {
    batch: Array.isArray(value),
    messages: (Array.isArray(value) ? (value as readonly unknown[]) : [value]).filter(isRecord),
  }
}

/** The era of a message: its own word, or the header's where it has none (basic/versioning). */
const claimsModern = (message: Rpc, headers: Headers): boolean => {
  const claim = metaOf(message)[metaKeys.version]
  if (typeof claim === 'string') return isModern(claim)
  return message['method'] !== 'initialize' && isModern(headers.get('mcp-protocol-version') ?? '')
}

/** Asked for every call, so it is worked out once for each principal. */
const createOwners = (): ((principal: Principal | undefined) => string) => {
  const known = new WeakMap<Principal, string>()
  return (principal) => {
    if (!principal) return ''
    const owner = known.get(principal) ?? ownerOf(principal)
    known.set(principal, owner)
    return owner
  }
}

export const createTranslation = ({
  runtime,
  attend,
  straight,
  verdicts,
  scout,
  older,
  newer,
}: TranslationDeps): Translation => {
  const attended = createAttendedCalls({ runtime, attend, older })
  const owners = createOwners()
  const carry = async (
    caller: Caller,
    body: string,
    messages: readonly Rpc[],
    batch: boolean,
  ): Promise<Response> => {
    const session = caller.headers.get('mcp-session-id') ?? undefined
    const [first] = messages
    const send = (): Promise<Response> =>
      straight(
        requestOf(caller.url, { method: 'POST', headers: caller.headers, signal: caller.signal, body }),
        caller,
      )
    if (attended.isOurs(session)) return older.post(caller, session, messages, batch)
    if (!first || batch) return send()
    if (claimsModern(first, caller.headers))
      return verdicts.speaks(caller.owner, true) === false
        ? newer.handle(caller, first)
        : scout.newer(caller, first, send)
    if (first['method'] !== 'initialize') return send()
    if (verdicts.speaks(caller.owner, false) !== false) return scout.older(caller, first, send)
    return (await older.begin(caller, first)) ?? send()
  }

  const post = async (request: Request, caller: Caller): Promise<Response> => {
    const body = await request.text()
    const { batch, messages } = parse(body)
    return attended.post(caller, messages, batch, (asking) => carry(asking, body, messages, batch))
  }

  return {
    needed({ principal, modern, session, method }) {
      if (modern) return verdicts.speaks(owners(principal), true) !== true
      if (session !== undefined) return attended.isOurs(session)
      return method === 'initialize' && verdicts.speaks(owners(principal), false) !== true
    },
    async ask(request, about) {
      const caller: Caller = {
        ...about,
        owner: owners(about.principal),
        url: request.url,
        headers: request.headers,
        signal: request.signal,
      }
      if (request.method === 'POST') return post(request, caller)
      const session = request.headers.get('mcp-session-id') ?? undefined
      if (!attended.isOurs(session)) return straight(request, caller)
      return request.method === 'DELETE' ? older.end(caller, session) : older.get(caller, session)
    },
  }
}

// A server itself, as Streamable HTTP in the words that it speaks, wherever it is: what the way between the eras stands on.

export interface DirectDeps {
  readonly runtime: Pick<Runtime, 'transports'>
  /** The way to a server that may speak on a line. */
  readonly reachOf: (service: Service) => ServerAdapter | undefined
  readonly endpointOf: EndpointOf
}

/** Undefined for a service in this process: it is made with the product, and speaks what its clients do. */
export const createDirect = (
  service: Service,
  { runtime, reachOf, endpointOf }: DirectDeps,
): RevisionCall | undefined => {
  const { upstream } = service
  if (upstream.kind === 'local') return undefined
  if (upstream.kind === 'bridge')
    return (request, { principal, refused, sessionId }) =>
      callStdio(upstream.carry, request, { principal, refused, sessionId })
  const { fetch } = upstream.publicOnly ? runtime.transports.publicOnly : runtime.transports
  return async (request, { principal, asked }) => {
    const body = request.method === 'POST' ? await request.text() : undefined
    const init = { method: request.method, signal: request.signal, ...(body === undefined ? {} : { body }) }
    const reach = reachOf(service)
    if (
      reach?.needed(
        request.headers.get('mcp-session-id') ?? undefined,
        body?.includes('"initialize"') === true,
      )
    ) {
      return reach.ask(requestOf('http://line.invalid/mcp', { ...init, headers: request.headers }), {
        owner: ownerOf(principal),
        asked,
      })
    }
    const headers = new Headers(request.headers)
    // fetch undoes a Content-Encoding behind our back.
    headers.set('accept-encoding', 'identity')
    return fetchAt(
      fetch,
      endpointOf(service),
      request.url,
      { ...init, headers, redirect: 'manual' },
      isRepeatableText(request.method, body),
    )
  }
}

export interface RevisionBridgeDeps extends Pick<DirectDeps, 'reachOf' | 'endpointOf'> {
  readonly runtime: ModernClientDeps['runtime'] & LegacyClientDeps['runtime'] & DirectDeps['runtime']
  readonly config: { readonly protocol_versions?: readonly string[] | undefined }
  readonly keepAliveMs: number
}

export interface RevisionBridge {
  /** Where an admitted call goes instead; undefined for every other way. */
  upstream(passed: AdmittedCall): Upstream | undefined
}

const crossingOf = (
  service: Service,
  { runtime, config, keepAliveMs, reachOf, endpointOf }: RevisionBridgeDeps,
): Translation | undefined => {
  const straight = createDirect(service, { runtime, reachOf, endpointOf })
  if (!straight) return undefined
  const tell = createSendNotification({
    ask: straight,
    service: service.id,
    name: service.name,
    timeoutMs: service.timeoutMs,
  })
  const verdicts = createNegotiatedVersions(() => runtime.now())
  // Where nothing outlives the request that made it, nobody can be waited for, and nothing of the server's own accord be heard.
  const common = {
    runtime,
    tell,
    service: service.id,
    keepAliveMs,
    lasting: runtime.transports.sessionLocations === undefined,
  }
  const older = createLegacyClient({
    ...common,
    versions: (config.protocol_versions ?? publishedVersions).filter((version) => !isModern(version)),
  })
  const newer = createModernClient(common)
  const scout = createVersionProbe({
    tell,
    about: runtime.about,
    verdicts,
    crossNewer: newer,
    beginOlder: older.begin,
  })
  return createTranslation({
    runtime,
    attend: service.upstream.kind === 'bridge' ? service.upstream.attend : undefined,
    straight,
    verdicts,
    scout,
    older,
    newer,
  })
}

const urlOf = (upstream: Upstream): string =>
  upstream.kind === 'http' ? `${upstream.origin}${upstream.path}` : 'http://command.invalid/mcp'

export const createRevisionBridge = (deps: RevisionBridgeDeps): RevisionBridge => {
  const crossings = new WeakMap<Service, { readonly crossing: Translation | undefined }>()
  const of = (service: Service): Translation | undefined => {
    const made = crossings.get(service) ?? { crossing: crossingOf(service, deps) }
    crossings.set(service, made)
    return made.crossing
  }
  return {
    upstream({ call, principal, session, envelope }) {
      if (call.rest !== '') return undefined
      const crossing = of(call.address.service)
      if (
        !crossing?.needed({ principal, modern: call.modern, session, method: envelope?.messages[0]?.method })
      )
        return undefined
      const asked = askedOf(call.head, { address: call.address, principal })
      const about = { principal, asked, refused: refusedOf(deps.runtime.log, asked) }
      return {
        kind: 'local',
        url: urlOf(call.place.target.upstream('', call.query)),
        handle: (request) => crossing.ask(request, about),
      }
    },
  }
}
