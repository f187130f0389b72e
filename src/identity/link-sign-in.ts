// What opening the terminal's one-time link does.
import { Refusal } from '../kit/refusal.ts'
import type { DescribeFlow, Handler, Limit } from '../ports/rooms.ts'
import type { Arrive } from './arrival.ts'
import { dropCookie, readCookie } from './cookies.ts'
import { owner, type LoginLinks } from './login-link.ts'
import { pendingCookie } from './sign-in-page.ts'

const spent = (): Refusal =>
  new Refusal('login.link-spent', 'unknown, used or expired', {
    page: {
      steps: ['Run `postern admin link` where the gateway runs; it prints a new link.', 'Open that link in this browser within 15 minutes.'],
      onward: { label: 'Sign-in page', href: '/login' },
    },
  })

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
    if (request.method !== 'GET' || /prefetch/.test(request.headers.get('sec-purpose') ?? '')) throw new Refusal('request.method', 'login link', { headers: { allow: 'GET' } })
    await limit('sign-in-address', visit.ip)
    if (!(await links.redeem(new URL(request.url).searchParams.get('t') ?? ''))) throw spent()
    const flow = readCookie(request, pendingCookie)
    const waiting = flow !== undefined && (await describeFlow(flow, request)) !== undefined
    return arrive({ person: owner, aim: waiting ? { flow } : {}, request, visit, cookies: [dropCookie(pendingCookie)] })
  }
