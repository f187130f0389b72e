// What opening the terminal's one-time link does.
import { isAskedAhead } from '../kit/asked-ahead.ts'
import { Refusal } from '../kit/refusal.ts'
import type { DescribeFlow, Handler, Limit } from '../ports/rooms.ts'
import type { Arrive } from './arrival.ts'
import { dropCookie, readCookie } from './cookies.ts'
import { owner, type LoginLinks } from './login-link.ts'
import { pendingCookie } from './sign-in-page.ts'

export interface LinkSignInDeps {
  readonly links: LoginLinks
  readonly describeFlow: DescribeFlow
  readonly arrive: Arrive
  readonly limit: Limit
}

export const createLinkSignIn =
  ({ links, describeFlow, arrive, limit }: LinkSignInDeps): Handler =>
  async (request, visit) => {
    // A preview of the link (mail scanners ask by HEAD, browsers by prefetch) must not use it up.
    if (request.method !== 'GET' || isAskedAhead(request)) throw new Refusal('request.method', 'login link needs GET without prefetch', { headers: { allow: 'GET' } })
    await limit('sign-in-address', { ip: visit.ip })
    if (!(await links.redeem(new URL(request.url).searchParams.get('t') ?? ''))) throw new Refusal('login.link-spent', 'login link unknown, used or expired')
    const flow = readCookie(request, pendingCookie)
    const waiting = flow !== undefined && (await describeFlow(flow, request)) !== undefined
    return arrive({ person: owner, aim: waiting ? { flow } : {}, request, visit, cookies: [dropCookie(pendingCookie)] })
  }
