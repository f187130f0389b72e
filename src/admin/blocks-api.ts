// The API about blocks: who and what is kept out until that is lifted.
import { isNamed, personKey } from '../kit/records.ts'
import { Refusal } from '../kit/refusal.ts'
import type { Blocks, Handler } from '../ports/modules.ts'
import type { BlockedParty, Confirmation, GrantFilter, Impact, Person } from '../ports/people.ts'
import { type EndOptions, answerWithin } from './end-access.ts'
import type { RollCall } from './roll-call.ts'
import { type AdminAuthorization, bodyOf, json, timeOf } from './services-api.ts'

/** 202: not every process of the gateway has said that it has heard of it. */
export const statusOf = (heard: Confirmation | undefined, whole = 200): number =>
  heard && heard.applied < heard.processes ? 202 : whole

export const endedBy = async (
  admin: Pick<RollCall, 'confirm'>,
  impact: Impact,
  status?: number,
): Promise<Response> => {
  const heard = await admin.confirm()
  return json({ ended: impact, ...heard }, statusOf(heard, status))
}

export const wouldEnd = async (
  admin: Pick<RollCall, 'runningCalls'>,
  impact: Impact,
  filter: GrantFilter,
): Promise<Response> => {
  const running = await admin.runningCalls(filter)
  return json({ would_end: { ...impact, ...(running !== undefined && { running_calls: running }) } })
}

interface BlockOptions {
  readonly force?: boolean
  /** The grant that is meant (`Block.grant`). */
  readonly grant?: string
}

export interface BlocksAdmin {
  readonly blocks: () => ReturnType<Blocks['list']>
  /**
   * From now on, and what is open ends: grants, and the browser sessions of a user. Throws `admin.last` for the last
   * administrator, unless `force`.
   */
  block(party: BlockedParty, by: string, options?: EndOptions & BlockOptions): Promise<Impact>
  /** Throws `block.unknown`. */
  unblock(party: BlockedParty, by: string): Promise<void>
}

/** Throws for a block of the person who asks: nobody would be left to lift it. */
export const requireOthers = (person: Person, { user, client, domain }: BlockedParty): void => {
  if (user !== undefined && client === undefined && domain === undefined && isNamed(person, user))
    throw new Refusal('request.malformed', 'administrators cannot block themselves', {
      say: 'You cannot block yourself.',
    })
}

/** As hosts are written in a client_id; undefined for what is no domain. */
const domainOf = (text: string): string | undefined => {
  const host = /[/\\@:?#%\s]/.test(text) ? undefined : URL.parse(`https://${text}`)?.hostname
  return host !== undefined && /^[a-z0-9-]+(?:\.[a-z0-9-]+)+$/.test(host) ? host : undefined
}

/** Throws `request.malformed`. */
export const partyOf = (given: {
  readonly [Name in keyof BlockedParty]?: unknown
}): BlockedParty => {
  const { user, client } = given
  const domain = typeof given.domain === 'string' ? (domainOf(given.domain) ?? '') : given.domain
  const isText = (value: unknown): value is string =>
    typeof value === 'string' && value !== '' && value.length <= 2048
  const said = [user, client, domain].filter((value) => value !== undefined)
  if (said.length === 0 || !said.every(isText) || (client !== undefined && domain !== undefined))
    throw new Refusal('request.malformed', 'no user, client or domain, or a malformed one', {
      say: 'Name a user (provider:subject or email address), a client (client_id) or a domain (such as app.example), or a user with one of the other two.',
    })
  return {
    ...(isText(user) && { user }),
    ...(isText(client) && { client }),
    ...(isText(domain) && { domain }),
  }
}

export interface BlocksApi {
  /** GET /api/blocks */
  readonly blocks: Handler
  /** POST /api/blocks: `{ user?, client?, domain?, revoke_upstream?, dry_run? }` */
  readonly block: Handler
  /** DELETE /api/blocks?user=&client=&domain= */
  readonly unblock: Handler
}

export const createBlocksHandlers = (
  admin: BlocksAdmin & Pick<RollCall, 'confirm' | 'runningCalls'>,
  { requireAdmin, requireCsrfToken }: AdminAuthorization,
): BlocksApi => ({
  async blocks(request) {
    await requireAdmin(request)
    return json({
      blocks: (await admin.blocks()).map(({ at, ...block }) => ({ ...block, at: timeOf(at) })),
    })
  },
  async block(request) {
    const { person } = await requireCsrfToken(request)
    const { revoke_upstream: isUpstream = false, dry_run: dryRun = false, ...body } = await bodyOf(request)
    if (typeof isUpstream !== 'boolean' || typeof dryRun !== 'boolean')
      throw new Refusal('request.malformed', 'revoke_upstream or dry_run', {
        say: 'revoke_upstream and dry_run must be true or false.',
      })
    const party = partyOf(body)
    requireOthers(person, party)
    const options = { dryRun, upstreamWithin: isUpstream ? answerWithin : undefined }
    const impact = await admin.block(party, personKey(person), options)
    return dryRun ? wouldEnd(admin, impact, party) : endedBy(admin, impact, 201)
  },
  async unblock(request) {
    const by = personKey((await requireCsrfToken(request)).person)
    const named = (name: string) => new URL(request.url).searchParams.get(name) || undefined
    const [user, client, domain] = [named('user'), named('client'), named('domain')]
    await admin.unblock(partyOf({ user, client, domain }), by)
    return new Response(null, { status: 204 })
  },
})
