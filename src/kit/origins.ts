// Origins that an operator wrote down: which URL is at one of them, and which hosts belong to one owner.
import { isAddress } from './addresses.ts'

const loopbackAnyPort = /^(https?:\/\/(?:localhost|127\.0\.0\.1|\[::1\])):\*$/i

/** `https://host`, `http://host:port`, or a loopback host with `:*` for every port. */
export const isOriginPattern = (text: string): boolean => loopbackAnyPort.test(text) || (/^https?:\/\/[^/?#@\\\s]+$/i.test(text) && URL.canParse(text))

/** Whether the URL's origin is one of those written. */
export const atOrigin = (url: URL, written: readonly string[]): boolean =>
  written.some((text) => {
    const any = loopbackAnyPort.exec(text)?.[1]
    if (any === undefined) return URL.canParse(text) && new URL(text).origin === url.origin
    return `${url.protocol}//${url.hostname}` === any.toLowerCase()
  })

// Below these anybody can have a name, so that two names there say nothing of one another.
const shared = new Set(
  `amazonaws.com auth0.com appspot.com azurecontainerapps.io azurewebsites.net b2clogin.com cloudapp.net cloudflareaccess.com cloudfront.net cloudfunctions.net deno.dev duckdns.org
  firebaseapp.com fly.dev github.io gitlab.io herokuapp.com kinde.com koyeb.app lhr.life loca.lt netlify.app ngrok-free.app ngrok-free.dev ngrok.app ngrok.dev ngrok.io nip.io okta.com onelogin.com
  onrender.com oraclecloud.com pages.dev railway.app render.com replit.app replit.dev repl.co run.app sslip.io stytch.com supabase.co surge.sh ts.net trycloudflare.com vercel.app web.app workers.dev
  workos.com zeabur.app`.split(/\s+/),
)
// Second levels under which country registries sell names: co.uk, com.au.
const registryLabels = new Set('ac co com edu go gob gov gv id mil ne net nom or org sch'.split(' '))

/** The part of a name that somebody registered. Undefined for addresses, for names without a dot, and on platforms. */
const registered = (host: string): string | undefined => {
  if (isAddress(host)) return undefined
  const labels = host.toLowerCase().replace(/\.$/, '').split('.')
  const national = labels.at(-1)?.length === 2 && registryLabels.has(labels.at(-2) ?? '')
  const depth = national ? 3 : 2
  return labels.length < depth || shared.has(labels.slice(-2).join('.')) ? undefined : labels.slice(-depth).join('.')
}

/** Whether both hosts belong to one owner as far as their names tell: equal, or below one registered name. */
export const sameSite = (a: string, b: string): boolean => a === b || (registered(a) !== undefined && registered(a) === registered(b))
