// Where the store of a Worker makes its objects: answers, for the options in the query, what it asks of the
// platform's namespace.
import { createObjectStore } from '../../src/worker/storage.ts'
import { noTimer } from '../runtimes/clock.ts'

export { SessionObject, TrailObject } from './no-sessions.ts'
export { RecordObject } from '../../src/worker/storage-object.ts'

/** A namespace that writes down what it is asked, and whose objects hold nothing. */
const noting = (asked: unknown[], jurisdiction?: string): DurableObjectNamespace<never> =>
  ({
    jurisdiction: (name: string) => noting(asked, name),
    getByName(name: string, options?: unknown) {
      asked.push([jurisdiction ?? null, name, options ?? null])
      return { read: () => Promise.resolve(undefined) }
    },
  }) as unknown as DurableObjectNamespace<never>

export default {
  async fetch(request: Request): Promise<Response> {
    const { searchParams } = new URL(request.url)
    const [locationHint, jurisdiction] = [
      searchParams.get('hint') ?? undefined,
      searchParams.get('jurisdiction') ?? undefined,
    ]
    const asked: unknown[] = []
    await createObjectStore(noting(asked), { locationHint, jurisdiction, timer: noTimer }).get('grant:a')
    return Response.json(asked)
  },
}
