// Services that are commands: either a command or a URL, for people who are known, with keys that mean something.
import { commandKeys } from './command-keys.ts'
import type { Draft, Report, Rule } from './draft.ts'
import { shapeAt } from './shape.ts'

const onlyWithCommand = Object.keys(commandKeys).filter((key) => key !== 'command')
/** What a URL has and a command has not. */
const onlyWithUrl = ['transport', 'pass_headers']
/** Written by the gateway for every process. */
const ownNames = ['POSTERN_PROCESS']

/** Told at the start: otherwise people sign in and consent, and hear of it then. */
const startable = (draft: Draft, report: Report, id: string): void => {
  const path = ['mcp_services', id, 'command']
  if (draft.workers && draft.has(...path)) report.key(path, 'is a program, and a Worker cannot start programs: give the url of an MCP server in its place, or run this gateway on Node')
}

const either = (draft: Draft, report: Report, id: string): void => {
  const path = ['mcp_services', id]
  const [url, command] = [draft.has(...path, 'url'), draft.has(...path, 'command')]
  if (url && command) report.key([...path, 'command'], 'stands beside url: a service is one or the other')
  // One of the two may be there under a wrong name, which was told.
  else if (!url && !command && draft.keys(...path).every((key) => shapeAt(path)?.names.includes(key))) report.key([...path, 'url'], `is missing: The MCP server.${draft.workers ? '' : ' A command in its place is one on this computer'}`)
  if (!command) for (const key of onlyWithCommand) if (draft.has(...path, key)) report.key([...path, key], 'means something only beside command')
  if (command && !url) for (const key of onlyWithUrl) if (draft.has(...path, key)) report.key([...path, key], 'means something only beside url')
}

const people = (draft: Draft, report: Report, id: string): void => {
  const path = ['mcp_services', id]
  if (!draft.has(...path, 'command')) return
  if (draft.has(...path, 'auth_required') && !draft.flag(...path, 'auth_required') && !draft.flag(...path, 'shared')) {
    report.fault([...path, 'auth_required'], 'leaves nobody to tell apart: a command without login needs shared: true, one process for everybody')
  }
  if (draft.has(...path, 'identity')) report.warn([...path, 'identity'], 'has no effect: a command on standard input and output gets no headers')
  for (const name of ownNames) if (draft.has(...path, 'env', name)) report.key([...path, 'env', name], 'is a name that the gateway writes itself')
}

/** A shell would expand it, and no shell reads it. */
const homes = (draft: Draft, report: Report, id: string): void => {
  for (const { value, path } of draft.texts('mcp_services', id, 'args')) if (/^~(?:\/|$)/.test(value)) report.warn(path, 'begins with ~, which is passed to the command as it stands: write the whole path, or ${HOME}')
}

const isolation = (draft: Draft, report: Report, id: string): void => {
  const path = ['mcp_services', id]
  if (draft.text(...path, 'sandbox') !== 'none') return
  for (const key of ['sandbox_network', 'sandbox_read', 'sandbox_write']) if (draft.has(...path, key)) report.warn([...path, key], 'has no effect beside sandbox: none')
}

const commands: Rule = (draft, report) => {
  for (const id of draft.keys('mcp_services')) {
    if (draft.lost('mcp_services', id)) continue
    startable(draft, report, id)
    either(draft, report, id)
    people(draft, report, id)
    isolation(draft, report, id)
    homes(draft, report, id)
  }
}

export const commandRules: readonly Rule[] = [commands]
