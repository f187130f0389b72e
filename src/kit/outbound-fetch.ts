// The guarded outbound function in the shape that protocol libraries expect of a fetch.

/** Structure of `Outbound` in ports/runtime.ts. */
type Guarded = (
  url: string,
  options?: { readonly method?: string; readonly headers?: Readonly<Record<string, string>>; readonly body?: string },
) => Promise<{ readonly status: number; readonly headers: Headers; readonly body: Uint8Array<ArrayBuffer> }>

interface Init {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | URLSearchParams | null | undefined
}

// Fetch §2.2.3: a Response with one of these must not have a body.
const bodiless = new Set([101, 103, 204, 205, 304])

/** A fetch for `customFetch` of oauth4webapi and jose: text and form bodies only, redirects are never followed, time and size are the guard's. */
export const asFetch =
  (outbound: Guarded) =>
  async (url: string, init: Init = {}): Promise<Response> => {
    const { status, headers, body } = await outbound(url, {
      ...(init.method === undefined ? {} : { method: init.method }),
      ...(init.headers === undefined ? {} : { headers: init.headers }),
      ...(init.body === undefined || init.body === null ? {} : { body: init.body.toString() }),
    })
    return new Response(bodiless.has(status) ? null : body, { status, headers })
  }
