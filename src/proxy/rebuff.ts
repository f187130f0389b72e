// A server that is reached on a line says no without an answer over HTTP: what it said counts all the same (RFC 9110 §15.5.2).
import { Refusal } from '../kit/refusal.ts'
import type { Upstream } from '../ports/calls.ts'

/** The upstream, with `heard` told of status and fields when it refuses what it was shown. */
export const noticing = (upstream: Upstream | undefined, heard: (status: number, rawHeaders: readonly string[]) => void): Upstream | undefined => {
  if (upstream?.kind !== 'local') return upstream
  const { handle } = upstream
  return {
    ...upstream,
    handle: (request) =>
      handle(request).catch((error: unknown) => {
        const refused = error instanceof Refusal ? error.detail.refused : undefined
        if (refused) heard(refused.status, refused.authenticate.flatMap((value) => ['WWW-Authenticate', value]))
        throw error
      }),
  }
}
