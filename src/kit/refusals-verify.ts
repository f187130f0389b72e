// Refusals of forward auth, beside those of the call that is asked about (src/proxy/forward-auth.ts).
import { type RefusalRow, row } from './refusals-mcp.ts'

export const verifyRefusals = {
  'verify.untrusted': row(
    403,
    'access_denied',
    1403,
    'Only a reverse proxy in forward_auth.trusted may ask here.',
  ),
  'verify.incomplete': row(
    400,
    'invalid_request',
    1400,
    'The reverse proxy must describe the request in X-Forwarded-Method, -Proto, -Host and -Uri, each once.',
  ),
  'verify.method': row(
    403,
    'access_denied',
    1405,
    'Requests with this method, or with a header that changes the method, do not pass.',
  ),
  'verify.path': row(403, 'access_denied', 1403, 'Requests for this path do not pass.'),
  'verify.preflight': row(
    403,
    'access_denied',
    1403,
    'The reverse proxy has to answer preflight requests before it asks, or set forward_auth.preflight to pass.',
  ),
  'verify.needs-body': row(
    403,
    'access_denied',
    1403,
    'The rules of this service are about the message, which the reverse proxy does not hand on.',
  ),
  'verify.partial': row(413, 'invalid_request', 1413, 'The reverse proxy handed on a part of the message.'),
  'verify.changed': row(
    403,
    'access_denied',
    1403,
    'Only a part of this message may reach the server, and the gateway does not carry it.',
  ),
} as const satisfies Record<string, RefusalRow>
