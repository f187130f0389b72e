// Who sent a request that changes something: a page of this gateway, or another site with somebody's cookies.

/** Whether the browser says that another site sent it (Fetch Metadata). Browsers that say nothing pass. */
export const isFromElsewhere = (headers: Headers): boolean => {
  const site = headers.get('sec-fetch-site')
  return site !== null && site !== 'same-origin' && site !== 'none'
}

/** Why the sender is none of these origins (RFC 6454 §7.3: `null` is another site); undefined when it may be. */
export const foreignSender = ({ headers }: Request, origins: readonly string[]): string | undefined => {
  const origin = headers.get('origin')
  if (isFromElsewhere(headers)) return `Sec-Fetch-Site ${String(headers.get('sec-fetch-site')).slice(0, 40)}`
  return origin === null || origins.includes(origin) ? undefined : `Origin ${origin.slice(0, 200)}`
}
