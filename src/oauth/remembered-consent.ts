// Answers that a person gave before: per person, client, redirect URI and service, for the client as it described itself then, and for the scopes allowed then.
import { createRecords } from '../kit/records.ts'
import { judgeRedirectUri, withoutLoopbackPort } from '../kit/urls.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Address } from '../ports/services.ts'
import type { PendingRequest } from './authorization-requests.ts'

/** What the answer was about; the client as the person is shown it. */
export interface RememberedQuestion {
  readonly person: Person
  readonly address: Address
  readonly flow: Pick<PendingRequest, 'client' | 'redirectUri' | 'resource' | 'scopes'>
}

/** What is known of a question from before. */
export interface RememberedAnswer {
  /** Scopes this person allowed this client before in this constellation. */
  readonly scopes: readonly string[]
  /** The client says something else of itself than when it was allowed. */
  readonly changed: boolean
  /** Whether the person need not be asked again for these scopes. */
  readonly settles: boolean
}

export interface RememberedConsents {
  recall(question: RememberedQuestion): Promise<RememberedAnswer>
  /** Adds what was allowed now to what is `known`. */
  keep(question: RememberedQuestion, known: RememberedAnswer): Promise<void>
}

interface Answer {
  readonly client: string
  readonly scopes: readonly string[]
}

const rememberMs = 30 * 86_400_000

export interface RememberedConsentsDeps {
  readonly runtime: Pick<Runtime, 'store' | 'keys' | 'log' | 'digest'>
}

/**
 * Any program on a computer can listen on a loopback port or register a scheme, and take the name of a client that does not prove who it is (RFC 8252 §8.6): its
 * person is asked each time, and what was allowed before only shows what is new. An https redirect URI leads to whoever holds the domain.
 */
const isProven = ({ flow }: RememberedQuestion): boolean =>
  flow.client.proves || judgeRedirectUri(flow.redirectUri) === 'https'

/** The redirect URI counts in full where the answer stands for the person, port included. Elsewhere the port, which a client may change each time, is left out. */
const placeOf = (question: RememberedQuestion): string =>
  isProven(question) ? question.flow.redirectUri : withoutLoopbackPort(question.flow.redirectUri)

export const createRememberedConsents = ({ runtime }: RememberedConsentsDeps): RememberedConsents => {
  const records = createRecords<Answer>(runtime, 'consent:')
  const idOf = (question: RememberedQuestion): string => {
    const { person, flow, address } = question
    return runtime.digest(
      JSON.stringify([
        person.provider,
        person.subject,
        flow.client.id,
        placeOf(question),
        flow.resource,
        address.service.generation ?? '',
      ]),
    )
  }

  const recall: RememberedConsents['recall'] = async (question) => {
    const answer = (await records.get(idOf(question)))?.value
    const changed = answer !== undefined && answer.client !== question.flow.client.digest
    const scopes = answer && !changed ? answer.scopes : []
    return {
      scopes,
      changed,
      settles: isProven(question) && question.flow.scopes.every((scope) => scopes.includes(scope)),
    }
  }

  return {
    recall,
    async keep(question, known) {
      const answer: Answer = {
        client: question.flow.client.digest,
        scopes: [...new Set([...known.scopes, ...question.flow.scopes])],
      }
      await records.put(idOf(question), answer, { ttlMs: rememberMs })
    },
  }
}
