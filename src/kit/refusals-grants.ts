// Refusals of grants: of codes and refresh tokens, and of those that need no person in a browser.
import { type RefusalRow, row } from './refusals-mcp.ts'

export const grantRefusals = {
  // the token endpoint
  'grant.type': row(400, 'unsupported_grant_type', 1400, 'This grant_type is not supported.'),
  'code.unknown': row(
    400,
    'invalid_grant',
    1400,
    'The authorization code is not valid. Start the authorization again.',
  ),
  'code.expired': row(
    400,
    'invalid_grant',
    1400,
    'The authorization code has expired. Start the authorization again.',
  ),
  'code.spent': row(400, 'invalid_grant', 1400, 'The authorization code was already used.'),
  'code.redirect': row(400, 'invalid_grant', 1400, 'redirect_uri does not match the authorization request.'),
  'code.key': row(
    400,
    'invalid_grant',
    1400,
    'The authorization code is bound to a key (dpop_jkt): send a DPoP proof of that key.',
  ),
  'refresh.key': row(
    400,
    'invalid_grant',
    1400,
    'The refresh token is bound to a key: send a DPoP proof of that key.',
  ),
  'refresh.unknown': row(
    400,
    'invalid_grant',
    1400,
    'The refresh token is not valid or expired due to inactivity. Start the authorization again.',
  ),
  'refresh.revoked': row(
    400,
    'invalid_grant',
    1400,
    'The grant for this refresh token was revoked. Start the authorization again.',
  ),
  'refresh.reuse': row(
    400,
    'invalid_grant',
    1400,
    'A replaced refresh token was reused, so its grant was revoked. Start the authorization again.',
  ),
  'scope.exceeded': row(400, 'invalid_scope', 1400, 'The requested scope exceeds the granted scope.'),
  // service accounts
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
  // token exchange (RFC 8693 §2.2.2)
  'exchange.subject': row(
    400,
    'invalid_request',
    1400,
    'subject_token must be a live access token of this gateway, of a client whose tokens this client may exchange.',
  ),
  'exchange.actor': row(
    400,
    'invalid_request',
    1400,
    'actor_token must be a live access token of a service account, issued to this client by this gateway.',
  ),
  'exchange.depth': row(
    400,
    'invalid_request',
    1400,
    'Too many clients would act one for another. This token cannot be exchanged again.',
  ),
  'exchange.rule': row(
    400,
    'invalid_target',
    1400,
    'This client may not exchange that token for this service, or its user has no access to the service.',
  ),
  'personal-token.unknown': row(
    401,
    'invalid_token',
    1401,
    'This personal access token is not valid for this service: it is for other services, was ended, or never existed.',
  ),
  'personal-token.expired': row(401, 'invalid_token', 1401, 'This personal access token has expired.'),
  'personal-token.ended': row(401, 'invalid_token', 1401, 'This personal access token was ended.'),
  'personal-token.exists': row(
    409,
    'invalid_request',
    1409,
    'This token was already created, and it is shown only once. If you do not have it, end it and create another one.',
  ),
  'person.unknown': row(404, 'invalid_request', 1404, 'This user is not known to the gateway.'),
  'personal-token.limit': row(
    400,
    'invalid_request',
    1400,
    'This user has as many personal access tokens as one may have. End one first.',
  ),
  'personal-token.scope': row(
    400,
    'invalid_request',
    1400,
    'A token may do no more than its user may do at each of its services.',
  ),
  // device authorization (RFC 8628 §3.5)
  'device.pending': row(400, 'authorization_pending', 1400, 'The user has not decided yet.'),
  'device.slow': row(400, 'slow_down', 1400, 'Too soon. Add 5 seconds to the polling interval.'),
  'device.denied': row(400, 'access_denied', 1400, 'The user denied access, or may not give it.'),
  'device.expired': row(400, 'expired_token', 1400, 'The device code has expired. Start again.'),
  'device.unknown': row(400, 'invalid_grant', 1400, 'The device code is not valid. Start again.'),
  'device.replayed': row(400, 'invalid_grant', 1400, 'The device code was already used.'),
  'device.code': row(
    400,
    'invalid_request',
    1400,
    'This code is not valid or has expired. Compare it with the code on your device, or start again there.',
  ),
  'device.form': row(
    403,
    'access_denied',
    1403,
    'The form was not sent from a page of this gateway, or the session has ended. Open the page again.',
  ),
  'device.network': row(
    403,
    'access_denied',
    1403,
    'The device is in another network than this browser, and this gateway does not allow that. Sign in on the device’s network.',
  ),
} as const satisfies Record<string, RefusalRow>
