// Walks the authorization of a client as a person with a browser would: sign in if asked, allow, and see
// where the gateway sends the browser.
import { createHash, randomBytes } from 'node:crypto'
import { type Browser, createBrowser, type Page } from './browser.ts'
import { person } from './postern.ts'

const shows = (page: Page, field: string): boolean =>
  new RegExp(`name=["']?${field}["'\\s>]`, 'i').test(page.text)

/** Where access rules are, the consent page asks how much an app may do. */
const everything = { preset: 'execute' }

/**
 * Opens an authorization URL, answers what is asked, and returns the URL of the client's own address with
 * code or error.
 */
export const allow = async (
  browser: Browser,
  url: string,
  who: { readonly username: string; readonly password: string } = person,
): Promise<string> => {
  let page = await browser.open(url)
  for (let step = 0; step < 4 && page.location === undefined; step++) {
    if (shows(page, 'password'))
      page = await browser.submit(page, { username: who.username, password: who.password })
    else if (shows(page, 'decision'))
      page = await browser.submit(page, { decision: 'allow', ...(shows(page, 'preset') && everything) })
    else break
  }
  if (page.location === undefined)
    throw new Error(
      `Neither a login nor a consent page at ${page.url} (${page.status}):\n${page.text.slice(0, 2000)}`,
    )
  return page.location
}

const json = async (response: Response): Promise<Record<string, unknown>> => {
  const text = await response.text()
  if (!response.ok) throw new Error(`${response.url} answered ${response.status}: ${text.slice(0, 500)}`)
  return JSON.parse(text) as Record<string, unknown>
}

/**
 * An access token for one MCP endpoint, got the way every MCP client gets one: challenge, metadata,
 * registration, PKCE, code. `walk` is what the person does.
 */
export const obtainToken = async (
  mcpUrl: string,
  name = 'Postern harness',
  walk: (browser: Browser, url: string) => Promise<string> = allow,
): Promise<string> => {
  const challenge = await fetch(mcpUrl, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  })
  const resourceMetadata = /resource_metadata="([^"]+)"/.exec(
    challenge.headers.get('www-authenticate') ?? '',
  )?.[1]
  if (challenge.status !== 401 || resourceMetadata === undefined)
    throw new Error(`${mcpUrl} answered ${challenge.status} without a usable challenge`)
  const { resource, authorization_servers: servers } = (await json(await fetch(resourceMetadata))) as {
    resource: string
    authorization_servers: string[]
  }
  const issuer = servers[0] ?? ''
  const metadata = (await json(await fetch(`${issuer}/.well-known/oauth-authorization-server`))) as Record<
    'authorization_endpoint' | 'token_endpoint' | 'registration_endpoint',
    string
  >
  const redirectUri = 'http://127.0.0.1:9/callback'
  const registration = {
    client_name: name,
    redirect_uris: [redirectUri],
    token_endpoint_auth_method: 'none',
    grant_types: ['authorization_code', 'refresh_token'],
  }
  const registered = await fetch(metadata.registration_endpoint, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(registration),
  })
  const { client_id: clientId } = (await json(registered)) as { client_id: string }
  const verifier = randomBytes(32).toString('base64url')
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: clientId,
    redirect_uri: redirectUri,
    resource,
    state: randomBytes(16).toString('base64url'),
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  })
  const answer = new URL(await walk(createBrowser(issuer), `${metadata.authorization_endpoint}?${query}`))
    .searchParams
  const code = answer.get('code')
  if (code === null || answer.get('state') !== query.get('state'))
    throw new Error(`The client was answered ${answer}`)
  const body = new URLSearchParams({
    grant_type: 'authorization_code',
    client_id: clientId,
    redirect_uri: redirectUri,
    code,
    code_verifier: verifier,
    resource,
  })
  return (
    (await json(await fetch(metadata.token_endpoint, { method: 'POST', body }))) as { access_token: string }
  ).access_token
}
