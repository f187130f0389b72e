// Which upstream a page under /connect is about, and the ways to and from it.
import { Refusal } from '../kit/refusal.ts'
import type { Directory } from '../ports/services.ts'
import { connectPath } from './ask-person.ts'
import { isPersonal, type Upstream, upstreamOf } from './upstream.ts'

/** Throws `connection.unknown` for a service that nobody connects an account to. */
export const upstreamAt = (directory: Directory, url: URL): Upstream => {
  const id = url.pathname.slice('/connect/'.length)
  const service = directory.service(id)
  const upstream = service && upstreamOf(service)
  if (!upstream || !isPersonal(upstream) || !service.authRequired) throw new Refusal('connection.unknown', id.slice(0, 100))
  return upstream
}

export const pagePath = (service: string, returnTo?: string): string => `${connectPath(service)}${returnTo === undefined ? '' : `?return_to=${encodeURIComponent(returnTo)}`}`

/** Signing in, and back to this page; `switching`: as somebody else. */
export const signInPath = (path: string, switching = false): string => `/login?${switching ? 'switch=1&' : ''}return_to=${encodeURIComponent(path)}`
