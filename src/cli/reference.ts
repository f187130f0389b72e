// docs/reference/cli.md, made from the command tree itself.
import type { Command } from 'commander'
import { createProgram } from './program.ts'

const verbsOf = (command: Command, path: string): readonly { readonly path: string; readonly command: Command }[] =>
  command.commands.flatMap((child) => {
    const usage = [path, child.name(), ...child.registeredArguments.map((argument) => (argument.required ? `<${argument.name()}>` : `[${argument.name()}]`))].join(' ')
    return child.commands.length > 0 ? verbsOf(child, `${path} ${child.name()}`) : [{ path: usage, command: child }]
  })

/** The whole document, ending with a line break. */
export const cliReference = (): string => {
  const program = createProgram()
  const verbs = verbsOf(program, 'postern').map(({ path, command }) => `| \`${path}\` | ${command.description()} |`)
  const flags = program.options.map(({ flags: form, description }) => `| \`${form}\` | ${description} |`)
  return `<!-- Made from the code by "npm run docs"; edit the code instead. -->
# Command line

| command | what it does |
| --- | --- |
| \`postern\` | Start the gateway. |
${verbs.join('\n')}

| flag | what it does |
| --- | --- |
${flags.join('\n')}

Flags stand before or after the verb; where a verb has no use for one it is ignored. Variables and the file are described in
[config.md](config.md).

## Results

Results go to standard output. What went wrong goes to standard error: on a terminal one sentence for each fault, elsewhere (or with \`--json\`) one line of
JSON, \`{"error":{"code","message",…}}\`; configuration faults are in \`error.faults\` as \`{key, file, line, column, message}\`. Colours follow
\`NO_COLOR\` and \`FORCE_COLOR\`. Stack traces appear with \`--debug\` alone.

| exit code | meaning |
| --- | --- |
| 0 | done; for \`serve\`: stopped in order |
| 1 | failed; for \`serve\`: the start was refused, and starting again changes nothing |
| 2 | the command line was wrong; for \`serve\`: stopped by a second signal before its work was done |
| 3 | for \`serve\`: stopped, but calls that did not end in time were cut off, or by a fault |

## Validating

\`postern validate\` tells every fault of the configuration at once, and every command that this computer cannot start: no such program, a whole command line in its place, no permission, no such folder. \`postern serve\` starts all
the same and warns of those. \`postern validate --connect\` then asks for everything that the
configuration names, one line a check: the metadata and keys of each identity provider, each server with the token or headers it gets, each authorization server, each \`jwks_uri\`. Commands are started
once, in a state directory of their own, and ended. It ends with 0 when everything answered and with 1 otherwise; \`--json\` prints the checks as \`{key, ok, say}\`.

## State

Keys and the database are in the state directory: \`--state DIR\`, \`POSTERN_STATE\`, \`$XDG_STATE_HOME/postern\`, \`~/.local/state/postern\`. It is
created for its owner alone.
`
}
