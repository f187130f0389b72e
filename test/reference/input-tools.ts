// Tools that need input before they can answer (multi-round-trip requests, 2026-07-28), with and without
// sealed state.
import type {
  CallToolResult,
  ClientCapabilities,
  InputRequests,
  InputRequiredResult,
  McpServer,
  ServerContext,
} from '@modelcontextprotocol/server'
import {
  acceptedContent,
  CLIENT_CAPABILITIES_META_KEY,
  inputRequired,
  inputResponse,
} from '@modelcontextprotocol/server'
import { z } from 'zod'
import type { Step } from './words.ts'

type Answer = CallToolResult | InputRequiredResult

const none = z.object({})
const named = z.object({ name: z.string() })
const said = (text: string): CallToolResult => ({ content: [{ type: 'text', text }] })
const sampling = (text: string, maxTokens: number) =>
  inputRequired.createMessage({ messages: [{ role: 'user', content: { type: 'text', text } }], maxTokens })
const askName = inputRequired.elicit({ message: 'What is your name?', requestedSchema: named })
const askConfirmation = inputRequired.elicit({
  message: 'Please confirm',
  requestedSchema: z.object({ ok: z.boolean() }),
})

/** What the client of this very request said it can do (2026-07-28, `_meta`). */
const declaredBy = ({ envelope }: ServerContext['mcpReq']): ClientCapabilities =>
  (envelope as Record<string, ClientCapabilities> | undefined)?.[CLIENT_CAPABILITIES_META_KEY] ?? {}

const add = (
  server: McpServer,
  name: string,
  about: string,
  handle: (context: ServerContext) => Answer | Promise<Answer>,
): void => {
  server.registerTool(
    `test_input_required_result_${name}`,
    { description: about, inputSchema: none },
    (_input, context) => handle(context),
  )
}

const addStatelessTools = (server: McpServer): void => {
  add(server, 'elicitation', 'Asks for a name, then greets.', ({ mcpReq }) => {
    const answer = acceptedContent(mcpReq.inputResponses, 'user_name', named)
    return answer ? said(`Hello, ${answer.name}!`) : inputRequired({ inputRequests: { user_name: askName } })
  })
  add(server, 'sampling', "Asks the client's model for a capital.", ({ mcpReq }) => {
    const answer = inputResponse(mcpReq.inputResponses, 'capital_question')
    return answer.kind === 'sampling'
      ? said(JSON.stringify(answer.result.content))
      : inputRequired({
          inputRequests: { capital_question: sampling('What is the capital of France?', 100) },
        })
  })
  add(server, 'list_roots', "Asks for the client's roots.", ({ mcpReq }) => {
    const answer = inputResponse(mcpReq.inputResponses, 'client_roots')
    return answer.kind === 'roots'
      ? said(answer.roots.map((root) => root.uri).join(' '))
      : inputRequired({ inputRequests: { client_roots: inputRequired.listRoots() } })
  })
  add(server, 'capabilities', 'Asks only what the client declared it can answer.', ({ mcpReq }) => {
    const declared = declaredBy(mcpReq)
    if (mcpReq.inputResponses !== undefined) return said('Answered.')
    const inputRequests: InputRequests = {
      ...(declared.elicitation && { user_name: askName }),
      ...(declared.sampling && { greeting: sampling('Generate a greeting', 50) }),
      ...(declared.roots && { client_roots: inputRequired.listRoots() }),
    }
    return Object.keys(inputRequests).length > 0
      ? inputRequired({ inputRequests })
      : said('The client can answer nothing.')
  })
}

const addStatefulTools = (server: McpServer, mint: (step: Step) => Promise<string>): void => {
  /** The step of a verified state, when it is this tool's. */
  const stepOf = (tool: string, { mcpReq }: ServerContext): number => {
    const state = mcpReq.requestState<Step>()
    return state?.tool === tool ? state.step : 0
  }
  for (const tool of ['request_state', 'tampered_state']) {
    add(server, tool, 'Asks for a confirmation and seals what it knows until then.', async (context) => {
      if (
        stepOf(tool, context) === 1 &&
        inputResponse(context.mcpReq.inputResponses, 'confirm').kind === 'elicit'
      )
        return said('state-ok: the state came back as it left.')
      return inputRequired({
        inputRequests: { confirm: askConfirmation },
        requestState: await mint({ tool, step: 1 }),
      })
    })
  }
  add(server, 'multiple_inputs', 'Asks three different things at once.', async (context) => {
    const { inputResponses } = context.mcpReq
    const given = ['user_name', 'greeting', 'client_roots'].every(
      (key) => inputResponse(inputResponses, key).kind !== 'missing',
    )
    if (given && stepOf('multiple_inputs', context) === 1) return said('All three arrived.')
    const inputRequests = {
      user_name: askName,
      greeting: sampling('Generate a greeting', 50),
      client_roots: inputRequired.listRoots(),
    }
    return inputRequired({ inputRequests, requestState: await mint({ tool: 'multiple_inputs', step: 1 }) })
  })
  add(server, 'multi_round', 'Asks one thing after the other.', async (context) => {
    const step = stepOf('multi_round', context)
    const answered = (key: string): boolean =>
      inputResponse(context.mcpReq.inputResponses, key).kind === 'elicit'
    if (step === 2 && answered('step2')) return said('Both steps done.')
    if (step >= 1 && answered('step1')) {
      const second = inputRequired.elicit({
        message: 'Step 2: What is your favorite color?',
        requestedSchema: z.object({ color: z.string() }),
      })
      return inputRequired({
        inputRequests: { step2: second },
        requestState: await mint({ tool: 'multi_round', step: 2 }),
      })
    }
    const first = inputRequired.elicit({ message: 'Step 1: What is your name?', requestedSchema: named })
    return inputRequired({
      inputRequests: { step1: first },
      requestState: await mint({ tool: 'multi_round', step: 1 }),
    })
  })
}

export const addInputTools = (server: McpServer, mint: (step: Step) => Promise<string>): void => {
  addStatelessTools(server)
  addStatefulTools(server, mint)
}
