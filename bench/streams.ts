// What an open event stream that says nothing costs in resident memory.
import { connect, type Socket } from 'node:net'
import type { Candidate } from './candidates.ts'
import { pause, residentBytes } from './machine.ts'

const openStream = (url: URL, token: string): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect(Number(url.port), url.hostname, () => {
      socket.write(
        `GET ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\nAccept: text/event-stream\r\nAuthorization: Bearer ${token}\r\n\r\n`,
      )
    })
    socket.once('data', (head: Buffer) => {
      if (head.toString('latin1', 0, 12) === 'HTTP/1.1 200') resolve(socket)
      else reject(new Error(head.toString('latin1', 0, 300)))
    })
    socket.once('error', reject)
  })

/** Bytes of resident memory for each of `count` streams, after they have been open for a while. */
export const streamBytes = async (candidate: Candidate, count: number): Promise<number | undefined> => {
  const url = candidate.url('idle')
  if (url === undefined) return undefined
  await pause(1000)
  const before = residentBytes(candidate.pids[0] ?? 0)
  const open: Socket[] = []
  try {
    for (let made = 0; made < count; made += 50)
      open.push(
        ...(await Promise.all(
          Array.from({ length: Math.min(50, count - made) }, () =>
            openStream(new URL(url), candidate.token('idle')),
          ),
        )),
      )
    await pause(5000)
    return (residentBytes(candidate.pids[0] ?? 0) - before) / count
  } finally {
    for (const socket of open) socket.destroy()
    await pause(500)
  }
}
