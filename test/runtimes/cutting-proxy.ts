// A TCP proxy in front of a storage that cuts connections: before a message arrives, or after it arrived and before its
// answer comes back.
import { type Socket, connect, createServer } from 'node:net'

export interface CuttingProxy {
  readonly port: number
  /** What happens to the nth message of all connections. */
  cut(decide: (message: number) => 'none' | 'before' | 'after'): void
  /** How often it cut. */
  cuts(): number
  close(): Promise<void>
}

/** A message is what comes in one piece: true of callers that wait for each answer. */
export const openCuttingProxy = async (to: number): Promise<CuttingProxy> => {
  let decide: (message: number) => 'none' | 'before' | 'after' = () => 'none'
  let messages = 0
  let cuts = 0
  const sockets = new Set<Socket>()
  const server = createServer((near) => {
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
      const how = decide(messages++)
      if (how !== 'none') cuts++
      if (how === 'before') return end()
      if (how === 'after') deaf = true
      far.write(bytes)
    })
    far.on('data', (bytes: Buffer) => (deaf ? end() : near.write(bytes)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    cut: (next) => void (decide = next),
    cuts: () => cuts,
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => void server.close(resolve))
    },
  }
}
