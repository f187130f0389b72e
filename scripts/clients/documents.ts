// The client metadata documents of Claude Code and Codex, served here under their own names: a machine
// without the internet cannot fetch the real ones.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { selfSigned } from '../harness/certificate.ts'

const publicClient = {
  grant_types: ['authorization_code', 'refresh_token'],
  response_types: ['code'],
  token_endpoint_auth_method: 'none',
}

/** What both makers publish: loopback addresses without a port (anthropics/claude-code#37747). */
const documents: Readonly<Record<string, object>> = {
  'https://claude.ai/oauth/claude-code-client-metadata': {
    client_id: 'https://claude.ai/oauth/claude-code-client-metadata',
    client_name: 'Claude Code',
    client_uri: 'https://claude.ai',
    redirect_uris: ['http://localhost/callback', 'http://127.0.0.1/callback'],
    ...publicClient,
  },
  'https://chatgpt.com/oauth/codex/client.json': {
    client_id: 'https://chatgpt.com/oauth/codex/client.json',
    client_name: 'Codex',
    redirect_uris: ['http://127.0.0.1/callback', 'http://localhost/callback'],
    ...publicClient,
  },
}

export interface Documents {
  /**
   * Makes a Node process find the documents: its resolver and its connections are changed from outside, its
   * guard against private addresses is not.
   */
  readonly env: Readonly<Record<string, string>>
  readonly stop: () => void
}

export const serveDocuments = async (): Promise<Documents> => {
  const hosts = Object.keys(documents).map((url) => new URL(url).hostname)
  const certificate = selfSigned(hosts)
  const folder = mkdtempSync(join(tmpdir(), 'documents-'))
  const trusted = join(folder, 'ca.pem')
  writeFileSync(trusted, certificate.cert)
  const server = createServer(certificate, (request, response) => {
    const found = documents[`https://${request.headers.host}${request.url}`]
    response
      .writeHead(found ? 200 : 404, {
        'content-type': 'application/json',
        'cache-control': 'public, max-age=300',
      })
      .end(JSON.stringify(found ?? {}))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    env: {
      NODE_OPTIONS: `--import ${new URL('documents-detour.mjs', import.meta.url).href}`,
      NODE_EXTRA_CA_CERTS: trusted,
      DETOUR_HOSTS: hosts.join(' '),
      DETOUR_PORT: String(port),
    },
    stop: () => {
      server.close()
      server.closeAllConnections()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
