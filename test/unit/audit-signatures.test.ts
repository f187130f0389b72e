// The signatures of the audit trail against somebody who can write its file, hashes included.
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { beforeEach, describe, expect, it } from 'vitest'
import { checkExport } from '../../src/node/audit-exported.ts'
import { openAuditReader } from '../../src/node/audit-reader.ts'
import type { ChainedRow } from '../../src/ports/store.ts'
import type { AuditKey } from '../../src/stores/audit-signatures.ts'
import { columns, nextInChain } from '../../src/stores/audit-chain.ts'
import { exportFormat } from '../../src/stores/audit-formats.ts'
import { columnList, readSearch } from '../../src/stores/audit.ts'
import { day, makeSigning, signing, start, useAuditFile } from './audit-world.ts'

const { row, writerAt, verified, found, edit, file } = useAuditFile()
const digest = (text: string) => createHash('sha256').update(text).digest('base64url')
const keyOf = (of: { readonly key: { readonly jwk: string } }) => JSON.parse(of.key.jwk) as AuditKey
const own = [keyOf(signing)]

const rowsOf = (): readonly ChainedRow[] => {
  const reader = openAuditReader(file())
  const rows = [...(reader?.all(readSearch([], start)) ?? [])]
  reader?.close()
  return rows
}

/** What somebody without the key can do: every hash is right again, and so are the ends. */
const rehash = (): void => {
  const db = new DatabaseSync(file())
  const heads = new Map<string, { chain: string; seq: number; hash: string }>()
  for (const each of db.prepare(`SELECT id, ${columnList} FROM event_1 ORDER BY id`).all()) {
    const { chain, id } = each as object as { chain: string; id: number }
    const head = nextInChain(
      heads.get(chain) ?? { chain, seq: 0, hash: '' },
      each as object as ChainedRow,
      digest,
    )
    heads.set(chain, head)
    db.prepare('UPDATE event_1 SET seq = ?, hash = ? WHERE id = ?').run(head.seq, head.hash, id)
  }
  for (const { chain, seq, hash } of heads.values())
    db.prepare('UPDATE head SET seq = ?, hash = ? WHERE chain = ?').run(seq, hash, chain)
  db.close()
}

describe('signatures', () => {
  it('are on the end of each chain and on the rows of the trail’s own; an anchor after 10,000 rows or a minute', () => {
    const other = writerAt(start)
    other.append([row(start)])
    const writer = writerAt(start + 1)
    expect(writer.anchor(start + 120_000)).toBe(false)
    writer.append([row(start + 2)])
    expect(writer.anchor(start + 60_000)).toBe(false)
    expect(writer.anchor(start + 60_001)).toBe(true)
    expect(writer.anchor(start + 300_002)).toBe(false)
    writer.append(Array.from({ length: 10_000 }, (_, i) => row(start + 300_003 + i)))
    expect(writer.anchor(start + 300_004)).toBe(true)
    writer.close(start + 400_000)
    expect(verified(own)).toMatchObject({ rows: 10_007, chains: 2, open: [{ seq: 2 }] })
    expect(verified(own).fault).toBeUndefined()
    expect(verified([keyOf(makeSigning('k1'))]).fault).toMatchObject({ what: 'signature', seq: 1 })
    const [anchor] = rowsOf().filter(({ kind }) => kind === 'audit.anchor')
    expect(JSON.parse(anchor?.detail ?? '')).toEqual({
      rows: 1,
      heads: [[expect.any(String), 2, expect.any(String)]],
      kid: 'k1',
      sig: expect.stringMatching(/^[\w-]{86}$/),
    })
    other.close(start)
  })

  describe('somebody who can write the file, but has not the key', () => {
    beforeEach(() => {
      const writer = writerAt(start)
      writer.append(Array.from({ length: 8 }, (_, i) => row(start + i)))
      writer.anchor(start + 60_000)
      writer.append([row(start + 60_001)])
      writer.close(start + 60_002)
    })

    it.each([
      ['changes a row', "UPDATE event_1 SET name = 'other' WHERE seq = 4"],
      ['removes a row', 'DELETE FROM event_1 WHERE seq = 4'],
      ['removes the newest rows', 'DELETE FROM event_1 WHERE seq > 10'],
      ['removes the signed rows', "DELETE FROM event_1 WHERE kind LIKE 'audit.%' AND seq > 1"],
      ['changes a row after the last anchor', "UPDATE event_1 SET name = 'other' WHERE seq = 11"],
    ])('%s and computes all hashes again: that is found', (_, statement) => {
      edit(statement)
      rehash()
      expect(verified().fault).toMatchObject({ what: 'signature' })
      expect(verified(own).fault).toMatchObject({ what: 'signature' })
    })

    it('takes every signature away: the key tells', () => {
      edit(
        "UPDATE event_1 SET detail = '{\"heads\":[]}' WHERE kind LIKE 'audit.%'",
        'UPDATE head SET kid = NULL, sig = NULL',
      )
      rehash()
      expect(verified().fault).toBeUndefined()
      expect(verified(own).fault).toMatchObject({ what: 'signature', seq: 1 })
    })

    it('signs with another key, which is put into the file: the key tells', () => {
      const forged = makeSigning('k1')
      edit(`UPDATE key SET jwk = '${forged.key.jwk}'`)
      expect(verified().fault).toMatchObject({ what: 'signature', seq: 1 })
    })
  })

  it('make chains hold one another: the end of one that is named by another is missed', () => {
    const one = writerAt(start)
    one.append([row(start)])
    one.append([row(start + 1)])
    writerAt(start + 2)
    edit('DELETE FROM event_1 WHERE seq = 3')
    rehash()
    expect(verified().fault).toMatchObject({
      what: 'cut',
      seq: 3,
      say: expect.stringMatching(/named by another/),
    })
  })

  it('prove what was removed by retention, also of chains that are gone; a forged removal is found', () => {
    for (const days of [0, 0, 1]) {
      const short = writerAt(start + days * day)
      short.append([row(start + days * day)])
      short.close(start + days * day + 1)
    }
    const writer = writerAt(start + day + 2, 3 * day)
    for (let days = 2; days <= 6; days++) {
      writer.append([row(start + days * day, { request: `day${days}` })])
      while (writer.tidy(start + days * day));
      expect(verified(own).fault).toBeUndefined()
    }
    writer.close(start + 6 * day)
    expect(verified(own).fault).toBeUndefined()
    expect(found('kind:audit.cut').length).toBeGreaterThan(1)
    const cut = rowsOf().findLast(({ kind }) => kind === 'audit.cut')
    const changed = (cut?.detail ?? '').replace('"retention"', '"disk"')
    expect(changed).not.toBe(cut?.detail)
    const before = rowsOf().findLast(({ chain, seq }) => chain === cut?.chain && seq === cut.seq - 1)
    const hash = nextInChain(before as ChainedRow, { ...(cut as ChainedRow), detail: changed }, digest).hash
    const n = found('kind:call').length + 1
    for (let segment = 1; segment < n + 9; segment++)
      try {
        edit(
          `UPDATE event_${segment} SET detail = '${changed}', hash = '${hash}' WHERE hash = '${cut?.hash}'`,
        )
      } catch {
        // There is no such segment.
      }
    expect(verified().fault).toMatchObject({ what: 'signature', seq: cut?.seq })
  })
})

