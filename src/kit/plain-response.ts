// An HTTP response as plain data: its body is text, or is written piece by piece to whoever sends it, without
// web objects in between.

/**
 * What of an AbortSignal is needed to know whether a caller is still there; a runtime may bring a lighter
 * one.
 */
export interface AbortListener {
  readonly aborted: boolean
  readonly reason: unknown
  throwIfAborted(): void
  addEventListener(type: 'abort', leave: () => void, options?: { readonly once: boolean }): void
  removeEventListener(type: 'abort', leave: () => void): void
}

/** Where a body goes that comes piece by piece. */
export interface Sink {
  /** False when the reader is slower than the writer: `drained` says when it has caught up. */
  write(text: string): boolean
  /** The body is complete. */
  end(): void
  /** The body will never be complete, and must not look so. */
  cut(): void
}

/** What the one who writes a body is told by the one who sends it. */
export interface Source {
  drained(): void
  /** The caller left. */
  gone(): void
}

export interface PlainResponse {
  readonly status: number
  /** Flat list: name, value, name, value… */
  readonly headers: readonly string[]
  /** Whole, or begun: called once, and written to the sink from then on. */
  readonly body: string | ((sink: Sink) => Source)
}
