// The guarded outbound function in the shape of `fetch`, for libraries that ask for one.

// ports/runtime.ts `Outbound` fits.
type Guarded = (
  url: string,
  options: { readonly method: string; readonly headers: Readonly<Record<string, string>>; readonly body?: string },
) => Promise<{ readonly status: number; readonly headers: Headers; readonly body: Uint8Array<ArrayBuffer> }>

export type Fetch = (input: RequestInfo | URL, init?: RequestInit) => Promise<Response>

// Fetch standard: a Response with one of these has no body.
const withoutBody: readonly number[] = [204, 205, 304]

const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const end = (): void => reject(signal.reason as Error)
    if (signal.aborted) end()
    else signal.addEventListener('abort', end, { once: true })
  })

/**
 * `fetch` with text bodies through the guard: redirects come back as they are, whatever `redirect` says, and bodies arrive whole. Rejects with the guard's `Refusal`,
 * or with the reason of an aborted signal; the exchange itself then still ends within the guard's own time limit.
 */
export const asFetch =
  (outbound: Guarded): Fetch =>
  async (input, init) => {
    const request = new Request(input, init)
    const text = await request.text()
    const exchange = outbound(request.url, { method: request.method, headers: Object.fromEntries(request.headers), ...(text === '' ? {} : { body: text }) })
    const { status, headers, body } = await Promise.race([exchange, aborted(request.signal)])
    return new Response(withoutBody.includes(status) ? null : body, { status, headers })
  }
