// Writes the reference pages that are made from the code.
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { referencePages } from './reference.ts'

for (const [page, text] of Object.entries(referencePages())) {
  const path = fileURLToPath(new URL(`../${page}`, import.meta.url))
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
  console.log(page)
}
