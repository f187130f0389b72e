// The command line: runs a verb, ends with its exit code. A file of its own: main.ts has to set up V8 before any of this is loaded.
import { CommanderError } from 'commander'
import { UsageError, printError, programName, errorReport } from './output.ts'
import { createProgram } from './program.ts'

const argv = process.argv.slice(2)

/** commander's own complaint as one sentence; undefined for help and version, which are no complaints. */
const usage = (error: CommanderError): UsageError | undefined => {
  if (error.exitCode === 0) return undefined
  const text = error.message
    .replace(/^error: /, '')
    .replaceAll('\n', ' ')
    .replace(/\.$/, '')
  // An option of the wrapped command was taken for one of ours.
  const hint =
    error.code === 'commander.unknownOption' && argv.includes('wrap') && !argv.includes('--')
      ? ` Put -- before the command: ${programName(process.env)} wrap -- npx -y some-server.`
      : error.code === 'commander.missingArgument'
        ? ' Run the command with --help to see its arguments.'
        : ''
  return new UsageError(`${text.charAt(0).toUpperCase()}${text.slice(1)}.${hint}`)
}

// A reader that has seen enough (`postern config schema | head`) is no fault.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))

try {
  await createProgram().parseAsync(argv, { from: 'user' })
} catch (error) {
  const told = error instanceof CommanderError ? usage(error) : error
  if (told !== undefined) {
    const said = errorReport(told, argv.includes('--debug'))
    printError(said, argv.includes('--json'))
    process.exitCode = said.exit
  }
}
