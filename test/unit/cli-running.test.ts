// Where a gateway listens, as commands beside it find out.
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { issuerOf, writePidFile, localServices, runningAt } from '../../src/cli/state.ts'
import { parseConfig } from '../../src/config/schema.ts'

const dir = mkdtempSync(join(tmpdir(), 'postern-running-'))
afterEach(() => rmSync(dir, { recursive: true, force: true }))

const config = (more: object = {}) => parseConfig(more)
/** Another process: the one above this is alive, and one of this number never is. */
const note = (pid: number, url: string, since: number): void =>
  writeFileSync(join(dir, 'running', `${pid}.json`), JSON.stringify({ url, pid, since }))
const nobody = 2 ** 22 + 1

it('is the public URL, or what the last living process noted, or what the port will make it', () => {
  expect(issuerOf(config({ issuer: 'https://gw.example.com' }), dir)).toBe('https://gw.example.com')
  expect(issuerOf(config(), dir)).toBe('http://localhost:8080')
  expect(issuerOf(config({ port: 0 }), dir)).toBeUndefined()
  const forget = writePidFile(dir, 'http://localhost:4001')
  expect(issuerOf(config({ port: 0 }), dir)).toBe('http://localhost:4001')
  note(process.ppid, 'http://localhost:4000', 0)
  expect(issuerOf(config(), dir)).toBe('http://localhost:4001')
  // The later one ends, and the other goes on.
  forget()
  expect(issuerOf(config(), dir)).toBe('http://localhost:4000')
})

it('is nothing that a process left behind which ended without a word, nor half a note', () => {
  writePidFile(dir, 'http://localhost:4001')()
  note(nobody, 'http://localhost:4002', Date.now())
  writeFileSync(join(dir, 'running', '1.json'), '{"url":"http://loc')
  expect(issuerOf(config(), dir)).toBe('http://localhost:8080')
  writePidFile(dir, 'http://localhost:4003')
  expect([
    existsSync(join(dir, 'running', `${nobody}.json`)),
    readdirSync(join(dir, 'running')).length,
  ]).toEqual([false, 2])
})

it('are several gateways with what only they serve, the last that started first', () => {
  const forget = writePidFile(dir, 'http://localhost:4001', [{ id: 'files', from: 'wrap', command: 'npx' }])
  note(process.ppid, 'http://localhost:4000', 0)
  expect(runningAt(dir)).toEqual(['http://localhost:4001', 'http://localhost:4000'])
  expect(localServices(dir)).toEqual([
    { id: 'files', from: 'wrap', command: 'npx', at: 'http://localhost:4001' },
  ])
  forget()
  expect([runningAt(dir), localServices(dir)]).toEqual([['http://localhost:4000'], []])
})
