// Prompts: plain, with arguments that complete, with an embedded resource, with an image, and one that needs
// input first.
import type { GetPromptResult, McpServer } from '@modelcontextprotocol/server'
import { acceptedContent, completable, inputRequired } from '@modelcontextprotocol/server'
import { z } from 'zod'
import { pixel } from './media.ts'

type Content = GetPromptResult['messages'][number]['content']
const asked = (...contents: readonly Content[]): GetPromptResult => ({
  messages: contents.map((content) => ({ role: 'user', content })),
})
const text = (words: string): Content => ({ type: 'text', text: words })

const cities = ['paris', 'park', 'party', 'test', 'tester']
const completed = (about: string) =>
  completable(z.string().describe(about), (value) => cities.filter((city) => city.startsWith(value)))

export const addPrompts = (server: McpServer): void => {
  server.registerPrompt('test_simple_prompt', { description: 'Has no arguments.' }, () =>
    asked(text('This is a simple prompt for testing.')),
  )
  server.registerPrompt(
    'test_prompt_with_arguments',
    {
      description: 'Has two arguments, which complete.',
      argsSchema: z.object({
        arg1: completed('First test argument'),
        arg2: completed('Second test argument'),
      }),
    },
    ({ arg1, arg2 }) => asked(text(`Prompt with arguments: arg1='${arg1}', arg2='${arg2}'`)),
  )
  server.registerPrompt(
    'test_prompt_with_embedded_resource',
    {
      description: 'Embeds the resource it is given.',
      argsSchema: z.object({ resourceUri: z.string().describe('URI of the resource to embed') }),
    },
    ({ resourceUri }) =>
      asked(
        {
          type: 'resource',
          resource: {
            uri: resourceUri,
            mimeType: 'text/plain',
            text: 'Embedded resource content for testing.',
          },
        },
        text('Please process the embedded resource above.'),
      ),
  )
  server.registerPrompt('test_prompt_with_image', { description: 'Shows an image.' }, () =>
    asked({ type: 'image', data: pixel, mimeType: 'image/png' }, text('Please analyze the image above.')),
  )
  const context = z.object({ context: z.string() })
  server.registerPrompt(
    'test_input_required_result_prompt',
    { description: 'Asks for its context first.' },
    ({ mcpReq }) => {
      const answer = acceptedContent(mcpReq.inputResponses, 'user_context', context)
      if (answer) return asked(text(`Context: ${answer.context}`))
      return inputRequired({
        inputRequests: {
          user_context: inputRequired.elicit({
            message: 'What context should the prompt use?',
            requestedSchema: context,
          }),
        },
      })
    },
  )
}
