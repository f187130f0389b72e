// Takes the steps of `postern doctor` one after the other; a step that cannot be taken says which one it needs.
import type { Timer } from '../../ports/runtime.ts'
import { checkAuthorize, checkRegistration, checkToken } from './authorization.ts'
import { checkChallenge, checkReachable, checkResource, checkServer } from './discovery.ts'
import { type Ask, type Document, type DoctorNetwork, createAsk } from './exchange.ts'
import { type Finding, type DoctorStep, type StepId, primaryOf, skipped, stepTitles } from './findings.ts'
import { checkBrowser, checkCall } from './protocol.ts'

export interface ExamineOptions {
  /** Sent with the last step. */
  readonly token?: string | undefined
  /** Whether clients may be registered: the server keeps them until it removes them itself. */
  readonly register: boolean
  /** Whether the authorization server is looked at; not again where another service has the same one. */
  readonly authorization: boolean
}

export interface Examined {
  readonly url: string
  readonly steps: readonly DoctorStep[]
  readonly primary?: Finding | undefined
}

/** The steps that a public URL is examined in; `self` is about the configuration. */
export const outsideSteps = Object.keys(stepTitles).filter((id) => id !== 'self') as readonly StepId[]

const needs = (id: StepId): string => `Needs step ${outsideSteps.indexOf(id) + 1}.`

interface AuthorizationFacts {
  readonly url: URL
  readonly metadata: Document | undefined
  readonly scopes: readonly string[]
}

const checkAuthorization = async (
  { url, metadata, scopes }: AuthorizationFacts,
  ask: Ask,
  { register }: ExamineOptions,
  report: (step: DoctorStep) => void,
): Promise<void> => {
  if (!metadata) {
    for (const id of ['registration', 'authorize', 'token'] as const) report(skipped(id, needs('server')))
    return
  }
  const facts = { metadata, resource: url.href, scopes }
  const { step, client } = await checkRegistration(facts, ask, register)
  report(step)
  report(await checkAuthorize(facts, client, ask))
  report(await checkToken(facts, client, ask))
}

const checkLogin = async (
  url: URL,
  challenge: Parameters<typeof checkResource>[1],
  ask: Ask,
  options: ExamineOptions,
  report: (step: DoctorStep) => void,
) => {
  const { step, issuer, scopes = [], metadataUrl } = await checkResource(url, challenge, ask)
  report(step)
  if (!options.authorization) return { metadataUrl, metadata: undefined }
  const server = issuer === undefined ? undefined : await checkServer(issuer, ask)
  report(server?.step ?? skipped('server', needs('resource')))
  await checkAuthorization({ url, metadata: server?.metadata, scopes }, ask, options, report)
  return { metadataUrl, metadata: server?.metadata }
}

const loginSteps = ['resource', 'server', 'registration', 'authorize', 'token'] as const

/** Examines one MCP URL as a client that does not know it; reports each step as it is known. */
export const examine = async (
  url: URL,
  options: ExamineOptions,
  network: DoctorNetwork & { readonly timer: Timer },
  onStep: (step: DoctorStep) => void,
): Promise<Examined> => {
  const steps: DoctorStep[] = []
  const report = (step: DoctorStep): void => {
    steps.push(step)
    onStep(step)
  }
  const addresses = await network.addresses(url.hostname)
  const ask = createAsk(url, addresses, network)
  const { step, answer } = await checkReachable(url, addresses, ask, network)
  report(step)
  if (!answer) for (const id of outsideSteps.slice(1)) report(skipped(id, needs('reachable')))
  else {
    const { step: challenged, access, challenge } = checkChallenge(url, answer)
    report(challenged)
    const login = access === 'login'
    if (!login) for (const id of loginSteps) report(skipped(id, 'No sign-in is required.'))
    const known = login
      ? await checkLogin(url, challenge, ask, options, report)
      : { metadataUrl: undefined, metadata: undefined }
    report(await checkBrowser({ url, login, ...known }, ask))
    report(
      login && options.token === undefined
        ? skipped('call', 'Needs an access token: --token-env NAME.')
        : await checkCall(url, options.token, {
            outbound: network.outboundTo(url.origin),
            timer: network.timer,
          }),
    )
  }
  return { url: url.href, steps, primary: primaryOf(steps) }
}
