// Tests that only some houses have a use for. Elsewhere they are not declared: what is skipped counts as a
// failure in CI, and rightly.
import { it } from 'vitest'

type Declare = (title: string, test: () => Promise<void> | void, timeout?: number) => void

/** `it` where the condition holds; otherwise nothing is declared. */
export const itWhere =
  (holds: boolean): Declare =>
  (title, test, timeout) => {
    if (holds) it(title, test, timeout)
  }
