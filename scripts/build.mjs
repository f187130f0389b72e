// Builds dist/, which is what the package ships: the sources without their types, declarations, and the files
// beside them that the code reads.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { extname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const [source, target] = [join(root, 'src'), join(root, 'dist')]
const tsc = join(root, 'node_modules/typescript/bin/tsc')
if (!existsSync(tsc)) {
  console.error('The compiler is not installed. Run: npm ci')
  process.exit(1)
}

/**
 * Every file below a folder, relative to it. The Worker is deployed from its sources and has no place in the
 * package.
 */
const filesOf = (folder) =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .filter((file) => !file.startsWith('worker/'))

rmSync(target, { recursive: true, force: true })
const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
})
if (status !== 0) process.exit(status ?? 1)

// The compiler rewrites `./x.ts` to `./x.js` in the code and leaves the declarations as they were, where no
// such file will be.
for (const file of filesOf(target).filter((name) => name.endsWith('.d.ts'))) {
  const path = join(target, file)
  writeFileSync(
    path,
    readFileSync(path, 'utf8').replaceAll(/(\bfrom |\bimport\()(['"])(\.\.?\/[^'"]+)\.ts\2/g, '$1$2$3.js$2'),
  )
}

const assets = filesOf(source).filter((file) => extname(file) !== '.ts')
for (const file of assets) cpSync(join(source, file), join(target, file))

console.log(
  `dist/: ${filesOf(target).filter((file) => file.endsWith('.js')).length} modules, ${assets.length} other files`,
)
