// The section `token_exchange`: which clients may trade a token that another client got for one of their own.
import * as z from 'zod'
import { permissions } from './access-keys.ts'

const exchangeRule = z.strictObject({
  client: z
    .string()
    .min(1)
    .describe(
      'The client that exchanges tokens: an ID of `clients` that authenticates. It becomes the actor.',
    ),
  subject_clients: z
    .array(z.string().min(1))
    .min(1)
    .describe(
      'Clients whose tokens it may exchange: IDs of `clients`, or the `client_id` of an app that registered itself or publishes a metadata document.',
    ),
  services: z
    .array(z.string())
    .min(1)
    .describe('IDs of the services that the new tokens may be for, or `*` for all of them.'),
  permissions: z
    .array(z.enum(permissions).exclude(['admin']))
    .min(1)
    .optional()
    .describe(
      'The most that the new tokens allow: the highest of these. They never allow more than the exchanged token does, and never administration. Needs access rules. Default: `execute`.',
    ),
  depth: z
    .number()
    .int()
    .min(1)
    .max(5)
    .default(1)
    .describe(
      'How many clients may act one for another: 1 means that tokens from an exchange cannot be exchanged again by this rule.',
    ),
})

export const exchangeKeys = z
  .array(exchangeRule)
  .default([])
  .describe(
    'Token exchange (RFC 8693): a client trades the access token that a user gave another client for one of its own, which names both. Without an entry it does not exist. See [Token exchange](../guide/token-exchange.md).',
  )
