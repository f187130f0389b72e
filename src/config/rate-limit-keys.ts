// Keys of the rate limits of calls, at the top level and for a service.
import * as z from 'zod'
import { duration } from './key-types.ts'

const globs = '`*` stands for any characters, `?` for one, `\\` takes the next character literally.'

const rateKeys = {
  calls: z
    .number()
    .int()
    .min(1)
    .max(1_000_000_000)
    .describe('Number of messages that callers may send within the period.'),
  within: duration('s', ['1m', '1s', '1d'], 'Length of the period, which starts with the first message.'),
  per: z
    .enum(['user', 'client', 'service'])
    .default('user')
    .describe(
      '`user`: each user has a count, on public services each address. `client`: each app of a user has one, on public services each address. `service`: one count for all callers of a service; when it is used up, callers who used less than an equal share are still served.',
    ),
  tools: z
    .array(z.string().min(1))
    .min(1)
    .optional()
    .describe(`Patterns of tool names. Only calls of these tools count, all together. ${globs}`),
}

export const serviceRateLimitKeys = z
  .array(
    z.strictObject(rateKeys).describe('A rate limit. Over it, calls get a 429 and do not reach the server.'),
  )
  .optional()
  .describe('Rate limits for calls of this service, in addition to those of the top level.')

export const rateLimitKeys = z
  .array(
    z
      .strictObject({
        ...rateKeys,
        services: z
          .array(z.string().min(1))
          .min(1)
          .optional()
          .describe('Patterns of service IDs. Default: every service.'),
      })
      .describe(
        'A rate limit over several services: with `per: user` or `client`, calls of all of them count together.',
      ),
  )
  .default([])
  .describe(
    'Rate limits for calls. Default: none. The limits for sign-in, registration and tokens are fixed, see [Limits](limits.md).',
  )
