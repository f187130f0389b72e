// Refusals about accounts at upstreams, and the tokens that calls are made with (src/connections).
import { type RefusalRow, row } from './refusals-mcp.ts'

export const connectionRefusals = {
  'upstream.consent': row(
    403,
    'access_denied',
    1403,
    'The MCP server requires an account. Connect it in your browser, then try again.',
  ),
  'upstream.scope': row(
    403,
    'access_denied',
    1403,
    'The MCP server requires a permission that its authorization server does not grant to your account.',
  ),
  'connection.unreachable': row(
    503,
    'temporarily_unavailable',
    1503,
    'The authorization server of the MCP server did not respond as expected. Try again in a moment.',
  ),
  'connection.untrusted': row(
    502,
    'access_denied',
    1502,
    'The OAuth metadata or response of the MCP server failed validation, so nothing was sent there.',
  ),
  'connection.registration': row(
    502,
    'unauthorized_client',
    1502,
    'The authorization server of the MCP server does not accept this gateway as a client. The administrator must register the gateway there and configure client_id.',
  ),
  'connection.denied': row(
    403,
    'access_denied',
    1403,
    'The authorization server of the MCP server denied access, so no account was connected.',
  ),
  'connection.company-denied': row(
    403,
    'access_denied',
    1403,
    'The identity provider of your company denied access to the MCP server. Ask its administrator for access.',
  ),
  'connection.sign-in-again': row(
    403,
    'access_denied',
    1403,
    'The MCP server requires a new sign-in with your identity provider. Sign in again, then try again.',
  ),
  'connection.state': row(
    400,
    'invalid_request',
    1400,
    'This connection attempt has expired or is already complete. An attempt must finish within ten minutes.',
  ),
  'connection.other-browser': row(
    403,
    'access_denied',
    1403,
    'This connection attempt was started in another browser or by another user, so no account was connected.',
  ),
  'connection.other-person': row(
    403,
    'access_denied',
    1403,
    'This link belongs to another user than the one signed in.',
  ),
  'connection.form': row(
    403,
    'access_denied',
    1403,
    'The form was not sent from a page of this gateway, so nothing was saved. Open the page again.',
  ),
  'connection.unknown': row(404, 'invalid_request', 1404, 'There is no service with that name.'),
} as const satisfies Record<string, RefusalRow>
