// Who comes with a request, and the id under which it is written down.
import type { IncomingMessage } from 'node:http'
import type { Visit } from '../ports/runtime.ts'
import { createRequestIds } from './request-ids.ts'
import { createVisitor } from './visitor.ts'

export const createVisits = (trustedProxies: readonly string[]): ((request: IncomingMessage) => Visit) => {
  const visitor = createVisitor(trustedProxies)
  const nextId = createRequestIds()
  const behindProxies = trustedProxies.length > 0
  // `request.headers` builds an object of all fields; most calls are decided without one.
  return (request) => ({ requestId: nextId(), ip: visitor(request.socket.remoteAddress, behindProxies ? (request.headers['x-forwarded-for'] as string | undefined) : undefined) })
}
