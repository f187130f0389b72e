// Resources: a text, an image, a template, and one that can be watched.
import type { McpServer } from '@modelcontextprotocol/server'
import { ResourceTemplate } from '@modelcontextprotocol/server'
import { pixel } from './media.ts'

export const watchedUri = 'test://watched-resource'

/** Registers the resources; the set returned holds what this server's client has subscribed to. */
export const addResources = (server: McpServer): ReadonlySet<string> => {
  server.registerResource(
    'Static text',
    'test://static-text',
    { description: 'A text that never changes.', mimeType: 'text/plain' },
    (uri) => ({
      contents: [
        { uri: uri.href, mimeType: 'text/plain', text: 'This is the content of the static text resource.' },
      ],
    }),
  )
  server.registerResource(
    'Static binary',
    'test://static-binary',
    { description: 'An image that never changes.', mimeType: 'image/png' },
    (uri) => ({
      contents: [{ uri: uri.href, mimeType: 'image/png', blob: pixel }],
    }),
  )
  server.registerResource(
    'Watched',
    watchedUri,
    { description: 'A text that clients may subscribe to.', mimeType: 'text/plain' },
    (uri) => ({
      contents: [{ uri: uri.href, mimeType: 'text/plain', text: 'Watched content.' }],
    }),
  )
  server.registerResource(
    'Template',
    new ResourceTemplate('test://template/{id}/data', { list: undefined }),
    { description: 'A record for each id.', mimeType: 'application/json' },
    (uri, { id }) => ({
      contents: [
        {
          uri: uri.href,
          mimeType: 'application/json',
          text: JSON.stringify({ id, templateTest: true, data: `Data for ID: ${String(id)}` }),
        },
      ],
    }),
  )
  // Subscriptions of the revisions before 2026-07-28 live as long as the server of their session.
  const watched = new Set<string>()
  server.server.setRequestHandler('resources/subscribe', ({ params }) => {
    watched.add(params.uri)
    return {}
  })
  server.server.setRequestHandler('resources/unsubscribe', ({ params }) => {
    watched.delete(params.uri)
    return {}
  })
  return watched
}
