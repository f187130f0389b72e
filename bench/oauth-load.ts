// The load of the login section: a number of people at once, each over one connection, each step answered
// before the next. Every answer is checked. Usage: node bench/oauth-load.ts '<JSON of OAuthLoad>'; prints one
// line of JSON.
import {
  createHash,
  createPublicKey,
  type JsonWebKey,
  type KeyObject,
  randomBytes,
  verify,
} from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { cpuUs } from './machine.ts'

export interface OAuthLoad {
  readonly origin: string
  readonly authorizePath: string
  readonly tokenPath: string
  readonly jwksPath: string
  readonly clientId: string
  readonly redirectUri: string
  readonly resource: string
  readonly scope: string
  /** Of browsers that are signed in and have said yes; the people take them in turn. */
  readonly cookies: readonly string[]
  /** The server's process. */
  readonly pid: number
  /** `login`: authorize and token. `exchange`: the token request alone. `refresh`: one after the other. */
  readonly step: 'login' | 'exchange' | 'refresh'
  readonly people: number
  readonly seconds: number
}

export interface OAuthTold {
  readonly done: number
  readonly seconds: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
  /** Processor time of the server for one, microseconds. */
  readonly cpu: number
  /** The browsers' cookies as they are now. */
  readonly cookies: readonly string[]
}

interface Answer {
  readonly status: number
  readonly headers: readonly string[]
  readonly body: string
}

interface Line {
  /** What this person's browser keeps. */
  readonly jar: Map<string, string>
  ask(head: string, body?: string): Promise<Answer>
  close(): void
}

/** One connection, one request at a time. Answers have a length or are chunked. */
const openLine = ({ origin, cookies }: OAuthLoad, i: number): Line => {
  const { hostname, port, host } = new URL(origin)
  const socket: Socket = connect({
    port: Number(port),
    host: hostname === 'localhost' ? '127.0.0.1' : hostname,
    noDelay: true,
  })
  let text = ''
  let waiting: { resolve(answer: Answer): void; reject(error: Error): void } | undefined
  const whole = (): Answer | undefined => {
    const end = text.indexOf('\r\n\r\n')
    if (end === -1) return undefined
    const [first = '', ...headers] = text.slice(0, end).split('\r\n')
    const length = Number(headers.find((field) => /^content-length:/i.test(field))?.slice(15) ?? Number.NaN)
    const rest = text.slice(end + 4)
    if (length >= 0)
      return rest.length >= length
        ? { status: Number(first.slice(9, 12)), headers, body: rest.slice(0, length) }
        : undefined
    if (!rest.endsWith('0\r\n\r\n')) return undefined
    return {
      status: Number(first.slice(9, 12)),
      headers,
      body: rest.replaceAll(/(^|\r\n)[\da-f]+\r\n/g, '').trim(),
    }
  }
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString('latin1')
    const answer = whole()
    if (!answer) return
    text = ''
    waiting?.resolve(answer)
  })
  socket.on('error', (error) => waiting?.reject(error))
  socket.on('close', () => waiting?.reject(new Error('the connection was closed')))
  return {
    jar: new Map(
      (cookies[i % cookies.length] ?? '').split('; ').map((pair) => [pair.slice(0, pair.indexOf('=')), pair]),
    ),
    ask: (head, body = '') =>
      new Promise((resolve, reject) => {
        waiting = { resolve, reject }
        socket.write(
          `${head}Host: ${host}\r\n${body === '' ? '' : `Content-Type: application/x-www-form-urlencoded\r\nContent-Length: ${body.length}\r\n`}\r\n${body}`,
        )
      }),
    close: () => void socket.destroy(),
  }
}

const wrong = (what: string, { status, headers, body }: Answer): Error =>
  new Error(`${what}: ${status} ${headers.join(' | ')} ${body.slice(0, 300)}`)
const form = (fields: Readonly<Record<string, string>>): string => new URLSearchParams(fields).toString()

/** A code and the verifier that goes with it. */
const authorize = async (
  load: OAuthLoad,
  line: Line,
): Promise<{ readonly code: string; readonly verifier: string }> => {
  const verifier = randomBytes(32).toString('base64url')
  const state = randomBytes(8).toString('hex')
  const challenge = createHash('sha256').update(verifier).digest('base64url')
  const query = form({
    response_type: 'code',
    client_id: load.clientId,
    redirect_uri: load.redirectUri,
    code_challenge: challenge,
    code_challenge_method: 'S256',
    state,
    resource: load.resource,
    scope: load.scope,
  })
  let target = `${load.authorizePath}?${query}`
  for (let hop = 0; hop < 10; hop++) {
    const answer = await line.ask(
      `GET ${target} HTTP/1.1\r\nAccept: text/html\r\nSec-Fetch-Site: none\r\nCookie: ${[...line.jar.values()].join('; ')}\r\n`,
    )
    for (const field of answer.headers) {
      const [, name, value] = /^set-cookie: *([^=]+)=([^;]*)/i.exec(field) ?? []
      if (name === undefined) continue
      if (/max-age=0/i.test(field)) line.jar.delete(name)
      else line.jar.set(name, `${name}=${value}`)
    }
    const location = answer.headers
      .find((field) => /^location:/i.test(field))
      ?.slice(9)
      .trim()
    if (location === undefined || answer.status < 300 || answer.status > 399) throw wrong('authorize', answer)
    const url = new URL(location, load.origin)
    if (!location.startsWith(load.redirectUri)) {
      target = `${url.pathname}${url.search}`
      continue
    }
    const code = url.searchParams.get('code')
    if (!code || url.searchParams.get('state') !== state) throw wrong('authorize', answer)
    return { code, verifier }
  }
  throw new Error('too many redirects')
}

