// The list of steps of a call in the documentation is the array that decides.
import { describe, expect, it } from 'vitest'
import { steps } from '../../src/proxy/admit.ts'
import { messageSteps, openingSteps } from '../../src/proxy/transports/connection-steps.ts'
import { readRoot } from './sources.ts'

const page = 'docs/design/tour.md'
const heading = '## The steps of a call'

const listed = (): string[] => {
  const [, section = ''] = readRoot(page).split(`${heading}\n`)
  const [text = ''] = section.split('\n## ')
  return [...text.matchAll(/^(\d+)\. \*\*([^*]+)\*\*/gm)].map(([, number, name]) => `${number} ${name}`)
}

describe('the steps of a call', () => {
  it('are those that the documentation lists, in its order', () => {
    expect(steps.map(({ name }, i) => `${i + 1} ${name}`)).toEqual(listed())
  })

  it('are passed by connections and their messages in the same order', () => {
    const order = (some: readonly object[]): number[] =>
      some.map((step) => steps.findIndex((each) => each === step))
    expect(order(openingSteps)).toEqual([0, 1, 2, 5, 7])
    expect(order(messageSteps)).toEqual([5, 7, 9])
  })
})
