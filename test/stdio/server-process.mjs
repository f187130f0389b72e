// A small MCP server on standard input and output that does what it is told, well or badly: each tool is one
// behaviour, each flag another nature. Flags: --modern (speaks 2026-07-28 too), --modern-only, --mute
// (answers nothing), --deaf (reads nothing), --touchy (ends on a request before initialize), --murmur
// (complains at its start), --ignore (leaves unknown requests alone), --stubborn (outlives its input and
// SIGTERM), --slow=<ms> (takes its time to start), --crash (ends at once). Hundreds of these are started, so it
// is plain JavaScript: stripping types would take Node three times as long as the rest of the start.
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'

const flags = new Set(process.argv.slice(2))
const slow = Number(process.argv.find((arg) => arg.startsWith('--slow='))?.slice(7) ?? 0)
const modern = flags.has('--modern') || flags.has('--modern-only')
const version = '2025-11-25'
const newest = '2026-07-28'

const out = (text) => process.stdout.write(text)
const say = (message) => out(`${JSON.stringify(message)}\n`)
const later = (ms) => new Promise((done) => void setTimeout(done, ms))

const waiting = new Map()
let asked = 0
/** The last line, as it came. */
let heard = ''
const cancelled = []
let initialized = false
const listeners = new Map()
const subscribed = []

const ask = (method, params) =>
  new Promise((resolve) => {
    waiting.set(++asked, resolve)
    say({ jsonrpc: '2.0', id: asked, method, params })
  })

const leaveBehind = () =>
  spawn(process.execPath, ['-e', 'process.on("SIGTERM",()=>{});setInterval(()=>{},1000)'], {
    detached: true,
    stdio: 'ignore',
  }).pid ?? 0

const flood = (piece) => {
  while (out(piece));
  process.stdout.once('drain', () => flood(piece))
}

