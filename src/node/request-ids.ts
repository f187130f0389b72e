// Ids of requests: 96 random bits each, drawn from the system's source in large pieces.
import { randomFillSync } from 'node:crypto'

const idBytes = 12
const drawn = 512

export const createRequestIds = (): (() => string) => {
  const pool = Buffer.allocUnsafeSlow(idBytes * drawn)
  let at = pool.length
  return () => {
    if (at === pool.length) {
      randomFillSync(pool)
      at = 0
    }
    at += idBytes
    return pool.toString('base64url', at - idBytes, at)
  }
}
