// The default endpoints at hosts of services: the way of old clients to the one authorization server.
import type { Handler } from './ports/rooms.ts'
import type { Directory, ServiceHost } from './ports/services.ts'
import { hostOf, type Route } from './route.ts'

const moved = (location: string): Response => new Response(null, { status: 307, headers: { location, 'cache-control': 'no-store' } })

/**
 * Where clients of MCP 2025-03-26 go: they drop the path of the MCP URL and expect `/authorize`, `/token` and `/register` at its origin, with or without metadata.
 * They are sent on to the issuer, body and method kept (RFC 9110 §15.4.8), so that no page, cookie or form is ever on a host of a service. They know no `resource`
 * either, so the one they mean is added on the way.
 */
export const defaultEndpoints = (directory: Directory): readonly Route[] => {
  const onward =
    (path: string): Handler =>
    async (request) => {
      const { search } = new URL(request.url)
      return moved(`${directory.issuer}${path}${search}`)
    }
  const authorize: Handler = async (request) => {
    const { searchParams } = new URL(request.url)
    const resource = (directory.host(hostOf(request)) as ServiceHost).addresses[0]?.resource
    if (!searchParams.has('resource') && resource !== undefined) searchParams.set('resource', resource)
    return moved(`${directory.issuer}/oauth/authorize?${searchParams.toString()}`)
  }
  return [
    { paths: ['/authorize'], what: '', surface: 'page', cors: false, on: { GET: authorize } },
    { paths: ['/token'], what: '', surface: 'oauth', cors: true, on: { POST: onward('/oauth/token') } },
    { paths: ['/register'], what: '', surface: 'oauth', cors: true, on: { POST: onward('/oauth/register') } },
  ]
}