/** What a tool answers with; undefined when it answers for itself, or not at all. */
const tools = {
  echo: (args) => ({ pid: process.pid, ...args }),
  raw: () => ({ line: heard }),
  numbers: (_, { id }) =>
    void out(
      `{"id" : ${JSON.stringify(id)}, "result":{"content":[],"structuredContent":[12345678901234567890,1.0,-0,1E2]},\r"jsonrpc":"2.0"}\n`,
    ),
  environment: () => process.env,
  where: () => ({ cwd: process.cwd(), home: process.env['HOME'] }),
  cancelled: () => cancelled,
  hang: () => undefined,
  wait: async ({ ms }) => {
    await later(Number(ms))
    return { waited: ms }
  },
  large: ({ bytes }) => ({ text: 'x'.repeat(Number(bytes)) }),
  write: ({ path }) =>
    import('node:fs').then(({ writeFileSync }) => (writeFileSync(String(path), 'written'), { wrote: path })),
  move: ({ from, to }) =>
    import('node:fs').then(({ renameSync }) => (renameSync(String(from), String(to)), { moved: from })),
  read: ({ path }) =>
    import('node:fs').then(({ readFileSync }) => ({ text: readFileSync(String(path), 'utf8') })),
  reach: ({ url }) => fetch(String(url)).then((answer) => ({ status: answer.status })),
  exit: ({ words = '' }) => void process.stderr.write(words, () => process.exit(3)),
  'die-mid-answer': (_, { id }) => {
    out(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":{"content":[{"type":"text","te`)
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), 20)
  },
  endless: () => flood('x'.repeat(1_048_576)),
  'endless-notifications': () =>
    flood(
      `${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'y'.repeat(65_536) } })}\n`,
    ),
  garbage: (args) => {
    out('Server ready!\n{"jsonrpc":"1.0","id":1,"result":{}}\n[]\n{not json}\nnull\n42\n"text"\n\n\r\n')
    process.stdout.write(Buffer.from([0x7b, 0x22, 0xc3, 0x0a, 0xff, 0xfe, 0x0a]))
    return args
  },
  strangers: (args) => {
    for (const id of [0, -1, 999_999, 'x', null, 1.5])
      say({ jsonrpc: '2.0', id, result: { content: [], secret: true } })
    say({
      jsonrpc: '2.0',
      method: 'notifications/progress',
      params: { progressToken: 'nobody', progress: 1 },
    })
    return args
  },
  twice: (args, { id }) => {
    say({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: 'first' }] } })
    return args
  },
  /**
   * Says what it is told, with its call's id in the place of @ID; and then, after a while, answers if it is
   * to.
   */
  utter: async ({ text = '', base64 = '', answer }, { id }) => {
    process.stdout.write(
      Buffer.from(Buffer.from(base64, 'base64').toString('latin1').replaceAll('@ID', String(id)), 'latin1'),
    )
    out(text.replaceAll('@ID', String(id)))
    if (answer === undefined) return undefined
    await later(Number(answer))
    return { answered: true }
  },
  'carriage-returns': (args, { id }) =>
    void out(
      `{\r"jsonrpc":"2.0",\r"id":${JSON.stringify(id)},\r"result":{"content":[{"type":"text","text":"\\r\\n ${String(args['text'])}"}]}}\r\n`,
    ),
  pieces: async (_, { id }) => {
    const line = Buffer.from(
      `${JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: 'häppchen 🧩' }] } })}\n`,
    )
    for (const byte of line) {
      process.stdout.write(Buffer.from([byte]))
      await later(0)
    }
  },
  batch: (args, { id }) =>
    void out(
      `${JSON.stringify([
        { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: 'in a batch' } },
        { jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: JSON.stringify(args) }] } },
      ])}\n`,
    ),
  progress: async ({ steps, slowly }, message) => {
    const token = message.params?.['_meta']?.['progressToken']
    for (let step = 1; step <= Number(steps); step++)
      say({
        jsonrpc: '2.0',
        method: 'notifications/progress',
        params: { progressToken: token, progress: step, total: steps },
      })
    // The SDK's client forgets who wanted to hear of progress once the answer is there, whatever waits in its
    // own queue.
    if (slowly) await later(50)
    return { token }
  },
  log: ({ text }) => {
    say({ jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: text } })
    return { logged: text }
  },
  announce: () => {
    if (listeners.size === 0) say({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' })
    for (const id of listeners.keys())
      say({
        jsonrpc: '2.0',
        method: 'notifications/tools/list_changed',
        params: { _meta: { 'io.modelcontextprotocol/subscriptionId': id } },
      })
    return { announced: true }
  },
  change: ({ uri }) => {
    say({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri } })
    return { subscribed: [...subscribed] }
  },
  complain: ({ text }) => {
    process.stderr.write(`${String(text)}\n`)
    return { complained: true }
  },
  'complain-in-pieces': async ({ pieces }) => {
    for (const piece of pieces) {
      process.stderr.write(piece)
      await later(20)
    }
    return { complained: true }
  },
  elicit: async ({ question }) => ({
    answer: await ask('elicitation/create', {
      message: question,
      requestedSchema: { type: 'object', properties: {} },
    }),
  }),
  sample: async () => ({ answer: await ask('sampling/createMessage', { messages: [], maxTokens: 1 }) }),
  roots: async () => ({ answer: await ask('roots/list', {}) }),
  fork: () => ({ left: [leaveBehind(), leaveBehind()] }),
  input: (_, { id, params = {} }) =>
    void say({
      jsonrpc: '2.0',
      id,
      result:
        params['inputResponses'] === undefined
          ? {
              resultType: 'input_required',
              inputRequests: {
                who: {
                  method: 'elicitation/create',
                  params: { mode: 'form', message: 'Who?', requestedSchema: { type: 'object' } },
                },
              },
              requestState: ' opaque "é\u0000 ',
            }
          : {
              resultType: 'complete',
              content: [
                { type: 'text', text: JSON.stringify([params['inputResponses'], params['requestState']]) },
              ],
            },
    }),
  mirrored: (args) => args,
}

const mirrored = {
  name: 'mirrored',
  inputSchema: {
    type: 'object',
    properties: {
      region: { type: 'string', 'x-mcp-header': 'Region' },
      count: { type: 'integer', 'x-mcp-header': 'Count' },
    },
  },
}
const listed = [
  ...Object.keys(tools)
    .filter((name) => name !== 'mirrored')
    .map((name) => ({ name, inputSchema: { type: 'object' } })),
  mirrored,
]

const complete = (result, isModern) => (isModern ? { resultType: 'complete', ...result } : result)

const answer = async (message) => {
  const { method, params = {} } = message
  const meta = params['_meta']
  const isModern = meta?.['io.modelcontextprotocol/protocolVersion'] !== undefined
  const unknown = { error: { code: -32601, message: 'Method not found' } }
  if (flags.has('--touchy') && !initialized && method !== 'initialize') process.exit(1)
  if (isModern && !modern) return flags.has('--ignore') ? undefined : unknown
  if (method === 'initialize') {
    if (flags.has('--modern-only'))
      return {
        error: {
          code: -32022,
          message: 'Unsupported protocol version',
          data: { supported: [newest], requested: String(params['protocolVersion']) },
        },
      }
    initialized = true
    const wanted = String(params['protocolVersion'])
    return {
      result: {
        protocolVersion: wanted < newest ? wanted : version,
        capabilities: { tools: { listChanged: true }, logging: {} },
        serverInfo: { name: 'small', version: '1' },
      },
    }
  }
  if (method === 'ping') return { result: {} }
  if (method === 'resources/subscribe' || method === 'resources/unsubscribe') {
    subscribed.push(`${method.slice(10)} ${String(params['uri'])}`)
    return { result: {} }
  }
  if (method === 'server/discover')
    return {
      result: {
        resultType: 'complete',
        supportedVersions: [newest],
        capabilities: { tools: { listChanged: true } },
        ttlMs: 0,
        cacheScope: 'public',
      },
    }
  if (method === 'tools/list')
    return { result: complete({ tools: listed, ttlMs: 60_000, cacheScope: 'public' }, isModern) }
  if (method === 'subscriptions/listen') {
    listeners.set(message.id ?? 0, params['notifications'])
    say({
      jsonrpc: '2.0',
      method: 'notifications/subscriptions/acknowledged',
      params: {
        _meta: { 'io.modelcontextprotocol/subscriptionId': message.id },
        notifications: params['notifications'],
      },
    })
    return undefined
  }
  const tool = method === 'tools/call' ? tools[String(params['name'])] : undefined
  if (!tool) return unknown
  const found = await tool(params['arguments'] ?? {}, message)
  return found === undefined
    ? undefined
    : { result: complete({ content: [{ type: 'text', text: JSON.stringify(found) }] }, isModern) }
}

const take = async (line) => {
  heard = line
  const message = JSON.parse(line)
  if (message.method === undefined) {
    waiting.get(Number(message.id))?.(message)
    return
  }
  if (message.method === 'notifications/cancelled') {
    cancelled.push(message.params?.['requestId'])
    listeners.delete(message.params?.['requestId'])
  }
  if (message.id === undefined) return
  const outcome = await answer(message).catch((error) => ({
    result: { isError: true, content: [{ type: 'text', text: String(error) }] },
  }))
  if (outcome && !flags.has('--mute')) say({ jsonrpc: '2.0', id: message.id, ...outcome })
}

if (flags.has('--murmur')) process.stderr.write('waiting for a license\n')
if (flags.has('--crash')) {
  process.stderr.write('cannot start: API_KEY is missing\n')
  process.exit(1)
}
if (flags.has('--stubborn')) {
  process.on('SIGTERM', () => undefined)
  setInterval(() => undefined, 1000)
}
await later(slow)
if (flags.has('--deaf')) setInterval(() => undefined, 1000)
else createInterface({ input: process.stdin }).on('line', (line) => void take(line))
