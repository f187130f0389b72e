// Error pages about connecting an account at the authorization server of an MCP server.
import type { RefusalCode } from '../kit/refusal.ts'
import {
  type Problem,
  brokeAt,
  upstream,
  home,
  services,
  tellAdmin,
  badForm,
  startAgain,
} from './problem-steps.ts'

export const connectionProblems = {
  'upstream.credential': {
    title: 'The MCP server rejected the gateway’s credentials',
    who: 'admin',
    steps: [
      'Administrator: set `upstream_auth` for the service, such as `type: static` with the `token` or `headers` that the server expects. The log has the server’s response under the reference below.',
    ],
    hops: brokeAt('MCP server'),
  },
  'connection.unreachable': {
    title: 'The MCP server’s authorization server is unavailable',
    who: 'nobody',
    steps: ['Wait a moment, then try again.', tellAdmin],
    hops: upstream,
  },
  'connection.untrusted': {
    title: 'The MCP server’s OAuth metadata is inconsistent',
    who: 'admin',
    steps: [
      'No code or token was sent.',
      'Administrator: the log has the mismatch under the reference below. If this is intended, allow it in `upstream_auth` for the service.',
    ],
    hops: upstream,
  },
  'connection.registration': {
    title: 'This gateway is not registered with the MCP server',
    who: 'admin',
    steps: [
      'Administrator: register the gateway with the authorization server, using the redirect URI above. Then set `client_id` and `issuer` in `upstream_auth` for the service.',
    ],
    hops: upstream,
  },
  'connection.denied': {
    title: 'Account not connected',
    who: 'you',
    steps: [
      'If you canceled, try again.',
      'Otherwise, ask the operator of the MCP server whether your account has access.',
    ],
    hops: upstream,
  },
  'connection.state': startAgain('Connection attempt expired'),
  'connection.other-browser': {
    title: 'Started in another browser',
    who: 'you',
    steps: [
      'Start again in the browser where you are signed in to this gateway.',
      'If somebody sent you a link to this page, close it. They may be trying to connect their account to yours.',
    ],
  },
  'connection.other-person': {
    title: 'This link is for another user',
    who: 'you',
    steps: ['Sign in as the user of the app.', 'Or connect your own account from the services page.'],
    onward: services,
  },
  'connection.form': badForm,
  'connection.unknown': {
    title: 'Service not found',
    who: 'you',
    steps: ['The home page lists all services.'],
    onward: home,
  },
} as const satisfies Partial<Record<RefusalCode, Problem>>
