// The root secret's file: made once and whole, by whoever comes first, and closed to everybody else.
import { chmodSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { rootSecrets } from '../../src/node/crypto.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'postern-root-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const module = new URL('../../src/node/crypto.ts', import.meta.url).href
/** A thread that makes or reads the secret when all have come to that point. */
const maker = (gate: Int32Array): Promise<string> =>
  new Promise((resolve, reject) => {
    const code = `const { workerData, parentPort } = require('node:worker_threads')
      import(${JSON.stringify(module)}).then(({ rootSecrets }) => {
        Atomics.add(workerData.gate, 0, 1)
        while (Atomics.load(workerData.gate, 0) < 4);
        parentPort.postMessage(Buffer.from(rootSecrets(workerData.dir, undefined, [])[0]).toString('hex'))
      })`
    const worker = new Worker(code, { eval: true, workerData: { dir, gate } })
    worker.once('message', resolve)
    worker.once('error', reject)
  })

describe('a root secret', () => {
  test('is 32 random bytes in a file for its owner alone, the same ever after', () => {
    const [first] = rootSecrets(dir, undefined, [])
    expect(first).toHaveLength(32)
    expect(rootSecrets(dir, undefined, [])).toEqual([first])
    expect(readdirSync(dir)).toEqual(['root.key'])
    if (process.platform !== 'win32') expect(statSync(join(dir, 'root.key')).mode & 0o777).toBe(0o600)
  })

  test('is one, however many first starts there are in the same moment', async () => {
    const gate = new Int32Array(new SharedArrayBuffer(4))
    const made = await Promise.all(Array.from({ length: 4 }, () => maker(gate)))
    expect(new Set(made).size).toBe(1)
    expect(readdirSync(dir)).toEqual(['root.key'])
  })

  test('of the configuration needs no file, and stands before its predecessors', () => {
    const secrets = rootSecrets(dir, 'n'.repeat(32), ['o'.repeat(32)])
    expect(secrets.map((secret) => Buffer.from(secret).toString())).toEqual(['n'.repeat(32), 'o'.repeat(32)])
    expect(readdirSync(dir)).toEqual([])
  })

  test('of the file goes on to open what it sealed when the configuration has one of its own', () => {
    const [own] = rootSecrets(dir, undefined, [])
    expect(rootSecrets(dir, 'n'.repeat(32), ['o'.repeat(32)]).at(-1)).toEqual(own)
    writeFileSync(join(dir, 'root.key'), 'cut')
    expect(rootSecrets(dir, 'n'.repeat(32), [])).toHaveLength(1)
  })

  test('stands before former ones of the configuration', () => {
    expect(rootSecrets(dir, undefined, ['o'.repeat(32)]).map(({ length }) => length)).toEqual([32, 32])
  })

  test.skipIf(process.platform === 'win32')('that others could read is closed to them [H-U8]', () => {
    rootSecrets(dir, undefined, [])
    chmodSync(join(dir, 'root.key'), 0o644)
    rootSecrets(dir, undefined, [])
    expect(statSync(join(dir, 'root.key')).mode & 0o777).toBe(0o600)
  })

  test.each(['', 'c2hvcnQ', '// not a secret'])('is never replaced when the file holds none: %j', (text) => {
    writeFileSync(join(dir, 'root.key'), text)
    expect(() => rootSecrets(dir, undefined, [])).toThrow(/root\.key does not contain a root secret\./)
    expect(readFileSync(join(dir, 'root.key'), 'utf8')).toBe(text)
  })
})
