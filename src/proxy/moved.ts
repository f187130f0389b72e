// Clients of HTTP+SSE where this process keeps no session: to the berth where theirs lives. There the request is judged in full; here, whether it may have one.
import type { Head } from '../ports/calls.ts'
import type { Berths } from '../ports/lines.ts'
import type { Guard } from '../ports/rooms.ts'
import type { Knock } from './knock.ts'
import { messagePath, sessionIn } from './legacy-sse.ts'
import { callerKey, type TakeSlot } from './slots.ts'

export interface MovedDeps {
  readonly berths: Berths
  readonly knock: (head: Head) => Knock
  readonly guard: Guard
  readonly streamSlot: TakeSlot
}

/** The answer with `over` called once when nothing more of it will be sent. */
const until = (response: Response, over: () => void): Response => {
  const reader = response.body?.getReader()
  if (!reader) {
    over()
    return response
  }
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { done, value } = await reader.read()
        if (!done) {
          controller.enqueue(value)
          return
        }
        over()
        controller.close()
      } catch (error) {
        over()
        controller.error(error)
      }
    },
    async cancel(reason) {
      over()
      await reader.cancel(reason).catch(() => undefined)
    },
  })
  return new Response(body, { status: response.status, headers: response.headers })
}

/** Undefined for every request that no session of that kind is about; most are seen to be none of these by their path alone. Rejects as the decision about a call does. */
export const createMoved = ({ berths, knock, guard, streamSlot }: MovedDeps): ((head: Head, request: Request) => Promise<Response | undefined> | undefined) => {
  const ask = async (head: Head, request: Request): Promise<Response | undefined> => {
    const call = knock(head)
    const { address, inbound, origin, rest } = call
    if (address.transport !== 'sse') return undefined
    const visit = { requestId: head.requestId, ip: head.ip }
    if (head.method === 'POST' && rest === messagePath) return berths.at(sessionIn(call.query))?.client(request, visit)
    if (head.method !== 'GET' || rest !== '') return undefined
    const principal = address.service.authRequired ? await guard(inbound.authorization, address, origin) : undefined
    const release = streamSlot(callerKey(principal, head.ip))
    try {
      return until(await berths.make().client(request, visit), release)
    } catch (error) {
      release()
      throw error
    }
  }
  return (head, request) => (/\/sse(?:[/?]|$)/.test(head.target) ? ask(head, request) : undefined)
}
