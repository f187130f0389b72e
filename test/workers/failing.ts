// The Worker as it is deployed, in a place whose STORE binding is away for the first two requests.
import { createDoor } from '../../src/worker/door.ts'
import type { Environment } from '../../src/worker/environment.ts'
import { createLineObject } from '../../src/worker/line-object.ts'

export { RecordObject } from '../../src/worker/object.ts'

const door = createDoor({ now: () => Date.now() })

export const LineObject = createLineObject(door)
let requests = 0

export default {
  fetch(request: Request, env: Environment): Promise<Response> {
    const away = ++requests <= 2
    return door.fetch(
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
