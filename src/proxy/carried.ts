// A call that is carried to a server without HTTP, in web terms.
import type { BridgeCall, Carry } from '../ports/bridge.ts'
import { bridgeResponse } from './bridged.ts'

/** Whoever asks tells the caller that a process starts. */
export const carried = async (carry: Carry, request: Request, about: Pick<BridgeCall, 'principal' | 'refused' | 'sessionId'>): Promise<Response> => {
  const body = request.method === 'POST' ? new Uint8Array(await request.arrayBuffer()) : undefined
  return bridgeResponse(await carry({ method: request.method, headers: [...request.headers].flat(), body, ...about, attended: true, signal: request.signal }))
}
