// The section `dpop`: whether tokens can be bound to a key of the client (RFC 9449), and what is asked of its proofs.
import * as z from 'zod'
import { duration } from './key-types.ts'

const dpopModes = ['off', 'optional', 'required'] as const

/** Of one client or one service. */
export const dpopMode = (description: string) => z.enum(dpopModes).optional().describe(description)

export const dpopKeys = z
  .strictObject({
    mode: z
      .enum(dpopModes)
      .default('optional')
      .describe(
        '`optional`: a client that sends a proof gets tokens that are bound to its key, and any other client gets bearer tokens. `required`: no bearer tokens are issued or accepted. `off`: proofs are ignored, and no client or service can have a `dpop` of its own. Otherwise that of a client or a service replaces this one; if both have one, `required` wins, then `off`.',
      ),
    nonce: z
      .enum(['required', 'off'])
      .default('required')
      .describe(
        '`required`: a proof must contain a nonce that the gateway handed out in the last two minutes, so that no proof can be made in advance. Clients without one are told to try again with it.',
      ),
    window: duration(
      's',
      ['5m', '10s', '15m'],
      'How far the time of a proof (`iat`) may be from the gateway’s clock, in either direction.',
    ),
    replay: z
      .enum(['auto', 'memory', 'store'])
      .default('auto')
      .describe(
        'Where the proofs of calls are remembered, so that each is accepted once. `store`: in the storage, for any number of processes. `memory`: in this process, which is faster; for a gateway that is one process, and only with `nonce: required`. `auto`: in the process while it is the only one that uses the storage, and in the storage otherwise, with `nonce: off`, and on Workers. Proofs at the token endpoint are always remembered in the storage.',
      ),
  })
  .describe(
    'DPoP (RFC 9449): access tokens that are bound to a key of the client, so that a stolen token is of no use without it. Without this section there is none. See [DPoP](../guide/dpop.md).',
  )
