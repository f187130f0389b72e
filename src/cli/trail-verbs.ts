// The commands that read what was recorded: `postern flows` and `postern audit`.
import { type Command, Option } from 'commander'
import type { AuditTarget, ExportOptions, MatchOptions, QueryOptions, VerifyOptions } from './audit.ts'
import type { FlowListOptions, FlowShowOptions, FlowTailOptions } from './flow-record.ts'
import { exitCodes } from './output.ts'
import { stateDirectory } from './state.ts'
import { type Given, addFilter, printerOf, targetOf, verb, withOutput } from './verbs.ts'

export const addFlowVerbs = (flows: Command): void => {
  const load = () => import('./flow-record.ts')
  const filtered = (command: Command): Command =>
    addFilter(command)
      .addOption(
        new Option('--outcome <state>', 'Only those in this state.').choices([
          'open',
          'waiting',
          'completed',
          'stalled',
          'failed',
          'abandoned',
        ]),
      )
      .option('--since <time>', 'How far back: 30m, 24h, 7d, or a date.', '7d')
  addFilter(verb(flows, 'report', 'Print a report of the logins of a period, in Markdown.'))
    .option('--since <time>', 'How far back: 30m, 24h, 7d, or a date.', '7d')
    .option('--limit <n>', 'Maximum number of flows.', '10000')
    .action(async (options: FlowListOptions, command: Command) =>
      (await load()).reportFlows(await targetOf(command), options),
    )
  filtered(verb(flows, 'ls', 'List recorded flows, newest first, with what each came to.'))
    .option('--limit <n>', 'Maximum number of flows.', '50')
    .action(async (options: FlowListOptions, command: Command) =>
      (await load()).listFlows(await targetOf(command), options),
    )
  verb(flows, 'show', 'Tell a flow step by step: where it stopped, and who must act.')
    .argument('<id>', 'ID of the flow, or a request ID, grant ID or client_id that it contains.')
    .option('--share', 'Print it as JSON without names, addresses and IDs, for somebody outside.')
    .addOption(
      new Option('--report', 'Print it as Markdown for an issue, without users and addresses.').conflicts(
        'share',
      ),
    )
    .action(async (id: string, options: FlowShowOptions, command: Command) =>
      (await load()).showFlow(await targetOf(command), id, options),
    )
  addFilter(verb(flows, 'tail', 'Print each step as it happens, and each flow that stops, until Ctrl+C.'))
    .option('--lines <n>', 'End after so many lines.')
    .action(async (options: FlowTailOptions, command: Command) =>
      (await load()).tailFlows(await targetOf(command), options),
    )
}

export const addAuditVerbs = (audit: Command): void => {
  const load = () => import('./audit.ts')
  const target = async (command: Command): Promise<AuditTarget> => {
    const given = command.optsWithGlobals<Given>()
    const { readVariables } = await import('./configuration.ts')
    const { env } = readVariables(given.envFile, process.env)
    return {
      stateDir: stateDirectory(given.state, env),
      json: await printerOf(given),
      admin: () => targetOf(command),
    }
  }
  withOutput(
    verb(
      audit,
      'query',
      'Search the audit trail, newest first: postern audit query user:ana decision:denied.',
    ),
    'csv',
  )
    .argument('[terms...]', 'field:value, -field:value, field:a,b, field:prefix*, ms:>500, or words.')
    .option('--since <time>', 'How far back: 24h, 7d, or a date.', '7d')
    .option('--limit <n>', 'Maximum number of events.', '50')
    .action(async (terms: string[], options: QueryOptions, command: Command) =>
      (await load()).queryAudit(terms, options, await target(command)),
    )
  verb(audit, 'match', 'Find calls of a tool with exactly these arguments, by their digest.')
    .requiredOption('--tool <name>', 'Name of the tool.')
    .requiredOption('--arguments <json>', 'The arguments, for example {"id":42}.')
    .option('--since <time>', 'How far back: 24h, 7d, or a date.', '7d')
    .option('--limit <n>', 'Maximum number of events.', '50')
    .action(async (options: MatchOptions, command: Command) =>
      (await load()).matchAudit(options, await targetOf(command)),
    )
  verb(audit, 'export', 'Print all matching events with their hashes, oldest first.')
    .argument('[terms...]', 'As for query. Default: every event.')
    .addOption(new Option('-o, --output <form>', 'Output format.').choices(['jsonl', 'csv']).default('jsonl'))
    .action(async (terms: string[], options: ExportOptions, command: Command) =>
      (await load()).exportAudit(terms, options, await target(command)),
    )
  verb(audit, 'show', 'Print the events of a request, by its ID.')
    .argument('<request>', 'Request ID.')
    .option('--body', 'Also print the arguments and results that are kept.')
    .action(async (request: string, options: { readonly body?: true }, command: Command) =>
      (await load()).showAudit(request, options, await target(command)),
    )
  verb(audit, 'verify', 'Check that no event was changed or removed.')
    .option('--strict', 'Also fail if a process ended without closing its chain.')
    .option(
      '--key <file>',
      'Fail unless it is signed with this public key (JWK, or the answer of /audit/jwks).',
    )
    .option('--anchors <file>', 'Fail unless all anchors of this file are in it (audit.anchors).')
    .option('--export <file>', 'Check this export instead of the trail.')
    .action(async (options: VerifyOptions, command: Command) => {
      const sound = await (await load()).verifyAudit(options, await target(command))
      if (!sound) process.exitCode = exitCodes.failed
    })
}
