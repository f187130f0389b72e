// What the gateway says of itself as a client (draft-ietf-oauth-client-id-metadata-document): authorization servers of upstreams read it at its own URL, which is our client id there.
import type { Handler } from '../ports/rooms.ts'
import { clientMetadata, documentPath } from './enrol.ts'

/** GET /oauth/client-metadata.json */
export const createDocument = (issuer: string): Handler => {
  const body = JSON.stringify({ client_id: `${issuer}${documentPath}`, ...clientMetadata(issuer), token_endpoint_auth_method: 'none' })
  return () => Promise.resolve(new Response(body, { headers: { 'content-type': 'application/json', 'cache-control': 'public, max-age=3600' } }))
}
