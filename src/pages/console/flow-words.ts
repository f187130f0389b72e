// What the console says of a flow: who, which client, how it stands, and each step in a sentence.
import { type Drawable, type Markup, html } from '../../kit/html.ts'
import type { ConsoleFrame } from '../../ports/console.ts'
import type { FlowActor, FlowStepKind, ListedFlow, ListedFlowStep } from '../../ports/flow-record.ts'
import { named, readAddress, readName, readText } from '../layout.ts'

export const appOf = ({ client, client_name: name }: Pick<ListedFlow, 'client' | 'client_name'>): Markup =>
  named(
    name === undefined && client !== undefined
      ? readAddress(client).slice(0, 60)
      : readName(name ?? '', 'A client').text,
  )

/** A service by its name; by its ID where it is gone. */
export const serviceOf = (
  { service: id }: Pick<ListedFlow, 'service'>,
  { services }: Pick<ConsoleFrame, 'services'>,
): Markup | undefined =>
  id === undefined
    ? undefined
    : named(readName(services.find((one) => one.id === id)?.name ?? id, readText(id, 64)).text)

/** A sentence as a title. */
export const asTitle = (sentence: string): string => readText(sentence, 200).replace(/\.$/, '')

/** Without the provider, which the page of the flow says. */
export const personOf = ({ user }: Pick<ListedFlow, 'user'>): Markup =>
  user === undefined
    ? html`<span class="muted">Nobody yet</span>`
    : named(readText(user.slice(user.indexOf(':') + 1), 60) || 'Unnamed user')

type Look = 'ok' | 'warn' | 'bad' | 'off'

/** The last step that was carried out, as an outcome. */
const stalledWords: Readonly<Partial<Record<FlowStepKind, string>>> = {
  register: 'Only registered',
  consent: 'Code not used',
  redirect: 'Code not used',
  'token': 'No call yet',
  'first-call': 'No answer taken',
}

/** How a flow stands: a mark and a word. */
export const stateOf = ({ state, finding, steps }: ListedFlow): readonly [look: Look, word: string] => {
  const last = steps.at(-1)
  switch (state) {
    case 'completed':
      return ['ok', 'Done']
    case 'open':
      return ['off', 'In progress']
    case 'waiting':
      return ['off', 'Waiting for the user']
    case 'abandoned':
      return ['off', 'Left']
    case 'stalled':
      return ['warn', stalledWords[last?.name ?? 'token'] ?? 'Stopped']
    case 'failed':
      return finding?.code === 'consent.denied' || finding?.code === 'flow.revoked'
        ? ['off', finding.code === 'consent.denied' ? 'Cancelled' : 'Revoked']
        : ['bad', 'Failed']
  }
}

export const actors: Readonly<Record<FlowActor, { readonly title: string; readonly look: string }>> = {
  operator: { title: 'An administrator of this gateway has to act', look: 'admin' },
  app: { title: 'The client has to act', look: 'app' },
  user: { title: 'The user has to act', look: 'app' },
  server: { title: 'Whoever runs the MCP server has to act', look: 'app' },
  nobody: { title: 'Nobody has to act', look: 'wait' },
}

/** Where a step takes place: the lanes it crosses, and the way in words. */
export interface StepLane {
  readonly lane: string
  readonly via: string
  readonly label: string
}

const toGateway = 'Client to gateway'
const toProvider = 'Gateway to identity provider'
const toServer = 'Gateway to upstream'

const lanes: Readonly<Record<FlowStepKind, StepLane>> = {
  'probe': { lane: 'arrow c12', via: toGateway, label: 'probe' },
  'challenge': { lane: 'arrow c12', via: toGateway, label: 'call' },
  'preflight': { lane: 'arrow c12', via: toGateway, label: 'OPTIONS' },
  'resource-metadata': { lane: 'arrow c12', via: toGateway, label: 'resource metadata' },
  'server-metadata': { lane: 'arrow c12', via: toGateway, label: 'server metadata' },
  'client-document': { lane: 'arrow c12 back', via: 'Gateway to client', label: 'document' },
  'register': { lane: 'arrow c12 auth', via: toGateway, label: 'POST /register' },
  'authorize': { lane: 'arrow c12 auth', via: toGateway, label: 'GET /authorize' },
  'device': { lane: 'arrow c12 auth', via: toGateway, label: 'device code' },
  'sign-in': { lane: 'self', via: 'Gateway', label: 'sign-in' },
  'provider-redirect': { lane: 'arrow c23 auth', via: toProvider, label: 'redirect' },
  'provider-callback': {
    lane: 'arrow c23 auth back',
    via: 'Identity provider to gateway',
    label: 'callback',
  },
  'consent': { lane: 'self', via: 'Gateway', label: 'consent' },
  'upstream-connect': { lane: 'arrow c24 auth', via: toServer, label: 'authorize' },
  'code': { lane: 'self', via: 'Gateway', label: 'code' },
  'redirect': { lane: 'arrow c12 auth back', via: 'Gateway to client', label: 'redirect' },
  'token': { lane: 'arrow c12 auth', via: toGateway, label: 'POST /token' },
  'first-call': { lane: 'arrow c12', via: toGateway, label: 'first call' },
  'step-up': { lane: 'arrow c12', via: toGateway, label: 'call' },
  'refresh': { lane: 'arrow c12 auth', via: toGateway, label: 'POST /token' },
  'revoke': { lane: 'self', via: 'Gateway', label: 'revoked' },
}

