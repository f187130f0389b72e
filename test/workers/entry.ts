// The Worker as it is deployed, with a clock that a test moves: POST /__clock?ahead=<ms>.
import { createDoor } from '../../src/worker/door.ts'
import type { Environment } from '../../src/worker/environment.ts'
import { createLineObject } from '../../src/worker/line-object.ts'
import { RecordObject as Deployed } from '../../src/worker/object.ts'

// The objects live in the isolate of their Worker, so one clock is theirs too.
let ahead = 0
const now = (): number => Date.now() + ahead

export class RecordObject extends Deployed {
  protected override now(): number {
    return now()
  }
}

const door = createDoor({ now })

export const LineObject = createLineObject(door)

export default {
  fetch(request: Request, env: Environment): Promise<Response> {
    // What is no URL is the door's to refuse.
    const moved = /\/__clock\?ahead=(\d+)$/.exec(request.url)
    if (!moved) return door.fetch(request, env)
    ahead = Number(moved[1])
    return Promise.resolve(new Response('moved'))
  },
}
