// The whole login of an MCP client as one step: register, authorize in a browser, sign in, allow, redeem the
// code.
import { createHash, randomBytes } from 'node:crypto'
import { type Browser, createBrowser, type Fetch } from './browser.ts'

export interface Client {
  readonly id: string
  readonly redirectUri: string
  readonly secret?: string
}

export interface Tokens {
  readonly access_token: string
  readonly refresh_token: string
  readonly token_type: string
  readonly expires_in: number
  readonly scope: string
}

export interface LoginTarget {
  readonly origin: string
  readonly fetch: Fetch
}

export const person = { username: 'ana', password: 'correct horse battery' }

export const form = (fields: Record<string, string>): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/x-www-form-urlencoded' },
  body: new URLSearchParams(fields).toString(),
})

export const register = async (
  { origin, fetch }: LoginTarget,
  metadata: Record<string, unknown> = {},
): Promise<Client> => {
  const body = {
    client_name: 'Flow test',
    redirect_uris: ['http://127.0.0.1:5000/cb'],
    token_endpoint_auth_method: 'none',
    ...metadata,
  }
  const response = await fetch(`${origin}/oauth/register`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  if (response.status !== 201)
    throw new Error(`registration answered ${response.status}: ${await response.text()}`)
  const answer = (await response.json()) as {
    client_id: string
    client_secret?: string
    redirect_uris: string[]
  }
  return {
    id: answer.client_id,
    redirectUri: answer.redirect_uris[0] as string,
    ...(answer.client_secret === undefined ? {} : { secret: answer.client_secret }),
  }
}

export interface Asking {
  readonly url: string
  readonly verifier: string
  readonly state: string
}

export const authorizeUrl = (
  { origin }: LoginTarget,
  client: Client,
  params: Record<string, string> = {},
): Asking => {
  const verifier = randomBytes(32).toString('base64url')
  const state = randomBytes(8).toString('hex')
  const query = new URLSearchParams({
    response_type: 'code',
    client_id: client.id,
    redirect_uri: client.redirectUri,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
    state,
    ...params,
  })
  return { url: `${origin}/oauth/authorize?${query}`, verifier, state }
}

/** Everything that the page offers: without access rules it offers no choice. */
const everything = { decision: 'allow', preset: 'execute', admin: 'on' }

/**
 * Signs in where the login page is met, allows where the consent page is met; answers the URL of the client's
 * redirect. `choice`: fields of the consent form.
 */
export const allow = async (
  browser: Browser,
  url: string,
  who = person,
  choice: Parameters<Browser['submit']>[2] = everything,
): Promise<URL> => {
  let page = await browser.go(url)
  if (page.status !== 0 && page.body.includes('name="password"'))
    page = await browser.submit(page, '/login', { username: who.username, password: who.password })
  if (page.status !== 0) page = await browser.submit(page, '/oauth/consent', choice)
  if (page.status !== 0)
    throw new Error(`no redirect to the client: ${page.status} ${page.url}\n${page.body.slice(0, 2000)}`)
  return new URL(page.url)
}

export const redeem = (
  { origin, fetch }: LoginTarget,
  client: Client,
  code: string,
  verifier: string,
  more: Record<string, string> = {},
): Promise<Response> =>
  fetch(
    `${origin}/oauth/token`,
    form({
      grant_type: 'authorization_code',
      code,
      redirect_uri: client.redirectUri,
      client_id: client.id,
      code_verifier: verifier,
      ...(client.secret === undefined ? {} : { client_secret: client.secret }),
      ...more,
    }),
  )

export const refresh = (
  { origin, fetch }: LoginTarget,
  client: Client,
  token: string,
  more: Record<string, string> = {},
): Promise<Response> =>
  fetch(
    `${origin}/oauth/token`,
    form({ grant_type: 'refresh_token', refresh_token: token, client_id: client.id, ...more }),
  )

/** A person's whole way from nothing to tokens for one service. */
export const logIn = async (
  house: LoginTarget,
  resource = `${house.origin}/echo/mcp`,
  browser = createBrowser(house.fetch, house.origin),
  who = person,
): Promise<{ client: Client; tokens: Tokens; browser: Browser }> => {
  const client = await register(house)
  const asking = authorizeUrl(house, client, { resource })
  const back = await allow(browser, asking.url, who)
  const response = await redeem(house, client, back.searchParams.get('code') ?? '', asking.verifier)
  if (response.status !== 200)
    throw new Error(`token endpoint answered ${response.status}: ${await response.text()}`)
  return { client, tokens: (await response.json()) as Tokens, browser }
}
