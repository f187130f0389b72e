// What becomes known of a request while it is handled, for the log line of its refusal. The functions that
// find it out are wrapped here, so that no handler has to pass it on.
import type { BrowserSessions } from './identity/session.ts'
import { personKey } from './kit/records.ts'
import type { RequestFacts } from './kit/refusal.ts'
import type { PendingRequests } from './oauth/authorization-requests.ts'
import type { Clients } from './oauth/clients.ts'
import type { DescribeFlow } from './ports/modules.ts'
import type { Directory } from './ports/services.ts'

export interface KnownFacts {
  /** What is known so far, and what the URL of the request says. */
  of(request: Request): RequestFacts
  sessions(inner: BrowserSessions): BrowserSessions
  pendingRequests(inner: PendingRequests): PendingRequests
  clients(inner: Clients): Clients
  describeFlow(inner: DescribeFlow): DescribeFlow
}

const serviceIn = /^\/(?:connect|services|api\/services)\/([^/]+)$/
const providerIn = /^\/(?:login|oauth\/(?:callback|backchannel-logout))\/([^/]+)$/
/** A value that does not have the form of our IDs may be anything, and is not logged. */
const flowShape = /^[\w-]{32}$/
const clientIn = /^\/(?:oauth\/)?register\/([^/]+)$/

/** Unverified: an ID from the URL is better than none. */
const factsInUrl = (request: Request, directory: Directory): RequestFacts => {
  const { pathname, searchParams } = new URL(request.url)
  const [client, flow, resource] = ['client_id', 'flow', 'resource'].map(
    (name) => searchParams.get(name) ?? undefined,
  )
  const facts = {
    client: clientIn.exec(pathname)?.[1] ?? client,
    flow: flow !== undefined && flowShape.test(flow) ? flow : undefined,
    service:
      serviceIn.exec(pathname)?.[1] ??
      (resource === undefined
        ? directory.locate(pathname, undefined)?.address.service.id
        : directory.resolve(resource)?.service.id),
    provider: providerIn.exec(pathname)?.[1],
  }
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined))
}

export const createKnownFacts = (directory: Directory): KnownFacts => {
  const known = new WeakMap<Request, RequestFacts>()
  const add = (request: Request, facts: RequestFacts): void =>
    void known.set(request, { ...known.get(request), ...facts })
  return {
    of: (request) => ({ ...factsInUrl(request, directory), ...known.get(request) }),
    sessions: (inner) => ({
      ...inner,
      async of(request) {
        const session = await inner.of(request)
        if (session) add(request, { person: personKey(session.person) })
        return session
      },
    }),
    pendingRequests: (inner) => ({
      ...inner,
      async of(id, request) {
        if (flowShape.test(id)) add(request, { flow: id })
        const read = await inner.of(id, request)
        add(request, {
          client: read.pending.clientId,
          service: directory.resolve(read.pending.resource)?.service.id,
        })
        return read
      },
    }),
    clients: (inner) => ({
      ...inner,
      async authenticate(request, form) {
        const clientId = form.get('client_id')
        if (clientId !== null) add(request, { client: clientId })
        const client = await inner.authenticate(request, form)
        add(request, { client: client.id })
        return client
      },
    }),
    describeFlow: (inner) => async (flow, request) => {
      if (flowShape.test(flow)) add(request, { flow })
      const found = await inner(flow, request)
      if (found) add(request, { service: found.address.service.id })
      return found
    },
  }
}
