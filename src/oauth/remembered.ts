// Answers that a person gave before: per person, client, redirect URI and resource, for the client as it described itself then, and for the scopes allowed then.
import { digest } from '../kit/bytes.ts'
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

export const createRemembered = ({ runtime }: { readonly runtime: Pick<Runtime, 'store' | 'keys'> }): Remembered => {
  const keyOf = async ({ person, client, flow }: Question): Promise<string> =>
    `consent:${await digest(JSON.stringify([person.provider, person.subject, client.id, flow.redirectUri, flow.resource]))}`

  const scopes: Remembered['scopes'] = async (question) => {
    const key = await keyOf(question)
    const entry = await runtime.store.get(key)
    const text = entry && (await runtime.keys.open(entry.value, key))
    const answer = text ? (JSON.parse(text) as Answer) : undefined
    return answer?.client === question.client.digest ? answer.scopes : []
  }

  return {
    scopes,
    async keep(question) {
      const key = await keyOf(question)
      const allowed = [...new Set([...(await scopes(question)), ...question.flow.scopes])]
      const answer: Answer = { client: question.client.digest, scopes: allowed }
      await runtime.store.put(key, await runtime.keys.seal(JSON.stringify(answer), key), { ttlMs: rememberMs })
    },
  }
}
