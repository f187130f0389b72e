// The first file Node reads: sets up V8, keeps compiled code beside the package, so that every start but the
// first skips compiling, and runs a command, ending with its exit code.
import { enableCompileCache } from 'node:module'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import type { CommanderError as UsageFault } from 'commander'

// After many streams have been opened V8 takes every call for something long-lived and makes it where only a
// full collection frees it; measured, the slowest calls wait five times longer.
setFlagsFromString('--no-allocation-site-pretenuring')

// Inside the package, not in a directory for everybody's temporary files: what is loaded from there is run.
// Where it cannot be written Node goes on without.
enableCompileCache(fileURLToPath(new URL('../../node_modules/.cache/postern', import.meta.url)))

// Only now, because what is loaded from here on is compiled as V8 was told to.
const { CommanderError } = await import('commander')
const { UsageError, errorReport, printError, programName } = await import('./output.ts')
const { argumentsOf, createProgram } = await import('./program.ts')

const argv = process.argv.slice(2)

/** commander's error as one sentence; undefined for help and version, which are not errors. */
const usage = (error: UsageFault): Error | undefined => {
  if (error.exitCode === 0) return undefined
  const text = error.message
    .replace(/^error: /, '')
    .replaceAll('\n', ' ')
    .replace(/\.$/, '')
  // An option of the wrapped command was taken for one of Postern's.
  const hint =
    error.code === 'commander.unknownOption' && argv.includes('wrap') && !argv.includes('--')
      ? ` Put -- before the command: ${programName(process.env)} wrap -- npx -y some-server.`
      : error.code === 'commander.missingArgument'
        ? ' Run the command with --help to see its arguments.'
        : ''
  return new UsageError(`${text.charAt(0).toUpperCase()}${text.slice(1)}.${hint}`)
}

// A reader that closes the pipe early (`postern config schema | head`) is not an error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))

try {
  await createProgram().parseAsync(argumentsOf(argv), { from: 'user' })
} catch (error) {
  const failure = error instanceof CommanderError ? usage(error) : error
  if (failure !== undefined) {
    const said = errorReport(failure, argv.includes('--debug'))
    printError(said, argv.includes('--json'))
    process.exitCode = said.exit
  }
}
