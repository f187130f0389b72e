// Words that only this project would understand, each with the word of the field that replaces it. They are
// gone from the source, the documentation and every message, or on their way out: private-words-left.json
// counts what is left of each.

export interface PrivateWord {
  readonly word: string
  readonly instead: string
  /**
   * `anywhere`: also in prose, and as a part of a longer name. `name`: as the whole name of a file, or of
   * something declared at the top of a file (`place.ts`, `Place`, `createPlace`, `PlaceDeps`); as an ordinary
   * English word it is fine. `file`: only as the whole name of a file.
   */
  readonly where: 'anywhere' | 'name' | 'file'
  /** Where the word means what it says, as `path: name`. */
  readonly except?: RegExp
}

const anywhere = (words: Readonly<Record<string, string>>): readonly PrivateWord[] =>
  Object.entries(words).map(([word, instead]) => ({ word, instead, where: 'anywhere' }))
const names = (words: Readonly<Record<string, string>>): readonly PrivateWord[] =>
  Object.entries(words).map(([word, instead]) => ({ word, instead, where: 'name' }))

const fileNames = (words: Readonly<Record<string, string>>): readonly PrivateWord[] =>
  Object.entries(words).map(([word, instead]) => ({ word, instead, where: 'file' }))

export const privateWords: readonly PrivateWord[] = [
  ...anywhere({
    berth: 'session object, session location',
    berths: 'session objects',
    detour: 'transport adapter, upstream selection',
    door: 'runtime, handler',
    doors: 'runtimes',
    enrol: 'client registration',
    enrolled: 'registered',
    enrolment: 'client registration',
    era: 'modern or legacy, revision',
    eras: 'modern and legacy, revisions',
    hall: 'composition root, app',
    house: 'gateway, process user; test runtime',
    housekeeping: 'sweeper',
    houses: 'test runtimes',
    hygiene: 'request validation',
    knock: 'request context',
    lodger: 'process user',
    lodgers: 'process users',
    lodging: 'session process',
    mold: 'header object pool',
    outflow: 'response stream',
    outlet: 'response sink',
    rebuff: 'upstream auth failure',
    rooms: 'modules',
    scout: 'version negotiation',
    seed1: 'a preset named for what it writes',
    seed2: 'a preset named for what it writes',
    seed3: 'a preset named for what it writes',
    seed4: 'a preset named for what it writes',
    treasury: 'composition',
    visitor: 'client address',
    vouched: 'authenticated person',
    wallet: 'access tokens',
  }),
  ...names({
    'additions': 'service validation',
    'aim': 'return target',
    'arrival': 'complete sign-in',
    'arrived': 'request URL',
    'ask-person': 'consent required',
    'bar': 'denied reason',
    'bars': 'denied reasons',
    'beat': 'WebSocket ping',
    'bridged': 'stdio call as Response',
    'bring-up': 'start',
    'carried': 'fetch handler',
    'carry-out': 'fetch handler',
    'channel': 'JSON-RPC peer',
    'complaints': 'stderr tail',
    'connect-cards': 'client recipes',
    'connect-first': 'consent required',
    'crossing': 'revision bridge',
    'decision': 'consent decision',
    'depart': 'authorize',
    'deposit': 'save tokens',
    'drawn': 'lookup result',
    'encoded-places': 'encoded hosts',
    'ending': 'outcome',
    'far': 'upstream side',
    'flows': 'pending authorization requests',
    'front': 'host check',
    'going': 'in flight',
    'gone': 'removed',
    'guarded': 'upstream credential',
    'held': 'pending input requests',
    'homes': 'process per person',
    'introduction': 'initialize',
    'keep-tokens': 'provider tokens',
    'learn': 'response hooks',
    'leaving': 'abort signal',
    'line': 'transport, connection',
    'line-away': 'session location',
    'line-calls': 'session calls',
    'line-client': 'client messages',
    'line-conversation': 'session endpoint',
    'line-events': 'transport events',
    'line-object': 'session object',
    'line-server': 'session endpoint',
    'line-tools': 'tool headers',
    'listening': 'subscriptions',
    'make-room': 'connection eviction',
    'moved': 'session location',
    'once': 'single flight',
    'opening': 'admit (steps)',
    'own-calls': 'internal calls',
    'owners': 'owner key',
    'page-place': 'paths',
    'passed': 'admitted call',
    'patience': 'first-byte timeout',
    'place': 'service context',
    'placement': 'services from config',
    'places': 'process slots',
    'present': 'access rules',
    'question': 'consent request',
    'questions': 'elicitation',
    'reach': 'upstream selection',
    'remembered': 'remembered consent',
    'renewals': 'refresh',
    'retire': 'end streams of removed services',
    'show': 'upstream credential',
    'showing': 'upstream credential, credential strategy',
    'shown': 'admitted call',
    'slots': 'concurrency limit',
    'straight': 'direct upstream',
    'stray': 'unexpected message',
    'succession': 'token rotation',
    'supply': 'service registry',
    'told': 'progress',
    'trial': 'dry run',
    'trips': 'pending authorizations',
    'unready': 'error responses',
    'verdicts': 'negotiated-version cache',
    'visit': 'request context',
    'visits': 'request id',
    'watch': 'access revalidation',
    'ways': 'upstream selection',
  }),
  // Lines of a process's output are lines of text.
  {
    word: 'lines',
    instead: 'transport, connection',
    where: 'name',
    except: /^src\/node\/(?:spawn-lines|process\/)/,
  },
  ...fileNames({
    'act': 'account actions',
    'agreement': 'header validation',
    'answer': 'response headers, output',
    'answers': 'error responses',
    'attempt': 'progress',
    'block': 'banner',
    'browser': 'login CSRF',
    'carry': 'dispatch',
    'configured': 'configuration, provider from configuration',
    'connection-cap': 'connection limit',
    'failures': 'crash log',
    'faults': 'errors',
    'first': 'built-in',
    'form': 'parameters',
    'handle': 'admit',
    'health': 'circuit breaker',
    'history': 'event store',
    'inbound': 'request headers',
    'key-set': 'key storage',
    'leave': 'abort signal',
    'link-sign-in': 'magic link',
    'look': 'probe',
    'machine': 'client_credentials',
    'manage': 'client configuration endpoint',
    'mirrors': 'Mcp-Param-* headers',
    'offer': 'sign-in options',
    'personal': 'process per person',
    'phc': 'password hash',
    'redeem': 'authorization_code grant',
    'remote-json': 'JSON fetch',
    'respond': 'authorization response',
    'rest': 'restart backoff, subpath',
    'running': 'pid file',
    'settle': 'normalize, resolve',
    'shared-host': 'shared process',
    'start-refused': 'StartError',
    'suggest': 'did-you-mean',
    'web': 'guarded fetch',
    'wording': 'messages',
  }),
]

/** Where a word means what it says, or is a word of somebody else's: `path: name` by word. */
export const ordinaryMeanings: Readonly<Record<string, RegExp>> = {
  // A BroadcastChannel of the page, and the part of the consent page where it is decided.
  channel: /^src\/pages\/assets\.ts: channel$/,
  decision: /^src\/pages\/assets\.ts: decision$/,
  // An option of the MCP SDK.
  era: /^src\/demo\/demo\.ts: era$/,
  // HTML forms.
  form: /^src\/kit\/form\.ts: form$/,
  // Identity providers of the configuration.
  configured: /^src\/identity\/providers\/configured\.ts: configured$/,
}

/** Phrases in which an ordinary word means something only here. */
export const privatePhrases: Readonly<Record<string, RegExp>> = {
  'server or client on a line': /\b(?:servers?|clients?|sessions?) on (?:a |the |its |their )?lines?\b/gi,
  'server or client of before': /\b(?:servers?|clients?) of before\b/gi,
  'room (module)': /\b(?:a|each|every|one|another|other|the) rooms?\b(?! (?:for|to|left)\b)/gi,
}
