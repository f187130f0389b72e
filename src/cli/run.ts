// Runs a command and ends with its exit code. A file of its own, because main.ts must set up V8 before any of
// this is loaded.
import { CommanderError } from 'commander'
import { UsageError, printError, programName, errorReport } from './output.ts'
import { createProgram } from './program.ts'

const argv = process.argv.slice(2)

/** commander's error as one sentence; undefined for help and version, which are not errors. */
const usage = (error: CommanderError): UsageError | undefined => {
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
  await createProgram().parseAsync(argv, { from: 'user' })
} catch (error) {
  const failure = error instanceof CommanderError ? usage(error) : error
  if (failure !== undefined) {
    const said = errorReport(failure, argv.includes('--debug'))
    printError(said, argv.includes('--json'))
    process.exitCode = said.exit
  }
}
