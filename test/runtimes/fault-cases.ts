// What a fault of the table is, and how it is met: by a person with a browser, or by a program.
import type { FlowActor } from '../../src/ports/flow-record.ts'
import { createBrowser, type Page } from './browser.ts'
import {
  type As,
  type FaultyWorld,
  accepts,
  asked,
  begin,
  resourceAt,
  signedIn,
  through,
} from './faulty-world.ts'
import { callerOf } from './people.ts'
import { rpc } from './ruled-upstream.ts'

/** What the fault came to, and whose flow it is of. */
export interface Met {
  readonly answer: Page
  /** A client ID, or the ID of the flow. */
  readonly client?: string
}

export interface Fault {
  readonly fault: string
  readonly code: string
  readonly acts: FlowActor
  /** The cause, as the log has it. */
  readonly why: RegExp
  /** Whoever can meet it: a person with a browser, a program, or both. */
  readonly met: readonly As[]
  /** The finding of the flow where that says more than the code; `none`: the fault is of no flow. */
  readonly flow?: string
  /** The key of the configuration under which the doctor names it. */
  readonly doctor?: string
  readonly run: (world: FaultyWorld, as: As) => Promise<Met>
}

export const both: readonly As[] = ['page', 'json']
export const page: readonly As[] = ['page']
export const json: readonly As[] = ['json']

// By whom each is met.

export const atProvider =
  (id: string, back?: Readonly<Record<string, string>>): Fault['run'] =>
  async (world, as) => {
    const began = await begin(world.another())
    return { answer: await through(began, id, as, back), client: began.client.id }
  }

export const asking =
  (params: Readonly<Record<string, string>>): Fault['run'] =>
  async (world, as) => {
    const began = await begin(world.another(), params, asked(as))
    return { answer: began.page, client: began.client.id }
  }

export const answerOf = async (url: string, response: Response): Promise<Page> => {
  const body = await response.text()
  return {
    url,
    status: response.status,
    headers: response.headers,
    body,
    form: () => ({ action: '', fields: {}, pairs: [] }),
  }
}

type Signed = Awaited<ReturnType<typeof signedIn>>
export const signed =
  (
    use: (signed: Signed, world: FaultyWorld) => Promise<Response>,
    service?: string,
    choice?: Parameters<typeof signedIn>[2],
  ): Fault['run'] =>
  async (world) => {
    const one = await signedIn(world.another(), service, choice)
    return { answer: await answerOf('', await use(one, world)), client: one.client.id }
  }
export const callAt =
  (service: string, message: unknown = rpc('tools/list'), headers: Record<string, string> = {}) =>
  ({ at, tokens }: Signed): Promise<Response> =>
    callerOf(at, resourceAt(at, service), tokens.access_token).post(message, headers)
export const stranger =
  (use: (at: ReturnType<FaultyWorld['another']>) => Promise<Response>): Fault['run'] =>
  async (world) => ({ answer: await answerOf('', await use(world.another())) })
export const registers = (metadata: object) =>
  stranger((at) =>
    at.fetch(`${at.origin}/oauth/register`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify({ client_name: 'Notes', token_endpoint_auth_method: 'none', ...metadata }),
    }),
  )
export const opens =
  (path: string): Fault['run'] =>
  async (world, as) => {
    const at = world.another()
    return { answer: await createBrowser(at.fetch, at.origin).go(path, asked(as)) }
  }

// What the cases above are made of.

export const posted = (action: string, body: string, as: As): RequestInit => ({
  method: 'POST',
  body,
  headers: {
    accept: accepts[as],
    'content-type': 'application/x-www-form-urlencoded',
    origin: new URL(action).origin,
    'sec-fetch-site': 'same-origin',
  },
})
/** Leaves with one browser and comes back with the other. */
export const visitor =
  (one: ReturnType<typeof createBrowser>, other: ReturnType<typeof createBrowser>) =>
  (url: string, init?: RequestInit): Promise<Page> =>
    (url.includes('/callback') ? other : one).go(url, init)
export const signedInAt = async (
  browser: ReturnType<typeof createBrowser>,
  shown: Page,
  as: As,
): Promise<Page> => {
  const { action, pairs } = shown.form('/login')
  const body = new URLSearchParams({
    ...Object.fromEntries(pairs),
    username: 'ana',
    password: 'correct horse battery',
  }).toString()
  return browser.go(action, posted(action, body, as))
}
export const codeAfter = async (browser: ReturnType<typeof createBrowser>, shown: Page): Promise<string> => {
  const consent = await browser.submit(shown, '/login', {
    username: 'ana',
    password: 'correct horse battery',
  })
  const back = await browser.submit(consent, '/oauth/consent', {
    decision: 'allow',
    preset: 'execute',
    admin: 'on',
  })
  return new URL(back.url).searchParams.get('code') ?? ''
}
