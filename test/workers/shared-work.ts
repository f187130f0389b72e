// Work that several requests share, begun by one whose caller hangs up (kit/single-flight.ts in workerd).
// `/begin` starts it and streams on; `/join` shares it.
import { DurableObject, waitUntil } from 'cloudflare:workers'
import { createSingleFlight } from '../../src/kit/single-flight.ts'

export { SessionObject, TrailObject } from './no-sessions.ts'

export class RecordObject extends DurableObject {
  async slow(): Promise<string> {
    await new Promise((resolve) => setTimeout(resolve, 600))
    return 'done'
  }
}

const once = createSingleFlight({ now: () => Date.now(), defer: waitUntil })

export default {
  fetch(
    request: Request,
    env: { readonly STORE: DurableObjectNamespace<RecordObject> },
  ): Promise<Response> | Response {
    const work = (): Promise<string> => once('work', () => env.STORE.getByName('x').slow())
    if (new URL(request.url).pathname === '/join') return work().then((answer) => new Response(answer))
    work().catch(() => undefined)
    const tick = new TextEncoder().encode('tick')
    // workerd hears that a caller is gone when it writes to them.
    return new Response(
      new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 20))
          controller.enqueue(tick)
        },
      }),
    )
  },
}
