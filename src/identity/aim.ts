// Where a sign-in leads: back to the authorization flow that asked for it, to a page of this gateway, or home.
import { sameOriginPath } from '../kit/urls.ts'

export interface Aim {
  /** The pending authorization flow. */
  readonly flow?: string
  /** A path of this gateway. */
  readonly returnTo?: string
  /** Why a live session is not enough: the client asked for a fresh sign-in, or the person wants another account. */
  readonly again?: 'login' | 'switch'
}

/**
 * Places that no sign-in returns to: an authorization that another site's link began would follow our own form and so look like the person's own wish
 * (Sec-Fetch-Site), and the others have no page to return to. A flow has its own field.
 */
const notAPage = /^\/(?:(?:oauth|authorize|callback|login|logout)(?:[/?]|$)|\?|[^?]*%)/

const pageOf = (raw: string): string | undefined => {
  const path = sameOriginPath(raw)
  return path === undefined || notAPage.test(path) ? undefined : path
}

/** Reads the aim from a query or a form; whatever is not one is dropped. */
export const aimOf = (fields: { get(name: string): string | null | undefined }): Aim => {
  const flow = fields.get('flow')
  const returnTo = pageOf(fields.get('return_to') ?? '')
  const again = fields.get('switch') === '1' ? 'switch' : fields.get('prompt') === 'login' ? 'login' : undefined
  return {
    ...(flow && /^[A-Za-z0-9_-]{1,128}$/.test(flow) ? { flow } : {}),
    ...(returnTo ? { returnTo } : {}),
    ...(again ? { again } : {}),
  }
}

/** The aim as form fields or query parameters. */
export const aimFields = ({ flow, returnTo, again }: Aim): Record<string, string> => ({
  ...(flow ? { flow } : {}),
  ...(returnTo ? { return_to: returnTo } : {}),
  ...(again === 'switch' ? { switch: '1' } : {}),
  ...(again === 'login' ? { prompt: 'login' } : {}),
})

/** The sign-in page with this aim. */
export const loginPath = (aim: Aim): string => {
  const query = new URLSearchParams(aimFields(aim)).toString()
  return query ? `/login?${query}` : '/login'
}

/** Where the person goes once signed in. */
export const destination = ({ flow, returnTo }: Aim): string => (flow ? `/oauth/consent?flow=${flow}` : (returnTo ?? '/'))
