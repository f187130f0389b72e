// The client's side of a sign-in, for programs on either major of the MCP SDK: a callback on loopback and an
// OAuth provider that keeps everything in memory.
import type { OAuthDiscoveryState } from '@modelcontextprotocol/client'
import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

interface Tokens {
  readonly access_token: string
  readonly refresh_token?: string
  readonly token_type: string
}

export interface Kept {
  client?: { client_id: string }
  tokens?: Tokens
  verifier?: string
  discovery?: OAuthDiscoveryState
}

/** Opens $BROWSER, as command-line programs do. */
export const openBrowser = (url: string): void =>
  void spawn(process.env['BROWSER'] ?? 'xdg-open', [url], { stdio: 'ignore' })

/**
 * `open` is called with each authorization URL; `answer` resolves with the parameters that come back, their
 * state checked.
 */
export const createClientSide = async (name: string, open: (url: string) => void = openBrowser) => {
  const answered = Promise.withResolvers<URLSearchParams>()
  const state = randomUUID()
  const server = createServer((request, response) => {
    const parameters = new URL(request.url ?? '', 'http://127.0.0.1').searchParams
    response.end('You may close this window.')
    if (parameters.get('state') === state) answered.resolve(parameters)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const redirectUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/callback`
  const kept: Kept = {}
  let visits = 0
  const authProvider = {
    redirectUrl,
    clientMetadata: {
      client_name: name,
      redirect_uris: [redirectUrl],
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
    },
    state: () => state,
    clientInformation: () => kept.client,
    saveClientInformation: (client: { client_id: string }) => void (kept.client = client),
    tokens: () => kept.tokens,
    saveTokens: (tokens: Tokens) => void (kept.tokens = tokens),
    saveCodeVerifier: (verifier: string) => void (kept.verifier = verifier),
    codeVerifier: () => kept.verifier ?? '',
    saveDiscoveryState: (discovery: OAuthDiscoveryState) => void (kept.discovery = discovery),
    discoveryState: () => kept.discovery,
    redirectToAuthorization: (url: URL) => {
      visits++
      open(url.href)
    },
  }
  const close = (): void => {
    server.close()
    server.closeAllConnections()
  }
  return { authProvider, kept, answer: answered.promise, visits: () => visits, close }
}
