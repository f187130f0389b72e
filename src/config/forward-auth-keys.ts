// Keys of forward auth: what a reverse proxy in front of MCP servers may ask.
import * as z from 'zod'

/** A proxy on the same computer. */
const loopback = ['127.0.0.0/8', '::1']

export const forwardAuthKeys = z
  .strictObject({
    trusted: z
      .array(z.string())
      .min(1)
      .default(loopback)
      .describe(
        'Addresses or CIDR ranges of the reverse proxies that may ask. The connection itself counts, not a header. Default: this computer.',
      ),
    without_body: z
      .enum(['refuse', 'allow'])
      .default('refuse')
      .describe(
        'What happens to a POST whose message the proxy does not hand on (nginx and Caddy never do), at a service with access rules or rate limits. `refuse`: it does not pass. `allow`: only who calls and the rules about whole services are checked; rules about tools, levels of consent and rate limits have no effect.',
      ),
    preflight: z
      .enum(['refuse', 'pass'])
      .default('refuse')
      .describe(
        'What happens to the preflight requests of browsers (OPTIONS), which carry no token. `refuse`: the proxy has to answer them itself. `pass`: they reach the server.',
      ),
  })
  .describe(
    'Forward auth: `/verify` tells a reverse proxy (nginx `auth_request`, Caddy `forward_auth`, Traefik ForwardAuth) whether a request may pass to an MCP server that it serves itself. Without this section, `/verify` does not exist. See [Forward auth](../guide/forward-auth.md).',
  )
