// `npm run prove <name> [-- options]`: runs one of the proofs in proofs.ts. Without a name it prints the
// list.
import { spawnSync } from 'node:child_process'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { didYouMean } from '../src/config/shape.ts'
import { proofs } from './proofs.ts'

const [name, ...given] = process.argv.slice(2)
const pathOf = (file: string): string => fileURLToPath(new URL(file, import.meta.url))

const list = (): string => {
  const width = Math.max(...Object.keys(proofs).map((one) => one.length))
  const rows = Object.entries(proofs).map(([one, { shows }]) => `  ${one.padEnd(width)}  ${shows}`)
  return `Usage: npm run prove <name> [-- options]\n\n${rows.join('\n')}`
}

/** `conformance -- client` is `conformance:client`. */
const variant = `${name}:${given[0]}`
const [found, args] = Object.hasOwn(proofs, variant) ? [variant, given.slice(1)] : [name, given]
const proof = found === undefined || !Object.hasOwn(proofs, found) ? undefined : proofs[found]
if (name === undefined) {
  console.log(list())
} else if (!proof) {
  console.error(`There is no proof "${name}"${didYouMean(name, Object.keys(proofs)) || '.'}\n\n${list()}`)
  process.exitCode = 2
} else {
  const { status } = spawnSync(process.execPath, [pathOf('bootstrap.mjs'), proof.needs], { stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
  const file = pathOf(proof.file)
  // The script reads its own options, as if it had been started by itself.
  process.argv = [process.execPath, file, ...(proof.args ?? []), ...args]
  await import(pathToFileURL(file).href)
}
