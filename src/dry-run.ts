// A command that is looked at before it is added: a bridge of its own, ended right after.
import { rpcErrorText } from './kit/refusal.ts'
import { callStdio } from './proxy/fetch-handler.ts'
import type { DryRun } from './services/validation.ts'
import type { Bridges } from './stdio/bridges.ts'

export const createDryRun =
  (bridges: Bridges): DryRun =>
  (id, service) => {
    const upstream = bridges.of(id, service)
    return {
      async outbound(url, { method = 'GET', headers = {}, body } = {}) {
        if (upstream.kind !== 'bridge') throw new TypeError('not a command')
        const answer = await callStdio(
          upstream.carry,
          new Request(url, { method, headers, ...(body === undefined ? {} : { body }) }),
          { principal: undefined, refused: (refusal, id) => rpcErrorText(refusal, id, '') },
        )
        return {
          status: answer.status,
          headers: answer.headers,
          body: new Uint8Array(await answer.arrayBuffer()),
        }
      },
      end: () => bridges.end(upstream),
    }
  }
