// Pre-registered OAuth clients: what the registration endpoint would refuse is refused here too.
import type { Draft, Report, Rule } from './draft.ts'
import { judgeRedirectUri } from '../kit/urls.ts'
import { isLoopbackHost, urlOf } from './hosts.ts'

const scripts = /^(javascript|data|vbscript|file|blob|about|view-source|filesystem|ws|wss|ftp):/i

const redirect = (value: string): string | undefined => {
  const url = urlOf(value)
  if (!url || value.trim() !== value) return 'must be a whole URI, e.g. "https://app.example.com/callback"'
  if (value.includes('*')) return 'must be exact; wildcards are not possible'
  if (value.includes('#')) return 'must not have a fragment (RFC 6749 §3.1.2)'
  if (scripts.test(value)) return 'has a scheme that cannot take an answer'
  if (url.username || url.password) return 'must not hold a user name or password'
  if (url.protocol === 'http:' && !isLoopbackHost(url.hostname)) return 'must use https; http is for localhost, 127.0.0.1 and [::1] only. On a home network give the app an https address, by a tunnel or with a certificate of your own CA: see docs/guide/production.md#on-a-home-network'
  // What is left is judged as every request is: one that it could never match would be found out by the first person who signs in.
  return judgeRedirectUri(value) === undefined ? 'is no redirect URI that a request could match: use https, http on localhost, 127.0.0.1 or [::1], or an app scheme such as com.example.app:/callback; written in normal form, in ASCII' : undefined
}

const authentication = (draft: Draft, report: Report, id: string): void => {
  const path = ['clients', id]
  const method = draft.text(...path, 'token_endpoint_auth_method') ?? ''
  const secret = draft.has(...path, 'client_secret')
  const [uri, keys] = [draft.has(...path, 'jwks_uri'), draft.has(...path, 'jwks')]
  if (method.startsWith('client_secret') && !secret) report.key(path, `needs client_secret, because token_endpoint_auth_method is ${method}`)
  if (method === 'none' && secret) report.key([...path, 'client_secret'], 'does nothing while token_endpoint_auth_method is none: write client_secret_basic or client_secret_post, or remove the secret')
  if (method === 'private_key_jwt' && secret) report.key([...path, 'client_secret'], 'does nothing while token_endpoint_auth_method is private_key_jwt: remove it')
  if (method === 'private_key_jwt' && uri === keys) report.key(path, uri ? 'has both jwks_uri and jwks: keep one' : 'needs jwks_uri or jwks, because token_endpoint_auth_method is private_key_jwt')
  if (method !== '' && method !== 'private_key_jwt' && (uri || keys)) report.key([...path, uri ? 'jwks_uri' : 'jwks'], `does nothing while token_endpoint_auth_method is ${method}: write private_key_jwt, or remove it`)
  for (const at of draft.positions(...path, 'jwks', 'keys')) {
    // RFC 7518 §6: d is the private part of EC, OKP and RSA keys, k a symmetric key.
    for (const part of ['d', 'k']) if (draft.has(...path, 'jwks', 'keys', at, part)) report.key([...path, 'jwks', 'keys', at, part], 'is a private key: only public parts belong here, and this key is to be replaced')
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
