// A browser for flow tests: a cookie jar, redirects, and forms as the pages wrote them. No JavaScript, as the
// pages promise to work without.
import { sessionCookieOf } from '../../src/identity/session.ts'
export type Fetch = (url: string, init?: RequestInit) => Promise<Response>

export interface Page {
  readonly url: string
  readonly status: number
  readonly headers: Headers
  readonly body: string
  /** The form whose action path is the given one, with the fields it would send; of several of a name the last. */
  form(actionPath: string): {
    readonly action: string
    readonly fields: Record<string, string>
    readonly pairs: readonly (readonly [string, string])[]
  }
}

export interface Browser {
  readonly cookies: Map<string, string>
  /** The name of the cookie that says who is signed in. */
  readonly session: string
  /**
   * Follows redirects inside the gateway; a redirect to another origin ends the walk and is the page's `url`
   * with status 0.
   */
  go(url: string, init?: RequestInit): Promise<Page>
  /** A field that is given replaces all of its name; of one that is undefined nothing is sent. */
  submit(
    page: Page,
    actionPath: string,
    fields: Record<string, string | readonly string[] | undefined>,
  ): Promise<Page>
}

const unescape = (text: string): string =>
  text
    .replaceAll('&quot;', '"')
    .replaceAll('&#39;', "'")
    .replaceAll('&#x27;', "'")
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')

const attribute = (tag: string, name: string): string | undefined => {
  const match = new RegExp(`\\s${name}=(?:"([^"]*)"|'([^']*)'|([^\\s>]+))`, 'i').exec(tag)
  return match ? unescape(match[1] ?? match[2] ?? match[3] ?? '') : undefined
}

const formOf = (body: string, base: string, actionPath: string) => {
  for (const [, open = '', inner = ''] of body.matchAll(/(<form\b[^>]*>)([\s\S]*?)<\/form>/gi)) {
    const action = new URL(attribute(open, 'action') ?? '', base)
    if (action.pathname !== actionPath) continue
    const pairs = [...inner.matchAll(/<input\b[^>]*>/gi)]
      .filter(([tag]) => !/\stype="(?:radio|checkbox)"/i.test(tag) || /\schecked[\s>]/i.test(tag))
      .map(([tag]) => [attribute(tag, 'name'), attribute(tag, 'value') ?? ''] as const)
      .filter((pair): pair is readonly [string, string] => pair[0] !== undefined)
    return { action: action.href, fields: Object.fromEntries(pairs), pairs }
  }
  throw new Error(`no form to ${actionPath} on ${base}:\n${body.slice(0, 2000)}`)
}

const pageOf = async (url: string, response: Response): Promise<Page> => {
  const body = await response.text()
  return {
    url,
    status: response.status,
    headers: response.headers,
    body,
    form: (path) => formOf(body, url, path),
  }
}

/**
 * `fetch` must not follow redirects and must answer for the gateway's origin. `cookies`: those of another
 * gateway on the same host, whose browser this is too.
 */
export const createBrowser = (fetch: Fetch, origin: string, cookies = new Map<string, string>()): Browser => {
  const remember = (response: Response): void => {
    for (const line of response.headers.getSetCookie()) {
      const [pair = '', ...attributes] = line.split(';')
      const [name = '', ...value] = pair.split('=')
      const gone = attributes.some((text) => /^\s*max-age=0\s*$/i.test(text))
      if (gone) cookies.delete(name.trim())
      else cookies.set(name.trim(), value.join('='))
    }
  }
  const once = async (url: string, init: RequestInit = {}): Promise<Response> => {
    const headers = new Headers({
      accept: 'text/html,application/xhtml+xml',
      'sec-fetch-site': 'none',
      ...(init.headers as Record<string, string>),
    })
    if (cookies.size > 0)
      headers.set('cookie', [...cookies].map(([name, value]) => `${name}=${value}`).join('; '))
    const response = await fetch(url, { ...init, headers, redirect: 'manual' })
    remember(response)
    return response
  }
  const go: Browser['go'] = async (start, init) => {
    let url = new URL(start, origin).href
    let response = await once(url, init)
    for (let hop = 0; hop < 10; hop++) {
      const location = response.headers.get('location')
      if (location === null || response.status < 300 || response.status > 399) return pageOf(url, response)
      await response.body?.cancel()
      url = new URL(location, url).href
      if (new URL(url).origin !== origin)
        return { url, status: 0, headers: response.headers, body: '', form: () => formOf('', url, '') }
      response = await once(url)
    }
    throw new Error(`too many redirects from ${start}`)
  }
  return {
    cookies,
    session: sessionCookieOf(origin),
    go,
    submit(page, actionPath, fields) {
      const { action, pairs } = page.form(actionPath)
      const given = Object.entries(fields).flatMap(([name, value]) =>
        [value ?? []].flat().map((one): readonly [string, string] => [name, one]),
      )
      const body = new URLSearchParams(
        [...pairs.filter(([name]) => !Object.hasOwn(fields, name)), ...given].map(([name, value]) => [
          name,
          value,
        ]),
      ).toString()
      return go(action, {
        method: 'POST',
        body,
        headers: {
          'content-type': 'application/x-www-form-urlencoded',
          origin,
          'sec-fetch-site': 'same-origin',
        },
      })
    },
  }
}
