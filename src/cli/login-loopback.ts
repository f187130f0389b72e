// `postern login` where a browser is at hand: it sends its answer to this computer (RFC 8252 §7.3). Where it cannot, the
// address at which it failed is pasted here.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { type IncomingMessage, type ServerResponse, createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'

/** What a login finds around it. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly platform: NodeJS.Platform
  /** Absent where nobody types. */
  readonly input?: NodeJS.ReadableStream
  open(url: string): void
}

const openers: Partial<Record<NodeJS.Platform, readonly string[]>> = {
  darwin: ['open'],
  win32: ['rundll32', 'url.dll,FileProtocolHandler'],
}

export const here = (): Surroundings => ({
  env: process.env,
  platform: process.platform,
  ...(process.stdin.isTTY && { input: process.stdin }),
  open(url) {
    const [program = 'xdg-open', ...args] = openers[process.platform] ?? ['xdg-open']
    // Where there is none, the link on the terminal is opened by hand.
    spawn(program, [...args, url], { stdio: 'ignore', detached: true })
      .on('error', () => undefined)
      .unref()
  },
})

/** A display on this computer, and nobody who sits at another one. */
export const hasBrowser = ({ env, platform }: Surroundings): boolean =>
  !env['SSH_CONNECTION'] &&
  !env['SSH_TTY'] &&
  (platform in openers || Boolean(env['DISPLAY'] ?? env['WAYLAND_DISPLAY']))

export interface Awaited {
  readonly state: string
  readonly issuer: string
  /** Whether the server says that it names itself in each answer (RFC 9207 §3). */
  readonly namesItself: boolean
}

/** `other`: not the answer to this login, so it is still awaited. */
type Answer = { readonly code: string } | { readonly error: string } | 'other'

/** RFC 6749 §4.1.2, RFC 9207 §2.4. */
export const readAnswer = (url: URL | null, { state, issuer, namesItself }: Awaited): Answer => {
  const one = (name: string): string | undefined => {
    const values = url?.searchParams.getAll(name) ?? []
    return values.length === 1 ? values[0] : undefined
  }
  if (one('state') !== state) return 'other'
  if (one('iss') !== issuer && (namesItself || url?.searchParams.has('iss'))) return 'other'
  const [code, error] = [one('code'), one('error')]
  if (error !== undefined) return { error }
  return code === undefined ? 'other' : { code }
}

const page = (title: string, text: string): string =>
  `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title><body><h1>${title}</h1><p>${text}</p></body></html>`

const respond = (response: ServerResponse, status: number, title: string, text: string): void => {
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'content-security-policy': "default-src 'none'",
    'cache-control': 'no-store',
    // The address holds the code.
    'referrer-policy': 'no-referrer',
    'connection': 'close',
  })
  response.end(page(title, text))
}

const waitMs = 600_000

export interface Received {
  readonly answer: Exclude<Answer, 'other'> | 'late'
  readonly redirectUri: string
}

/**
 * Opens a browser at `urlFor(redirectUri)` and waits for its answer, ten minutes at most; also for an address that is
 * typed.
 */
export const receiveAnswer = async (
  awaited: Awaited,
  urlFor: (redirectUri: string) => string,
  { input, open }: Surroundings,
  tell: (text: string) => void,
): Promise<Received> => {
  const { promise, resolve } = Promise.withResolvers<Received['answer']>()
  const take = (url: URL | null): boolean => {
    const answer = readAnswer(url, awaited)
    if (answer !== 'other') resolve(answer)
    return answer !== 'other'
  }
  const serve = ({ method, url, headers }: IncomingMessage, response: ServerResponse): void => {
    const asked = URL.parse(url ?? '', origin)
    // A page that gave this address a name of its own is none of ours.
    if (headers.host !== new URL(origin).host || method !== 'GET' || asked?.pathname !== '/callback')
      return respond(response, 404, 'Not found', 'There is nothing at this address.')
    if (!take(asked))
      return respond(response, 400, 'Not this login', 'This is not the answer to the login on the terminal.')
    respond(response, 200, 'Back to the terminal', 'The terminal goes on. You can close this window.')
  }
  const server = createServer(serve).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const redirectUri = `${origin}/callback`
  const url = urlFor(redirectUri)
  const timer = setTimeout(() => resolve('late'), waitMs)
  const lines = input && createInterface({ input })
  lines?.on('line', (line) => {
    if (line.trim() !== '' && !take(URL.parse(line.trim())))
      tell('This is not the answer to this login. Paste the whole address from the browser.')
  })
  try {
    tell(`Your browser opens. If it does not, open\n\n    ${url}\n`)
    if (input) tell('If the browser cannot open the last page, paste its address here.')
    open(url)
    return { answer: await promise, redirectUri }
  } finally {
    clearTimeout(timer)
    lines?.close()
    server.close()
  }
}
