// The measure of the Workers house: a Worker that passes every request on and does nothing else.
export { SessionObject, TrailObject } from './no-sessions.ts'
export { RecordObject } from '../../src/worker/storage-object.ts'

export default {
  fetch(request: Request, env: { readonly UPSTREAM: string }): Promise<Response> {
    return fetch(new Request(`${env.UPSTREAM}/json`, request))
  },
}
