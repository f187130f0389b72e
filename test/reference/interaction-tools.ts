// Tools that say something while they run: log messages, progress, list changes, a closed stream; and those
// that ask the client something.
import type { CallToolResult, McpServer } from '@modelcontextprotocol/server'
import { inputRequired, inputResponse } from '@modelcontextprotocol/server'
import { setTimeout as pause } from 'node:timers/promises'
import { z } from 'zod'
import { primitives, choices, user } from './forms.ts'
import type { Change } from './words.ts'

const none = z.object({})
const said = (text: string): CallToolResult => ({ content: [{ type: 'text', text }] })

const addTellingTools = (server: McpServer, tell: (change: Change) => void): void => {
  for (const name of ['test_tool_with_logging', 'test_logging_tool']) {
    server.registerTool(
      name,
      {
        description: 'Sends three log messages while it runs, to clients that ask for them.',
        inputSchema: none,
      },
      async (_input, { mcpReq }) => {
        await mcpReq.log('info', 'Tool execution started')
        await pause(50)
        await mcpReq.log('info', 'Tool processing data')
        await pause(50)
        await mcpReq.log('info', 'Tool execution completed')
        return said('Logged three messages.')
      },
    )
  }
  server.registerTool(
    'test_tool_with_progress',
    { description: 'Reports progress in three steps, to clients that ask for it.', inputSchema: none },
    async (_input, { mcpReq }) => {
      const progressToken = mcpReq._meta?.progressToken
      for (const progress of [0, 50, 100]) {
        if (progressToken !== undefined)
          await mcpReq.notify({
            method: 'notifications/progress',
            params: { progressToken, progress, total: 100, message: `${progress} of 100` },
          })
        if (progress < 100) await pause(50)
      }
      return said('Progressed to 100.')
    },
  )
  server.registerTool(
    'test_reconnection',
    {
      description: 'Closes the stream it was called on; the result is there for the client that reconnects.',
      inputSchema: none,
    },
    async (_input, { http }) => {
      http?.closeSSE?.()
      await pause(100)
      return said('Reconnected.')
    },
  )
  for (const [name, change] of [
    ['test_trigger_tool_change', 'tools'],
    ['test_trigger_prompt_change', 'prompts'],
    ['test_trigger_resource_update', 'watched'],
  ] as const) {
    server.registerTool(
      name,
      {
        description: 'Announces a change to whoever listens for it; nothing really changes.',
        inputSchema: none,
      },
      () => {
        tell(change)
        return said(`Announced: ${change}.`)
      },
    )
  }
}

const form = (
  message: string,
  requestedSchema: Parameters<typeof inputRequired.elicit>[0]['requestedSchema'],
) => inputRequired({ inputRequests: { form: inputRequired.elicit({ message, requestedSchema }) } })

/**
 * Tools that ask through the form on 2026-07-28 (input_required) and by a request to the client before; the
 * SDK bridges the two.
 */
const addAskingTools = (server: McpServer): void => {
  server.registerTool(
    'test_elicitation',
    {
      description: 'Asks the person for a name and an address.',
      inputSchema: z.object({ message: z.string() }),
    },
    ({ message }, { mcpReq }) => {
      const answer = inputResponse(mcpReq.inputResponses, 'form')
      if (answer.kind !== 'elicit') return form(message, user)
      return said(`User response: action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`)
    },
  )
  for (const [name, schema] of [
    ['test_elicitation_sep1034_defaults', primitives],
    ['test_elicitation_sep1330_enums', choices],
  ] as const) {
    server.registerTool(
      name,
      { description: 'Asks the person to fill in a form of its schema kinds.', inputSchema: none },
      (_input, { mcpReq }) => {
        const answer = inputResponse(mcpReq.inputResponses, 'form')
        if (answer.kind !== 'elicit') return form('Please review and change the form', schema)
        return said(
          `Elicitation completed: action=${answer.action}, content=${JSON.stringify(answer.content ?? {})}`,
        )
      },
    )
  }
  server.registerTool(
    'test_streaming_elicitation',
    { description: 'Says that it works, then asks the person to confirm.', inputSchema: none },
    async (_input, { mcpReq }) => {
      if (inputResponse(mcpReq.inputResponses, 'form').kind === 'elicit') return said('Confirmed.')
      const progressToken = mcpReq._meta?.progressToken
      if (progressToken !== undefined)
        await mcpReq.notify({
          method: 'notifications/progress',
          params: { progressToken, progress: 1, total: 2 },
        })
      return form('Go on?', { type: 'object', properties: { ok: { type: 'boolean' } }, required: ['ok'] })
    },
  )
  const sampling = (prompt: string) => ({
    messages: [{ role: 'user' as const, content: { type: 'text' as const, text: prompt } }],
    maxTokens: 100,
  })
  server.registerTool(
    'test_sampling',
    { description: "Asks the client's model.", inputSchema: z.object({ prompt: z.string() }) },
    ({ prompt }, { mcpReq }) => {
      const answer = inputResponse(mcpReq.inputResponses, 'sample')
      if (answer.kind !== 'sampling')
        return inputRequired({ inputRequests: { sample: inputRequired.createMessage(sampling(prompt)) } })
      const content = [answer.result.content].flat()[0]
      return said(`LLM response: ${content?.type === 'text' ? content.text : JSON.stringify(content)}`)
    },
  )
  server.registerTool(
    'test_missing_capability',
    { description: 'Needs a client with sampling; others get error -32021.', inputSchema: none },
    (_input, { mcpReq }) =>
      inputResponse(mcpReq.inputResponses, 'sample').kind === 'sampling'
        ? said('Sampled.')
        : inputRequired({ inputRequests: { sample: inputRequired.createMessage(sampling('Anything')) } }),
  )
}

export const addInteractionTools = (server: McpServer, tell: (change: Change) => void): void => {
  addTellingTools(server, tell)
  addAskingTools(server)
}
