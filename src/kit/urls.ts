// URLs that somebody else chose: redirect URIs, resources, metadata documents and places to return to. The
// raw text is judged before any parser may improve it.
import { isAddress } from './addresses.ts'
import { encodeBase64url, utf8 } from './bytes.ts'

/** Longest URL taken from a request or a registration, characters. */
const longest = 2048
// RFC 3986 §2: no space, control character, backslash, quote or letter beyond ASCII, and no stray percent
// sign. No encoded control character either: a NUL or a line break means something else to whoever decodes it
// later (RFC 3986 §7.3).
const uriText = /^(?:[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=]|%(?![01]|7F)[0-9A-F]{2})+$/i
const webUrl =
  /^(https?):\/\/((?:[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)|\[[0-9a-f:.]+\])(?::([1-9]\d{0,4}))?(\/[^?#]*)?(\?[^#]*)?$/i
const loopbackHosts: readonly string[] = ['localhost', '127.0.0.1', '[::1]']

interface WebUrl {
  readonly scheme: string
  /** As written. */
  readonly host: string
  readonly port: string
  readonly path: string
  readonly query: string
}

/** `.` and `..` as path segments, percent-encoded in part or whole, behind an encoded separator too. */
const hasDotSegment = (path: string): boolean => {
  const plain = path.replaceAll(/%2e/gi, '.').replaceAll(/%2f|%5c/gi, '/')
  return plain.split('/').some((segment) => segment === '.' || segment === '..')
}

/**
 * The parts of an http(s) URL without userinfo, fragment or dot segments, whose host every URL parser reads
 * as it is written (no `2130706433`, no `127.1`).
 */
const webUrlOf = (raw: string): WebUrl | undefined => {
  if (raw.length > longest || !uriText.test(raw)) return undefined
  const [, scheme = '', host = '', port = '', path = '', query = ''] = webUrl.exec(raw) ?? []
  if (host === '' || Number(port) > 65_535 || hasDotSegment(path) || !URL.canParse(raw)) return undefined
  if (new URL(raw).hostname !== host.toLowerCase()) return undefined
  return { scheme: scheme.toLowerCase(), host, port, path, query }
}

// Schemes that a browser or a desktop answers itself, or that name a protocol: no app of a person's own lives
// behind them (RFC 8252 §7.1 asks for private-use schemes).
const foreignSchemes = new Set(
  `about acap afp afs aim android-app app-prefs applescript applewebdata blob callto chrome-extension cid content coap data dav dict dns edge facetime fax feed file filesystem finger fish ftp ftps
  geo gopher hcp help icap im imap imaps intent ipp ipps irc ircs itms jar javascript jdbc ldap ldaps livescript magnet mailto maps market message mid mms mmst mocha mongodb msdt nfs news nntp oid onenote
  opera pkcs11 pop postgres prefs rdp redis res resource rlogin rsync rtmp rtsp sftp shell shttp sip sips skype smb sms smsto smtp snews snmp soap ssh steam stun svn tel telnet tftp tn3270 turn
  unix urn vbs vbscript vnc wais webcal ws wss wyciwyg xmpp xri`.split(/\s+/),
)
const foreignFamilies =
  /^(?:about|brave|chrome|edge|ext\+|file|firefox|git|http|itms|javascript|ldap|microsoft|moz|ms-|opera|safari|search|view-|vivaldi|web\+|x-apple|x-man|x-help)/
const reverseDomain = /^[a-z]{2,63}(?:\.[a-z0-9][a-z0-9-]*)+$/

const isNative = (raw: string): boolean => {
  const [, name = '', rest = ''] = /^([a-z][a-z0-9+.-]{2,62}):(\/[^#]*)$/i.exec(raw) ?? []
  const scheme = name.toLowerCase()
  if (rest === '' || foreignSchemes.has(scheme) || foreignFamilies.test(scheme)) return false
  // `com.example.app:/cb` names its owner; a plain word is believed only as `word://place`, the shape that
  // apps register and scripts and commands do not have.
  if (!(scheme.includes('.') ? reverseDomain.test(scheme) : rest.startsWith('//'))) return false
  const authority = /^\/\/([^/?]*)/.exec(rest)?.[1] ?? ''
  return !/[@*]/.test(authority) && !hasDotSegment(rest.split('?', 1)[0] ?? '') && URL.canParse(raw)
}

export type RedirectKind = 'https' | 'loopback' | 'native'

/**
 * What kind of redirect URI this is, undefined for one that must never be used: `https` anywhere, `http` on
 * `localhost`, `127.0.0.1` or `[::1]` (RFC 8252 §7.3), or an app's private-use scheme (RFC 8252 §7.1; whether
 * these are welcome is the operator's decision). No fragment (RFC 6749 §3.1.2), userinfo, wildcard or dot
 * segment.
 */
export const judgeRedirectUri = (raw: string): RedirectKind | undefined => {
  const url = webUrlOf(raw)
  if (url?.scheme === 'https') return 'https'
  if (url) return loopbackHosts.includes(url.host.toLowerCase()) ? 'loopback' : undefined
  return raw.length <= longest && uriText.test(raw) && isNative(raw) ? 'native' : undefined
}

/**
 * Whether the requested redirect URI is the registered one: simple string comparison (RFC 9700 §2.1), except
 * that on a loopback host any port is the same place (RFC 8252 §7.3; `localhost` included, because the
 * clients in use register it). False whenever the requested URI is of no kind at all.
 */
export const redirectMatches = (registered: string, requested: string): boolean => {
  const kind = judgeRedirectUri(requested)
  if (kind === undefined) return false
  if (registered === requested) return true
  const [known, asked] = [webUrlOf(registered), webUrlOf(requested)]
  if (kind !== 'loopback' || !known || !asked) return false
  return (
    known.scheme === asked.scheme &&
    known.host === asked.host &&
    known.path === asked.path &&
    known.query === asked.query
  )
}

/**
 * A loopback redirect URI without its port, which an app may change with every start (RFC 8252 §7.3); any
 * other as it is.
 */
export const withoutLoopbackPort = (redirectUri: string): string =>
  judgeRedirectUri(redirectUri) === 'loopback' ? redirectUri.replace(/:\d+(?=[/?]|$)/, '') : redirectUri

/** The host (and port) of an https URL; empty for anything else. */
export const httpsHost = (raw: string): string =>
  raw.startsWith('https://') && URL.canParse(raw) ? new URL(raw).host : ''

/**
 * What a person is shown of where the answer goes: host (and port), or `scheme:` of an app, whose authority
 * anybody could have chosen. Empty for a URI of no kind.
 */
export const redirectHost = (raw: string): string => {
  const kind = judgeRedirectUri(raw)
  if (kind === undefined) return ''
  const url = new URL(raw)
  return kind === 'native' ? url.protocol : url.host
}

// RFC 6749 §4.1.2, RFC 9207 §2: what only the authorization server may say in its answer.
const answerNames: readonly string[] = ['code', 'state', 'iss', 'error', 'error_description', 'error_uri']

/**
 * The redirect URI with the answer appended. Its own query stays byte for byte, except parameters that would
 * speak in the answer's place: those with the name of an authorization response parameter or of one of
 * `params` are dropped. Undefined values are left out.
 */
export const withParams = (uri: string, params: Readonly<Record<string, string | undefined>>): string => {
  const at = uri.indexOf('?')
  const [base, own] = at < 0 ? [uri, ''] : [uri.slice(0, at), uri.slice(at + 1)]
  const spoken = (pair: string): boolean =>
    [...new URLSearchParams(pair).keys()].some(
      (name) => answerNames.includes(name) || Object.hasOwn(params, name),
    )
  const kept = own.split('&').filter((pair) => pair !== '' && !spoken(pair))
  const added = Object.entries(params).flatMap(([name, value]) =>
    value === undefined ? [] : [`${encodeURIComponent(name)}=${encodeURIComponent(value.toWellFormed())}`],
  )
  const query = [...kept, ...added].join('&')
  return query === '' ? base : `${base}?${query}`
}

/**
 * The canonical form of a resource indicator (RFC 8707 §2; MCP "Canonical Server URI"): scheme and host in
 * lower case, no default port, without one trailing slash. Undefined for what is no absolute http(s) URL, has
 * userinfo or a fragment, or a path that is not in normal form.
 */
export const canonicalResource = (raw: string): string | undefined => {
  const url = webUrlOf(raw)
  if (!url || url.path.includes('//')) return undefined
  const standard = url.port === (url.scheme === 'https' ? '443' : '80')
  const origin = `${url.scheme}://${url.host.toLowerCase()}${url.port === '' || standard ? '' : `:${url.port}`}`
  return `${origin}${url.path.replace(/\/$/, '')}${url.query}`
}

/**
 * Whether two texts name one issuer. Equal after RFC 3986 §6.2.2.1 and §6.2.3: case of scheme and host, the
 * default port, and one slash at the end, on either side. RFC 8414 §3.1 drops that slash from the address of
 * the metadata, so both spellings have one document. The rest of the path counts byte for byte, and a text
 * that is no http(s) URL equals only itself. Not for the `iss` of an authorization response, which RFC 9207
 * §2.4 compares as text.
 */
export const sameIssuer = (a: string, b: string): boolean => {
  if (a === b) return true
  const canonical = canonicalResource(a)
  return canonical !== undefined && canonical === canonicalResource(b)
}

/**
 * The URL of a client's metadata document (draft-ietf-oauth-client-id-metadata-document §3), or undefined
 * when a client_id cannot be one: https with a path, already in the normal form of the URL parser, no
 * fragment, userinfo or dot segments. Names in punycode are refused: the host is all that vouches for the
 * client, and it must read as it is written.
 */
export const metadataDocumentUrl = (raw: string): URL | undefined => {
  const url = webUrlOf(raw)
  if (url?.scheme !== 'https' || url.path === '' || url.path === '/' || /(?:^|\.)xn--/i.test(url.host))
    return undefined
  const parsed = new URL(raw)
  return parsed.href === raw ? parsed : undefined
}

/**
 * A place on this origin to return to after a step in between: a path with query, as given. Undefined for
 * everything that any browser could take for another origin.
 */
export const sameOriginPath = (raw: string): string | undefined => {
  if (raw.length > longest || !uriText.test(raw) || !/^\/(?!\/)/.test(raw)) return undefined
  const url = new URL(raw, 'https://here.invalid')
  return url.origin === 'https://here.invalid' && `${url.pathname}${url.search}${url.hash}` === raw
    ? raw
    : undefined
}

/**
 * An address as pages and logs may repeat it, bounded: a code, a token or a key may stand in its query or
 * fragment.
 */
export const withoutQuery = (uri: string): string => uri.slice(0, 300).replace(/[?#].*$/s, '?…')

// The address where the authorization server of an upstream sends people back: one for each, so that the
// answer of one is
// never taken for another's (RFC 9700 §4.4.2.2).

/** 132 bits: nobody finds a second issuer for the id of the first. */
const idLength = 22
export const callbackRoot = '/connect/callback'

/** The same for every spelling of an issuer, in every process and after every restart. */
export const callbackId = async (issuer: string): Promise<string> => {
  const digest = await crypto.subtle.digest(
    'SHA-256',
    utf8(`callback\n${canonicalResource(issuer) ?? issuer}`),
  )
  return encodeBase64url(new Uint8Array(digest)).slice(0, idLength)
}

export const callbackPathOf = async (issuer: string): Promise<string> =>
  `${callbackRoot}/${await callbackId(issuer)}`

export const isCallbackId = (text: string): boolean => text.length === idLength && /^[\w-]+$/.test(text)

// What identity providers, and clients registered with version 0.1.0, come back to.
const sharedPath = /^(?:\/connect\/callback|\/(?:oauth\/)?callback)$/

const pathOf = (redirectUri: string): string => new URL(redirectUri).pathname
/**
 * An address that only the operator's proxy knows: it leads to one that no authorization server has for
 * itself.
 */
const isMapped = (path: string): boolean => !path.startsWith(`${callbackRoot}/`) && !sharedPath.test(path)

/** Whether an answer that came to `path` is that of the authorization server whose redirect URI this is. */
export const isCallbackOf = (redirectUri: string, path: string): boolean => {
  const own = pathOf(redirectUri)
  return path === own || (isMapped(own) && sharedPath.test(path))
}

/** Whether an answer to one of these redirect URIs could be taken for an answer to the other. */
export const shareCallback = (a: string, b: string): boolean => {
  const [one, other] = [pathOf(a), pathOf(b)]
  return (
    one === other ||
    (isMapped(one) && (isMapped(other) || sharedPath.test(other))) ||
    (isMapped(other) && sharedPath.test(one))
  )
}

// Which hosts belong to one owner, as far as their names tell.

// Hosts that give each customer a name below their own, and are not in the public suffix list.
const tenants = new Set(
  `amazonaws.com auth0.com azurecontainerapps.io b2clogin.com cloudflareaccess.com kinde.com koyeb.app lhr.life loca.lt
  nip.io okta.com onelogin.com oraclecloud.com railway.app render.com sslip.io stytch.com workos.com`.split(
    /\s+/,
  ),
)

/** The name that somebody registered. Undefined for addresses, suffixes and names below a tenant's host. */
const registered = async (host: string): Promise<string | undefined> => {
  if (isAddress(host)) return undefined
  // The list is large, and most gateways never ask: it is read with the first question.
  const { getDomain } = await import('tldts')
  const domain = getDomain(host.toLowerCase(), { allowPrivateDomains: true })
  return domain === null || tenants.has(domain) ? undefined : domain
}

/**
 * Whether both hosts are equal, or below one registered name (public suffix list, its private section
 * included).
 */
export const sameSite = async (a: string, b: string): Promise<boolean> => {
  if (a === b) return true
  const domain = await registered(a)
  return domain !== undefined && domain === (await registered(b))
}

const hostOfDocument = (clientId: string): string | undefined =>
  clientId.startsWith('https://') && URL.canParse(clientId) ? new URL(clientId).hostname : undefined

/** The client is identified by a metadata document. */
export const isDocumentClient = (clientId: string): boolean => hostOfDocument(clientId) !== undefined

/** The same, at this host or one below it. `domain`: in lower case. */
export const isClientOfDomain = (clientId: string, domain: string): boolean => {
  const host = hostOfDocument(clientId) ?? ''
  return host === domain || host.endsWith(`.${domain}`)
}
