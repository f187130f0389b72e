// What several error pages have in common: who failed, what to do, and where to go on.
import type { Actor, Hop, ProblemView } from '../ports/pages.ts'

type Recipes = NonNullable<ProblemView['recipes']>

export interface Problem {
  readonly title: string
  readonly who: Actor
  readonly steps: readonly string[]
  readonly hops?: readonly Hop[]
  readonly recipes?: Recipes
  readonly onward?: NonNullable<ProblemView['onward']>
}

/** You, this gateway, and a third that failed. */
export const brokeAt = (name: string): readonly Hop[] => [
  { name: 'You', state: 'ok' },
  { name: 'Postern', state: 'ok' },
  { name, state: 'failed' },
]
export const brokeHere: readonly Hop[] = [
  { name: 'You', state: 'ok' },
  { name: 'Postern', state: 'failed' },
]

export const provider = brokeAt('Identity provider')
export const appSite = brokeAt('App’s website')
export const upstream = brokeAt('Authorization server')
export const signIn = { label: 'Open the sign-in page', href: '/login' }
export const home = { label: 'Go to home page', href: '/' }
export const services = { label: 'Your services', href: '/' }

export const fromTheApp = 'Return to the app and connect again.'
export const later = 'Wait a moment, then reload this page.'
export const tellAdmin = 'If the problem persists, send your administrator the reference below.'

/** How each client forgets a registration that this gateway no longer knows. */
export const forget: Recipes = [
  {
    client: 'Claude Code',
    say: 'Type /mcp, select the server and choose Clear authentication. Or remove the server and add it again.',
  },
  { client: 'claude.ai, ChatGPT', say: 'In the settings, remove the connector, then add it again.' },
  {
    client: 'Claude Desktop',
    say: 'Remove the connector in the settings, then add it again. If it connects through mcp-remote, also run:',
    command: 'rm -rf ~/.mcp-auth',
  },
  {
    client: 'VS Code',
    say: 'In the command palette, run Authentication: Remove Dynamic Authentication Providers. Then restart the server.',
  },
  { client: 'Cursor', say: 'In the MCP settings, remove the server, then add it again.' },
  {
    client: 'Codex',
    say: 'Log out and log in again. Replace demo with the name of your server:',
    command: 'codex mcp logout demo && codex mcp login demo',
  },
  {
    client: 'Your own app',
    say: 'Register again and use the new client_id. Or publish a client metadata document, which needs no registration.',
  },
]

export const badRequest: Problem = {
  title: 'Invalid request from the app',
  who: 'app',
  steps: [fromTheApp, 'If it happens again, report this to the app’s developer.'],
}
export const badForm: Problem = {
  title: 'Nothing was saved',
  who: 'you',
  steps: ['Go back, reload the page, then submit the form again.'],
}
export const startAgain = (title: string): Problem => ({ title, who: 'you', steps: [fromTheApp] })

/** For a refusal that has no texts of its own. */
export const unknownProblem: Problem = {
  title: 'Request failed',
  who: 'you',
  steps: [fromTheApp, tellAdmin],
}
