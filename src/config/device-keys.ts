// The section `device`: who may sign in on another device, and how long that may take.
import * as z from 'zod'
import { duration } from './key-types.ts'
import type { clientKeys } from './people-keys.ts'

/** The client of `postern login`. */
export const ownClient = 'postern-cli'

export const deviceKeys = z
  .strictObject({
    enabled: z.boolean().default(true).describe('Offer device authorization.'),
    clients: z
      .array(z.string().min(1))
      .min(1)
      .describe(
        'Clients that may use it: IDs of `clients`, URLs of metadata documents, `postern-cli` for `postern login`, or `*` for every client, including those that register themselves.',
      ),
    lifetime: duration('s', ['15m', '1m', '30m'], 'How long a code can be entered and redeemed.'),
    interval: duration('s', ['5s', '1s', '1m'], 'How often a device may ask whether the user has decided.'),
    other_network: z
      .enum(['warn', 'refuse'])
      .default('warn')
      .describe(
        'What to do if the device and the browser are in different networks (IPv4 /24, IPv6 /48). `warn`: say so on the consent page. `refuse`: do not accept the code.',
      ),
  })
  .describe(
    'Device authorization (RFC 8628): a user signs in to an app on a device without a browser by entering a code in a browser elsewhere. Without this section it does not exist. See [Device login](../guide/device-login.md).',
  )

interface Written {
  readonly device?: z.output<typeof deviceKeys> | undefined
  readonly clients: Readonly<Record<string, z.output<typeof clientKeys>>>
}

/** The clients, and the one of `postern login` where the operator has listed it. */
export const withDeviceClient = ({ device, clients }: Written): Record<string, z.output<typeof clientKeys>> =>
  device?.enabled && device.clients.includes(ownClient) && !Object.hasOwn(clients, ownClient)
    ? {
        ...clients,
        [ownClient]: {
          name: 'Postern CLI',
          // On any port (RFC 8252 §7.3).
          redirect_uris: ['http://127.0.0.1/callback'],
          grant_types: ['authorization_code', 'refresh_token'],
          token_endpoint_auth_method: 'none',
        },
      }
    : clients
