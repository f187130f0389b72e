// More access for an app that has some: the challenge by which a client learns that the person has to be asked,
// and the memory of those who declined, so that no client asks them for ever (MCP authorization, "Step-Up
// Authorization Flow").
import { createRecords, personKey, personalClients } from '../kit/records.ts'
import { isEnough, scopesUpTo } from '../kit/levels.ts'
import { Refusal } from '../kit/refusal.ts'
import type { AskForMore, BeyondConsent } from '../ports/modules.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import { resourceMetadataUrl } from './metadata.ts'

/** Whose answers are remembered together: a person's, about a client at a service. */
export interface Asked {
  readonly person: Person
  readonly clientId: string
  /** Id of the service. */
  readonly service: string
}

export interface StepUps {
  readonly askForMore: AskForMore
  /** Whether this grant was answered with a challenge a moment ago. */
  isAsking(grantId: string): Promise<boolean>
  /** The person was asked for more and did not give it, or gave it. */
  answered(asked: Asked, given: boolean): Promise<void>
}

export interface StepUpDeps {
  readonly runtime: Pick<Runtime, 'now' | 'store' | 'keys' | 'log' | 'digest'>
  /** Origin of the gateway. */
  readonly issuer: string
}

/** So many refusals of a person within so long end the asking, until the oldest of them is as long ago. */
const mostDeclined = 2
const declinedForMs = 600_000

/**
 * SDKs of version 1 answer the challenge by refreshing, get a token of the same scopes, and give up. For so long after
 * it a refresh is refused with `server_error`, at which they ask the person.
 */
const askingMs = 30_000

/** When the person declined, epoch ms. */
type Declined = readonly number[]

const challengeOf = ({ address, principal, origin, need, what }: BeyondConsent, issuer: string): Refusal => {
  // All of it, and what the client has besides: clients ask for what a challenge names and for nothing else, and
  // would lose one scope for another each time.
  const scope = [...new Set([...principal.scopes, ...scopesUpTo(need)])].join(' ')
  const metadata = resourceMetadataUrl(origin ?? issuer, address.path)
  const say = `${what} needs ${need} access.`
  const parts = [
    'error="insufficient_scope"',
    `scope="${scope}"`,
    `resource_metadata="${metadata}"`,
    `error_description="${say.replaceAll(/["\\]/g, "'")}"`,
  ]
  return new Refusal('consent.level', `needs ${need}`, {
    say,
    // RFC 9449 §7.1: in the scheme that the token has to come by.
    headers: {
      'www-authenticate': `${principal.jkt === undefined ? 'Bearer' : 'DPoP'} ${parts.join(', ')}`,
    },
    // On a WebSocket, and for clients of HTTP+SSE, there is no header to say it in.
    rpcData: { need, scope, resource_metadata: metadata },
    about: { service: address.service.id, client: principal.clientId, person: principal.personKey },
  })
}

export const createStepUps = ({ runtime, issuer }: StepUpDeps): StepUps => {
  const records = createRecords<Declined>(runtime, 'declined:')
  const idOf = (key: string, clientId: string, service: string): string =>
    runtime.digest(JSON.stringify([key, clientId, service]))
  const lately = (times: Declined = []): Declined => times.filter((at) => runtime.now() - at < declinedForMs)

  return {
    async askForMore(call) {
      const { principal, address, need, what } = call
      // Asked again, the client would get the same token again.
      if (principal.most !== undefined && !isEnough(principal.most, need))
        return new Refusal('account.permission', `needs ${need}, has at most ${principal.most}`, {
          say: `Access denied: ${what} needs ${need} access, which this ${principal.clientId.startsWith(personalClients) ? 'token does not allow' : 'account does not have'}.`,
          rpcData: { need },
        })
      const id = idOf(principal.personKey, principal.clientId, address.service.id)
      if (lately((await records.get(id))?.value).length < mostDeclined) {
        await runtime.store.put(`asking:${principal.grantId}`, '', { ttlMs: askingMs })
        return challengeOf(call, issuer)
      }
      return new Refusal('consent.declined', `needs ${need}`, {
        say: `Access denied: ${what} needs ${need} access, which the user declined. Ask them before you try again.`,
        rpcData: { need },
      })
    },
    isAsking: async (grantId) => (await runtime.store.get(`asking:${grantId}`)) !== undefined,
    async answered({ person, clientId, service }, given) {
      const id = idOf(personKey(person), clientId, service)
      if (given) return void (await records.take(id))
      const before = lately((await records.get(id))?.value)
      await records.put(id, [...before, runtime.now()].slice(-mostDeclined), { ttlMs: declinedForMs })
    },
  }
}
