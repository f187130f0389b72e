// What `npm run prove <name>` can run: one row for each, with the script, the sentence that the list prints,
// and what the machine needs.

export interface Proof {
  /** Below scripts/. */
  readonly file: string
  readonly args?: readonly string[]
  readonly shows: string
  /**
   * What scripts/bootstrap.mjs installs first: `tools` is everything from npm, `test` also the browser and
   * the system's programs.
   */
  readonly needs: 'tools' | 'test'
}

export const proofs: Readonly<Record<string, Proof>> = {
  'conformance': {
    file: 'conformance.ts',
    needs: 'tools',
    shows: 'The MCP conformance suite passes through the gateway as it does directly, check by check.',
  },
  'conformance:stdio': {
    file: 'conformance.ts',
    args: ['--stdio'],
    needs: 'tools',
    shows: 'The same suite passes with a stdio server behind the gateway.',
  },
  'conformance:rules': {
    file: 'conformance.ts',
    args: ['--rules'],
    needs: 'tools',
    shows: 'The same suite passes with access rules that let everybody use everything.',
  },
  'conformance:client': {
    file: 'conformance-client.ts',
    needs: 'test',
    shows: 'The suite’s client scenarios pass with the gateway as the OAuth client of other servers.',
  },
  'clients': {
    file: 'clients.ts',
    needs: 'test',
    shows:
      'Real clients get from login to a tool call: SDK 1 and 2, mcp-remote, Inspector, Claude Code, Codex.',
  },
  'step-up': {
    file: 'step-up.ts',
    needs: 'tools',
    shows: 'SDK 1 and 2 ask for more rights twice at most, and open no browser for a denial.',
  },
  'servers': {
    file: 'servers.ts',
    needs: 'tools',
    shows: 'Five published stdio servers are downloaded, isolated and called.',
  },
  'backends': {
    file: 'backends.ts',
    needs: 'tools',
    shows: 'Servers in TypeScript, Python and Go read who is calling, and refuse who passes the gateway by.',
  },
  'transports': {
    file: 'transports.ts',
    needs: 'test',
    shows:
      'Real HTTP+SSE and WebSocket clients and servers work through the gateway (--workers: in workerd).',
  },
  'console': {
    file: 'console.ts',
    needs: 'tools',
    shows:
      'Pages of the console take less than 100 ms of CPU time with 1,000 services, 5,000 users and a million events.',
  },
  'containers': {
    file: 'containers.ts',
    needs: 'tools',
    shows:
      'The image is built, and runs read-only, without capabilities and network (needs root, buildah, podman).',
  },
  'alerts': {
    file: 'alerts.ts',
    needs: 'tools',
    shows:
      'Every shipped alert fires in Alertmanager when it should (needs prometheus, prometheus-alertmanager).',
  },
  'races': {
    file: 'races.ts',
    needs: 'test',
    shows:
      'Codes and tokens that fifty callers spend at once are spent once, on one process and on two; thieves are found.',
  },
  'chaos': {
    file: 'chaos.ts',
    needs: 'test',
    shows: 'Killing the gateway under load loses no acknowledged grant and spends no code twice.',
  },
  'faults': {
    file: 'faults.ts',
    needs: 'test',
    shows:
      'Redis or PostgreSQL that is away, silent or killed signs nobody out, and requests are refused within a second.',
  },
  'fuzz': {
    file: 'fuzz.ts',
    needs: 'test',
    shows: 'Ten thousand hostile requests crash nothing, get no unintended 5xx and leave nothing in memory.',
  },
  'policy': {
    file: 'policy.ts',
    needs: 'tools',
    shows: 'The access rules decide 100,000 random calls and lists as Cedar does.',
  },
  'audit': {
    file: 'audit.ts',
    needs: 'tools',
    shows:
      'A million audit events are searched within 300 ms, and kill -9 loses none that is older than a second.',
  },
  'rolling': {
    file: 'rolling.ts',
    needs: 'test',
    shows: 'Restarting two processes one after the other loses no request.',
  },
  'slowloris': {
    file: 'slowloris.ts',
    needs: 'test',
    shows: 'Clients are served while two thousand connections send next to nothing.',
  },
  'streams': {
    file: 'streams.ts',
    needs: 'test',
    shows: 'The memory that an idle stream costs the gateway, for each transport.',
  },
  'firstminute': {
    file: 'firstminute.ts',
    needs: 'test',
    shows: 'A fresh clone gets to its first authenticated tool call within a minute.',
  },
}
