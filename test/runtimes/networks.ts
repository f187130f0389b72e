// Callers in different networks, for every test runtime: each learns the caller's address in its own way.
import type { LoginTarget } from './login.ts'

/**
 * On Node the header counts where `trusted_proxies` lists 127.0.0.1; workerd hands on what Cloudflare's
 * network would have written.
 */
export const fromNetwork = ({ origin, fetch }: LoginTarget, ip: string): LoginTarget => ({
  origin,
  fetch: (url, init) =>
    fetch(url, {
      ...init,
      headers: {
        ...Object.fromEntries(new Headers(init?.headers)),
        'x-forwarded-for': ip,
        'cf-connecting-ip': ip,
      },
    }),
})

/** The address of a request that goes into a gateway without a socket. */
export const addressIn = (init: RequestInit | undefined): string =>
  new Headers(init?.headers).get('cf-connecting-ip') ?? '127.0.0.1'
