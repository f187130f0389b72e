// The process of an MCP server as a JSON-RPC peer: its standard input and output are the transport
// (2025-11-25 transports, stdio).
import { Refusal } from '../kit/refusal.ts'
import type { PeerEvents } from '../mcp/incoming-messages.ts'
import { type JsonRpcPeer, type JsonRpcPeerDeps, createJsonRpcPeer } from '../mcp/json-rpc-peer.ts'
import type { Transport } from '../mcp/transport.ts'
import type { ProcessEnd, ProcessPlan, ServerProcess, SpawnServer } from '../ports/runtime.ts'

export interface ProcessPeer extends JsonRpcPeer {
  readonly startedAt: number
  /** How the process ended; undefined while it runs. */
  end(): ProcessEnd | undefined
  /** `process.stop()` says when it is gone. */
  readonly process: ServerProcess
}

export interface ProcessPeerDeps extends JsonRpcPeerDeps {
  readonly spawn: SpawnServer
  /** What it wrote to standard error. */
  readonly complained: (text: string) => void
}

const processTransport = (child: ServerProcess): Transport => ({
  send(line) {
    if (child.send(line)) return
    throw new Refusal('upstream.busy', 'stdin of the process is full', { headers: { 'retry-after': '1' } })
  },
  close: () => void child.stop().catch(() => undefined),
  pause: () => child.pause(),
  resume: () => child.resume(),
})

export const createProcessPeer = (
  plan: ProcessPlan,
  deps: ProcessPeerDeps,
  events: PeerEvents,
): ProcessPeer => {
  const { spawn, unexpected, complained } = deps
  const startedAt = deps.now()
  let end: ProcessEnd | undefined
  const peer = createJsonRpcPeer(deps, events)
  const { onmessage, onoversized, onclose } = peer.heard
  const child = spawn(plan, {
    line: onmessage,
    garbage: () => unexpected('bytes that are no UTF-8'),
    oversized: onoversized,
    complained,
    ended(how) {
      end = how
      onclose(new Refusal('process.ended', how.why, { say: how.say }))
    },
  })
  peer.attach(processTransport(child))
  return { ...peer, complaint: () => child.complaint(), startedAt, end: () => end, process: child }
}
