// Lines to a file descriptor in large pieces, without ever waiting for the reader.
import { fstatSync, write, writeSync } from 'node:fs'

export interface LineWriter {
  /** The text ends with a line feed. */
  write(line: string): void
  /** Writes what is left before the process ends. */
  flushSync(): void
}

/** Characters gathered before they are written, and the longest they wait (ms). */
const pieceSize = 65_536
const longestWaitMs = 200
/** A reader that has stopped reading costs this much memory and then lines. */
const mostHeld = 16_777_216

const writeAll = (fd: number, piece: Buffer): void => {
  try {
    for (let at = 0; at < piece.length; ) at += writeSync(fd, piece, at)
  } catch {
    // Nobody reads any more, or the disk is full (EPIPE, EAGAIN, ENOSPC): there is nowhere left to say it.
  }
}

export const createLineWriter = (fd: number): LineWriter => {
  // A file takes a piece faster than a thread could be asked to write it.
  const isFile = fstatSync(fd).isFile()
  let held = ''
  let lost = 0
  let writing: Buffer | undefined

  const next = (): void => {
    if (writing || held === '') return
    const piece = Buffer.from(held)
    held = lost === 0 ? '' : `{"level":"warn","event":"log.lost","lines":${lost}}\n`
    lost = 0
    if (isFile) {
      writeAll(fd, piece)
      return
    }
    writing = piece
    send()
  }
  const send = (): void => {
    const piece = writing as Buffer
    write(fd, piece, (error, written) => {
      if (writing !== piece) return
      if (error?.code === 'EAGAIN') {
        setTimeout(send, 20)
        return
      }
      writing = error || written === piece.length ? undefined : piece.subarray(written)
      if (writing) send()
      else if (held.length >= pieceSize) next()
    })
  }
  const pulse = setInterval(next, longestWaitMs)
  pulse.unref()

  return {
    write(line) {
      if (held.length > mostHeld) {
        lost++
        return
      }
      held += line
      if (held.length >= pieceSize) next()
    },
    flushSync() {
      clearInterval(pulse)
      const rest = Buffer.concat([writing ?? Buffer.alloc(0), Buffer.from(held)])
      writing = undefined
      held = ''
      writeAll(fd, rest)
    },
  }
}
