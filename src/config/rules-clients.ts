// Pre-registered OAuth clients: what the registration endpoint would refuse is refused here too.
import type { Draft, Report, Rule } from './draft.ts'
import { judgeRedirectUri } from '../kit/urls.ts'
import { isLoopbackHost, urlOf } from './hosts.ts'

const scripts = /^(javascript|data|vbscript|file|blob|about|view-source|filesystem|ws|wss|ftp):/i

const redirect = (value: string): string | undefined => {
  const url = urlOf(value)
  if (!url || value.trim() !== value) return 'must be an absolute URI, e.g. "https://app.example.com/callback"'
  if (value.includes('*')) return 'must be exact: wildcards are not supported'
  if (value.includes('#')) return 'must not have a fragment (RFC 6749 §3.1.2)'
  if (scripts.test(value)) return 'has a scheme that cannot be used for a redirect'
  if (url.username || url.password) return 'must not contain a username or password'
  if (url.protocol === 'http:' && !isLoopbackHost(url.hostname)) return 'must use https; http is allowed only for localhost, 127.0.0.1 and [::1]. On a home network, serve the app over https with a tunnel or a certificate from your own CA: see docs/guide/production.md#on-a-home-network'
  // What is left is judged as every request is: one that it could never match would be found out by the first person who signs in.
  return judgeRedirectUri(value) === undefined ? 'is not a valid redirect URI: use https, http on localhost, 127.0.0.1 or [::1], or an app scheme such as com.example.app:/callback, in ASCII and in normalized form' : undefined
}

const authentication = (draft: Draft, report: Report, id: string): void => {
  const path = ['clients', id]
  const method = draft.text(...path, 'token_endpoint_auth_method') ?? ''
  const secret = draft.has(...path, 'client_secret')
  const [uri, keys] = [draft.has(...path, 'jwks_uri'), draft.has(...path, 'jwks')]
  if (method.startsWith('client_secret') && !secret) report.key(path, `needs client_secret, because token_endpoint_auth_method is ${method}`)
  if (method === 'none' && secret) report.key([...path, 'client_secret'], 'has no effect while token_endpoint_auth_method is none: set it to client_secret_basic or client_secret_post, or remove the secret')
  if (method === 'private_key_jwt' && secret) report.key([...path, 'client_secret'], 'has no effect while token_endpoint_auth_method is private_key_jwt: remove it')
  if (method === 'private_key_jwt' && uri === keys) report.key(path, uri ? 'has both jwks_uri and jwks: keep one' : 'needs jwks_uri or jwks, because token_endpoint_auth_method is private_key_jwt')
  if (method !== '' && method !== 'private_key_jwt' && (uri || keys)) report.key([...path, uri ? 'jwks_uri' : 'jwks'], `has no effect while token_endpoint_auth_method is ${method}: set it to private_key_jwt, or remove this key`)
  for (const at of draft.positions(...path, 'jwks', 'keys')) {
    // RFC 7518 §6: d is the private part of EC, OKP and RSA keys, k a symmetric key.
    for (const part of ['d', 'k']) if (draft.has(...path, 'jwks', 'keys', at, part)) report.key([...path, 'jwks', 'keys', at, part], 'is part of a private key: list public keys only, and replace this key, because it is now exposed')
  }
}

const clients: Rule = (draft, report) => {
  for (const id of draft.keys('clients')) {
    for (const { value, path } of draft.texts('clients', id, 'redirect_uris')) {
      const wrong = redirect(value)
      if (wrong) report.fault(path, wrong)
    }
    authentication(draft, report, id)
  }
}

export const clientRules: readonly Rule[] = [clients]
