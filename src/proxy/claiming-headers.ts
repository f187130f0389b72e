// Header names with which a caller would claim to be somebody, to hold a credential, or to come from elsewhere. Only the gateway speaks in them (docs/reference/headers.md).

/** Names that carry an identity, an address, a credential or a routing decision somewhere in the wild. */
export const droppedNames: readonly string[] = `host expect cookie cookie2 forwarded via referer x-request-id x-host
  x-real-ip x-client-ip true-client-ip cf-connecting-ip cf-connecting-ipv6 fastly-client-ip x-cluster-client-ip client-ip cf-worker
  remote-user remote-name remote-email remote-groups user username groups roles x-user x-username x-userid x-userinfo x-email x-name x-login
  x-groups x-group x-roles x-role x-sub x-subject x-principal x-identity x-account x-admin x-permissions x-scope x-scopes
  x-mcp-identity mcp-init-host router-key x-api-userinfo x-jwt-assertion x-access-token x-id-token x-token client-cert client-cert-chain
  x-http-method x-http-method-override x-method-override x-original-url x-rewrite-url x-override-url
  x-serverless-authorization x-endpoint-api-userinfo x-apigateway-api-userinfo x-consumer-id x-consumer-username x-consumer-custom-id
  x-credential-identifier`.split(/\s+/)

export const droppedPrefixes: readonly string[] = `x-user- x-auth- x-remote- x-forwarded- x-authenticated- x-authorization- x-identity- x-original- x-rewrite-
  x-verified- x-webauth- x-token- x-claim- x-jwt- x-impersonate- impersonate- x-mcp-user x-postern- proxy- remote- sec- access-control-
  cf-access- x-amzn-oidc- x-goog-authenticated- x-goog-iap- x-ms-client- x-ms-token- x-pomerium- x-authentik- x-vouch- x-authelia- x-keycloak-
  x-okta- x-azure- oidc- x-oidc- tailscale- teleport- ssl-client- x-ssl- x-client-cert x-envoy-`.split(/\s+/)

/** Words of a name that say so in any combination (`X-Impersonated-User`, `X-Mcp-Api-Key`). */
export const droppedWords: readonly string[] = `user username userid userinfo email login principal subject identity account role roles group
  groups permission permissions scope scopes admin tenant actor impersonate impersonated impersonation assertion authorization
  authentication authenticated auth authuser token jwt bearer apikey secret password credential credentials cookie cert certificate`.split(/\s+/)

/** Names that have such a word and claim nothing. `Mcp-Param-*` is a tool's argument (2026-07-28 transports, SEP-2243). */
const innocent = /^(?:user-agent|mcp-param-.*)$/

const names = new Set(droppedNames)
const words = new Set(droppedWords)

/** One spelling for all that servers take for the same name: CGI and WSGI read `_` as `-`, every case is one. */
export const normalName = (name: string): string => name.toLowerCase().replaceAll('_', '-')

/** Of a name in normal form. */
export const isGatewaysOwn = (normal: string): boolean => {
  if (names.has(normal) || droppedPrefixes.some((prefix) => normal.startsWith(prefix))) return true
  if (innocent.test(normal)) return false
  const parts = normal.split('-')
  return parts.some((part, at) => words.has(part) || (part === 'api' && parts[at + 1] === 'key'))
}
