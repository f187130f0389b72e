// Sign-in alone: memory store, a clock that is a number, and a browser that is a cookie jar.
import { type ConfigInput, parseConfig } from '../../src/config/schema.ts'
import { createLoginLinks, createLocalPeople } from '../../src/identity/local-users.ts'
import type { IdentityProvider } from '../../src/identity/providers/provider.ts'
import { createSessions } from '../../src/identity/session.ts'
import { createSignIn } from '../../src/identity/sign-in.ts'
import { createKeyRing } from '../../src/kit/keyring.ts'
import { Refusal, type RefusalCode } from '../../src/kit/refusal.ts'
import { digest } from '../../src/node/crypto.ts'
import { createPages } from '../../src/pages/views.ts'
import type { Counted, DescribeFlow, Guess } from '../../src/ports/modules.ts'
import type { Outbound, Passwords, Runtime } from '../../src/ports/runtime.ts'
import { createMemoryStore } from '../../src/stores/memory.ts'
import { noTimer } from '../runtimes/clock.ts'

export const origin = 'http://localhost:8080'

const random = (n: number): Uint8Array<ArrayBuffer> => crypto.getRandomValues(new Uint8Array(n))

/** Counts what was hashed; as quick as tests should be. */
export const countingPasswords = (): Passwords & {
  readonly verified: string[]
  readonly hashed: string[]
} => {
  const verified: string[] = []
  const hashed: string[] = []
  return {
    verified,
    hashed,
    hash: (password) => {
      hashed.push(password)
      return Promise.resolve(`$plain$${password}`)
    },
    verify: (password, phc) => {
      verified.push(phc)
      return Promise.resolve(phc === `$plain$${password}`)
    },
    outdated: () => false,
  }
}

const unreachable: Outbound = () => Promise.reject(new Refusal('outbound.failed', 'no network in this test'))

export interface WorldOptions {
  readonly config?: ConfigInput
  readonly providers?: readonly IdentityProvider[]
  readonly describeFlow?: DescribeFlow
  readonly limit?: (kind: string, key: string) => Promise<void>
}

export const createWorld = async ({
  config: input = {},
  providers = [],
  describeFlow = () => Promise.resolve(undefined),
  limit,
}: WorldOptions = {}) => {
  const config = parseConfig(input)
  const clock = { now: Date.UTC(2026, 0, 1) }
  const now = (): number => clock.now
  const passwords = countingPasswords()
  const events: Record<string, unknown>[] = []
  const limited: string[] = []
  const count = async (kind: string, who: Counted): Promise<void> => {
    const key =
      typeof who === 'string' ? who : [who.ip, who.and].filter((part) => part !== undefined).join(' ')
    limited.push(`${kind} ${key}`)
    await limit?.(kind, key)
  }
  const store = createMemoryStore({ now })
  const logged: string[] = []
  const runtime: Runtime = {
    now,
    timer: noTimer,
    digest,
    random,
    outbound: unreachable,
    transports: {
      fetch: Promise.reject.bind(Promise),
      socket: Promise.reject.bind(Promise),
      publicOnly: { fetch: Promise.reject.bind(Promise), socket: Promise.reject.bind(Promise) },
    },
    defer: () => undefined,
    log: (_, event) => void logged.push(event),
    store,
    cache: { get: () => Promise.resolve(undefined), put: () => Promise.resolve() },
    keys: await createKeyRing([random(32)], random),
    passwords,
    bodyBytes: 1 << 26,
    about: { version: '0', runtime: 'test', storage: 'memory' },
  }
  const sessions = createSessions({
    runtime,
    issuer: origin,
    mayStillSignIn: (person) => person,
    idleMs: 3_600_000,
    absoluteMs: 28_800_000,
  })
  const links = createLoginLinks({
    runtime,
    enabled: config.local_users.length === 0 && providers.length === 0,
  })
  const signIn = createSignIn({
    runtime,
    sessions,
    blocks: { covers: () => Promise.resolve(undefined) },
    links,
    people: createLocalPeople({ runtime, users: config.local_users }),
    providers: new Map(providers.map((provider) => [provider.id, provider])),
    pages: () => createPages({ issuer: origin, version: '0' }),
    describeFlow,
    keepTokens: () => Promise.resolve(),
    signedIn: () => Promise.resolve(undefined),
    limit: Object.assign(count, {
      async guess({ account, ip, known }: Guess) {
        if (known === undefined) await count('sign-in-address', { ip })
        await count('sign-in', known ?? { ip, and: account })
      },
      guessed: () => Promise.resolve(),
      takeBack: () => Promise.resolve(),
    }),
    record: (event) => void events.push(event),
    origins: [origin],
  })
  return { config, clock, runtime, store, passwords, events, logged, limited, sessions, links, signIn }
}

export const context = { requestId: 'request-1', ip: '192.0.2.7' }

/** Cookies of one browser; `request` sends them, `keep` takes those of an answer. */
export const createJar = () => {
  const cookies = new Map<string, string>()
  return {
    cookies,
    request(path: string, init: RequestInit = {}): Request {
      const headers = new Headers(init.headers)
      if (cookies.size > 0)
        headers.set('cookie', [...cookies].map(([name, value]) => `${name}=${value}`).join('; '))
      return new Request(new URL(path, origin), { ...init, headers })
    },
    post(path: string, fields: Record<string, string>, headers: Record<string, string> = {}): Request {
      const form = {
        'content-type': 'application/x-www-form-urlencoded',
        origin,
        'sec-fetch-site': 'same-origin',
        ...headers,
      }
      return this.request(path, {
        method: 'POST',
        headers: form,
        body: new URLSearchParams(fields).toString(),
      })
    },
    keep<T extends Response>(response: T): T {
      for (const line of response.headers.getSetCookie()) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
        if (/max-age=0/i.test(line)) cookies.delete(name)
        else cookies.set(name, value)
      }
      return response
    },
  }
}

/** The hidden fields of the first form of a page. */
export const hiddenOf = async (page: Response): Promise<Record<string, string>> => {
  const form = /<form[\s\S]*?<\/form>/.exec(await page.text())?.[0] ?? ''
  const fields = [...form.matchAll(/<input[^>]*type="hidden"[^>]*>/g)].map(([tag]) => [
    /name="([^"]*)"/.exec(tag)?.[1] ?? '',
    /value="([^"]*)"/.exec(tag)?.[1] ?? '',
  ])
  return Object.fromEntries(fields) as Record<string, string>
}

/** The code of the refusal that the work ends in. */
export const refusalOf = async (work: Promise<unknown>): Promise<Refusal> => {
  try {
    await work
  } catch (thrown) {
    if (thrown instanceof Refusal) return thrown
    throw thrown
  }
  throw new Error('nothing was refused')
}

export const codeOf = async (work: Promise<unknown>): Promise<RefusalCode> => (await refusalOf(work)).code
