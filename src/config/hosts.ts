// Host names and addresses as the configuration writes them.

/**
 * Whether a host name or address (IPv6 with or without brackets) means this computer: the names and addresses
 * that RFC 6761 §6.3 and RFC 6890 give to loopback.
 */
export const isLoopbackHost = (host: string): boolean => {
  const name = host.toLowerCase().replace(/^\[|\]$/g, '')
  return (
    name === 'localhost' || name.endsWith('.localhost') || name === '::1' || /^127(\.\d{1,3}){3}$/.test(name)
  )
}

/** The parsed URL, undefined for anything that is not one. */
export const urlOf = (text: string): URL | undefined => (URL.canParse(text) ? new URL(text) : undefined)

/** Whether the URL's host means this computer; false for what is no URL. */
export const isLoopbackUrl = (text: string): boolean => isLoopbackHost(urlOf(text)?.hostname ?? '')
