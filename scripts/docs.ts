// `npm run docs`: writes the reference pages that are made from the code, and builds docs/ as a site in site/.
// `--check` writes and builds nothing, names the pages that are out of date, and ends with 1 when there are any.
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ensurePeer, root } from './harness/peers.ts'
import { run } from './harness/process.ts'
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

if (!checking) {
  const folder = await ensurePeer('site')
  rmSync(join(folder, 'pages'), { recursive: true, force: true })
  cpSync(join(root, 'docs'), join(folder, 'pages'), { recursive: true })
  const args = [join(folder, 'node_modules/vitepress/bin/vitepress.js'), 'build', folder]
  await run(process.execPath, { args, cwd: folder, timeoutMs: 300_000 })
  console.log('site/index.html')
}
