// Who comes with a request, whether their connection is encrypted, and the id under which it is written down.
import type { IncomingMessage } from 'node:http'
import type { Visit } from '../ports/runtime.ts'
import { createRequestIds } from './request-ids.ts'
import { createVisitor, type Visitor } from './visitor.ts'

/** Of a list the first value is the caller's connection; each proxy appends its own. Only a proxy that the operator listed is believed. */
const saysPlain = (visitor: Visitor, { headers, socket }: IncomingMessage): boolean => {
  const proto = headers['x-forwarded-proto']
  return typeof proto === 'string' && proto.split(',')[0]?.trim().toLowerCase() === 'http' && visitor.trusts(socket.remoteAddress)
}

export const createVisits = (trustedProxies: readonly string[]): ((request: IncomingMessage) => Visit) => {
  const visitor = createVisitor(trustedProxies)
  const nextId = createRequestIds()
  // `request.headers` builds an object of all fields; most calls are decided without one.
  if (trustedProxies.length === 0) return ({ socket }) => ({ requestId: nextId(), ip: visitor.address(socket.remoteAddress, undefined) })
  return (request) => ({
    requestId: nextId(),
    ip: visitor.address(request.socket.remoteAddress, request.headers['x-forwarded-for'] as string | undefined),
    ...(saysPlain(visitor, request) && { plainHttp: true }),
  })
}
