// Calls to a service in this process: it speaks web standards, and its answer is poured into the response with back-pressure.
import type { ServerResponse } from 'node:http'
import type { Admission } from '../ports/calls.ts'

export interface LocalServices {
  /** Carries out an admitted call of kind `local`. Rejects when nothing, or not everything, could be answered. */
  serve(admission: Admission, response: ServerResponse): Promise<void>
  /** Ends the streams that clients hold open with GET; calls that are going finish. */
  close(): void
}

const drained = (response: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done)
      response.off('close', done)
      resolve()
    }
    response.once('drain', done)
    response.once('close', done)
  })

export const createLocalServices = (): LocalServices => {
  const streams = new Set<ReadableStreamDefaultReader<Uint8Array>>()
  return {
    async serve(admission, response) {
      const gone = new AbortController()
      response.on('close', () => gone.abort())
      const answer = await admission.byFetch(fetch, gone.signal)
      const head: string[] = []
      for (const [name, value] of answer.headers) head.push(name, value)
      response.writeHead(answer.status, head)
      if (!answer.body) {
        response.end()
        return
      }
      response.flushHeaders()
      const reader = answer.body.getReader()
      if (admission.method === 'GET') streams.add(reader)
      try {
        for (let read = await reader.read(); !read.done && !response.destroyed; read = await reader.read()) if (!response.write(read.value)) await drained(response)
      } finally {
        streams.delete(reader)
      }
      response.end()
    },
    close() {
      // The waiting read answers that there is no more, and the response ends as if the service had said so.
      for (const reader of streams) reader.cancel().catch(() => undefined)
    },
  }
}
