// What a process writes to standard error: the last of it kept for the operator, by whole lines, without the secrets that its configuration gave it.
import { isAbsolute } from 'node:path'

const keptCharacters = 65_536
/** A line that does not end is taken as it is from here on. */
const longestLine = 8192
/** Shorter values stand in too many words to be taken for themselves. */
const leastSecret = 8

export interface Complaints {
  push(text: string): void
  /** Nothing more will come: a line that was begun is whole. */
  end(): void
  text(): string
  conceal(text: string): string
}

interface Concealer {
  /** Characters of the longest value. */
  readonly reach: number
  conceal(text: string): string
}

/** Servers print the key that was refused; logs are read by more people than configurations are. Paths are what an operator looks for. */
const createConcealer = (env: Readonly<Record<string, string>>): Concealer => {
  const secrets = Object.entries(env)
    .flatMap(([name, value]) => value.split(/\r?\n/).map((line) => [name, line.trim()] as const))
    .filter(([, value]) => value.length >= leastSecret && !isAbsolute(value))
    .sort(([, one], [, two]) => two.length - one.length)
  return {
    reach: secrets[0]?.[1].length ?? 0,
    conceal: (text) => secrets.reduce((rest, [name, value]) => rest.replaceAll(value, `[${name}]`), text),
  }
}

/** `told` hears whole lines, as many as came together. `env`: what the operator configured; its values are written as their names. */
export const createComplaints = (env: Readonly<Record<string, string>>, told: (text: string) => void): Complaints => {
  const { reach, conceal } = createConcealer(env)
  let kept = ''
  let begun = ''
  const take = (until: number): void => {
    const text = conceal(begun.slice(0, until))
    begun = begun.slice(until)
    if (text === '') return
    kept = (kept + text).slice(-keptCharacters)
    told(text)
  }
  return {
    push(text) {
      begun += text
      take(begun.lastIndexOf('\n') + 1)
      // What is left may be the beginning of a secret.
      if (begun.length > longestLine + reach) take(begun.length - reach)
    },
    end: () => take(begun.length),
    text: () => kept + conceal(begun),
    conceal,
  }
}
