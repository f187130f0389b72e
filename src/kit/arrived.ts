// Where a request came to, by its URL.
import { isRoutablePath, writtenPath } from './paths.ts'

export interface Arrived {
  readonly path: string
  /** Path and query. */
  readonly target: string
  readonly host: string
  /** Whether the path was written as it is read here; some runtimes leave dot segments in a URL, and `new URL` removes them. */
  readonly routable: boolean
}

/** Throws TypeError for what is no URL. */
export const arrivedAt = (text: string): Arrived => {
  const { pathname, search, host } = new URL(text)
  return { path: pathname, target: `${pathname}${search}`, host, routable: isRoutablePath(writtenPath(text)) }
}
