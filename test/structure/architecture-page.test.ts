// The page about the architecture says what is so: its list of steps is the array that decides, its records
// are those that are stored, and its files exist.
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { steps } from '../../src/proxy/admit.ts'
import { messageSteps, openingSteps } from '../../src/proxy/transports/client-messages.ts'
import { readRoot, sourcesIn } from './sources.ts'
import { root } from './tree.ts'

const page = 'docs/design/architecture.md'
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
    expect(order(openingSteps)).toEqual([0, 1, 2, 5, 7, 11])
    expect(order(messageSteps)).toEqual([5, 7, 9, 10, 11])
  })
})

describe('the page about the architecture', () => {
  /** First cells of the table below a heading. */
  const firstCells = (path: string, below: string): string[] => {
    const [, section = ''] = readRoot(path).split(`\n${below}\n`)
    const [text = ''] = section.split('\n## ')
    return [...text.matchAll(/^\| `([^`]+)`/gm)].map(([, key]) => `${key}`)
  }

  it('lists the records that the storage reference lists, in its order', () => {
    expect(firstCells(page, '## What is stored')).toEqual(
      firstCells('docs/reference/storage.md', '## Records'),
    )
  })

  it('names files and folders that exist', () => {
    const names = new Set(sourcesIn('src', '.ts').map(({ path }) => path.slice(path.lastIndexOf('/') + 1)))
    const named = [
      ...readRoot(page).matchAll(/`((?:src\/)?(?:[a-z-]+\/)*[a-z0-9-]+\.ts|src\/[a-z/-]+)`/g),
    ].map(([, name]) => `${name}`)
    const missing = named.filter((name) =>
      name.startsWith('src/')
        ? !existsSync(join(root, name))
        : name.includes('/')
          ? !existsSync(join(root, 'src', name)) && !existsSync(join(root, name))
          : !names.has(name),
    )
    expect(missing).toEqual([])
  })
})
