// A call that is carried to a server without HTTP, in web terms.
import type { SayRefused } from '../kit/refusal.ts'
import type { Carry } from '../ports/bridge.ts'
import type { Principal } from '../ports/people.ts'
import { bridgeResponse } from './bridged.ts'

export const carried = async (carry: Carry, request: Request, principal: Principal | undefined, refused: SayRefused): Promise<Response> => {
  const body = request.method === 'POST' ? new Uint8Array(await request.arrayBuffer()) : undefined
  return bridgeResponse(await carry({ method: request.method, headers: [...request.headers].flat(), body, principal, refused, signal: request.signal }))
}
