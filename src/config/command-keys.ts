// Keys of a service that is a command on this computer: what is started, for whom, in which isolation, and for how long.
import * as z from 'zod'

const milliseconds = (description: string, fallback: number, least: number, most: number) => z.number().int().min(least).max(most).default(fallback).describe(`${description} Milliseconds.`)
const seconds = (description: string, fallback: number, least: number) => z.number().int().min(least).max(31_536_000).default(fallback).describe(`${description} Seconds.`)

export const commandKeys = {
  command: z
    .string()
    .min(1)
    .optional()
    .describe('Instead of `url`: a program on this computer that speaks MCP on its standard input and output. It is started without a shell, by its name in PATH or its path.'),
  args: z.array(z.string()).default([]).describe('Arguments of the command, one entry each; nothing is expanded in them.'),
  env: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'names of variables use letters, digits and _'), z.string().meta({ writeOnly: true }))
    .default({})
    .describe('Environment of the command. Beside it the command gets PATH, LANG, LC_ALL, TZ, a HOME of its own and npm’s registry and proxy settings, and nothing else.'),
  cwd: z.string().min(1).optional().describe('Working directory of the command. Absent: its home.'),
  shared: z
    .boolean()
    .default(false)
    .describe('One process for everybody. Without it each person has processes of their own, and each session of a client of 2025 or before has one to itself.'),
  sandbox: z
    .enum(['auto', 'bubblewrap', 'none'])
    .default('auto')
    .describe('Isolation of the command: `bubblewrap` insists on it, `auto` isolates where bubblewrap can be used and says so where not, `none` does without.'),
  sandbox_network: z.boolean().default(true).describe('In isolation: whether the command has the network. With it the command also reaches programs that listen on loopback addresses of this computer.'),
  sandbox_read: z.array(z.string().min(1)).default([]).describe('In isolation: further files and folders it may read. Programs, its working directory and what its arguments name are there already. The state directory, the configuration file and `.env` never are.'),
  sandbox_write: z.array(z.string().min(1)).default([]).describe('In isolation: files and folders it may change, beside its home and /tmp. Each has to exist.'),
  start_timeout: milliseconds('Longest wait for the command to start and answer for the first time. Clients wait 60 s, so that a longer one is seen by few.', 45_000, 1000, 3_600_000),
  session_idle: seconds('How long a session of a client of 2025 or before may lie unused without an open stream; then it ends, and its process with it.', 300, 1),
  sleep_after: seconds('How long a process may lie unused before it is ended; the next call starts another.', 600, 1),
  max_processes: z.number().int().min(1).max(100_000).default(64).describe('Processes of this service at once. Whoever finds no place waits for one, at most `start_timeout`.'),
  max_processes_per_person: z.number().int().min(1).max(10_000).default(8).describe('Processes of this service that one person may have at once.'),
  reconnect_after: milliseconds('After this time the event stream of a call is let go of; clients of 2025-11-25 take it up again. 0 holds it until the answer.', 0, 0, 3_600_000),
}
