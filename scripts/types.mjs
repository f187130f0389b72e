// Checks the types of every project: the core under the web's types alone, the Node side, the Workers side.
// Fails when any fails.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const tsc = fileURLToPath(new URL('../node_modules/typescript/bin/tsc', import.meta.url))
if (!existsSync(tsc)) {
  console.error('The compiler is not installed. Run: npm ci')
  process.exit(1)
}

// One after the other: the compiler itself uses every core.
const failed = ['core', 'node', 'worker'].filter((project) => {
  const { status } = spawnSync(
    process.execPath,
    [tsc, '-p', `tsconfig.${project}.json`, '--noEmit', '--pretty', String(Boolean(process.stdout.isTTY))],
    { cwd: root, stdio: 'inherit' },
  )
  return status !== 0
})

console.log(failed.length === 0 ? 'types: core, node and worker pass' : `types: ${failed.join(', ')} failed`)
process.exit(failed.length === 0 ? 0 : 1)
