// Keys of a service that is a command on this computer: what is started, for whom, in which isolation, and for how long.
import * as z from 'zod'

const milliseconds = (description: string, fallback: number, least: number, most: number) => z.number().int().min(least).max(most).default(fallback).describe(`${description} Milliseconds.`)
const seconds = (description: string, fallback: number, least: number) => z.number().int().min(least).max(31_536_000).default(fallback).describe(`${description} Seconds.`)

export const commandKeys = {
  command: z
    .string()
    .min(1)
    .optional()
    .describe('Command of a stdio server, instead of `url`: a program name in PATH or a path. It is started without a shell.'),
  args: z.array(z.string()).default([]).describe('Arguments of the command, one per entry. Nothing is expanded.'),
  env: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'variable names use letters, digits and _'), z.string().meta({ writeOnly: true }))
    .default({})
    .describe('Environment variables of the command. The command also gets PATH, LANG, LC_ALL, TZ, its own HOME, and npm’s registry and proxy settings. Nothing else is inherited.'),
  cwd: z.string().min(1).optional().describe('Working directory of the command. Default: its home directory.'),
  shared: z
    .boolean()
    .default(false)
    .describe('Use one process for all users. If `false`, each user has separate processes, and each session of a legacy client (MCP 2025-11-25 or earlier) has its own process.'),
  sandbox: z
    .enum(['auto', 'bubblewrap', 'none'])
    .default('auto')
    .describe('Sandbox for the command. `bubblewrap` requires a bubblewrap sandbox, `auto` uses one if available and warns otherwise, `none` runs the command without a sandbox.'),
  sandbox_network: z.boolean().default(true).describe('In the sandbox: allow network access. This includes programs that listen on loopback addresses of this machine.'),
  sandbox_read: z.array(z.string().min(1)).default([]).describe('In the sandbox: additional files and folders that the command may read. It can always read programs, its working directory and the paths named in its arguments. It can never read the state directory, the configuration file or `.env`.'),
  sandbox_write: z.array(z.string().min(1)).default([]).describe('In the sandbox: files and folders that the command may write to, besides its home directory and /tmp. Each must exist.'),
  start_timeout: milliseconds('Timeout for the command to start and send its first response. Most clients give up after 60 s, so longer values rarely help.', 45_000, 1000, 3_600_000),
  session_idle: seconds('Idle timeout for a session of a legacy client (MCP 2025-11-25 or earlier) that has no open stream. When the session ends, its process ends too.', 300, 1),
  sleep_after: seconds('Idle timeout for a process. The next call starts a new one.', 600, 1),
  max_processes: z.number().int().min(1).max(100_000).default(64).describe('Maximum processes of this service. When all slots are taken, callers queue for up to `start_timeout`.'),
  max_processes_per_person: z.number().int().min(1).max(10_000).default(8).describe('Maximum processes of this service per user.'),
  reconnect_after: milliseconds('Close the event stream of a call after this time, so that clients of MCP 2025-11-25 reconnect and resume it. 0 keeps it open until the response.', 0, 0, 3_600_000),
}