export const laneOf = ({ name, result }: Pick<ListedFlowStep, 'name' | 'result'>): StepLane => {
  const found = lanes[name]
  if (name === 'upstream-connect' && result === 'done')
    return { lane: `${found.lane} back`, via: 'Upstream to gateway', label: 'callback' }
  return found
}

const listText = (value: string | number | readonly string[] | undefined): string =>
  readText(typeof value === 'object' ? value.join(' ') : String(value ?? ''), 120)

const done: Readonly<Record<FlowStepKind, (flow: ListedFlow, step: ListedFlowStep) => Drawable>> = {
  'probe': (_, { meaning }) => meaning,
  'challenge': (_, { meaning }) => meaning,
  'preflight': (_, { meaning }) => meaning,
  'resource-metadata': (_, { meaning }) => meaning,
  'server-metadata': (_, { meaning }) => meaning,
  'client-document': (_, { meaning }) => meaning,
  'step-up': (_, { meaning }) => meaning,
  'register': (flow) => html`${appOf(flow)} registered.`,
  'authorize': (flow) => html`${appOf(flow)} sent the user here to sign in.`,
  'device': (flow) => html`${appOf(flow)} asked for a device code.`,
  'sign-in': (flow, { answer }) =>
    html`${personOf(flow)} signed in${answer['provider'] !== undefined && html` with <b>${listText(answer['provider'])}</b>`}.`,
  'provider-redirect': (flow) => html`${personOf(flow)} was sent to the identity provider.`,
  'provider-callback': (flow, { answer }) =>
    html`The identity provider confirmed ${personOf(flow)}${answer['provider'] !== undefined && html` (<b>${listText(answer['provider'])}</b>)`}.`,
  'consent': (flow) => html`${personOf(flow)} allowed access.`,
  'code': () => 'An authorization code was issued.',
  'redirect': (flow) => html`The browser went back to ${appOf(flow)} with the code.`,
  'upstream-connect': (flow) => html`${personOf(flow)} connected an account at the server.`,
  'token': (flow) => html`${appOf(flow)} exchanged the code for a token.`,
  'first-call': (flow) => html`${appOf(flow)} made its first call.`,
  'refresh': (flow) => html`${appOf(flow)} refreshed its token.`,
  'revoke': () => 'Access ended.',
}

const asked: Readonly<Partial<Record<FlowStepKind, string>>> = {
  'sign-in': 'The sign-in page was shown.',
  'consent': 'The consent page was shown.',
  'first-call': 'A call or a stream was opened, and ended without an answer.',
}

const refusedAt: Readonly<Record<FlowStepKind, string>> = {
  'probe': 'The request was refused.',
  'challenge': 'The request was refused.',
  'preflight': 'The request was refused.',
  'resource-metadata': 'The metadata was not found.',
  'server-metadata': 'The metadata was not found.',
  'client-document': 'The metadata document of the client failed.',
  'step-up': 'A call needs more rights.',
  'register': 'The registration was refused.',
  'authorize': 'The request for access was refused.',
  'device': 'The request for a device code was refused.',
  'sign-in': 'The sign-in was refused.',
  'provider-redirect': 'The sign-in with the identity provider could not begin.',
  'provider-callback': 'What the identity provider sent back was refused.',
  'consent': 'The user chose Cancel.',
  'upstream-connect': 'The account at the server could not be connected.',
  'code': 'No code was issued.',
  'redirect': 'The browser was not sent back.',
  'token': 'The code, or what came in its place, was refused.',
  'first-call': 'The first call was refused.',
  'refresh': 'The refresh token was refused.',
  'revoke': 'Access could not be ended.',
}

/** A step as a sentence. */
export const sentenceOf = (flow: ListedFlow, step: ListedFlowStep): Drawable => {
  if (step.result === 'refused')
    return step.name === 'consent' && step.code !== 'consent.denied' && step.code !== 'device.reported'
      ? 'The answer on the consent page was refused.'
      : refusedAt[step.name]
  const to = step.answer['to']
  if (step.result === 'asked' && to !== undefined)
    return html`The user was sent to <b>${named(readAddress(listText(to)))}</b>.`
  return (step.result === 'asked' && asked[step.name]) || done[step.name](flow, step)
}

/** What would have come next, where nothing came. */
export const expectedAfter: Readonly<
  Partial<Record<FlowStepKind, { readonly say: string; readonly next: FlowStepKind }>>
> = {
  'register': { say: 'Expected: the client sends the user here to sign in.', next: 'authorize' },
  'authorize': { say: 'Expected: the user signs in.', next: 'sign-in' },
  'device': { say: 'Expected: the user enters the code.', next: 'consent' },
  'sign-in': { say: 'Expected: an answer of the user.', next: 'consent' },
  'provider-redirect': { say: 'Expected: the user comes back.', next: 'provider-callback' },
  'provider-callback': { say: 'Expected: an answer on the consent page.', next: 'consent' },
  'consent': { say: 'Expected: the client exchanges the code for a token.', next: 'token' },
  'redirect': { say: 'Expected: the client exchanges the code for a token.', next: 'token' },
  'upstream-connect': { say: 'Expected: the user comes back.', next: 'upstream-connect' },
  'token': { say: 'Expected: the first call.', next: 'first-call' },
}
