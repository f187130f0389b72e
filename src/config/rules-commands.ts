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
  if (draft.workers && draft.has(...path)) report.key(path, 'cannot be used on Workers, which cannot start programs: set `url` to a remote MCP server, or run the gateway on Node')
}

const either = (draft: Draft, report: Report, id: string): void => {
  const path = ['mcp_services', id]
  const [url, command] = [draft.has(...path, 'url'), draft.has(...path, 'command')]
  if (url && command) report.key([...path, 'command'], "can't be combined with `url`: keep one of the two")
  // One of the two may be there under a wrong name, which was told.
  else if (!url && !command && draft.keys(...path).every((key) => shapeAt(path)?.names.includes(key))) report.key([...path, 'url'], draft.workers ? 'is missing: set `url`' : 'is missing: set `url` or `command`')
  if (!command) for (const key of onlyWithCommand) if (draft.has(...path, key)) report.key([...path, key], 'applies only to a service with `command`')
  if (command && !url) for (const key of onlyWithUrl) if (draft.has(...path, key)) report.key([...path, key], 'applies only to a service with `url`')
}

const people = (draft: Draft, report: Report, id: string): void => {
  const path = ['mcp_services', id]
  if (!draft.has(...path, 'command')) return
  if (draft.has(...path, 'auth_required') && !draft.flag(...path, 'auth_required') && !draft.flag(...path, 'shared')) {
    report.fault([...path, 'auth_required'], 'needs `shared: true` here: without sign-in, all callers of a command share one process')
  }
  if (draft.has(...path, 'identity')) report.warn([...path, 'identity'], 'has no effect: a stdio server receives no HTTP headers')
  for (const name of ownNames) if (draft.has(...path, 'env', name)) report.key([...path, 'env', name], 'is reserved: the gateway sets this variable')
}

/** A shell would expand it, and no shell reads it. */
const homes = (draft: Draft, report: Report, id: string): void => {
  for (const { value, path } of draft.texts('mcp_services', id, 'args')) if (/^~(?:\/|$)/.test(value)) report.warn(path, 'starts with ~, which is not expanded: write the full path, or ${HOME}')
}

const isolation = (draft: Draft, report: Report, id: string): void => {
  const path = ['mcp_services', id]
  if (draft.text(...path, 'sandbox') !== 'none') return
  for (const key of ['sandbox_network', 'sandbox_read', 'sandbox_write']) if (draft.has(...path, key)) report.warn([...path, key], 'has no effect with `sandbox: none`')
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
