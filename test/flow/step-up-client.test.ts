// The official SDK client where the person lets its app do less than it tries. `npm run prove step-up` does the same
// with the version before.
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client'
import { expect, it } from 'vitest'
import { type Sdk, declineTwice, openStepUpWorld } from '../runtimes/step-up.ts'

it('asks the person twice and not again, and opens no browser for a denial', async () => {
  const world = await openStepUpWorld()
  const sdk: Sdk = { Client, StreamableHTTPClientTransport, UnauthorizedError }
  try {
    await expect(declineTwice(sdk, world)).resolves.toBeUndefined()
  } finally {
    await world.close()
  }
})
