// Worlds for the tests of one file: each is closed after the test that opened it.
import { afterEach } from 'vitest'
import { openWorld, type StdioClient, type World, type WorldOptions } from './world.ts'

/** To be called once, where the file's tests are declared; what it answers opens a world. */
export const useWorlds = (): ((options?: WorldOptions) => World) => {
  const open: World[] = []
  afterEach(async () => {
    await Promise.all(open.splice(0).map((each) => each.close()))
  }, 30_000)
  return (options) => {
    const made = openWorld(options)
    open.push(made)
    return made
  }
}

/** The client with a session. */
export const begun = async (client: StdioClient): Promise<StdioClient> => {
  await client.initialize()
  return client
}
