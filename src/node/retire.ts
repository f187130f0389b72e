// What is still open of a service that is gone: streams end at once, calls that have not been answered get a moment to finish.
import type { ServerResponse } from 'node:http'
import { fieldOf } from '../kit/http.ts'
import type { Directory, Service } from '../ports/services.ts'

/** Streams of a removed service end within five seconds; nothing of it may outlast this. */
const graceMs = 4000

const pathOf = (url: string): string => url.split('?', 1)[0] as string

/** `answers`: those being given at the moment. `locate`: how paths were found before the services went. */
export const retire = (answers: () => Iterable<ServerResponse>, gone: readonly Service[], locate: Directory['locate']): void => {
  const dead = new Set(gone)
  const isOf = ({ req }: ServerResponse): boolean => {
    const service = locate(pathOf(req.url ?? '/'), fieldOf(req.rawHeaders, 'host'))?.address.service
    return service !== undefined && dead.has(service)
  }
  const going = [...answers()].filter(isOf)
  // Cut, never ended in order: an answer that lacks its rest must not look whole.
  for (const answer of going) if (answer.headersSent) answer.destroy()
  const waiting = going.filter((answer) => !answer.destroyed)
  if (waiting.length > 0) setTimeout(() => waiting.forEach((answer) => answer.writableEnded || answer.destroy()), graceMs).unref()
}
