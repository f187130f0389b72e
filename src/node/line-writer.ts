// Lines to a file descriptor in large pieces, without ever waiting for the reader. The lines are gathered here:
// SonicBoom measures all that it has gathered at each write, which costs more than the rest of a call's record.
import { fstatSync } from 'node:fs'
import sonicBoom from 'sonic-boom'

// A CommonJS module whose names Node cannot see.
const { SonicBoom } = sonicBoom

export interface LineWriter {
  /** The text ends with a line feed. */
  write(line: string): void
  /** Writes what is left; resolves when it is written, or when nobody takes it in time. Later lines are dropped. */
  end(): Promise<void>
}

/** Characters gathered before they are written, and the longest they wait (ms). */
const pieceSize = 65_536
const longestWaitMs = 200
/** A reader that has stopped reading costs this much memory (bytes) and then lines. */
const mostHeld = 16_777_216
/** How long a process that ends waits for a reader whose pipe is full. */
const lastWaitMs = 2_000

const linesOf = (piece: string): number => piece.split('\n').length - 1

/** All that is left, or as much as the reader takes in time. */
const finish = (stream: InstanceType<typeof SonicBoom>): Promise<void> =>
  new Promise((resolve) => {
    stream.once('close', resolve)
    stream.once('error', () => resolve())
    setTimeout(resolve, lastWaitMs).unref()
    stream.end()
  })

export const createLineWriter = (fd: number): LineWriter => {
  // A file takes a piece faster than a thread could be asked to write it.
  const stream = new SonicBoom({ fd, sync: fstatSync(fd).isFile(), maxLength: mostHeld })
  let gathered = ''
  let lost = 0
  let ended: Promise<void> | undefined

  const send = (): void => {
    if (!ended && gathered !== '') stream.write(gathered)
    gathered = ''
  }
  stream.on('drop', (piece: string) => {
    lost += linesOf(piece)
  })
  stream.on('drain', () => {
    if (lost > 0) gathered += `{"level":"warn","event":"log.lost","lines":${lost}}\n`
    lost = 0
  })
  stream.on('error', ({ code }: NodeJS.ErrnoException) => {
    // Nobody reads any more. After any other error, a full disk (ENOSPC) above all, the same bytes are tried again.
    if (code !== 'EPIPE') return
    ended ??= Promise.resolve()
    stream.destroy()
  })
  setInterval(send, longestWaitMs).unref()

  return {
    write(line) {
      gathered += line
      if (gathered.length >= pieceSize) send()
    },
    end() {
      send()
      ended ??= finish(stream)
      return ended
    },
  }
}
