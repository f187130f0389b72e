// The default endpoints at hosts of services, which lead old clients to the authorization server.
import { hostOf } from './kit/http.ts'
import type { Directory, ServiceHost } from './ports/services.ts'
import type { Handler, Route } from './ports/modules.ts'

const redirect = (location: string): Response =>
  new Response(null, { status: 307, headers: { location, 'cache-control': 'no-store' } })

/**
 * Clients of MCP 2025-03-26 drop the path of the MCP URL and expect `/authorize`, `/token` and `/register` at
 * its origin, with or without metadata. They are redirected to the issuer with method and body kept (RFC 9110
 * §15.4.8), so that no page, cookie or form is ever on a host of a service. They send no `resource`, so the
 * redirect adds it.
 */
export const defaultEndpoints = (directory: Directory): readonly Route[] => {
  const toIssuer =
    (path: string): Handler =>
    async (request) => {
      const { search } = new URL(request.url)
      return redirect(`${directory.issuer}${path}${search}`)
    }
  const authorize: Handler = async (request) => {
    const { searchParams } = new URL(request.url)
    const resource = (directory.host(hostOf(request)) as ServiceHost).addresses[0]?.resource
    if (!searchParams.has('resource') && resource !== undefined) searchParams.set('resource', resource)
    return redirect(`${directory.issuer}/oauth/authorize?${searchParams.toString()}`)
  }
  const defaults = { description: '', hosts: 'services' } as const
  const oauth = { ...defaults, surface: 'oauth', cors: true } as const
  return [
    { ...defaults, paths: ['/authorize'], surface: 'page', cors: false, methods: { GET: authorize } },
    { ...oauth, paths: ['/token'], methods: { POST: toIssuer('/oauth/token') } },
    { ...oauth, paths: ['/register'], methods: { POST: toIssuer('/oauth/register') } },
  ]
}
