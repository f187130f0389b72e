// What a command prints that runs in this process.
import { join } from 'node:path'
import { vi } from 'vitest'
import { createProgram } from '../../src/cli/program.ts'

/** A verb on the configuration and the state in `dir`; answers its standard output. */
export const verbIn =
  (dir: string, verb: string) =>
  async (...words: readonly string[]): Promise<string> => {
    const out: string[] = []
    const spy = vi.spyOn(process.stdout, 'write').mockImplementation((text) => out.push(String(text)) > 0)
    try {
      const more = ['-c', join(dir, 'postern.json'), '--state', dir]
      await createProgram().parseAsync([verb, ...words, ...more], { from: 'user' })
    } finally {
      spy.mockRestore()
    }
    return out.join('')
  }

export interface Told {
  /** All that was written since. */
  (stream: 'out' | 'err'): string
}

/** Keeps what is written to either stream from now on, until mocks are restored. */
export const listen = (): Told => {
  const lines: { readonly stream: 'out' | 'err'; readonly text: string }[] = []
  for (const [stream, to] of [
    ['out', process.stdout],
    ['err', process.stderr],
  ] as const)
    vi.spyOn(to, 'write').mockImplementation((text) => lines.push({ stream, text: String(text) }) > 0)
  return (stream) => lines.flatMap((line) => (line.stream === stream ? [line.text] : [])).join('')
}
