// A Worker on its developer's computer: `wrangler dev`, or workerd itself on a loopback address.

const names = ['localhost', '127.0.0.1', '[::1]']

export const isLoopback = (url: URL): boolean => names.includes(url.hostname) || url.hostname.endsWith('.localhost')

export interface Origins {
  readonly issuer: string
  readonly aliases: readonly string[]
}

/** The one origin that is the issuer there, whichever of its names a request came by, and the others that mean the same place. */
export const loopbackOrigins = (url: URL): Origins => {
  const [issuer = '', ...aliases] = names.map((name) => new URL(`${url.protocol}//${name}:${url.port || (url.protocol === 'https:' ? '443' : '80')}`).origin)
  return { issuer, aliases }
}
