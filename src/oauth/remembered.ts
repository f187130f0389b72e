// Answers that a person gave before: per person, client, redirect URI and resource, for the client as it described itself then, and for the scopes allowed then.
import { digest } from '../kit/bytes.ts'
import { createRecords } from '../kit/records.ts'
import type { Person } from '../ports/people.ts'
import type { Runtime } from '../ports/runtime.ts'
import type { Client } from './client.ts'
import type { Flow } from './flows.ts'

/** What the answer was about. The redirect URI counts in full, port included: on a loopback host any program may be listening at another one (RFC 8252 §8.6). */
export interface Question {
  readonly person: Person
  readonly client: Client
  readonly flow: Pick<Flow, 'redirectUri' | 'resource' | 'scopes'>
}

export interface Remembered {
  /** Scopes this person already allowed this client in exactly this constellation. */
  scopes(question: Question): Promise<readonly string[]>
  keep(question: Question): Promise<void>
}

interface Answer {
  readonly client: string
  readonly scopes: readonly string[]
}

const rememberMs = 30 * 86_400_000

export interface RememberedDeps {
  readonly runtime: Pick<Runtime, 'store' | 'keys' | 'log'>
}

export const createRemembered = ({ runtime }: RememberedDeps): Remembered => {
  const records = createRecords<Answer>(runtime, 'consent:')
  const idOf = ({ person, client, flow }: Question): Promise<string> => digest(JSON.stringify([person.provider, person.subject, client.id, flow.redirectUri, flow.resource]))

  const scopes: Remembered['scopes'] = async (question) => {
    const answer = (await records.get(await idOf(question)))?.value
    return answer?.client === (await question.client.digest()) ? answer.scopes : []
  }

  return {
    scopes,
    async keep(question) {
      const allowed = [...new Set([...(await scopes(question)), ...question.flow.scopes])]
      const answer: Answer = { client: await question.client.digest(), scopes: allowed }
      await records.put(await idOf(question), answer, { ttlMs: rememberMs })
    },
  }
}
