// The page of the console about service accounts, and about the issuers whose assertions give tokens: who owns an account,
// when it was last used, what was refused, and what becomes of an assertion, gate by gate.
import type { Config } from '../config/schema.ts'
import { accountUsedAt, serviceAccounts } from '../kit/records.ts'
import type { AssertionIssuers, TestedAssertion } from '../ports/assertions.ts'
import { Refusal } from '../kit/refusal.ts'
import type { ConsoleFrame, ConsolePages, ServiceAccountRow, ServiceAccountsView } from '../ports/console.ts'
import type { Block, BoundClient, BoundClients } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { ChainedRow } from '../ports/store.ts'
import type { AccessAdmin } from './access-api.ts'
import { clientsOf } from './programs-api.ts'

export interface ConsoleAccountsDeps {
  readonly runtime: Pick<Runtime, 'store' | 'trail'>
  readonly registry: { config(): Config }
  readonly accessAdmin: Pick<AccessAdmin, 'blocks'>
  readonly assertions: AssertionIssuers
  readonly boundClients: BoundClients
  readonly consolePages: Pick<ConsolePages, 'accounts'>
}

/** An issuer that does not send its keys keeps nobody waiting for the page. */
const longestMs = 2_000
/** Each is read for its code and its issuer. */
const mostCounted = 1_000
const mostText = 2_048

interface Known {
  readonly config: Config
  readonly blocks: readonly Block[]
  readonly bound: readonly BoundClient[]
}

const accountRow = async (
  { runtime }: ConsoleAccountsDeps,
  id: string,
  { config, blocks, bound }: Known,
): Promise<ServiceAccountRow> => {
  const { name = id, groups, services, permissions, owner } = config.service_accounts[id] as Account
  const issuers = Object.entries(config.assertion_issuers)
  return {
    id,
    name,
    owner,
    groups,
    services,
    permissions,
    clients: clientsOf(id, { config, bound }),
    issuers: issuers.flatMap(([issuer, { rules }]) =>
      rules.some(({ service_account: account }) => account === id) ? [issuer] : [],
    ),
    lastUsed: await accountUsedAt(runtime.store, id),
    blocked: blocks.some(({ user, client }) => user === `${serviceAccounts}:${id}` && client === undefined),
  }
}
type Account = Config['service_accounts'][string]

const mayRegister = ({ dynamic_registration: allowed }: Config): boolean =>
  typeof allowed === 'object' && allowed.grant_types.includes('client_credentials')

const issuerOf = ({ detail }: ChainedRow): string => {
  const facts = detail === null ? {} : (JSON.parse(detail) as Readonly<Record<string, unknown>>)
  return typeof facts['issuer'] === 'string' ? facts['issuer'] : ''
}

/** Refusals of the last 24 hours by issuer and code; undefined where they cannot be counted. */
const countRefused = async ({ runtime }: ConsoleAccountsDeps) => {
  const found = await runtime.trail?.reader
    ?.page({
      terms: ['kind:assertion.refused,assertion.replayed', 'since:24h'],
      order: 'newest',
      limit: mostCounted,
    })
    .catch(() => undefined)
  if (!found) return undefined
  const counts = new Map<string, Map<string, number>>()
  for (const row of found.rows) {
    const issuer = issuerOf(row)
    const own = counts.get(issuer) ?? new Map<string, number>()
    counts.set(issuer, own.set(row.code ?? '', (own.get(row.code ?? '') ?? 0) + 1))
  }
  return { counts, more: found.next !== undefined || found.partial === true }
}

const byCount = (counts: ReadonlyMap<string, number> = new Map()) =>
  [...counts].map(([code, count]) => ({ code, count })).sort((one, other) => other.count - one.count)

/** What the form said about the request; empty fields are none. */
const askedIn = (form: ReadonlyMap<string, string>): Readonly<Record<string, string>> =>
  Object.fromEntries(
    ['client_id', 'resource', 'scope'].flatMap((name) => {
      const value = form.get(name)?.trim().slice(0, mostText) ?? ''
      return value === '' ? [] : [[name, value]]
    }),
  )

export const createConsoleAccounts = (deps: ConsoleAccountsDeps) => {
  const { registry, accessAdmin, assertions, boundClients, consolePages } = deps
  const read = async (): Promise<Omit<ServiceAccountsView, 'asked'>> => {
    const config = registry.config()
    const [blocks, bound, unbound] = await Promise.all([
      accessAdmin.blocks(),
      boundClients.list(),
      boundClients.unbound(),
    ])
    const ids = Object.keys(config.service_accounts)
    const [accounts, issuers, refused] = await Promise.all([
      Promise.all(ids.map((id) => accountRow(deps, id, { config, blocks, bound }))),
      assertions.list(longestMs),
      countRefused(deps),
    ])
    return {
      accounts,
      bound: bound.toSorted((one, other) => other.at - one.at),
      registrable: mayRegister(config),
      unbound,
      issuers: issuers.map((one) => ({ ...one, refused: refused && byCount(refused.counts.get(one.id)) })),
      counted: refused !== undefined,
      more: refused?.more ?? false,
      ofNobody: byCount(refused?.counts.get('')),
    }
  }
  const clientIn = (form: ReadonlyMap<string, string>): string => {
    const client = form.get('client')?.trim() ?? ''
    if (client === '' || client.length > mostText)
      throw new Refusal('request.malformed', 'client', { say: 'Name a client by its client_id.' })
    return client
  }
  return {
    bind: (form: ReadonlyMap<string, string>, by: string) =>
      boundClients.bind(clientIn(form), form.get('account') ?? '', by),
    unbind: (form: ReadonlyMap<string, string>, by: string) => boundClients.unbind(clientIn(form), by),
    draw: async (frame: ConsoleFrame): Promise<Response> =>
      consolePages.accounts(frame, { ...(await read()), asked: {} }),
    /** Nothing is issued, nothing used up, and the assertion is neither kept nor shown again. */
    async test(frame: ConsoleFrame, form: ReadonlyMap<string, string>): Promise<Response> {
      const asked = askedIn(form)
      const tested: TestedAssertion = await assertions.test((form.get('assertion') ?? '').trim(), asked)
      return consolePages.accounts(frame, { ...(await read()), tested, asked })
    },
  }
}