describe('an export', () => {
  const lines = (): string[] => [
    JSON.stringify({ format: exportFormat, filter: [], columns }),
    ...rowsOf().map((each) => JSON.stringify(Object.fromEntries(columns.map((name) => [name, each[name]])))),
  ]
  const checked = (some: readonly string[], keys?: readonly AuditKey[]) => {
    const rows = some.slice(1)
    const sha256 = createHash('sha256')
      .update(rows.map((line) => `${line}\n`).join(''))
      .digest('hex')
    const path = `${file()}.jsonl`
    writeFileSync(path, `${[...some, JSON.stringify({ rows: rows.length, sha256 })].join('\n')}\n`)
    return checkExport(path, keys)
  }
  beforeEach(() => {
    const first = writerAt(start)
    first.append([row(start)])
    first.close(start + 1)
    const writer = writerAt(start + 2, 2 * day)
    writer.append([row(start + 3), row(start + 4)])
    for (const days of [1, 2, 3]) {
      writer.append([row(start + days * day)])
      writer.anchor(start + days * day)
      while (writer.tidy(start + days * day + 2));
    }
  })

  it('is verified by itself, with a key of elsewhere, up to the last signature; also where its chains were cut', async () => {
    const whole = lines()
    expect(await checked(whole, own)).toEqual({
      fault: undefined,
      rows: whole.length - 1,
      chains: 1,
      signed: whole.length - 1,
      partial: false,
    })
    expect(await checked(whole, [keyOf(makeSigning('k1'))])).toMatchObject({ fault: { what: 'signature' } })
    // Without the row that says what was removed.
    expect(await checked(whole.slice(0, -1), own)).toMatchObject({ fault: { what: 'missing', seq: 1 } })
  })

  it.each([
    ['a changed row', (all: string[]) => all.map((line) => line.replace('create_issue', 'x')), 'changed', 6],
    ['a missing row', (all: string[]) => all.toSpliced(2, 1), 'missing', 7],
    ['a missing beginning', (all: string[]) => all.toSpliced(1, 1), 'missing', 1],
  ] as const)('%s is found', async (_, change, what, seq) =>
    expect((await checked(change(lines()), own)).fault).toMatchObject({ what, seq }),
  )

  it('of which lines are missing says so, and one with terms that it is a part', async () => {
    const path = `${file()}.jsonl`
    writeFileSync(path, lines().join('\n'))
    expect(await checkExport(path, undefined)).toMatchObject({ fault: { what: 'damaged' } })
    const some = lines().toSpliced(2, 1)
    expect(await checked(some.with(0, (some[0] ?? '').replace('[]', '["user:ana"]')))).toMatchObject({
      fault: undefined,
      partial: true,
    })
    writeFileSync(path, '{"format":"other"}\n')
    await expect(checkExport(path, undefined)).rejects.toThrow('not an export')
  })
})
