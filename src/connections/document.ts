// What the gateway says of itself as a client (draft-ietf-oauth-client-id-metadata-document): authorization servers of upstreams read it at its own URL, which is our client id there.
import { callbackRoot, isCallbackId } from '../kit/callback-path.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Handler } from '../ports/rooms.ts'
import { clientMetadata, documentPath, documentRoot } from './enrol.ts'

/**
 * GET /oauth/client-metadata/:id.json, one for each authorization server, and /oauth/client-metadata.json,
 * the client id of version 0.1.0.
 */
export const createDocument = (issuer: string): Handler => {
  const draw = (path: string, redirectPath: string): Response => {
    const body = {
      client_id: `${issuer}${path}`,
      ...clientMetadata(issuer, `${issuer}${redirectPath}`),
      token_endpoint_auth_method: 'none',
    }
    return new Response(JSON.stringify(body), {
      headers: { 'content-type': 'application/json', 'cache-control': 'public, max-age=3600' },
    })
  }
  return (request) => {
    const path = new URL(request.url).pathname
    if (path === documentPath) return Promise.resolve(draw(documentPath, callbackRoot))
    const id = path.slice(documentRoot.length + 1).replace(/\.json$/, '')
    if (!isCallbackId(id) || path !== `${documentRoot}/${id}.json`)
      return Promise.reject(new Refusal('route.unknown', path.slice(0, 200)))
    return Promise.resolve(draw(path, `${callbackRoot}/${id}`))
  }
}
