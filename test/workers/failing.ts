// The Worker as it is deployed, in a place whose STORE binding is away for the first two requests.
import type { WorkerEnvironment } from '../../src/worker/configuration.ts'
import { createWorkerHandler } from '../../src/worker/handler.ts'
import { createSessionObject } from '../../src/worker/sessions.ts'

export { TrailObject } from './no-sessions.ts'
export { RecordObject } from '../../src/worker/storage-object.ts'

const handler = createWorkerHandler({ now: () => Date.now() })

export const SessionObject = createSessionObject(handler.session)
let requests = 0

export default {
  fetch(request: Request, env: WorkerEnvironment): Promise<Response> {
    const away = ++requests <= 2
    return handler.fetch(
      request,
      new Proxy(env, {
        get(target, name) {
          if (away && name === 'STORE') throw new Error('the binding is away')
          return Reflect.get(target, name) as unknown
        },
      }),
    )
  },
}
