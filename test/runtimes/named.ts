// A house asked under any host name: the name goes into the Host header, the connection to where the house
// listens.
import { request } from 'node:http'
import { Readable } from 'node:stream'
import type { Fetch } from './browser.ts'
import type { TestGateway } from './runtimes.ts'

/** fetch writes the Host itself, so this is an exchange by hand. */
const exchange = (origin: string, url: URL, init: RequestInit = {}): Promise<Response> =>
  new Promise((resolve, reject) => {
    const headers = { ...Object.fromEntries(new Headers(init.headers)), host: url.host }
    const asking = request(
      `${origin}${url.pathname}${url.search}`,
      {
        method: init.method ?? 'GET',
        headers,
        agent: false,
        ...(init.signal ? { signal: init.signal } : {}),
      },
      (answer) => {
        const fields = new Headers()
        for (let i = 0; i + 1 < answer.rawHeaders.length; i += 2)
          fields.append(answer.rawHeaders[i] as string, answer.rawHeaders[i + 1] as string)
        const { statusCode: status = 0 } = answer
        resolve(
          new Response([204, 304].includes(status) ? null : (Readable.toWeb(answer) as ReadableStream), {
            status,
            headers: fields,
          }),
        )
      },
    )
    asking.on('error', reject)
    asking.end(init.body ?? undefined)
  })

/** `listens`: false for a house that is called and not connected to. */
export const underAnyName =
  (house: TestGateway, listens: boolean): Fetch =>
  (url, init) => {
    const wanted = new URL(url)
    return listens && wanted.host !== new URL(house.listens ?? house.origin).host
      ? exchange(house.listens ?? house.origin, wanted, init)
      : house.fetch(url, init)
  }
