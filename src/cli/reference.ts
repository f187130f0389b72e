// docs/reference/cli.md, made from the command tree itself.
import type { Command } from 'commander'
import { createProgram } from './program.ts'

const verbsOf = (
  command: Command,
  path: string,
): readonly { readonly path: string; readonly command: Command }[] =>
  command.commands.flatMap((child) => {
    const usage = [
      path,
      child.name(),
      ...child.registeredArguments.map((argument) =>
        argument.required ? `<${argument.name()}>` : `[${argument.name()}]`,
      ),
    ].join(' ')
    return child.commands.length > 0
      ? verbsOf(child, `${path} ${child.name()}`)
      : [{ path: usage, command: child }]
  })

/** The whole document, ending with a line break. */
export const cliReference = (): string => {
  const program = createProgram()
  const verbs = verbsOf(program, 'postern').map(
    ({ path, command }) => `| \`${path}\` | ${command.description()} |`,
  )
  const flags = program.options
    .filter(({ hidden }) => !hidden)
    .map(({ flags: form, description }) => `| \`${form}\` | ${description} |`)
  return `<!-- Made from the code by "npm run docs"; edit the code instead. -->
# Command line

| command | description |
| --- | --- |
| \`postern\` | Start the gateway. |
${verbs.join('\n')}

| flag | description |
| --- | --- |
${flags.join('\n')}

Flags can come before or after the command. Flags that a command does not use are ignored. For environment variables and the configuration file, see
[Configuration](config.md).

## Output and exit codes

Results go to standard output, errors to standard error. On a terminal, each error is one sentence. Otherwise, or with \`--json\`, errors are one line of
JSON: \`{"error":{"code","message",…}}\`. Configuration errors are in \`error.faults\` as \`{key, file, line, column, message}\`. Colors follow
\`NO_COLOR\` and \`FORCE_COLOR\`. Stack traces are only printed with \`--debug\`.

| exit code | meaning |
| --- | --- |
| 0 | Success. For \`serve\`: clean shutdown. |
| 1 | Failure. For \`serve\`: the gateway did not start, and restarting it does not help. |
| 2 | Invalid command line. For \`serve\`: a second signal stopped the gateway before it had shut down. |
| 3 | For \`serve\`: the gateway stopped because of an internal error, or it cut off calls that did not finish in time. |

## Validate a configuration

\`postern validate\` reports every configuration error at once. It also reports each stdio server that cannot be started on this machine: program not found, a whole command line
in \`command\`, no permission, or missing folder. \`postern serve\` starts anyway and logs warnings for these.

\`postern validate --connect\` also connects to everything that the configuration names and prints one line per check: the metadata and keys of each identity provider, each server
(with its configured token or headers), each authorization server and each \`jwks_uri\`. It starts each stdio server once, in a separate state directory, and stops it again.
The exit code is 0 if all checks succeed and 1 otherwise. \`--json\` prints the checks as \`{key, ok, say}\`.

## State directory

Keys and the database are in the state directory: \`--state DIR\`, otherwise \`POSTERN_STATE\`, otherwise \`$XDG_STATE_HOME/postern\`, otherwise
\`~/.local/state/postern\`. It is created with access for its owner only.
`
}