interface Tokens {
  readonly access_token: string
  readonly refresh_token: string
}

/** Signatures that are verified; of the others the shape. */
const everyNth = 50
let answers = 0

const tokensIn = (answer: Answer, keys: ReadonlyMap<string, KeyObject>, former?: string): Tokens => {
  if (answer.status !== 200) throw wrong('token', answer)
  const tokens = JSON.parse(answer.body) as Tokens & { token_type: string }
  const [head = '', claims = '', signature = ''] = tokens.access_token.split('.')
  if (
    tokens.token_type.toLowerCase() !== 'bearer' ||
    signature.length !== 86 ||
    !tokens.refresh_token ||
    tokens.refresh_token === former
  )
    throw wrong('token', answer)
  if (answers++ % everyNth !== 0) return tokens
  const key = keys.get((JSON.parse(Buffer.from(head, 'base64url').toString()) as { kid: string }).kid)
  if (
    !key ||
    !verify(
      'sha256',
      Buffer.from(`${head}.${claims}`),
      { key, dsaEncoding: 'ieee-p1363' },
      Buffer.from(signature, 'base64url'),
    )
  )
    throw wrong('signature', answer)
  return tokens
}

const exchange = async (
  load: OAuthLoad,
  line: Line,
  keys: ReadonlyMap<string, KeyObject>,
  { code, verifier }: { readonly code: string; readonly verifier: string },
): Promise<Tokens> =>
  tokensIn(
    await line.ask(
      `POST ${load.tokenPath} HTTP/1.1\r\n`,
      form({
        grant_type: 'authorization_code',
        code,
        code_verifier: verifier,
        redirect_uri: load.redirectUri,
        client_id: load.clientId,
      }),
    ),
    keys,
  )

const refresh = async (
  load: OAuthLoad,
  line: Line,
  keys: ReadonlyMap<string, KeyObject>,
  { refresh_token }: Tokens,
): Promise<Tokens> =>
  tokensIn(
    await line.ask(
      `POST ${load.tokenPath} HTTP/1.1\r\n`,
      form({ grant_type: 'refresh_token', refresh_token, client_id: load.clientId }),
    ),
    keys,
    refresh_token,
  )

const jwksOf = async ({ origin, jwksPath }: OAuthLoad): Promise<Map<string, KeyObject>> => {
  const { keys } = (await (await fetch(`${origin}${jwksPath}`)).json()) as {
    keys: (JsonWebKey & { kid: string })[]
  }
  return new Map(keys.map((jwk) => [jwk.kid, createPublicKey({ key: jwk, format: 'jwk' })]))
}

/**
 * What a turn does again and again, all people at once: something before the clock runs, and something that
 * is timed for each of them.
 */
interface Work {
  prepare(line: Line): Promise<(() => Promise<void>)[]>
}

/**
 * Steps between two looks at the clock. A client that refreshes hundreds of times within the grace of a
 * minute is none; each begins with a new grant instead.
 */
const inRow = 10

const workOf = async (load: OAuthLoad): Promise<Work> => {
  const keys = await jwksOf(load)
  if (load.step === 'exchange') {
    return {
      // One code at a time for each person: oidc-provider ends the others of a grant with the first.
      async prepare(line) {
        const code = await authorize(load, line)
        return [async () => void (await exchange(load, line, keys, code))]
      },
    }
  }
  if (load.step === 'login')
    return {
      prepare: (line) =>
        Promise.resolve(
          Array.from(
            { length: inRow },
            () => async () => void (await exchange(load, line, keys, await authorize(load, line))),
          ),
        ),
    }
  return {
    async prepare(line) {
      let tokens = await exchange(load, line, keys, await authorize(load, line))
      return Array.from(
        { length: inRow },
        () => async () => void (tokens = await refresh(load, line, keys, tokens)),
      )
    },
  }
}

const run = async (load: OAuthLoad): Promise<OAuthTold> => {
  const lines = Array.from({ length: load.people }, (_, i) => openLine(load, i))
  const { prepare } = await workOf(load)
  const times: number[] = []
  let [spent, cpu] = [0, 0]
  while (spent < load.seconds * 1000) {
    const ready = await Promise.all(lines.map(prepare))
    const [began, cpuBefore] = [performance.now(), cpuUs(load.pid)]
    await Promise.all(
      ready.map(async (steps) => {
        for (const step of steps) {
          const before = performance.now()
          await step()
          times.push(performance.now() - before)
        }
      }),
    )
    spent += performance.now() - began
    cpu += cpuUs(load.pid) - cpuBefore
  }
  for (const line of lines) line.close()
  const sorted = times.toSorted((a, b) => a - b)
  return {
    done: times.length,
    seconds: spent / 1000,
    p50: sorted[Math.floor(sorted.length / 2)] ?? 0,
    p99: sorted[Math.floor(sorted.length * 0.99)] ?? 0,
    cpu: cpu / times.length,
    cookies: lines.map(({ jar }) => [...jar.values()].join('; ')),
  }
}

console.log(JSON.stringify(await run(JSON.parse(process.argv[2] ?? '{}') as OAuthLoad)))
