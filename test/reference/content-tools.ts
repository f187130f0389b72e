// Tools that answer at once: every kind of content, an error, and two input schemas that a proxy must not
// touch.
import type { CallToolResult, ContentBlock, McpServer } from '@modelcontextprotocol/server'
import { fromJsonSchema } from '@modelcontextprotocol/server'
import { z } from 'zod'
import { pixel, silence } from './media.ts'

const none = z.object({})
const image: ContentBlock = { type: 'image', data: pixel, mimeType: 'image/png' }

const answers: Readonly<
  Record<string, { readonly about: string; readonly content: readonly ContentBlock[] }>
> = {
  test_simple_text: {
    about: 'Answers with one text.',
    content: [{ type: 'text', text: 'This is a simple text response for testing.' }],
  },
  test_image_content: { about: 'Answers with one image.', content: [image] },
  test_audio_content: {
    about: 'Answers with one sound.',
    content: [{ type: 'audio', data: silence, mimeType: 'audio/wav' }],
  },
  test_embedded_resource: {
    about: 'Answers with a resource inside the result.',
    content: [
      {
        type: 'resource',
        resource: {
          uri: 'test://embedded-resource',
          mimeType: 'text/plain',
          text: 'This is an embedded resource content.',
        },
      },
    ],
  },
  test_multiple_content_types: {
    about: 'Answers with a text, an image and a resource.',
    content: [
      { type: 'text', text: 'Multiple content types test:' },
      image,
      {
        type: 'resource',
        resource: {
          uri: 'test://mixed-content-resource',
          mimeType: 'application/json',
          text: JSON.stringify({ test: 'data', value: 123 }),
        },
      },
    ],
  },
}

/** JSON Schema 2020-12 with the keywords that careless proxies drop: anchors, composition, conditions. */
const contact = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  type: 'object',
  $defs: {
    address: {
      $anchor: 'addressDef',
      type: 'object',
      properties: { street: { type: 'string' }, city: { type: 'string' } },
    },
  },
  properties: {
    name: { type: 'string' },
    address: { $ref: '#/$defs/address' },
    contactMethod: { type: 'string', enum: ['phone', 'email'] },
    phone: { type: 'string' },
    email: { type: 'string' },
  },
  allOf: [{ anyOf: [{ required: ['phone'] }, { required: ['email'] }] }],
  if: { properties: { contactMethod: { const: 'phone' } }, required: ['contactMethod'] },
  // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
  then: { required: ['phone'] },
  else: { required: ['email'] },
  additionalProperties: false,
} as const

/** Parameters that clients of 2026-07-28 repeat as `Mcp-Param-Region` and `Mcp-Param-Limit` (SEP-2243). */
const mirrored = {
  type: 'object',
  properties: {
    region: { type: 'string', 'x-mcp-header': 'Region' },
    limit: { type: 'integer', 'x-mcp-header': 'Limit' },
    note: { type: 'string' },
  },
  required: ['region'],
} as const

const said = (text: string): CallToolResult => ({ content: [{ type: 'text', text }] })

export const addContentTools = (server: McpServer): void => {
  for (const [name, { about, content }] of Object.entries(answers)) {
    server.registerTool(
      name,
      { description: about, inputSchema: none, annotations: { readOnlyHint: true } },
      () => ({ content: [...content] }),
    )
  }
  server.registerTool('test_error_handling', { description: 'Always fails.', inputSchema: none }, () => {
    throw new Error('This tool intentionally returns an error for testing')
  })
  server.registerTool(
    'json_schema_2020_12_tool',
    {
      description: 'Has an input schema with the keywords of JSON Schema 2020-12.',
      inputSchema: fromJsonSchema(contact),
    },
    (input) => said(JSON.stringify(input)),
  )
  server.registerTool(
    'test_custom_headers',
    {
      description: 'Has parameters that are repeated in request headers.',
      inputSchema: fromJsonSchema(mirrored),
    },
    (input) => said(JSON.stringify(input)),
  )
}
