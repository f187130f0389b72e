// The writer of the log, as the standard output of a process of its own: what its reader gets, whatever the
// reader does.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, describe, expect, it } from 'vitest'

const source = new URL('../../src/node/log.ts', import.meta.url).href
// process.stdout makes a pipe one that never waits, as the command line does.
const head = `
  import { createLineWriter } from ${JSON.stringify(source)}
  process.stdout.on('error', () => undefined)
  const writer = createLineWriter(1)
  const lines = (from, to, pad = 0) => { for (let i = from; i < to; i++) writer.write(JSON.stringify({ i, pad: 'x'.repeat(pad) }) + '\\n') }
`

const children = new Set<ChildProcess>()
const start = (body: string, stdout: 'pipe' | number = 'pipe') => {
  const child = spawn(process.execPath, ['--input-type=module', '-e', head + body], {
    stdio: ['pipe', stdout, 'pipe'],
  })
  children.add(child)
  return child
}
const exitOf = async (child: ChildProcess): Promise<unknown> => (await once(child, 'exit'))[0]
afterAll(() => {
  for (const child of children) child.kill('SIGKILL')
})

interface Line {
  readonly i?: number
  readonly event?: string
  readonly lines?: number
}
const parsed = (out: string): readonly Line[] =>
  out
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line)
const upTo = (n: number): readonly number[] => Array.from({ length: n }, (_, i) => i)
const end = 'await writer.end(); process.exit(7)'

// Most of their time is the writer's wait for a reader.
describe.concurrent('a reader', () => {
  it('gets every line in order before the process exits, also when it begins to read late', async () => {
    const child = start(`lines(0, 4000, 50); process.stderr.end('written'); ${end}`)
    const exit = exitOf(child)
    await once(child.stderr as NodeJS.ReadableStream, 'data')
    expect(parsed(await text(child.stdout as NodeJS.ReadableStream)).map(({ i }) => i)).toEqual(upTo(4000))
    expect(await exit).toBe(7)
  })

  it('gets a single line although the process goes on', async () => {
    const child = start("lines(0, 1); process.stdin.on('data', () => undefined)")
    const [line] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer]
    expect(parsed(line.toString())).toEqual([{ i: 0, pad: '' }])
  })

  it('that reads nothing for long costs lines, and is told how many', async () => {
    const child = start(`
      lines(0, 30_000, 1000)
      process.stderr.write('written')
      process.stdin.once('data', async () => {
        lines(30_000, 30_001)
        ${end}
      })`)
    await once(child.stderr as NodeJS.ReadableStream, 'data')
    const all = text(child.stdout as NodeJS.ReadableStream)
    // The child has said how many are lost once it has written what it kept.
    let seen = ''
    child.stdout?.on('data', (piece: Buffer) => {
      seen = (seen + piece.toString()).slice(-200)
      if (seen.includes('"log.lost"')) child.stdin?.write('go on')
    })
    const lines = parsed(await all)
    const [told] = lines.filter(({ event }) => event === 'log.lost')
    expect(told?.lines).toBeGreaterThan(10_000)
    expect(lines.filter(({ i }) => i !== undefined)).toHaveLength(30_001 - (told?.lines ?? 0))
    expect(lines.at(-1)?.i).toBe(30_000)
  })

  it('that went away does not end the process, nor keep it from ending', async () => {
    const child = start(`
      process.stdin.once('data', async () => {
        for (let i = 0; i < 200; i++) {
          lines(0, 1000, 100)
          await new Promise(setImmediate)
        }
        ${end}
      })`)
    child.stdout?.destroy()
    child.stdin?.write('go on')
    expect([await exitOf(child), await text(child.stderr as NodeJS.ReadableStream)]).toEqual([7, ''])
  })

  it('that reads nothing at all keeps no process from ending', async () => {
    const child = start(`lines(0, 20_000, 100); ${end}`)
    expect(await exitOf(child)).toBe(7)
  })
})

it('writes every line to a file', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'postern-lines-'))
  const path = join(folder, 'log')
  const file = openSync(path, 'w')
  expect(await exitOf(start(`lines(0, 5000, 50); ${end}`, file))).toBe(7)
  closeSync(file)
  expect(parsed(readFileSync(path, 'utf8')).map(({ i }) => i)).toEqual(upTo(5000))
  rmSync(folder, { recursive: true })
})
