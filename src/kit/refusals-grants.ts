// Refusals of grants that need no person in a browser.
import { type RefusalRow, row } from './refusals-mcp.ts'

export const grantRefusals = {
  'client.grant': row(400, 'unauthorized_client', 1400, 'This client may not use that grant_type.'),
  'account.service': row(
    400,
    'invalid_target',
    1400,
    'This account has no access to that service, or has several: name one of its services as resource.',
  ),
  'account.scope': row(
    400,
    'invalid_scope',
    1400,
    'This account has none of the requested scopes at that service.',
  ),
  'account.permission': row(
    200,
    'access_denied',
    1403,
    'Access denied: this needs a higher permission than the account has.',
  ),
  'account.connection': row(
    403,
    'access_denied',
    1403,
    'The MCP server requires an account of each user. A service account cannot connect one.',
  ),
} as const satisfies Record<string, RefusalRow>
