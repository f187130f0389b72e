// What becomes known of a request while it is answered, for the line of the log that its refusal leaves. The functions that find it out are wrapped here once,
// so that no handler has to carry it around.
import type { BrowserSessions } from './identity/session.ts'
import { personKey } from './kit/person-key.ts'
import type { RequestFacts } from './kit/refusal.ts'
import type { PendingRequests } from './oauth/authorization-requests.ts'
import type { Clients } from './oauth/clients.ts'
import type { DescribeFlow } from './ports/modules.ts'
import type { Directory } from './ports/services.ts'

export interface KnownFacts {
  /** What is known so far, and what the request says of itself in its address. */
  of(request: Request): RequestFacts
  sessions(inner: BrowserSessions): BrowserSessions
  pendingRequests(inner: PendingRequests): PendingRequests
  clients(inner: Clients): Clients
  describeFlow(inner: DescribeFlow): DescribeFlow
}

const serviceIn = /^\/(?:connect|services|api\/services)\/([^/]+)$/
const providerIn = /^\/(?:login|oauth\/callback)\/([^/]+)$/
/** What has not the form of our ids may be anything, and stays out of the log. */
const flowShape = /^[\w-]{32}$/
const clientIn = /^\/(?:oauth\/)?register\/([^/]+)$/

/** Unproven words of the address: an id that nobody has looked up yet is better than none. */
const saidBy = (request: Request, directory: Directory): RequestFacts => {
  const { pathname, searchParams } = new URL(request.url)
  const [client, flow, resource] = ['client_id', 'flow', 'resource'].map(
    (name) => searchParams.get(name) ?? undefined,
  )
  const said = {
    client: clientIn.exec(pathname)?.[1] ?? client,
    flow: flow !== undefined && flowShape.test(flow) ? flow : undefined,
    service:
      serviceIn.exec(pathname)?.[1] ??
      (resource === undefined
        ? directory.locate(pathname, undefined)?.address.service.id
        : directory.resolve(resource)?.service.id),
    provider: providerIn.exec(pathname)?.[1],
  }
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined))
}

export const createKnownFacts = (directory: Directory): KnownFacts => {
  const known = new WeakMap<Request, RequestFacts>()
  const learn = (request: Request, facts: RequestFacts): void =>
    void known.set(request, { ...known.get(request), ...facts })
  return {
    of: (request) => ({ ...saidBy(request, directory), ...known.get(request) }),
    sessions: (inner) => ({
      ...inner,
      async of(request) {
        const session = await inner.of(request)
        if (session) learn(request, { person: personKey(session.person) })
        return session
      },
    }),
    pendingRequests: (inner) => ({
      ...inner,
      async of(id, request) {
        if (flowShape.test(id)) learn(request, { flow: id })
        const read = await inner.of(id, request)
        learn(request, {
          client: read.pending.clientId,
          service: directory.resolve(read.pending.resource)?.service.id,
        })
        return read
      },
    }),
    clients: (inner) => ({
      ...inner,
      async authenticate(request, form) {
        const said = form.get('client_id')
        if (said !== null) learn(request, { client: said })
        const client = await inner.authenticate(request, form)
        learn(request, { client: client.id })
        return client
      },
    }),
    describeFlow: (inner) => async (flow, request) => {
      if (flowShape.test(flow)) learn(request, { flow })
      const found = await inner(flow, request)
      if (found) learn(request, { service: found.address.service.id })
      return found
    },
  }
}
