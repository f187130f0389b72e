// What a client is given to prove itself with, and what it must show.
import type { Home } from '../harness/home.ts'

/** One tool call that shows that the upstream was really reached. */
export interface Upstream {
  readonly service: string
  readonly tool: string
  readonly input: Readonly<Record<string, unknown>>
  /** Matches the text of the answer. */
  readonly answer: RegExp
}

export interface Trial {
  readonly upstream: Upstream
  /** The MCP endpoint behind Postern. */
  readonly url: string
  readonly home: Home
  /** Folder with the peers' node_modules. */
  readonly peers: string
  /** Does what a person does with the address that the client opened in the browser. */
  readonly allow: (url: string) => Promise<string>
}

export interface ClientTrial {
  readonly name: string
  /** Says in a few words what was shown; throws what was not. Everything it starts ends with it. */
  readonly run: (trial: Trial) => Promise<string>
}

export const expectAnswer = (trial: Trial, text: string): void => {
  if (!trial.upstream.answer.test(text))
    throw new Error(`${trial.upstream.tool} answered ${text.slice(0, 500)}`)
}
