// Keys of a gateway that runs as several processes: how many on this computer, and how they reach one another.
import * as z from 'zod'

const mostPort = 65_535
const portOf = (address: string): number => Number(address.slice(address.lastIndexOf(':') + 1))

const address = (what: string, leastPort: number) =>
  z
    .string()
    .regex(/^(\[[\da-f:.]+\]|[a-z\d](?:[a-z\d.-]*[a-z\d])?):\d{1,5}$/i, {
      error: 'must be host:port, e.g. "127.0.0.1:7946"',
      abort: true,
    })
    .refine(
      (text) => portOf(text) >= leastPort && portOf(text) <= mostPort,
      `must have a port between ${leastPort} and ${mostPort}`,
    )
    .describe(what)

/** Of a computer with more cores than anybody has. */
const mostWorkers = 256

export const workersKey = z
  .number()
  .int()
  .min(1)
  .max(mostWorkers)
  .default(1)
  .describe(
    'Number of processes that serve requests on this computer, at most one for each core is of use. They share the port, the storage and the log. See [Several processes](../guide/several-processes.md).',
  )

export const clusterKeys = z
  .strictObject({
    listen: address(
      'Address and port on which the other processes reach this one, never clients: host:port. Port 0 picks a free one. Connections are encrypted, and both sides prove that they know `session_secret`.',
      0,
    ).default('127.0.0.1:0'),
    address: address(
      'What the other processes are told, where that differs from `listen`. Required if `listen` names all addresses (0.0.0.0).',
      1,
    ).optional(),
  })
  .describe(
    'Several processes behind one address without sticky routing: sessions that one process keeps are reached through every other. Without this section, each process only knows its own sessions. See [Several processes](../guide/several-processes.md).',
  )
