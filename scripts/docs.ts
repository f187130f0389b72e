// `npm run docs`: writes the reference pages that are made from the code. `--check` writes nothing, names
// those that are out of date, and ends with 1 when there are any.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { referencePages } from './reference.ts'

const checking = process.argv.includes('--check')

const written = (path: string): string | undefined => {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

for (const [page, text] of Object.entries(referencePages())) {
  const path = fileURLToPath(new URL(`../${page}`, import.meta.url))
  if (!checking) {
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
    console.log(page)
  } else if (written(path) !== text) {
    console.log(`${page} is out of date. Run: npm run docs`)
    process.exitCode = 1
  }
}
