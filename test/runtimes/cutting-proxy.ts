// A TCP proxy in front of a storage, and what a network does to those who use it: connections that are refused, or cut
// before a message arrives, or after it arrived and before its answer comes back; and silence.
import { type Socket, connect, createServer } from 'node:net'

/**
 * `refuse`: whoever is connected is cut off, and whoever comes. `silence`: connections are taken, and what is sent on
 * them, or on those that there are, goes nowhere.
 */
export type ProxyMode = 'pass' | 'refuse' | 'silence'

export interface CuttingProxy {
  readonly port: number
  set(mode: ProxyMode): void
  /** What happens to the nth message of all connections. */
  cut(decide: (message: number) => 'none' | 'before' | 'after'): void
  /** How often it cut. */
  cuts(): number
  close(): Promise<void>
}

/** A message is what comes in one piece: true of callers that wait for each answer. */
export const openCuttingProxy = async (to: number): Promise<CuttingProxy> => {
  let decide: (message: number) => 'none' | 'before' | 'after' = () => 'none'
  let mode: ProxyMode = 'pass'
  let messages = 0
  let cuts = 0
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
    if (mode === 'refuse') return void near.destroy()
    const far = connect(to, '127.0.0.1')
    let deaf = false
    const end = (): void => {
      near.destroy()
      far.destroy()
    }
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', end).on('close', () => {
        sockets.delete(socket)
        end()
      })
    }
    near.on('data', (bytes: Buffer) => {
      if (mode === 'silence') return
      const how = decide(messages++)
      if (how !== 'none') cuts++
      if (how === 'before') return end()
      if (how === 'after') deaf = true
      far.write(bytes)
    })
    far.on('data', (bytes: Buffer) => {
      if (deaf) end()
      else if (mode !== 'silence') near.write(bytes)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const cutAll = (): void => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    set(next) {
      mode = next
      if (mode === 'refuse') cutAll()
    },
    cut: (next) => void (decide = next),
    cuts: () => cuts,
    async close() {
      cutAll()
      await new Promise((resolve) => void server.close(resolve))
    },
  }
}
