// Where a request came to, by its URL.

export interface Arrived {
  readonly path: string
  /** Path and query. */
  readonly target: string
  readonly host: string
}

/** Throws TypeError for what is no URL. */
export const arrivedAt = (text: string): Arrived => {
  const { pathname, search, host } = new URL(text)
  return { path: pathname, target: `${pathname}${search}`, host }
}
