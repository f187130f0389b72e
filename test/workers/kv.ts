// The Cache on Workers KV behind an address: /put?key&value&ttl, /get?key, /log for what it told.
import { createKvCache } from '../../src/worker/storage.ts'

export { SessionObject, TrailObject } from './no-sessions.ts'

const events: string[] = []

export { RecordObject } from '../../src/worker/storage-object.ts'

export default {
  async fetch(request: Request, env: { readonly OAUTH_KV: KVNamespace }): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url)
    const cache = createKvCache(env.OAUTH_KV, (_, event) => void events.push(event))
    const key = searchParams.get('key') ?? ''
    if (pathname === '/log') return Response.json(events)
    if (pathname === '/get') return Response.json((await cache.get(key)) ?? null)
    await cache.put(key, searchParams.get('value') ?? '', { ttlMs: Number(searchParams.get('ttl')) })
    return Response.json(null)
  },
}
