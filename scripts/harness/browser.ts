// A browser without a window: cookies, redirects and forms over plain HTTP, enough to sign in and to consent.

export interface Page {
  readonly url: string
  readonly status: number
  readonly text: string
  /** Where a redirect that was not followed points to. */
  readonly location?: string
}

export interface Browser {
  /** Follows redirects within the origin; one that leaves it is returned, not followed. */
  readonly open: (url: string) => Promise<Page>
  /** Sends the form that has the given field or button, with what it holds untouched. */
  readonly submit: (page: Page, fields: Readonly<Record<string, string>>) => Promise<Page>
}

const entities: Readonly<Record<string, string>> = {
  amp: '&',
  lt: '<',
  gt: '>',
  quot: '"',
  '#39': "'",
  apos: "'",
}
const unescape = (text: string): string =>
  text.replace(/&(#x?[\da-f]+|\w+);/gi, (whole, name: string) => {
    if (/^#x/i.test(name)) return String.fromCodePoint(Number.parseInt(name.slice(2), 16))
    return entities[name] ?? (name.startsWith('#') ? String.fromCodePoint(Number(name.slice(1))) : whole)
  })

const attribute = (tag: string, name: string): string | undefined => {
  const found = new RegExp(`\\s${name}(?:\\s*=\\s*(?:"([^"]*)"|'([^']*)'|([^\\s>]+)))?(?=[\\s/>])`, 'i').exec(
    tag,
  )
  return found ? unescape(found[1] ?? found[2] ?? found[3] ?? '') : undefined
}

interface Form {
  readonly action: string
  readonly names: ReadonlySet<string>
  /** What is sent of it untouched: hidden fields, and what is ticked or chosen. */
  readonly kept: readonly (readonly [name: string, value: string])[]
}

const formsOf = (page: Page): Form[] =>
  [...page.text.matchAll(/<form\b[^>]*>[\s\S]*?<\/form>/gi)].map(([html]) => {
    const fields = [...html.matchAll(/<(?:input|button|select|textarea)\b[^>]*>/gi)].map(([tag]) => tag)
    const kept = fields.filter(
      (tag) =>
        /^<input/i.test(tag) &&
        (attribute(tag, 'type') === 'hidden' || attribute(tag, 'checked') !== undefined),
    )
    return {
      action: new URL(attribute(/<form\b[^>]*>/i.exec(html)?.[0] ?? '', 'action') ?? page.url, page.url).href,
      names: new Set(fields.flatMap((tag) => attribute(tag, 'name') ?? [])),
      kept: kept.map((tag) => [attribute(tag, 'name') ?? '', attribute(tag, 'value') ?? 'on']),
    }
  })

/** Cookies of one origin; `Secure` ones are sent, as browsers do on loopback. */
const createJar = () => {
  const cookies = new Map<string, string>()
  return {
    header: (): string => [...cookies].map(([name, value]) => `${name}=${value}`).join('; '),
    keep: (headers: Headers): void => {
      for (const line of headers.getSetCookie()) {
        const [pair = '', ...attributes] = line.split(';')
        const at = pair.indexOf('=')
        const name = pair.slice(0, at).trim()
        if (attributes.some((text) => /^\s*max-age\s*=\s*(0|-\d+)\s*$/i.test(text))) cookies.delete(name)
        else cookies.set(name, pair.slice(at + 1).trim())
      }
    },
  }
}

interface Sent {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

export const createBrowser = (origin: string): Browser => {
  const jar = createJar()
  const load = async (url: string, init: Sent, from: 'none' | 'same-origin', hops = 0): Promise<Page> => {
    if (hops > 10) throw new Error(`Too many redirects at ${url}`)
    const headers = {
      accept: 'text/html,application/xhtml+xml',
      'sec-fetch-site': from,
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document',
      cookie: jar.header(),
      ...init.headers,
    }
    const response = await fetch(url, { ...init, headers, redirect: 'manual' })
    jar.keep(response.headers)
    const text = await response.text()
    const target = response.headers.get('location')
    if (response.status < 300 || response.status > 399 || target === null)
      return { url, status: response.status, text }
    const location = new URL(target, url).href
    if (new URL(location).origin !== origin) return { url, status: response.status, text, location }
    return load(location, {}, from, hops + 1)
  }
  return {
    open: (url) => load(url, {}, 'none'),
    submit: (page, fields) => {
      const form = formsOf(page).find(({ names }) => Object.keys(fields).every((name) => names.has(name)))
      if (!form)
        throw new Error(
          `No form with ${Object.keys(fields).join(', ')} at ${page.url} (${page.status}):\n${page.text.slice(0, 2000)}`,
        )
      const kept = form.kept.filter(([name]) => !Object.hasOwn(fields, name))
      const sent = [...kept, ...Object.entries(fields)].map(([name, value]) => [name, value])
      const headers = { origin, referer: page.url, 'content-type': 'application/x-www-form-urlencoded' }
      return load(
        form.action,
        { method: 'POST', headers, body: new URLSearchParams(sent).toString() },
        'same-origin',
      )
    },
  }
}
